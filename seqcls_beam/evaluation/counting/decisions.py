"""Decisions one by one, as long as they are few enough: what ranking metrics are computed from without an error."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counting.histograms import log_odds

Array = npt.NDArray[Any]

MOST = 1 << 22
"""Decisions that a tally keeps; one has 5 bytes, or of two classes 9."""


class Decisions:
    """Additive: the scores and the truth of every decision, or of none where there are more than `most`."""

    def __init__(self, labels: int, most: int = MOST) -> None:
        """`labels` are decided for each row: all of several, or the second of two classes."""
        self.made = 0
        self._labels = labels
        self._most = most
        self._parts: list[tuple[Array, Array]] = []

    @property
    def exact(self) -> bool:
        """Whether every decision is here."""
        return self.made <= self._most

    def add(self, truth: Array, scores: Array) -> None:
        """Rows: bool [rows, labels], and float32 probabilities [rows, labels], or [rows, 2] of two classes."""
        self._join(truth.size, [(truth, scores.astype(np.float32))])

    def merge(self, other: "Decisions") -> None:
        """Add what another has kept."""
        self._join(other.made, other._parts)

    def histograms(self) -> tuple[list[Array], Array]:
        """(for each label, for all of them together) int64 [absent or present, different scores in rising order].

        Of two classes what is ranked is the log-odds, in which both probabilities are.
        """
        assert self.exact and self._parts
        truth, scores = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        if self._labels == 1 and scores.shape[1] == 2:
            scores = log_odds(scores[:, 1:], scores[:, :1])
        each = [_counted(truth[:, label], scores[:, label]) for label in range(self._labels)]
        return each, each[0] if len(each) == 1 else _counted(truth.ravel(), scores.ravel())

    def _join(self, made: int, parts: list[tuple[Array, Array]]) -> None:
        self.made += made
        self._parts = self._parts + parts if self.exact else []


def _counted(truth: Array, scores: Array) -> Array:
    """bool and numbers [decisions] → int64 [2, different numbers]."""
    different, where = np.unique(scores, return_inverse=True)
    size = len(different)
    return np.bincount(truth * size + where, minlength=2 * size).reshape(2, size)
