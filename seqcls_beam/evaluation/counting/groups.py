"""What is counted of a group of rows: all of them, a slice, or a bucket of lengths."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counting.moments import Moments

Array = npt.NDArray[Any]

LENGTHS = (16, 32, 64, 128, 256)
"""Upper ends of the buckets of lengths, in tokens; the last bucket has no end."""


class Group:
    """Additive. rows, and

    counts  int64 [3, labels]: right answers, answers and gold labels of each label (classification)
    exact   rows whose every label is right
    sums    `Moments` (regression)
    """

    def __init__(self, problem: str, labels: int) -> None:
        self.rows = self.exact = 0
        self.counts = np.zeros((3, 0 if problem == "regression" else labels), np.int64)
        self.sums = Moments() if problem == "regression" else None

    def add(self, facts: Array) -> None:
        """The `facts` of some rows."""
        self.rows += len(facts)
        if self.sums is not None:
            self.sums.add(facts)
        elif facts.ndim == 2:  # class numbers: gold, answer
            size = self.counts.shape[1]
            gold, answer = facts[:, 0], facts[:, 1]
            right = gold == answer
            self.exact += int(right.sum())
            self.counts += np.stack([np.bincount(each, minlength=size) for each in (gold[right], answer, gold)])
        else:
            self.exact += int((facts[:, 1] == facts[:, 2]).all(axis=1).sum())
            self.counts += facts.sum(axis=0, dtype=np.int64)

    def merge(self, other: "Group") -> None:
        """Add what another has counted."""
        self.rows += other.rows
        self.exact += other.exact
        self.counts += other.counts
        if self.sums is not None and other.sums is not None:
            self.sums.merge(other.sums)


def facts(problem: str, gold: Array, chosen: Array) -> Array:
    """What groups are counted from, one row a row.

    single_label  int64 [rows, 2]: gold class, answer
    multi_label   int8 [rows, 3, labels]: right, answered, gold; 0 or 1
    regression    float64 [rows, 2]: gold, predicted
    """
    if problem == "regression":
        return np.stack([gold, chosen], axis=1).astype(np.float64)
    if problem == "single_label":
        return np.stack([gold, chosen], axis=1).astype(np.int64)
    present, said = gold > 0, chosen > 0
    return np.stack([present & said, said, present], axis=1).astype(np.int8)


def bucket(tokens: Array) -> Array:
    """Tokens of rows → the number of their bucket of lengths."""
    return np.searchsorted(np.array(LENGTHS), tokens)
