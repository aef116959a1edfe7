"""Values that Python has → Arrow arrays and JSON, none of them guessed: what is of another type is named, by row."""

import datetime
import ipaddress
import json
import math
import pathlib
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.reading.formats.blocks import MAX_RECORD_BYTES
from seqcls_beam.reading.formats.columns import shown, stringy

Rejects = dict[int, tuple[str, str]]
"""Row → (reason, detail)."""
_PLAIN = {type(None), bool, int, float, str}
_BYTES = (bytes, bytearray, memoryview)
_LISTS = (list, tuple, set, frozenset, deque)
_WHOLE: tuple[Any, ...] = (
    *(datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64),
    *(Decimal, Fraction, complex, np.longdouble, np.clongdouble),
    *(uuid.UUID, pathlib.PurePath, ipaddress.IPv4Address, ipaddress.IPv6Address),
)
"""Types of which `str` says all there is to a value."""


def bare(value: Any) -> Any:
    """A value without what numpy, pandas, pyarrow, torch or an Enum wraps it in; others as they are.

    None for what these have in place of a missing value: NA, NaT, null, masked.
    """
    if type(value) in _PLAIN:
        return value
    try:
        return _bare(value)
    except Exception:  # of an object of anybody's
        return value


def _bare(value: Any) -> Any:
    if isinstance(value, Enum):
        return bare(value.value)
    if isinstance(value, pa.Scalar):
        return _of_arrow(value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else value  # as Python's own it would lose its nanoseconds
    if isinstance(value, np.longdouble):
        return float(value) if float(value) == value else value
    if isinstance(value, np.generic):
        return value if value.dtype.names else value.item()
    if _of(value, "pandas") and type(value).__name__ in ("NAType", "NaTType"):
        return None
    if getattr(value, "ndim", None) == 0:  # an array of one value
        if isinstance(value, np.ndarray):
            return None if np.ma.is_masked(value) else bare(value[()])
        return bare(value.item())
    return value


def of_type(name: str, value: Any, *types: type) -> Any:
    """The value of an argument, as Python has it; raises `TypeError` for one of other types.

    A whole number is a float too, and true is no number.
    """
    value = bare(value)
    kinds = (*types, *([int] if float in types else []))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in types):
        expected = " or ".join("None" if each is type(None) else each.__name__ for each in types)
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: expected {expected}")
    return value


def _of_arrow(value: Any) -> Any:
    try:
        return bare(value.as_py())
    except UnicodeDecodeError:
        inner = value.value if isinstance(value, pa.DictionaryScalar) else value
        return inner.cast(pa.binary()).as_py()


def _of(value: Any, library: str) -> bool:
    """Whether a value is of a type of a library, which need not be there."""
    return type(value).__module__.partition(".")[0] == library


def to_array(values: list[Any], kind: pa.DataType, name: str, rejects: Rejects) -> pa.Array:
    """Python values → an array of a type; rows with others are rejected, null is in their place.

    NaN is null where the type is no float, as pandas has it: elsewhere it is a number like any other.
    """
    if not set(map(type, values)) <= _PLAIN:
        values = [bare(each) for each in values]
    if not pa.types.is_floating(kind) and float in set(map(type, values)):
        values = [None if type(each) is float and each != each else each for each in values]
    if _as_is(kind) and all(_fits(each, kind) for each in set(map(type, values))):
        # Some value may be out of range; which, is found one by one.
        with suppress(pa.ArrowException, ValueError, TypeError, OverflowError):
            made = pa.array(values, kind)
            if not pa.types.is_floating(kind) or not pc.any(pc.is_inf(made)).as_py():
                return made
    good: list[Any] = []
    for number, value in enumerate(values):
        fitting, fault = _fitting(value, kind, name)
        if fault:
            rejects.setdefault(number, fault)
        good.append(fitting)
    return pa.array(good, kind)


