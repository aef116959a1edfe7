"""What became of the rows of one batch: gold labels beside scores."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]

SMALLEST = 1e-12
"""A probability of 0 counts as this where its logarithm is taken: 27.6 nats."""


@dataclass
class Outcomes:
    """N rows that have a gold label and an answer, in the order of the input.

    gold       int64 [N] class numbers; float32 [N, labels] of 0 and 1; or float32 [N], the number to predict
    scores     float32 [N, labels] probabilities, or [N] predicted numbers; None where only labels are known, and then
    predicted  int64 [N], or float32 [N, labels] of 0 and 1
    tokens     int32 [N] tokens that were read, where known
    slices     column → the value of every row as text, for metrics by value
    shown      name → a column of what is told of a row that is among the worst: id, text …
    batch      the batch's place in its run: (unit, number in it), the same wherever the batch is worked on. Chance is
               drawn from it, and ties are broken by it; two batches of one tally should differ in it
    """

    gold: Array
    scores: Array | None
    predicted: Array | None = None
    tokens: Array | None = None
    slices: dict[str, Array] = field(default_factory=dict)
    shown: dict[str, pa.Array] = field(default_factory=dict)
    batch: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.gold)

    def chosen(self, problem: str, threshold: float) -> Array:
        """What was answered: as `predicted`; of equal scores the lower class. For a regression the number."""
        if self.scores is None:
            assert self.predicted is not None
            return self.predicted
        if problem == "regression":
            return self.scores.reshape(len(self.gold))
        if problem == "single_label":
            return self.scores.argmax(axis=1)
        return (self.scores.astype(np.float64) >= threshold).astype(np.float32)
