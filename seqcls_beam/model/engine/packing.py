"""Packing: which sequences run together, as arithmetic on their lengths. Knows neither torch nor a model.

Axes in names as in `seqcls_beam.model.engine`; all arrays are integers.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.model.tokens import Sequences

Ints = npt.NDArray[Any]

MOST_SEQUENCES = 65_535
"""Of a pass: attention's kernels for GPUs have blocks of a CUDA grid for each, in its second or third direction."""


def distinct(ids_T: Ints, offsets_N1: Ints, types_T: Ints | None) -> tuple[Ints, Ints]:
    """(the first of each set of identical sequences [R], ascending; for every sequence, which of those it equals [N]).

    Sequences are compared by their bytes: `ids_T[offsets_N1[i] : offsets_N1[i + 1]]` and the same part of `types_T`.
    """
    codes_N = _codes(ids_T, offsets_N1)
    if types_T is not None:
        both_N = codes_N.astype(np.int64) * (len(offsets_N1) - 1) + _codes(types_T, offsets_N1)
        _, first_R, inverse_N = np.unique(both_N, return_index=True, return_inverse=True)
        order_R = np.argsort(first_R)
        return first_R[order_R], np.argsort(order_R)[inverse_N]
    _, first_R = np.unique(codes_N, return_index=True)
    return first_R, codes_N


def _codes(values_T: Ints, offsets_N1: Ints) -> Ints:
    """A number per sequence, equal for equal ones, counted up in order of first appearance: [N]."""
    ends_N1 = pa.py_buffer((offsets_N1 * values_T.itemsize).astype(np.int64))
    binary_N = pa.Array.from_buffers(pa.large_binary(), len(offsets_N1) - 1, [None, ends_N1, pa.py_buffer(values_T)])
    return binary_N.dictionary_encode().indices.to_numpy()


def take(offsets_N1: Ints, rows_R: Ints) -> tuple[Ints, Ints]:
    """(where in the flat arrays the tokens of `rows_R` are, int64 [their tokens]; their own offsets, int64 [R + 1])."""
    lengths_R = offsets_N1[rows_R + 1] - offsets_N1[rows_R]
    offsets_R1 = np.concatenate([[0], np.cumsum(lengths_R)])
    return np.repeat(offsets_N1[rows_R] - offsets_R1[:-1], lengths_R) + np.arange(offsets_R1[-1]), offsets_R1


def of_rows(sequences: Sequences, rows_R: Ints) -> Sequences:
    """Those of these numbers."""
    ids_T, offsets_N1, types_T = sequences
    where, offsets_R1 = take(offsets_N1, rows_R)
    return ids_T[where], offsets_R1, None if types_T is None else types_T[where]


def packs(
    lengths_N: Ints, rows_R: Ints, budget: int, most: Callable[[int], int] = lambda longest: sys.maxsize
) -> Iterator[Ints]:
    """`rows_R`, the longest first, cut into packs of at most `budget` tokens; a longer sequence is a pack of its own.

    Sorted, so that a pack has few different lengths: attention is computed per run of equal ones. `most`: the longest
    sequence of a pack → the most sequences it may have.
    """
    rows_R = rows_R[np.argsort(-lengths_N[rows_R], kind="stable")]
    ends_R = np.cumsum(lengths_N[rows_R])
    start = 0
    while start < len(rows_R):
        before = ends_R[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends_R, before + budget, side="right")))
        stop = min(stop, start + most(int(lengths_N[rows_R[start]])))
        yield rows_R[start:stop]
        start = stop


def equal_runs(lengths_N: Ints) -> list[tuple[int, int, int]]:
    """Runs of neighbours of equal length: (position of the first token, sequences, length)."""
    first = np.flatnonzero(np.diff(lengths_N, prepend=-1))
    counts = np.diff(first, append=len(lengths_N))
    starts = (np.cumsum(lengths_N) - lengths_N)[first]
    return list(zip(starts.tolist(), counts.tolist(), lengths_N[first].tolist(), strict=True))
