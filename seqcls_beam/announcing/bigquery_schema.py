"""Columns of Parquet files → the schema of a table of BigQuery that takes them as they are.

BigQuery reads a list as a repeated field, which has no null in it and is empty where the list is null, and a map as a
repeated record of key and value. What it has no type for is refused: nothing is rounded, cut or turned into text.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa

from seqcls_beam.announcing.published import PlatformError

Field = dict[str, Any]
"""As the API has it under `schema.fields`."""

_NAME = re.compile(r"[\w\-&%=+:'<>#| ]+")
"""What BigQuery calls flexible names: no ! " $ ( ) * , . / ; ? @ [ \\ ] ^ ` { } ~ is in them."""
_LONGEST = 300  # signs of a name
_RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")
_DEEPEST = 15  # records in records

_SIMPLE: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_uint64, ""),
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_float16, ""),
    (pa.types.is_floating, "FLOAT"),
    (pa.types.is_string, "STRING"),
    (pa.types.is_large_string, "STRING"),
    (pa.types.is_string_view, "STRING"),
    (pa.types.is_binary, "BYTES"),
    (pa.types.is_large_binary, "BYTES"),
    (pa.types.is_binary_view, "BYTES"),
    (pa.types.is_fixed_size_binary, "BYTES"),
    (pa.types.is_date, "DATE"),
]
"""Types and what BigQuery calls them, "" where it has none; the first that fits counts."""

_CURES = {
    "uint64": "it has no integers above 2^63: keep it as int64",
    "halffloat": "it has no floats of 16 bits: keep it as float64",
}


def fields(schema: pa.Schema, without: Collection[str] = ()) -> list[Field]:
    """The fields of a table; columns of nulls, and those that are named in `without`, are none of it.

    Raises `PlatformError` for a column whose name or type BigQuery does not take.
    """
    there = [each for each in schema if each.name not in without and not pa.types.is_null(each.type)]
    if not there:
        raise PlatformError("BigQuery has no table without columns, and no column has a value here")
    return _record(there, "", 0)


def _record(there: list[pa.Field], inside: str, depth: int) -> list[Field]:
    named: dict[str, str] = {}
    made = []
    for each in there:
        where = f"{inside}{each.name}"
        if other := named.get(each.name.casefold()):
            raise PlatformError(
                f"columns {inside + other!r} and {where!r} are one to BigQuery, which does not tell them by case: "
                "leave one of them out of --keep_columns"
            )
        named[each.name.casefold()] = each.name
        made.append({"name": _name(each.name, where), **_type(each.type, where, depth)})
    return made


def _name(name: str, where: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or name.casefold().startswith(_RESERVED):
        raise PlatformError(
            f"column {where[:_LONGEST]!r}: BigQuery takes no such name (at most {_LONGEST} letters, digits and _, none "
            "that begins as its own do): rename it in the input, or leave it out of --keep_columns"
        )
    return name


def _type(kind: pa.DataType, where: str, depth: int) -> Field:
    """Type, mode and what goes with them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _type(kind.value_type, where, depth)
        if inner["mode"] == "REPEATED":
            raise _refused(where, kind, "it has no lists of lists")
        return {**inner, "mode": "REPEATED"}
    if pa.types.is_map(kind):
        entry = [pa.field("key", kind.key_type), pa.field("value", kind.item_type)]
        return {"type": "RECORD", "mode": "REPEATED", "fields": _inside(entry, kind, where, depth)}
    if pa.types.is_struct(kind):
        return {"type": "RECORD", "mode": "NULLABLE", "fields": _inside(list(kind), kind, where, depth)}
    return {**_scalar(kind, where), "mode": "NULLABLE"}


def _inside(there: list[pa.Field], kind: pa.DataType, where: str, depth: int) -> list[Field]:
    if depth == _DEEPEST:
        raise _refused(where, kind, f"it has records in records to a depth of {_DEEPEST}")
    if not there:
        raise _refused(where, kind, "it has no record without fields")
    return _record(there, f"{where}.", depth + 1)


def _scalar(kind: pa.DataType, where: str) -> Field:
    if pa.types.is_decimal(kind):
        return _decimal(kind, where)
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        if kind.unit == "ns":
            raise _refused(where, kind, "its times have microseconds: keep it in these")
        if pa.types.is_time(kind):
            return {"type": "TIME"}
        return {"type": "TIMESTAMP" if kind.tz is not None else "DATETIME"}
    if pa.types.is_duration(kind):
        return {"type": "INTEGER", "description": f"a duration, in {kind.unit}"}
    name = next((name for fits, name in _SIMPLE if fits(kind)), "")
    if not name:
        raise _refused(where, kind, _CURES.get(str(kind), "it has none that holds it: keep it as a string"))
    return {"type": name}


def _decimal(kind: Any, where: str) -> Field:
    """NUMERIC has 29 digits before the point and 9 behind it, BIGNUMERIC 38 and 38; both say so with one before it."""
    before = kind.precision - kind.scale
    for name, most_before, most_behind in (("NUMERIC", 29, 9), ("BIGNUMERIC", 38, 38)):
        if 0 <= kind.scale <= most_behind and 0 <= before <= most_before:
            sizes = {"precision": str(kind.precision), "scale": str(kind.scale)} if before else {}
            return {"type": name, **sizes}
    raise _refused(where, kind, "it has decimals of 38 digits before the point and 38 behind it: keep it as a string")


def _refused(where: str, kind: pa.DataType, why: str) -> PlatformError:
    return PlatformError(
        f"column {where[:_LONGEST]!r} is {str(kind)[:_LONGEST]}, which BigQuery does not load: {why}, or leave it out "
        "of --keep_columns"
    )
