"""Values that Python has → Arrow arrays and JSON, none of them guessed: what is of another type is named, by row."""

import json
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.reading.formats.blocks import MAX_RECORD_BYTES

Rejects = dict[int, tuple[str, str]]
"""Row → (reason, detail)."""
_COMPOSED = (bool, int, float, list, tuple, Mapping)


def to_array(values: list[Any], kind: pa.DataType, name: str, rejects: Rejects) -> pa.Array:
    """Python values → an array of a type; rows with others are rejected, null is in their place."""
    if all(_fits(each, kind) for each in set(map(type, values))):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            pass  # some value is out of range; which, is found one by one
    good: list[Any] = []
    for number, value in enumerate(values):
        fault = _fault(value, kind, name)
        if fault:
            rejects.setdefault(number, fault)
        good.append(None if fault else value)
    return pa.array(good, kind)


def _fits(found: type, kind: pa.DataType) -> bool:
    """Whether values of a Python type may be of an Arrow type: nothing is converted that a reader would not."""
    if found is type(None):
        return True
    if pa.types.is_boolean(kind):
        return issubclass(found, bool | np.bool_)
    if pa.types.is_integer(kind):
        return issubclass(found, Integral) and not issubclass(found, bool)
    if pa.types.is_floating(kind):
        return issubclass(found, Real) and not issubclass(found, bool)
    return issubclass(found, str) if pa.types.is_string(kind) else True


def _fault(value: Any, kind: pa.DataType, name: str) -> tuple[str, str] | None:
    if not _fits(type(value), kind):
        return "wrong_type", f"{name!r} is no {kind}: {type(value).__name__}"
    if isinstance(value, str) and len(value) > MAX_RECORD_BYTES:
        return "record_too_large", f"{name!r} has {len(value)} characters; at most {MAX_RECORD_BYTES} bytes"
    try:
        pa.array([value], kind)
    except UnicodeEncodeError as error:
        return "lone_surrogate", f"{name!r} has \\u{ord(error.object[error.start]):04x}, which stands alone"
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        return "wrong_type", f"{name!r} is no {kind}: {str(error)[:500]}"
    return None


def as_strings(values: list[Any], name: str, rejects: Rejects) -> list[Any]:
    """Values of a column without a type: what is no string, as JSON has it; times, decimals and the like as `str`."""
    made: list[Any] = []
    for number, value in enumerate(values):
        text = value
        if value is not None and not isinstance(value, str):
            try:
                composed = isinstance(value, _COMPOSED)
                text = _dumps(value) if composed else _plain(value)
            except Exception as error:  # of an object of anybody's
                rejects.setdefault(number, ("wrong_type", f"{name!r} cannot be kept as a string: {str(error)[:500]}"))
                text = None
        made.append(text)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _dumps(value: Any) -> str:
    return json.dumps(value if not isinstance(value, Mapping) else dict(value), ensure_ascii=False, default=_plain)


def as_json(row: Any) -> bytes:
    """An element of anybody's → its bytes: those of `bytes`, else JSON, and where it has none what `repr` says."""
    if isinstance(row, bytes):
        return row
    try:
        text = _dumps(row)
    except Exception:
        try:
            text = repr(row)
        except Exception as error:
            text = f"{type(row).__name__}, of which repr raises {type(error).__name__}"
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair as JSON escapes it
