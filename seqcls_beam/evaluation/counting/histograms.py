"""Histograms of log-odds, from which is read off what sorting all rows would give, where there are too many to sort.

A probability near 0 or 1 says its news in its last digits, so the axis is the log-odds z, squeezed by
sign(z) ln(1 + |z|), which no float32 probability runs out of: of two labels in 262,144 cells, 0.00004 wide at z = 0 and
0.0006 at z = 16; of several in fewer, 1 million for all of them. Rows of one cell count as tied: the area under the ROC
curve is off by half the share of pairs that fall into one cell, at the most. That may be much of scores that are nearly
all alike, and of hundreds of labels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_CELLS = 1 << 20  # of all labels together, 8 MiB for each of present and absent
FINEST = 1 << 18
_COARSEST = 1 << 9
_REACH = float(np.log1p(np.log(1e50)))  # float32 goes down to 1e-45


def cells(labels: int) -> int:
    """Cells for each of so many labels, an even number: the edge between the halves is log-odds 0."""
    return max(_COARSEST, min(FINEST, MOST_CELLS // max(labels, 1) // 2 * 2))


def log_odds(present: Array, absent: Array) -> Array:
    """Probabilities of a thing and of its opposite → float64 log-odds; infinite where one of them is 0."""
    with np.errstate(divide="ignore"):
        return np.log(present.astype(np.float64)) - np.log(absent.astype(np.float64))


def cell(odds: Array, count: int) -> Array:
    """Log-odds → the number of the cell, int64 of the same shape; rising, infinite ones at the ends."""
    squeezed = np.sign(odds) * np.log1p(np.abs(odds))
    where = np.floor((squeezed + _REACH) * (count / (2 * _REACH)))
    return np.clip(where, 0, count - 1).astype(np.int64)


def edges(count: int) -> Array:
    """The probability at the lower edge of every cell, float64 [count]; the first is 0."""
    squeezed = np.arange(count) * (2 * _REACH / count) - _REACH
    odds = np.sign(squeezed) * np.expm1(np.abs(squeezed))
    found = np.exp(-np.logaddexp(0, -odds))
    found[0], found[count // 2] = 0.0, 0.5
    return np.asarray(found)
