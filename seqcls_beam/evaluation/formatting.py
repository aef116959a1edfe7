"""How an evaluation is told to people: names of metrics, numbers, the confusion matrix."""

from typing import Any

import numpy as np
import numpy.typing as npt

METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "weighted_f1": "weighted F1",
    "positive_f1": "F1 of {positive}",
    "auc": "ROC AUC",
    "average_precision": "average precision",
    "map": "mean average precision",
    "subset_accuracy": "all labels right",
    "kappa": "Cohen's kappa",
    "mcc": "Matthews correlation",
    "mae_steps": "mean error, steps",
    "within_one": "within one step",
    "quadratic_kappa": "quadratic kappa",
    "mse": "mean squared error",
    "rmse": "its root",
    "mae": "mean absolute error",
    "r2": "R²",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
"""The headline, in this order; the other metrics are in evaluation.json."""


def number(value: float) -> str:
    """Four decimals, or four digits of what is large."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.4g}"


def interval(ci: list[float] | None) -> str:
    """An interval; nothing where there is none."""
    return "" if ci is None else f"{number(ci[0])} – {number(ci[1])}"


def measured(groups: list[dict[str, Any]]) -> list[str]:
    """The names of the metrics that are there of slices, in order."""
    names = dict.fromkeys(name for group in groups for name in group)
    return [name for name in names if name not in ("value", "rows", "ci")]


def cell(value: Any) -> str:
    """A value of a row: a number, a name, or some names."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return "" if value is None else str(value)


def matrix(found: dict[str, Any]) -> npt.NDArray[np.int64]:
    """The confusion matrix of an evaluation, int64 [gold labels, answers]."""
    pairs = found["confusion"]
    cells = np.zeros((len(found["labels"]),) * 2, np.int64)
    cells[pairs["gold"], pairs["predicted"]] = pairs["rows"]
    return cells
