"""Windows of event time: how they are called, where they begin and end, which rows of a batch are in which.

A window begins at a multiple of its length, in whole seconds since 1970, UTC, and its name is that time:
`window=20261120T100000Z`. A row is in the window that holds its event time; each row is in exactly one.
"""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.schema import WINDOW

SECOND = 1_000_000
"""Microseconds."""

_NAME = re.compile(rf"{WINDOW}=(-?\d{{3,}})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


def name(start: int) -> str:
    """The name of the window that begins at a time, in seconds since 1970; of any year that 64 bits have."""
    date, _, clock = str(np.datetime64(start, "s")).partition("T")
    return f"{WINDOW}={date[0]}{date[1:].replace('-', '')}T{clock.replace(':', '')}Z"


def start_of(partition: str) -> int | None:
    """When a window begins, in seconds since 1970, by its name; None for another name."""
    found = _NAME.fullmatch(partition)
    if found is None:
        return None
    year, month, day, hour, minute, second = found.groups()
    try:
        start = int(np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}:{second}", "s").astype(np.int64))
    except ValueError:
        return None
    return start if name(start) == partition else None


def bounds(partition: str, length: int) -> tuple[int, int]:
    """When a window of `length` seconds begins and ends, in microseconds since 1970, by its name."""
    start = start_of(partition) or 0
    return start * SECOND, (start + length) * SECOND


def cut(times: pa.Array, length: int) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Event times (timestamp[us]) → (name of a window of `length` seconds, the rows in it, ascending), by time.

    Raises `ValueError` for a null.
    """
    if times.null_count:
        raise ValueError(f"{times.null_count:,} of {len(times):,} rows have no event time")
    numbers = microseconds(times) // (length * SECOND)
    order = np.argsort(numbers, kind="stable")
    found, begins = np.unique(numbers[order], return_index=True)
    rows = np.split(order, begins[1:])
    return [(name(int(number) * length), of) for number, of in zip(found.tolist(), rows, strict=False)]


def microseconds(times: Any) -> npt.NDArray[np.int64]:
    """Times (timestamp[us], none of them null) → int64 microseconds since 1970."""
    return np.asarray(times.cast(pa.int64()).to_numpy())


def told(moment: int) -> str:
    """Microseconds since 1970 → a time as manifests have it, UTC; without a fraction where that is zero."""
    return str(np.datetime64(moment, "us")).removesuffix(".000000") + "Z"


def moment(told: str) -> int:
    """What `told` made of microseconds since 1970 → these. Raises `ValueError` for another string."""
    return int(np.datetime64(told.removesuffix("Z"), "us").astype(np.int64))
