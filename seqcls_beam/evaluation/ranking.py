"""Ranking metrics from counts, int64 [absent or present, cell], the cells in rising order of the score.

A cell is one score (`decisions`), and what is computed is exact, or a stretch of log-odds (`histograms`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation import smoothing
from seqcls_beam.evaluation.counting.histograms import edges
from seqcls_beam.evaluation.counting.sampling import RANKS, stream
from seqcls_beam.evaluation.counts import f1
from seqcls_beam.evaluation.extras import wanted

Array = npt.NDArray[Any]

_POINTS = 200  # of a curve
_REDRAWN = 4096  # cells that are redrawn in a bootstrap; of more, neighbours are put together
_AT_ONCE = 50  # replicates


def auc(histogram: Array) -> float | None:
    """Area under the ROC curve; None where one kind of rows is missing."""
    if not histogram.any(axis=1).all():
        return None
    truth, cell = np.nonzero(histogram)
    found = wanted("sklearn.metrics").roc_auc_score(truth, cell, sample_weight=histogram[truth, cell])
    return float(min(found, 1.0))  # it is a sum, and may be more by rounding


def average_precision(histogram: Array) -> float | None:
    """Average precision, Σ precision · (recall gained); None where nothing is present."""
    if not histogram[1].any():
        return None
    truth, cell = np.nonzero(histogram)
    weight = histogram[truth, cell]
    found = wanted("sklearn.metrics").average_precision_score(truth, cell, sample_weight=weight)
    return float(min(found, 1.0))


def redrawn(histogram: Array, replicates: int, seed: int) -> tuple[Array, Array]:
    """(AUC, average precision) of the smoothed rows, and then of replicates in which as many are drawn; may be nan.

    Cells without a present row between two with some are as good as one. Where more are left than can be redrawn,
    neighbours count as tied, in the smoothed rows as in the replicates.
    """
    full = _few_absent(histogram[:, histogram.any(axis=0)])
    starts = np.unique(np.linspace(0, full.shape[1], min(_REDRAWN, full.shape[1]), endpoint=False).astype(np.int64))
    few = smoothing.ranked(np.add.reduceat(full, starts, axis=1))
    rows = int(histogram.sum())
    draws = stream(seed, (0, 0), RANKS)
    found = [_both(few[None])]
    for start in range(0, replicates, _AT_ONCE):
        size = min(_AT_ONCE, replicates - start)
        found.append(_both(draws.multinomial(rows, (few / few.sum()).ravel(), size).reshape(size, *few.shape)))
    area, average = np.concatenate(found, axis=1)
    return area, average


def _few_absent(full: Array) -> Array:
    """Neighbouring cells that hold nothing present → one cell, which changes neither of the two metrics."""
    present = full[1] > 0
    begins = np.ones(full.shape[1], bool)
    begins[1:] = present[1:] | present[:-1]
    return np.add.reduceat(full, np.flatnonzero(begins), axis=1)


def _both(drawn: Array) -> Array:
    """Rows [groups, absent or present, cell] → [AUC or average precision, groups]."""
    absent, present = drawn[:, 0].astype(np.float64), drawn[:, 1].astype(np.float64)
    absents, presents = absent.sum(axis=1), present.sum(axis=1)
    below = np.cumsum(absent, axis=1) - absent / 2
    above = np.cumsum(present[:, ::-1], axis=1)
    said = np.cumsum((present + absent)[:, ::-1], axis=1)
    precision = np.divide(above, said, out=np.zeros_like(above), where=said > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.minimum((present * below).sum(axis=1) / (absents * presents), 1)
        average = np.minimum((present[:, ::-1] * precision).sum(axis=1) / presents, 1)
    return np.stack([area, average])


def curves(histogram: Array) -> dict[str, list[list[float]]]:
    """roc: points [false positive rate, true positive rate]; precision_recall: [recall, precision]; from strict on."""
    absent, present = (np.cumsum(each[::-1]) for each in histogram)
    taken = np.flatnonzero(histogram[:, ::-1].any(axis=0))
    taken = np.unique(taken[np.linspace(0, len(taken) - 1, min(_POINTS, len(taken))).astype(np.int64)])
    found = {}
    if absent[-1] and present[-1]:
        roc = np.stack([absent[taken] / absent[-1], present[taken] / present[-1]], axis=1)
        found["roc"] = np.round(np.concatenate([[[0.0, 0.0]], roc]), 6).tolist()
    if present[-1]:
        recall, precision = present[taken] / present[-1], present[taken] / (absent[taken] + present[taken])
        found["precision_recall"] = np.round(np.stack([recall, precision], axis=1), 6).tolist()
    return found


def tuned(histograms: Array) -> dict[str, dict[str, float]]:
    """Histograms [labels, 2, cells] of log-odds → the one threshold of all labels with the best micro, and macro F1."""
    reverse = np.cumsum(histograms[:, :, ::-1], axis=2)[:, :, ::-1]
    right, said = reverse[:, 1], reverse.sum(axis=1)
    gold = np.broadcast_to(right[:, :1], right.shape)
    thresholds = edges(histograms.shape[2])
    found = {}
    for name, scores in (
        ("micro_f1", f1(right.sum(axis=0), said.sum(axis=0), gold.sum(axis=0))),
        ("macro_f1", f1(right, said, gold).mean(axis=0)),
    ):
        # Of thresholds that are equally good the one nearest to one half.
        best = np.flatnonzero(scores == scores.max())
        best = best[np.abs(thresholds[best] - 0.5).argmin()]
        found[name] = {"threshold": float(thresholds[best]), "value": float(scores[best])}
    return found
