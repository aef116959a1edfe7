"""Sums that come out the same in whatever order their parts are added.

Floating-point addition is not associative, and Beam adds the batches' parts in the order in which workers are done.
So a part, a float64, is added to an integer that counts units of 2^-1074, the least that float64 knows: exactly.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

_PLACES = 1074


class Sums:
    """Exact sums of float64 [shape]; `+=` another of the same shape, or an array."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self._units: list[int] = [0] * int(np.prod(shape, dtype=np.int64))

    def add(self, values: npt.ArrayLike) -> None:
        """Add finite numbers of this shape."""
        array = np.asarray(values, np.float64)
        assert array.shape == self.shape, (array.shape, self.shape)
        self._add(map(_units, array.ravel().tolist()))

    def merge(self, other: "Sums") -> None:
        """Add what another has summed."""
        self._add(other._units)

    def values(self) -> npt.NDArray[np.float64]:
        """The sums, each rounded once; float64 [shape]."""
        one = 1 << _PLACES
        return np.array([each / one for each in self._units], np.float64).reshape(self.shape)

    def _add(self, units: Iterable[int]) -> None:
        self._units = [mine + more for mine, more in zip(self._units, units, strict=True)]


def _units(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_PLACES + 1 - denominator.bit_length())


def total(values: Any) -> npt.NDArray[np.float64]:
    """Sums over the rows of float64 [rows, …]."""
    return np.asarray(values, np.float64).sum(axis=0)
