"""What is drawn by lot: weights of the Poisson bootstrap, and a sample of rows; the same wherever a batch is worked on.

Philox streams are keyed by the seed and the batch's place in its run (Salmon et al., Parallel Random Numbers: As Easy
as 1, 2, 3, 2011). In a Poisson bootstrap every row enters every replicate a Poisson(1) number of times, on its own, so
replicates add up over batches (Chamandy et al., Estimating Uncertainty for Massive Data Streams, 2012).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SAMPLED = 1_000_000
_ROWS = 1024  # at once

WEIGHTS, SAMPLE, RANKS, CELLS, PRIORS = range(5)
"""What is drawn: of a batch its weights and its sample; of all rows, whose place is (0, 0) like that of the first
batch, the cells of rankings, those of the confusion matrix, and what smooths several labels. Each has random numbers of
its own."""


def stream(seed: int, batch: tuple[int, int], purpose: int) -> np.random.Generator:
    """Random numbers for a batch and one of the purposes above."""
    unit, sequence = batch
    bits = np.random.Philox(key=np.array([seed, (unit << 32) + sequence], np.uint64))
    return np.random.Generator(bits.jumped(purpose))


def weights(replicates: int, rows: int, seed: int, batch: tuple[int, int]) -> Iterator[tuple[slice, Array]]:
    """Some rows at a time: which, and how often each is in each replicate, float64 [replicates, rows of the slice]."""
    draws = stream(seed, batch, WEIGHTS)
    for start in range(0, rows, _ROWS):
        some = slice(start, min(start + _ROWS, rows))
        # Transposed so that a row's draws do not depend on the rows behind it.
        yield some, draws.poisson(1.0, (some.stop - some.start, replicates)).T.astype(np.float64)


class Sample:
    """Rows of numbers, all of them up to `size`, else those with the lowest random keys. Additive."""

    def __init__(self, columns: int, size: int = SAMPLED) -> None:
        self.seen = 0
        self._size = size
        self._keys = np.empty(0, np.uint64)
        self._rows = np.empty((0, columns), np.float32)

    def add(self, rows: Array, seed: int, batch: tuple[int, int]) -> None:
        """Rows float32 [N, columns] of a batch."""
        keys = stream(seed, batch, SAMPLE).integers(0, 2**64 - 1, len(rows), np.uint64, endpoint=True)
        self._join(keys, rows.astype(np.float32))
        self.seen += len(rows)

    def merge(self, other: "Sample") -> None:
        """Add what another has seen."""
        self._join(other._keys, other._rows)
        self.seen += other.seen

    def values(self) -> Array:
        """The sampled rows in the order of their keys, float64 [rows, columns]."""
        return self._rows[np.argsort(self._keys, kind="stable")].astype(np.float64)

    def _join(self, keys: Array, rows: Array) -> None:
        keys, rows = np.concatenate([self._keys, keys]), np.concatenate([self._rows, rows])
        if len(keys) > self._size:
            kept = np.argpartition(keys, self._size - 1)[: self._size]
            keys, rows = keys[kept], rows[kept]
        self._keys, self._rows = keys, rows
