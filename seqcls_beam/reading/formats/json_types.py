"""The types of JSON columns, inferred from a sample of rows.

Strings stay strings, whatever date they spell; a column that was only null is a string. No type loses a digit: numbers
that neither 64-bit integers nor doubles hold are kept as they are written. Knows no files.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from seqcls_beam.reading.formats.json_faults import EXACT, rounded, whole
from seqcls_beam.reading.formats.json_text import Deep, Number, Object

_NAMELESS = "has a name with half of a surrogate pair"

DEPTH = 32  # arrays and objects within each other that are kept; Arrow's streams take 64, with those around them


class _NoType(Exception):
    """Values have no type under which they could be kept as they are."""


def infer(rows: Iterable[Object], texts: list[str]) -> tuple[pa.Schema, dict[str, str]]:
    """Objects → (their columns in order of appearance, each of the type that fits most values; why some have none).

    A column that has no type has the type null; one that cannot even be named is not among the columns.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row:
            values.setdefault(name, []).append(value)
    fields, why = [], {}
    for name, each in values.items():
        try:
            fields.append((name, pa.string() if name in texts else _type(each)))
        except _NoType as error:
            why[name] = str(error)
            fields.append((name, pa.null()))
    nameless = [name for name in values if not _is_unicode(name)]
    why |= dict.fromkeys(nameless, _NAMELESS)
    return pa.schema([field for field in fields if field[0] not in nameless]), why


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type(values: list[Any]) -> pa.DataType:
    """The type that fits most values."""
    kinds = Counter(type(value) for value in values if value is not None)
    if not kinds:
        return pa.string()
    kind = kinds.most_common(1)[0][0]
    return _type_of(kind, [value for value in values if type(value) is kind], 0)


def _type_of(kind: type, values: list[Any], depth: int) -> pa.DataType:
    """The type that fits all values, which are of one kind; strings for numbers that no other type holds."""
    if kind is Deep or depth > DEPTH:
        raise _NoType(f"has arrays or objects nested more than {DEPTH} deep")
    if kind is Number:
        type_ = _number(values)
        if depth and type_ == pa.string():
            raise _NoType(
                "has, inside arrays or objects, numbers that neither 64 bits nor doubles hold to the last digit, such "
                f"as {max(values, key=len)[:60]}"
            )
        return type_
    if kind is list:
        return pa.list_(_uniform([each for value in values for each in value], depth + 1))
    if kind is Object:
        members: dict[str, list[Any]] = {}
        for value in values:
            for name, each in value:
                members.setdefault(name, []).append(each)
        if not members:  # Parquet has no structs without fields
            raise _NoType("has only objects without keys")
        if not all(map(_is_unicode, members)):
            raise _NoType(_NAMELESS)
        return pa.struct([(name, _uniform(each, depth + 1)) for name, each in members.items()])
    return pa.bool_() if kind is bool else pa.string()


def _uniform(values: list[Any], depth: int) -> pa.DataType:
    """The type that fits all values; strings where all are null, which a later value may fill."""
    kinds = list(dict.fromkeys(type(value) for value in values if value is not None))
    if len(kinds) > 1:
        raise _NoType("has, inside arrays or objects, values of several kinds, such as numbers beside strings")
    return _type_of(kinds[0], [value for value in values if value is not None], depth) if kinds else pa.string()


def _number(digits: list[str]) -> pa.DataType:
    """The type that holds all numbers to the last digit."""
    integers = [each for each in digits if whole(each)]
    if any(len(each) > 20 for each in integers):
        return pa.string()
    numbers = list(map(int, integers))
    least, most = min(numbers, default=0), max(numbers, default=0)
    if len(integers) < len(digits):
        exact = least >= -EXACT and most <= EXACT and not any(map(rounded, digits))
        return pa.float64() if exact else pa.string()
    if least >= -(2**63) and most < 2**63:
        return pa.int64()
    return pa.uint64() if least >= 0 and most < 2**64 else pa.string()
