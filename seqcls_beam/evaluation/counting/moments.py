"""Sums from which the metrics of a regression follow, whatever its numbers are centred on.

A variance is a small difference of large sums where the mean is large beside the spread, so nothing of it may be
rounded off on the way. A batch's numbers are summed about a pivot amid them, where float64 is exact enough, and moved
back to 0 in integers, exactly; integers are added, and centred at the end.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.counting.sums import PLACES, Sums, units

Array = npt.NDArray[Any]

COLUMNS = 8
"""1, gold y, predicted x, y², x², xy, (y - x)², |y - x|."""


class Moments:
    """Additive: the sums of COLUMNS over the rows of each of some groups."""

    def __init__(self, groups: int = 1) -> None:
        self.groups = groups
        self._sums = Sums(groups, COLUMNS)

    def add(self, pairs: Array) -> None:
        """Rows float64 [rows, 2], gold and predicted, whose values are float32's; for one group."""
        pivot, columns = about(pairs)
        self.add_sums(columns.sum(axis=0)[None], pivot)

    def add_sums(self, sums: Array, pivot: tuple[float, float]) -> None:
        """Sums float64 [groups, COLUMNS] of the columns that `about` made with this pivot."""
        self._sums.add_units([each for row in sums.tolist() for each in _moved(row, *pivot)])

    def merge(self, other: "Moments") -> None:
        """Add what another has summed."""
        self._sums.merge(other._sums)

    def centred(self) -> Array:
        """float64 [groups, 6]: rows, Σ(y - ȳ)², Σ(x - x̄)², Σ(y - ȳ)(x - x̄), Σ(y - x)², Σ|y - x|; each rounded once."""
        found = np.zeros((self.groups, 6))
        one = 1 << PLACES
        whole = self._sums.units()
        for group in range(self.groups):
            n, y, x, yy, xx, xy, squared, absolute = whole[group * COLUMNS : (group + 1) * COLUMNS]
            if n:
                spreads = ((n * ab - a * b) / (n * one) for a, b, ab in ((y, y, yy), (x, x, xx), (y, x, xy)))
                found[group] = [n / one, *spreads, squared / one, absolute / one]
        return found


def about(pairs: Array) -> tuple[tuple[float, float], Array]:
    """Rows float64 [rows, 2] → (a pivot, COLUMNS of the rows as float64 [rows, 8] with the pivot taken off y and x).

    The pivot is a float32, so that what is multiplied by it stays a whole number of the least unit of `sums`.
    """
    pivot = pairs.mean(axis=0).astype(np.float32).astype(np.float64)
    y, x = (pairs - pivot).T
    apart = pairs[:, 0] - pairs[:, 1]
    columns = np.stack([np.ones(len(pairs)), y, x, y * y, x * x, x * y, apart**2, np.abs(apart)], axis=1)
    return (float(pivot[0]), float(pivot[1])), columns


def _moved(sums: list[float], at_y: float, at_x: float) -> list[int]:
    """Sums about the pivot (at_y, at_x) → sums about 0, in units."""
    n, y, x, yy, xx, xy, squared, absolute = map(units, sums)
    return [
        n,
        y + _times(n, at_y),
        x + _times(n, at_x),
        yy + 2 * _times(y, at_y) + _times(_times(n, at_y), at_y),
        xx + 2 * _times(x, at_x) + _times(_times(n, at_x), at_x),
        xy + _times(x, at_y) + _times(y, at_x) + _times(_times(n, at_x), at_y),
        squared,
        absolute,
    ]


def _times(whole: int, factor: float) -> int:
    """Exact: sums of float32 have far fewer places than units have, and so has a pivot."""
    numerator, denominator = factor.as_integer_ratio()
    return whole * numerator // denominator
