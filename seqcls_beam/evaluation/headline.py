"""A few numbers for the log of a training, straight from the arrays of a validation split."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.extras import wanted

Array = npt.NDArray[Any]


def headline(problem: str, labels: tuple[str, ...], gold: Array, scores: Array) -> dict[str, float]:
    """Gold labels and scores, as in `Outcomes` → the numbers by which a model is chosen.

    single_label  accuracy, macro_f1, weighted_f1; of two classes positive_f1 and auc, for the last label
    multi_label   micro_f1, macro_f1 at a threshold of 0.5, and map, the mean average precision
    regression    mse, pearson, spearman

    Averages over classes are scikit-learn's: over those that occur among the gold labels or the answers. A metric that
    is undefined, such as the AUC of rows of one class, is left out; nothing is nan, nothing warns.
    """
    if not len(gold):
        return {}
    if problem == "regression":
        return _regression(np.asarray(gold, np.float64), np.asarray(scores, np.float64).reshape(len(gold)))
    sklearn = wanted("sklearn.metrics")
    if problem == "multi_label":
        return _multi_label(sklearn, np.asarray(gold) > 0, np.asarray(scores))
    predicted = np.asarray(scores).argmax(axis=1)
    found = {
        "accuracy": sklearn.accuracy_score(gold, predicted),
        "macro_f1": sklearn.f1_score(gold, predicted, average="macro", zero_division=0),
        "weighted_f1": sklearn.f1_score(gold, predicted, average="weighted", zero_division=0),
    }
    if len(labels) == 2:
        found["positive_f1"] = sklearn.f1_score(gold, predicted, labels=[1], average="macro", zero_division=0)
        if 0 < np.count_nonzero(gold) < len(gold):
            found["auc"] = sklearn.roc_auc_score(gold, scores[:, 1])
    return {name: float(value) for name, value in found.items()}


def _multi_label(sklearn: Any, gold: Array, scores: Array) -> dict[str, float]:
    predicted = scores >= 0.5
    found = {
        f"{average}_f1": float(sklearn.f1_score(gold, predicted, average=average, zero_division=0))
        for average in ("micro", "macro")
    }
    there = np.flatnonzero(gold.any(axis=0))
    if len(there):
        precisions = [sklearn.average_precision_score(gold[:, each], scores[:, each]) for each in there]
        found["map"] = float(np.mean(precisions))
    return found


def _regression(gold: Array, predicted: Array) -> dict[str, float]:
    from scipy.stats import rankdata

    found = {
        "mse": float(np.mean((gold - predicted) ** 2)),
        "pearson": correlation(gold, predicted),
        "spearman": correlation(rankdata(gold), rankdata(predicted)),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def correlation(one: Array, other: Array) -> float:
    """Pearson's r; nan where one of them never changes."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    a, b = one - one.mean(), other - other.mean()
    return float(np.clip((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()), -1, 1))
