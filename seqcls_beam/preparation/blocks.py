"""Rows of any size, one after the other: where each begins, and blocks of them that are worked on at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def offsets_of(sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Sizes of rows → where each begins and the last ends, int64 [rows + 1]."""
    return np.concatenate([[0], np.cumsum(sizes)])


def blocks(offsets: npt.NDArray[Any], size: int, rows: int) -> Iterator[tuple[int, int]]:
    """Rows by their `offsets`, as `offsets_of` gives them → blocks of them in order, [first, past the last).

    A block has at most `rows` rows, of at most `size` together; a row above that is a block of its own.
    """
    low, count = 0, len(offsets) - 1
    while low < count:
        high = int(np.searchsorted(offsets, offsets[low] + size, side="right")) - 1
        high = min(max(high, low + 1), low + rows)
        yield low, high
        low = high
