"""Sums that come out the same in whatever order their parts are added.

Floating-point addition is not associative, and Beam adds the batches' parts in the order in which workers are done.
So a part, a float64, is added to an integer that counts units of 2^-1074, the least that float64 knows: exactly.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

PLACES = 1074
"""Binary places of the unit."""


class Sums:
    """Exact sums of float64 [shape]."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self._units: list[int] = [0] * int(np.prod(shape, dtype=np.int64))

    def add(self, values: npt.ArrayLike) -> None:
        """Add finite numbers of this shape."""
        array = np.asarray(values, np.float64)
        assert array.shape == self.shape, (array.shape, self.shape)
        self.add_units(map(units, array.ravel().tolist()))

    def add_units(self, values: Iterable[int]) -> None:
        """Add numbers of this shape that are units already, in the order of a flat array."""
        self._units = [mine + more for mine, more in zip(self._units, values, strict=True)]

    def merge(self, other: "Sums") -> None:
        """Add what another has summed."""
        self.add_units(other._units)

    def values(self) -> npt.NDArray[np.float64]:
        """The sums, each rounded once; float64 [shape]."""
        one = 1 << PLACES
        return np.array([each / one for each in self._units], np.float64).reshape(self.shape)

    def units(self) -> list[int]:
        """The sums themselves, exact, in the order of a flat array."""
        return self._units


def units(value: float) -> int:
    """A finite number as units of 2^-1074, exactly."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (PLACES + 1 - denominator.bit_length())
