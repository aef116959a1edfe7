"""Counts of right answers, answers and gold labels → precision, recall, F1 and what follows, of many groups at once.

Arrays are [groups, labels]: groups are slices, or replicates of a bootstrap. Ratios without a denominator are 0, as
scikit-learn's with `zero_division=0`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def ratio(above: Array, below: Array) -> Array:
    """float64; 0 where `below` is."""
    below = np.asarray(below, np.float64)
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def f1(right: Array, said: Array, gold: Array) -> Array:
    """F1 of every label, [groups, labels]."""
    return ratio(2 * right, said + gold)


def of_classes(right: Array, said: Array, gold: Array, occurring: Array | None = None) -> dict[str, Array]:
    """Metrics of one label a row, each [groups].

    Averages are over the classes that are `occurring` (bool [labels] or [groups, labels]): by default, and as
    scikit-learn has it, those among the gold labels or the answers of the group.
    """
    right, said, gold = (np.asarray(each, np.float64) for each in (right, said, gold))
    rows = gold.sum(axis=1)
    there = (said + gold > 0) if occurring is None else np.broadcast_to(occurring, gold.shape)
    scores = f1(right, said, gold)
    chance = (said * gold).sum(axis=1)
    spread = (rows**2 - (said**2).sum(axis=1)) * (rows**2 - (gold**2).sum(axis=1))
    agreed = right.sum(axis=1)
    return {
        "accuracy": ratio(agreed, rows),
        "balanced_accuracy": _mean(ratio(right, gold), gold > 0),
        "macro_precision": _mean(ratio(right, said), there),
        "macro_recall": _mean(ratio(right, gold), there),
        "macro_f1": _mean(scores, there),
        "weighted_precision": ratio((ratio(right, said) * gold).sum(axis=1), rows),
        "weighted_recall": ratio(agreed, rows),
        "weighted_f1": ratio((scores * gold).sum(axis=1), rows),
        "kappa": ratio(agreed * rows - chance, rows**2 - chance),
        "mcc": ratio(agreed * rows - chance, np.sqrt(np.maximum(spread, 0))),
    }


def of_labels(right: Array, said: Array, gold: Array, occurring: Array | None = None) -> dict[str, Array]:
    """Metrics of several labels a row, each [groups].

    Averages are over the labels that are `occurring` (bool [groups, labels]): by default, and as scikit-learn has it,
    over all.
    """
    scores = f1(right, said, gold)
    there = np.ones(scores.shape, bool) if occurring is None else occurring
    totals = [np.asarray(each, np.float64).sum(axis=1) for each in (right, said, gold)]
    return {
        "micro_precision": ratio(totals[0], totals[1]),
        "micro_recall": ratio(totals[0], totals[2]),
        "micro_f1": f1(*totals),
        "macro_precision": _mean(ratio(right, said), there),
        "macro_recall": _mean(ratio(right, gold), there),
        "macro_f1": _mean(scores, there),
        "weighted_f1": ratio((scores * gold).sum(axis=1), totals[2]),
    }


def of_steps(steps: Array, said: Array, gold: Array) -> dict[str, Array]:
    """Metrics of classes that are steps of a scale.

    `steps` [groups, labels]: rows whose answer is so many steps from the gold label. The quadratic kappa is Cohen's
    with weights of (steps)², whose expectation needs only the margins.
    """
    steps, said, gold = (np.asarray(each, np.float64) for each in (steps, said, gold))
    rows = steps.sum(axis=1)
    step = np.arange(steps.shape[1])
    expected = rows * ((said + gold) @ step**2) - 2 * (gold @ step) * (said @ step)
    return {
        "mae_steps": ratio(steps @ step, rows),
        "within_one": ratio(steps[:, :2].sum(axis=1), rows),
        "quadratic_kappa": 1 - ratio((steps @ step**2) * rows, expected),
    }


def of_moments(centred: Array) -> dict[str, Array]:
    """Metrics of a regression from `Moments.centred`, [groups, 6]; nan where one is undefined."""
    rows, gold, said, both, squared, absolute = np.asarray(centred, np.float64).T
    rows = np.where(rows > 0, rows, np.nan)
    varying = (gold > 0) & (said > 0)
    return {
        "mse": squared / rows,
        "rmse": np.sqrt(squared / rows),
        "mae": absolute / rows,
        "r2": np.where(gold > 0, 1 - squared / np.where(gold > 0, gold, 1), np.nan),
        # Of each its own root: their product may be less than float64 knows.
        "pearson": np.where(
            varying,
            np.clip(both / np.where(varying, np.sqrt(gold) * np.sqrt(said), 1), -1, 1),
            np.nan,
        ),
    }


def _mean(values: Array, where: Array) -> Array:
    return ratio((values * where).sum(axis=1), where.sum(axis=1))
