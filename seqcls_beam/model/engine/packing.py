"""Packing: which sequences run together, as arithmetic on their lengths. Knows neither torch nor a model."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[Any]


def distinct(ids: Ints, offsets: Ints, types: Ints | None) -> tuple[Ints, Ints]:
    """(the first of each set of identical sequences, in order; for every sequence, which of those it equals).

    Sequences are compared by their bytes: `ids[offsets[i] : offsets[i + 1]]` and the same part of `types`.
    """
    codes = _codes(ids, offsets)
    if types is not None:
        both = codes.astype(np.int64) * (len(offsets) - 1) + _codes(types, offsets)
        _, first, inverse = np.unique(both, return_index=True, return_inverse=True)
        order = np.argsort(first)
        return first[order], np.argsort(order)[inverse]
    _, first = np.unique(codes, return_index=True)
    return first, codes


def _codes(values: Ints, offsets: Ints) -> Ints:
    """A number per sequence, equal for equal ones, counted up in order of first appearance."""
    ends = pa.py_buffer((offsets * values.itemsize).astype(np.int64))
    each = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, [None, ends, pa.py_buffer(values)])
    return each.dictionary_encode().indices.to_numpy()


def take(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """(where in the flat arrays the tokens of `rows` are, int64 [T]; their own offsets, int64 [rows + 1])."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[rows] - ends[:-1], lengths) + np.arange(ends[-1]), ends


def packs(
    lengths: Ints, rows: Ints, budget: int, most: Callable[[int], int] = lambda longest: sys.maxsize
) -> Iterator[Ints]:
    """`rows`, the longest first, cut into runs of at most `budget` tokens; a longer sequence is a run of its own.

    Sorted, so that a pack has few different lengths: attention is computed per run of equal ones. `most`: the longest
    sequence of a run → the most sequences it may have.
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    ends = np.cumsum(lengths[rows])
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        stop = min(stop, start + most(int(lengths[rows[start]])))
        yield rows[start:stop]
        start = stop


def equal_runs(lengths: Ints) -> list[tuple[int, int, int]]:
    """Runs of neighbours of equal length: (position of the first token, sequences, length)."""
    first = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(first, append=len(lengths))
    starts = (np.cumsum(lengths) - lengths)[first]
    return list(zip(starts.tolist(), counts.tolist(), lengths[first].tolist(), strict=True))