def _as_is(kind: pa.DataType) -> bool:
    """Whether Arrow takes of Python's values of a kind, all that `_fits` lets through, each as it is or not at all."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)  # but for what is too large for a float
    return bool(number or pa.types.is_boolean(kind) or stringy(kind) or pa.types.is_binary(kind))


def _fits(found: type, kind: pa.DataType) -> bool:
    """Whether values of a Python type may be of an Arrow type: nothing is converted that a reader would not."""
    if found is type(None):
        return True
    if pa.types.is_boolean(kind):
        return found is bool
    if pa.types.is_integer(kind):
        return issubclass(found, int) and found is not bool
    if pa.types.is_floating(kind):
        return issubclass(found, int | float) and found is not bool
    if pa.types.is_binary(kind):
        return issubclass(found, _BYTES)
    return issubclass(found, str) if stringy(kind) else True


def _fitting(value: Any, kind: pa.DataType, name: str) -> tuple[Any, tuple[str, str] | None]:
    """(a value as Arrow takes it under a type, None), or (None, why it does not fit)."""
    if isinstance(value, str) and len(value) > MAX_RECORD_BYTES:
        return None, (
            "record_too_large",
            f"{shown(name)} has {len(value)} characters; at most {MAX_RECORD_BYTES} bytes",
        )
    try:
        fitting = _shaped(value, kind)
        pa.array([fitting], kind)
    except UnicodeEncodeError as error:
        return None, (
            "lone_surrogate",
            f"{shown(name)} has \\u{ord(error.object[error.start]):04x}, which stands alone",
        )
    except Exception as error:  # of an object of anybody's
        return None, ("wrong_type", f"{shown(name)} is no {kind}: {str(error)[:500]}")
    return fitting, None


def _shaped(value: Any, kind: pa.DataType) -> Any:
    """A value with its parts as Arrow takes them, which by itself cuts 1.5 to 1 in a list, and drops unknown fields."""
    if not pa.types.is_nested(kind):
        value = bare(value)
        if not _fits(type(value), kind):
            raise TypeError(type(value).__name__)
        if value is not None:
            _check_same(value, kind)
        return value
    parts = _parts(value)
    if parts is None:
        return None
    if pa.types.is_map(kind) and isinstance(parts, dict):
        return [(_shaped(key, kind.key_type), _shaped(each, kind.item_type)) for key, each in parts.items()]
    if pa.types.is_struct(kind) and isinstance(parts, dict):
        if more := set(parts) - {field.name for field in kind}:
            raise TypeError(f"it also has {', '.join(map(str, more))}")
        return {field.name: _shaped(parts.get(field.name), field.type) for field in kind}
    if isinstance(parts, list) and not pa.types.is_map(kind) and not pa.types.is_struct(kind):
        return [_shaped(each, kind.value_type) for each in parts]
    raise TypeError(type(value).__name__)


def _check_same(value: Any, kind: pa.DataType) -> None:
    """Raise `ValueError` where Arrow makes another value of one: infinity of a large number, a day of a time, UTC.

    Digits of a fraction are no such thing: a float has so many.
    """
    if _as_is(kind) and not pa.types.is_floating(kind):
        return
    made = pa.scalar(value, kind).as_py()
    if math.isinf(made) != math.isinf(value) if pa.types.is_floating(kind) else made != value:
        raise ValueError(f"{value} would be {made}")


def _parts(value: Any) -> Any:
    """What is made of parts as a dict or a list, the parts as they are; other values as `bare` has them."""
    value = bare(value)
    if type(value) in _PLAIN or isinstance(value, str | bytes) or type(value) in (dict, list):
        return value
    if hasattr(value, "_asdict"):  # a named tuple, a Row of Beam's
        return _dict(value._asdict().items())
    if is_dataclass(value) and not isinstance(value, type | Mapping):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if hasattr(type(value), "model_dump"):  # of pydantic
        return _dict(value.model_dump().items())
    if isinstance(value, Mapping) or (_of(value, "pandas") and hasattr(value, "items")):
        return _dict(value.items())
    if isinstance(value, _LISTS):
        return sorted(value, key=_sorting) if isinstance(value, set | frozenset) else list(value)
    if isinstance(value, np.generic):
        return {name: value[name] for name in value.dtype.names or ()} if isinstance(value, np.void) else value
    if isinstance(value, np.ndarray):
        # Not those of times and records, of which tolist makes numbers and tuples without names.
        return value.tolist() if value.dtype.kind in "biufU" and value.dtype.itemsize <= 8 else list(value)
    if _of(value, "polars") and hasattr(value, "to_arrow"):
        value = value.to_arrow()
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return list(value)
    if isinstance(value, pa.Table | pa.RecordBatch):
        return _dict(zip(value.schema.names, value.columns, strict=True))
    if hasattr(type(value), "tolist"):  # an array of Python's, of torch's, of pandas'
        return bytes(value) if isinstance(value, memoryview) and value.format in "Bbc" else value.tolist()
    return value


def _dict(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    listed = list(pairs)
    made = dict(listed)
    if len(made) < len(listed):
        raise ValueError("it has a name twice")
    return made


def _sorting(value: Any) -> tuple[bool, Any]:
    """Sets have another order in every process: numbers come first, by size."""
    number = bare(value)
    if type(number) in (int, float) and number == number:
        return False, number
    return True, json.dumps(_jsonable(value, repr))


def as_strings(values: list[Any], name: str, rejects: Rejects) -> list[Any]:
    """Values of a column without a type: what is no string, as JSON has it; times, decimals and the like as `str`."""
    made: list[Any] = []
    for number, value in enumerate(values):
        text = value
        if value is not None and not isinstance(value, str):
            try:
                text = _jsonable(value, _refuse)
                text = text if text is None or isinstance(text, str) else json.dumps(text, ensure_ascii=False)
            except Exception as error:  # of an object of anybody's
                rejects.setdefault(
                    number, ("wrong_type", f"{shown(name)} cannot be kept as a string: {str(error)[:500]}")
                )
                text = None
        made.append(text)
    return made


def as_json(row: Any) -> bytes:
    """An element of anybody's → its bytes: those of `bytes`, else JSON, and where it has none what `repr` says."""
    if isinstance(row, _BYTES):
        return bytes(row)
    try:
        text = json.dumps(_jsonable(row, _said), ensure_ascii=False)
    except Exception:  # it holds itself
        text = _said(row)
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair as JSON escapes it


