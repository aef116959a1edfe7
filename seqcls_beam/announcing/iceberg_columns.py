"""Columns of labelled parts → columns of an Iceberg table, and what goes together there.

The parts carry no ids of Iceberg's: its readers find their columns by name, through the table's name mapping. A type is
written here as the Arrow type that a reader of Iceberg gives, so that two of them can be compared:

- dictionaries, large and fixed-size lists, views: what they hold;
- int8, int16: int32; timestamps of any unit but nanoseconds: of microseconds.

A column that pyiceberg, DuckDB or Spark cannot read has none, for it would cost the others, too: numbers without a sign
(Spark), times of day (Spark), float16, nanoseconds, time zones but UTC, columns that are null by their type.

Two go together as Iceberg lets a column grow: int32 and int64, float32 and float64, decimals of one scale; all else as
it is. All columns are optional, and what a version has not is null.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import pyarrow as pa
from pyiceberg import types as iceberg
from pyiceberg.schema import Schema

_AS_THEY_ARE: dict[pa.DataType, iceberg.IcebergType] = {
    pa.bool_(): iceberg.BooleanType(),
    pa.int32(): iceberg.IntegerType(),
    pa.int64(): iceberg.LongType(),
    pa.float32(): iceberg.FloatType(),
    pa.float64(): iceberg.DoubleType(),
    pa.string(): iceberg.StringType(),
    pa.binary(): iceberg.BinaryType(),
    pa.date32(): iceberg.DateType(),
    pa.timestamp("us"): iceberg.TimestampType(),
    pa.timestamp("us", "UTC"): iceberg.TimestamptzType(),
}
_AS_ANOTHER = {
    **dict.fromkeys((pa.int8(), pa.int16()), pa.int32()),
    **dict.fromkeys((pa.large_string(), pa.string_view()), pa.string()),
    **dict.fromkeys((pa.large_binary(), pa.binary_view()), pa.binary()),
    **{pa.timestamp(unit): pa.timestamp("us") for unit in ("s", "ms")},
    **{pa.timestamp(unit, "UTC"): pa.timestamp("us", "UTC") for unit in ("s", "ms")},
}
_GROWS = ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))


class Unfit(Exception):
    """Why a column is none of a table's, as a sentence without its end."""


def joined(files: Iterable[pa.Schema], there: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """Files, and the columns that a table has → all columns, each as Iceberg has it. Raises `Unfit`."""
    table, folded = dict(there), {name.casefold(): name for name in there}
    for schema in files:
        for field in schema:
            kind = _of_column(field)
            known = folded.setdefault(field.name.casefold(), field.name)
            if known != field.name:
                raise Unfit(f"it has a column {known!r}, and the rows one {field.name!r}")
            table[known] = _both(known, table.get(known, kind), kind)
    return table


def stored(kind: pa.DataType) -> pa.DataType:
    """A type of Arrow → the type that Iceberg has it as. Raises `Unfit` where there is none."""
    types = pa.types
    if kind in _AS_THEY_ARE or types.is_decimal128(kind) or types.is_fixed_size_binary(kind):
        return kind
    if kind in _AS_ANOTHER:
        return _AS_ANOTHER[kind]
    if types.is_dictionary(kind):
        return stored(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", stored(kind.value_type)))
    if types.is_struct(kind):
        return pa.struct([pa.field(each.name, stored(each.type)) for each in kind])
    if types.is_map(kind):
        return pa.map_(stored(kind.key_type), stored(kind.item_type))
    raise Unfit(f"{kind}, which Iceberg, or a reader of it, has no type for")


def schema_of(columns: Mapping[str, pa.DataType]) -> Schema:
    """Columns as `joined` gives them → the same as Iceberg writes them, numbered from 1."""
    ids = count(1)
    return Schema(*_fields([pa.field(name, kind) for name, kind in columns.items()], ids))


def _fields(fields: Iterable[pa.Field], ids: Iterator[int]) -> list[iceberg.NestedField]:
    return [iceberg.NestedField(next(ids), each.name, _written(each.type, ids), required=False) for each in fields]


def _written(kind: pa.DataType, ids: Iterator[int]) -> iceberg.IcebergType:
    if kind in _AS_THEY_ARE:
        return _AS_THEY_ARE[kind]
    if pa.types.is_list(kind):
        return iceberg.ListType(next(ids), _written(kind.value_type, ids), element_required=False)
    if pa.types.is_struct(kind):
        return iceberg.StructType(*_fields(kind, ids))
    if pa.types.is_map(kind):
        key, value = next(ids), next(ids)
        return iceberg.MapType(key, _written(kind.key_type, ids), value, _written(kind.item_type, ids), False)
    if pa.types.is_fixed_size_binary(kind):
        return iceberg.FixedType(kind.byte_width)
    return iceberg.DecimalType(kind.precision, kind.scale)


def _of_column(field: pa.Field) -> pa.DataType:
    try:
        return stored(field.type)
    except Unfit as unfit:
        raise Unfit(f"column {field.name!r} has values of {unfit}") from None


def _both(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    for narrow, wide in _GROWS:
        if {one, other} == {narrow, wide}:
            return wide
    if pa.types.is_decimal128(one) and pa.types.is_decimal128(other) and one.scale == other.scale:
        return max(one, other, key=_precision)
    raise Unfit(f"column {name!r} is {one} there, and {other} in the rows")


def _precision(kind: Any) -> int:
    return int(kind.precision)
