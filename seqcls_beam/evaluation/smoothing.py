"""Rows smoothed by a few more: the population from which the replicates behind `intervals` are drawn.

Of a class that is all right in its five rows the bootstrap makes replicates that are all right, too. So `PRIOR` rows
are added to each class, as right as classes are on the average, and the class is brought back to its number of rows:
as a Dirichlet prior would have it whose mean is estimated from all classes (empirical Bayes; Good 1965).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counts import ratio
from seqcls_beam.evaluation.intervals import PRIOR

Array = npt.NDArray[Any]


def pooled(right: Array, said: Array, gold: Array) -> float:
    """How right classes are on the average: F1 of the mean share of right ones among the rows that have the class."""
    there = gold > 0
    shares = (right[there] + 0.5) / (said[there] + gold[there] - right[there] + 1)
    mean = float(shares.mean()) if len(shares) else 0.5
    return 2 * mean / (1 + mean)


def cells(gold: Array, said: Array, rows: Array, size: int) -> tuple[Array, Array, Array]:
    """Cells of a confusion matrix of `size` classes, [cells] each → those of the smoothed rows, as many in all.

    Half of the cells that are added are right; the others are errors, each class's in one that stands beside it.
    """
    support = np.bincount(gold, rows, size)
    share = pooled(np.bincount(gold, rows * (gold == said), size), np.bincount(said, rows, size), support)
    kept = ratio(support, support + PRIOR)
    added = support * (1 - kept)
    there = np.flatnonzero(support)
    others = there if len(there) > 1 else np.arange(size)
    place = np.searchsorted(others, there)
    beside = others[np.minimum(place ^ 1, len(others) - 1)]
    beside = np.where(beside == there, others[np.maximum(place - 1, 0)], beside)
    return (
        np.concatenate([gold, there, there]),
        np.concatenate([said, there, beside]),
        np.concatenate([rows * kept[gold], added[there] * share, added[there] * (1 - share)]),
    )


def labels(tables: Array, counts: Array, draws: np.random.Generator) -> Array:
    """Replicates of the counts of several labels, int64 [replicates, 3, labels] → those of the smoothed rows, and the
    smoothed counts before them: float64 [1 + replicates, 3, labels].

    `counts` [3, labels] are right answers, answers, gold labels. Of each replicate's rows a share stays, drawn one by
    one, so that what rows have together stays together; what is added is Poisson's.
    """
    share = pooled(*counts)
    kept = np.where(counts[2] > 0, ratio(counts[2], counts[2] + PRIOR), 1.0)
    added = counts[2] * (1 - kept) * np.array([[share], [1 - share], [1 - share]])
    apart = np.stack([tables[:, 0], tables[:, 1] - tables[:, 0], tables[:, 2] - tables[:, 0]], axis=1)
    drawn = draws.binomial(apart, kept) + draws.poisson(np.broadcast_to(added, apart.shape))
    whole = np.stack([counts[0], counts[1] - counts[0], counts[2] - counts[0]]) * kept + added
    right, wrong, missed = np.concatenate([whole[None], drawn]).swapaxes(0, 1)
    return np.stack([right, right + wrong, right + missed], axis=1)


def ranked(histogram: Array) -> Array:
    """Rows by [absent or present, cell] → float64 likewise: `PRIOR` rows of both kinds lie anywhere among all."""
    counts = histogram.astype(np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    everywhere = counts.sum(axis=0) / counts.sum()
    return np.asarray((counts + PRIOR * everywhere) * ratio(rows, rows + PRIOR))
