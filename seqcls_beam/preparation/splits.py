"""Which split a group of rows comes into, from numbers drawn by hashing it."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NAMES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
NONE, REFERENCE = -1, 3
"""A row whose split is not given; a text that is only there to be kept out of the others. A higher number has priority:
of a leak the row in the lower split goes."""

ALIASES = {
    **{each: TRAIN for each in ("train", "training")},
    **{each: VALIDATION for each in ("validation", "valid", "val", "dev", "development")},
    **{each: TEST for each in ("test", "testing")},
}


PAIRS = [
    *((REFERENCE, low) for low in (NONE, TRAIN, VALIDATION, TEST)),
    *((high, low) for high in (TEST, VALIDATION) for low in range(TRAIN, high)),
]
"""(higher, lower): where leaks are looked for."""


def pair_name(high: int, low: int) -> str:
    """How a report calls a leak."""
    names = {REFERENCE: "reference", NONE: "data", **dict(enumerate(NAMES))}
    return f"{names[high]} in {names[low]}"


def by_hash(drawn: npt.NDArray[np.uint64], validation: float, test: float) -> npt.NDArray[np.int8]:
    """A number per group → its split; depends on that number alone."""
    share = drawn.astype(np.float64) / 2.0**64
    return np.where(share < test, TEST, np.where(share < test + validation, VALIDATION, TRAIN)).astype(np.int8)


def stratified(
    drawn: npt.NDArray[np.uint64],
    classes: Array,
    sizes: Array,
    validation: float,
    test: float,
    around: tuple[Array, Array] | None = None,
) -> npt.NDArray[np.int8]:
    """A number, a class and a size (rows) per group → its split, so that each class has its share of rows in each.

    Within a class groups stand in the order of their numbers, and the first are for testing, then for validation. For
    groups of one row quotas are met to the row; a larger group goes where its middle lies. Where these are not all
    groups, but a range of numbers, `around` says of each how many rows of its class have lower ones, and have any.
    """
    order = np.lexsort((drawn, classes))
    ordered, rows = classes[order], sizes[order].astype(np.int64)
    ends = np.cumsum(rows)
    new = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.array([], int)
    which = np.repeat(np.arange(len(new)), np.diff(np.append(new, len(ordered))))
    starts = (ends - rows)[new]
    totals = np.diff(np.append(starts, ends[-1] if len(ends) else 0))
    if around is not None:
        before, totals = (each[order][new] for each in around)
        starts = starts - before
    middle = ends - rows / 2 - starts[which]
    tests = np.floor(test * totals + 0.5)
    most = tests + np.floor(validation * totals + 0.5)
    found = np.empty(len(order), np.int8)
    found[order] = np.where(middle <= tests[which], TEST, np.where(middle <= most[which], VALIDATION, TRAIN))
    return found