class _NoJsonError(TypeError):
    """Some part of a value has no form that says all of it."""


def _jsonable(value: Any, other: Callable[[Any], str]) -> Any:
    """A value as `json` takes it, with nothing lost; `other` says what stands for what cannot be."""
    if type(value) in _PLAIN and type(value) is not int:
        return value
    try:
        value = _parts(value)
        if isinstance(value, dict):
            pairs = [(_key(key, other), _jsonable(each, other)) for key, each in value.items()]
            return _dict(pairs)
        if isinstance(value, list):
            return [_jsonable(each, other) for each in value]
        if isinstance(value, int) and value.bit_length() > 10_000:  # more digits than Python writes
            return other(value)
        if isinstance(value, None | str | int | float):
            return value
        if isinstance(value, _BYTES):
            return bytes(value).decode()
        # A time of day without its date has no offset in many a zone, and `str` leaves the zone out.
        if isinstance(value, _WHOLE) and (getattr(value, "tzinfo", None) is None or value.utcoffset() is not None):
            return str(value)
    except (_NoJsonError, RecursionError):
        raise
    except Exception:  # of an object of anybody's
        return other(value)
    return other(value)


def _key(key: Any, other: Callable[[Any], str]) -> str:
    """A key as `json` writes it."""
    if type(key) is str:
        return key
    found = _jsonable(key, other)
    if isinstance(found, dict | list):
        return other(key)
    return found if isinstance(found, str) else json.dumps(found)


def _refuse(value: Any) -> str:
    raise _NoJsonError(f"no text says all of this {type(value).__name__}; make it a string, a number or a dict before")


def _said(value: Any) -> str:
    if isinstance(value, int):
        return hex(value)
    try:
        with np.printoptions(threshold=sys.maxsize):
            return repr(value)
    except Exception as error:
        return f"{type(value).__name__}, of which repr raises {type(error).__name__}"
