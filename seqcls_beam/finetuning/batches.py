"""Rows of a split → batches a model takes.

torch's `DataLoader` hands a whole list of row numbers to a dataset that has `__getitems__`, so a batch is cut out of
the flat arrays by a few numpy calls, and no row is ever a Python object.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seqcls_beam.finetuning.shards import Split
from seqcls_beam.model.engine.packing import take
from seqcls_beam.runs.run import RunError

Ints = npt.NDArray[np.int64]

POOL = 50
"""Batches whose rows are sorted by length together: enough that a batch has rows of like length, and few enough that
which rows meet in a batch is still left to chance."""


def width(longest: int) -> int:
    """The least width that holds rows of a length, of those that there are: 4, 8, … 64, 72, … 128, 144, …

    From 32 on an octave has eight, so that less than an eighth of a batch is padding of this kind.
    """
    step = max(4, (1 << (longest - 1).bit_length()) // 16)
    return -(-longest // step) * step


class Rows(Dataset[dict[str, Tensor]]):
    """The rows of a split, in the order `order` (int64 [N]) where that is given.

    With `few_widths` batches are as wide as `width` has it, and at most as the longest row: for each shape that it
    meets oneDNN keeps what it compiled, and glibc pieces that no other shape fits into.
    """

    def __init__(self, split: Split, padding: int, order: Ints | None = None, few_widths: bool = False) -> None:
        self.split = split
        self._padding = padding
        self._order = np.arange(len(split)) if order is None else order
        self._widest = int(split.lengths.max(initial=0)) if few_widths else None

    def __len__(self) -> int:
        return len(self._order)

    def wide(self, lengths: Ints) -> int:
        """How wide a batch of rows of these lengths is."""
        longest = int(lengths.max())
        return longest if self._widest is None else min(width(longest), self._widest)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Numbers of B rows → a batch, in that order, padded to the longest of them, or somewhat wider, L.

        int64 [B, L] `input_ids` and `attention_mask`, and `token_type_ids` where there are any; `labels` int64 [B],
        float32 [B, classes] or float32 [B].
        """
        split, chosen = self.split, self._order[np.asarray(rows, np.int64)]
        where, ends = take(split.offsets, chosen)
        lengths = np.diff(ends)
        mask = np.arange(self.wide(lengths)) < lengths[:, None]
        ids = np.full(mask.shape, self._padding, np.int64)
        ids[mask] = split.ids[where]
        batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "labels": split.labels[chosen]}
        if split.types is not None:
            batch["token_type_ids"] = np.zeros(mask.shape, np.int64)
            batch["token_type_ids"][mask] = split.types[where]
        return {name: torch.from_numpy(values) for name, values in batch.items()}


def as_it_is(batch: Any) -> dict[str, Tensor]:
    """The collator: `Rows` gives whole batches."""
    made: dict[str, Tensor] = batch
    return made


class Batches:
    """Row numbers of one epoch's micro-batches for one of `ranks` processes, of rows of like length.

    A batch is what the optimizer steps on: its rows depend on `lengths`, `batch_size`, the seed and the epoch alone.
    Each of the `ranks` processes computes its share of it in `parts` micro-batches, so that any number of processes
    and parts sees the same batches. All rows come once an epoch; batches differ by one row at most.
    """

    def __init__(
        self, lengths: Ints, batch_size: int, seed: int, parts: int = 1, rank: int = 0, ranks: int = 1
    ) -> None:
        self._lengths = lengths
        self._steps = -(-len(lengths) // batch_size)
        self._seed = seed
        self._parts, self._rank, self._ranks = parts, rank, ranks
        self._epoch = 0
        smallest = len(lengths) // max(self._steps, 1)
        if smallest < parts * ranks:
            raise RunError(
                f"--batch_size={batch_size}: a batch of {smallest} of {len(lengths)} training rows cannot be cut for "
                f"{ranks} processes of {parts} parts each"
            )

    def __len__(self) -> int:
        return self._steps * self._parts

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch from now on."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches():
            mine = batch[self._rank :: self._ranks]  # in strides, for the rows are sorted: all ranks have as much to do
            for part in np.array_split(mine, self._parts):
                yield part.tolist()

    def batches(self) -> list[Ints]:
        """The rows of every step, each sorted from long to short; the batch with the longest row comes first, so that
        a lack of memory shows at once."""
        chance = np.random.Generator(np.random.Philox(key=[self._seed, self._epoch]))
        order = chance.permutation(len(self._lengths))
        bounds = np.linspace(0, len(order), self._steps + 1).round().astype(np.int64)
        made: list[Ints] = []
        for first in range(0, self._steps, POOL):
            ends = bounds[first : first + POOL + 1]
            pool = order[ends[0] : ends[-1]]
            pool = pool[np.argsort(-self._lengths[pool], kind="stable")]
            made += np.split(pool, ends[1:-1] - ends[0])
        made = [made[i] for i in chance.permutation(len(made))]
        longest = max(range(len(made)), key=lambda i: int(self._lengths[made[i][0]]))
        return [made.pop(longest), *made]


class Loader(DataLoader[dict[str, Tensor]]):
    """A loader of `Batches` that passes the epoch on."""

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer when an epoch begins."""
        assert isinstance(self.batch_sampler, Batches)
        self.batch_sampler.set_epoch(epoch)
