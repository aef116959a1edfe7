"""Why a line of a JSON-lines file is no row; and of one that is a row, what is read of it.

The fast reader (`jsonl`) asks only about lines that it cannot take. Of a good line comes a shorter one that it can: the
columns that are read, as they are written. What stands in other columns only has to be JSON. Knows no files.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from seqcls_beam.reading.formats.columns import shown
from seqcls_beam.reading.formats.json_shapes import cure
from seqcls_beam.reading.formats.json_text import KINDS, Number, Object, members

STRING = pa.string()
EXACT = 2.0**53  # from here on not every integer is a double


@dataclass(frozen=True)
class Column:
    """A column that is read."""

    name: str
    key: str  # the name as JSON, with its colon
    type: pa.DataType
    numbers: bool = False  # whether it takes numbers as they are written, as strings
    anything: bool = False  # … and values of any other kind, too


def narrow(text: str, columns: list[Column], cured: bool = True) -> bytes | tuple[str, str]:
    """Line → a line of the columns that are read, or (reason, detail) where it is no row; `cured`: and what helps."""
    try:
        found = members(text)
    except ValueError as error:
        return "invalid_json", f"{error}{cure(text, error)}" if cured else str(error)
    values = {member[0]: member for member in found}
    if len(values) < len(found):
        counts = Counter(member[0] for member in found)
        twice = next((column.name for column in columns if counts[column.name] > 1), None)
        if twice is not None:
            return "duplicate_key", f"{shown(twice)} stands {counts[twice]} times"
    kept = []
    for column in columns:
        name = column.name
        if name not in values:
            continue
        _, value, begin, end = values[name]
        written = text[begin:end]
        kind = type(value)
        if (column.numbers and kind is Number) or (column.anything and kind is not str and value is not None):
            written = json.dumps(written)
        elif detail := misfit(value, column.type):
            return "wrong_type", f"{shown(name)} {detail}"
        elif flaw := _flaw(value, name):
            return flaw
        kept.append(column.key + written)
    return f"{{{','.join(kept)}}}".encode()


def misfit(value: Any, type_: pa.DataType) -> str | None:
    """Why a value does not fit a type, or None where it does; null fits every type.

    A number fits a type that holds its digits. With an exponent, or below 2^53, what it says is taken for a measure, of
    which a double is as good as any: only what is beyond the range of doubles does not fit.
    """
    kind = type(value)
    if value is None:
        return None
    if kind is list and pa.types.is_list(type_):
        return next((detail for each in value if (detail := misfit(each, type_.value_type))), None)
    if kind is Object and pa.types.is_struct(type_):
        types = {field.name: field.type for field in type_}
        for name, each in value:
            if name not in types:
                return f"has the key {shown(name)}, and is {type_}"
            if detail := misfit(each, types[name]):
                return detail
        return None
    if kind is Number:
        return None if _holds(type_, value) else f"is no {type_}: {value[:40]}"
    fits = (kind is str and type_ == STRING) or (kind is bool and type_ == pa.bool_())
    return None if fits else f"is no {type_}: {KINDS[kind]}"


def _holds(type_: pa.DataType, digits: str) -> bool:
    """Whether a type holds a number to the last digit."""
    if type_ == pa.float64():
        return not math.isinf(float(digits)) and not rounded(digits)
    if not whole(digits) or len(digits) > 20:
        return False
    if type_ == pa.uint64():
        return digits[0] != "-" and int(digits) < 2**64
    return type_ == pa.int64() and -(2**63) <= int(digits) < 2**63


def whole(digits: str) -> bool:
    """Whether a number is written as an integer."""
    return digits.lstrip("-").isdecimal()


def rounded(digits: str) -> bool:
    """Whether a number from 2^53 on that is written without an exponent is no double."""
    if "e" in digits or "E" in digits:
        return False
    value = float(digits)
    return abs(value) >= EXACT and (math.isinf(value) or Decimal(digits) != value)


def _flaw(value: Any, column: str) -> tuple[str, str] | None:
    """What cannot be kept of a value that fits its type."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return "lone_surrogate", f"\\u{ord(value[error.start]):04x} stands alone in {shown(column)}"
    if type(value) is Object:
        counts = Counter(name for name, _ in value)
        if len(counts) < len(value):
            twice = next(name for name, count in counts.items() if count > 1)
            return "duplicate_key", f"{shown(twice)} stands {counts[twice]} times in {shown(column)}"
        value = [each for _, each in value]
    if type(value) is list:
        return next((flaw for each in value if (flaw := _flaw(each, column))), None)
    return None
