"""A few batches of an input, read and tokenised as a run would, and what they say of all of it."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.reading.records import Layout, read_unit
from seqcls_beam.schema import Mark

UNITS = 16
"""That are looked into, at most."""
BATCH_ROWS = 1024
"""Of a batch of the sample: as many rows of one place say less of others."""


class Work(NamedTuple):
    """A unit that a run has before it."""

    unit: pa.RecordBatch
    layout: Layout
    bytes: int  # of its input


class Estimate(NamedTuple):
    """A number of all rows."""

    value: float
    spread: float | None  # two standard errors, by how the units differ, or batches of one; 0: counted; None: unknown


@dataclass
class Sample:
    """What was read of an input; bytes are those of the input."""

    total: int  # bytes of all units
    sizes: list[int]  # bytes of the units that were looked into
    whole: bool = False  # these units are all there are, and were read to their ends
    batches: list[pa.RecordBatch] = field(default_factory=list)  # TOKENS
    bytes: list[int] = field(default_factory=list)  # of each batch
    places: list[int] = field(default_factory=list)  # which of the units each batch is of

    @property
    def units(self) -> int:
        """That were looked into."""
        return len(self.sizes)

    @property
    def rows(self) -> int:
        """Rows, rejected ones among them."""
        return sum(map(len, self.batches))

    @property
    def rejected(self) -> int:
        """Rows without tokens."""
        return sum(len(each) - each["reject"].null_count for each in self.batches)

    @property
    def truncated(self) -> int:
        """Rows whose text is cut."""
        return sum(pc.sum(each["truncated"]).as_py() or 0 for each in self.batches)

    @property
    def seconds(self) -> float:
        """That tokenising took."""
        return sum(Mark.of(each).seconds.get("tokenize", 0.0) for each in self.batches)

    def tokens(self) -> list[int]:
        """Of each batch, as the model reads them."""
        return [pc.sum(each["tokens"]).as_py() or 0 for each in self.batches]

    def all_rows(self) -> Estimate:
        """Rows of the whole input."""
        # Of one unit nothing is known: within a block of a file each row counts as many bytes.
        return self._of_all(list(map(len, self.batches)), alone=False)

    def all_tokens(self) -> Estimate:
        """Tokens of the whole input."""
        return self._of_all(self.tokens(), alone=True)

    def _of_all(self, found: list[int], alone: bool) -> Estimate:
        """The ratio estimate of a total, and its spread (Cochran, Sampling Techniques, 1977, sections 6.3 and 6.4).

        Each unit stands for its bytes, however little of it was read. `alone`: of one unit its batches are compared.
        """
        read = sum(self.bytes)
        if self.whole or not read:
            return Estimate(float(sum(found)), 0.0 if self.whole else None)
        if self.units == 1 and alone:
            there, sizes = np.array(found, float), np.array(self.bytes, float)
        else:
            sizes = np.array(self.sizes, float)
            there = np.bincount(self.places, found) * sizes / np.maximum(np.bincount(self.places, self.bytes), 1)
        ratio, count = there.sum() / sizes.sum(), len(there)
        total = float(ratio * self.total)
        if count < 2:
            return Estimate(total, None)
        variance = ((there - ratio * sizes) ** 2).sum() / (count - 1)
        left = max(0.0, 1 - read / self.total)
        return Estimate(total, float(2 * self.total / sizes.mean() * math.sqrt(left * variance / count)))


def sample(
    works: list[Work], checkpoint: Checkpoint, options: ModelOptions, rows: int, told: Callable[[int, int], None]
) -> Sample:
    """Read the beginnings of some units, spread evenly over the input, and tokenise them.

    `rows` is how many at most, but one batch of each unit; `told` hears how many units are done, of how many. Raises
    what the reader and the tokenizer do.
    """
    picked = _spread(works, min(UNITS, len(works), max(1, rows)))
    found = Sample(sum(each.bytes for each in works), [each.bytes for each in picked])
    each_rows = -(-rows // max(1, len(picked)))
    ended = 0
    for number, work in enumerate(picked):
        told(number, len(picked))
        for batch, last in _read(work, each_rows):
            if not found.batches:
                tokenize(batch, checkpoint, options)  # the tokenizer is loaded, and not timed
            found.batches.append(tokenize(batch, checkpoint, options))
            found.bytes.append(Mark.of(batch).bytes)
            found.places.append(number)
            ended += last
    found.whole = ended == len(works)
    return found


def _spread(works: list[Work], count: int) -> list[Work]:
    """So many units, from the middles of equal shares."""
    return [works[(2 * number + 1) * len(works) // (2 * count)] for number in range(count)]


def _read(work: Work, rows: int) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """(RECORD batches of the first `rows` rows of a unit, whether it ends with this one)."""
    size = min(BATCH_ROWS, rows)
    layout = replace(work.layout, options=replace(work.layout.options, batch_rows=size))
    done = 0
    with closing(read_unit(work.unit, layout)) as batches:  # type: ignore[type-var]
        for batch in batches:
            yield batch, Mark.of(batch).last
            done += len(batch)
            if done + size > rows:
                return
