"""The types of JSON columns, inferred from a sample of lines.

Strings stay strings, whatever date they spell; a column that was only null is a string. Knows no files.
"""

import json
from collections import Counter
from typing import Any

import pyarrow as pa


def infer(lines: list[bytes], texts: list[str]) -> pa.Schema:
    """Lines that are JSON objects → their columns in order of appearance, each of the type that fits most values.

    A column that has no one type, such as arrays of numbers and strings, has the type null.
    """
    values: dict[str, list[Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # integers of thousands of digits, arrays of thousands of levels: rows, but no help here
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return pa.schema([(name, pa.string() if name in texts else _type(each)) for name, each in values.items()])


def _type(values: list[Any]) -> pa.DataType:
    # True is an int to Python
    kinds = Counter(float if type(value) is int else type(value) for value in values if value is not None)
    if not kinds:
        return pa.string()
    kind = kinds.most_common(1)[0][0]
    if kind is float:
        return _number([value for value in values if type(value) in (int, float)])
    try:
        return _storable(pa.array([value for value in values if type(value) is kind]).type)
    except (pa.ArrowException, ValueError, OverflowError, RecursionError):
        return pa.null()


def _number(values: list[int | float]) -> pa.DataType:
    if any(isinstance(value, float) for value in values):
        return pa.float64()
    if min(values) >= -(2**63) and max(values) < 2**63:
        return pa.int64()
    return pa.uint64() if min(values) >= 0 and max(values) < 2**64 else pa.float64()


def _storable(type: pa.DataType) -> pa.DataType:
    """The same type with strings for nulls, which a later value may fill; Parquet has no structs without fields."""
    if pa.types.is_null(type):
        return pa.string()
    if pa.types.is_list(type):
        return pa.list_(_storable(type.value_type))
    if pa.types.is_struct(type):
        if not type.num_fields:
            raise ValueError("it holds empty objects")
        return pa.struct([(field.name, _storable(field.type)) for field in type])
    return type
