"""What rows weigh, and what their values are in Python, whatever their columns mean."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Size of every row, int64 [rows] bytes: the same whatever batch the row stands in, and near what it takes.

    Whatever has no length of its own counts 8 bytes, and names of a dictionary, which are shared, do.
    """
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        total += _bytes(column, True)
    return total


def decoded_bytes(values: pa.Array) -> npt.NDArray[np.int64]:
    """Size of every value, int64 [values] bytes, as in `row_bytes`, but each value of a dictionary as it is."""
    return _bytes(values, False)


def _bytes(values: pa.Array, shared: bool) -> npt.NDArray[np.int64]:
    """Sizes of values; those of a dictionary are `shared`, or count in every place."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _bytes(values.storage, shared)
    if pa.types.is_dictionary(kind):
        if shared or not len(values.dictionary):
            return np.full(len(values), 8, np.int64)
        sizes = pa.array(_bytes(values.dictionary, False)).take(values.indices)
        return pc.fill_null(sizes, 8).to_numpy(zero_copy_only=False)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _bytes(values.cast(pa.large_binary()), shared)
    if pa.types.is_fixed_size_binary(kind):
        return np.full(len(values), 8 + kind.byte_width, np.int64)
    if _has_length(kind):
        return 8 + pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_struct(kind):
        total = np.full(len(values), 8, np.int64)
        for child in values.flatten():
            total += _bytes(child, shared)
        return total
    if pa.types.is_map(kind):
        values = pa.ListArray.from_arrays(
            values.offsets, pa.StructArray.from_arrays([values.keys, values.items], ["k", "v"])
        )
        kind = values.type
    if is_list(kind):
        # Not by offsets: those of views are in any order.
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(_bytes(pc.list_flatten(values), shared))])
        past = np.cumsum(lengths)
        return 8 + ends[past] - ends[past - lengths]
    return np.full(len(values), 8, np.int64)


def _has_length(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether values of a type are lists, however they are laid out."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def leaves(kind: pa.DataType) -> int:
    """Columns without parts that a type is made of: as many as Parquet stores it in."""
    if isinstance(kind, pa.BaseExtensionType):
        return leaves(kind.storage_type)
    if pa.types.is_map(kind):
        return leaves(kind.key_type) + leaves(kind.item_type)
    if is_list(kind):
        return leaves(kind.value_type)
    return sum(leaves(field.type) for field in kind) if pa.types.is_struct(kind) else 1


def with_lists(kind: pa.DataType) -> pa.DataType:
    """A type with plain lists in place of views and of lists of one length, of which Arrow reads no null of Parquet."""
    if is_list(kind):
        large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
        return (pa.large_list if large else pa.list_)(kind.value_field.with_type(with_lists(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(with_lists(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_field, kind.item_field.with_type(with_lists(kind.item_type)), kind.keys_sorted)
    return kind


def in_python(values: pa.Array) -> list[Any]:
    """Values as Python has them, and each that it has not as `value_in_python` tells it."""
    try:
        made: list[Any] = values.to_pylist()
        return made
    except _NO_VALUE:
        return [value_in_python(each) for each in values]


def value_in_python(value: pa.Scalar) -> Any:
    """A value as Python has it; a time that it has not as a number with its type, broken UTF-8 with escapes.

    A struct with a name twice is a list of pairs.
    """
    try:
        return value.as_py()
    except _NO_VALUE:
        pass
    if isinstance(value, pa.DictionaryScalar | pa.ExtensionScalar):
        return value_in_python(value.value)
    if isinstance(value, pa.StructScalar):
        return _together([field.name for field in value.type], [value[number] for number in range(len(value.type))])
    if isinstance(value, pa.MapScalar):
        return [(value_in_python(each[0]), value_in_python(each[1])) for each in value.values]
    if is_list(value.type):
        return [value_in_python(each) for each in value.values]
    if _has_length(value.type) or pa.types.is_string_view(value.type):
        return value.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
    return f"{value.value} ({value.type})"


def row_in_python(batch: pa.RecordBatch, number: int) -> Any:
    """A row as a dict, or where a name is there twice as a list of pairs; values as `value_in_python` tells them."""
    return _together(batch.schema.names, [column[number] for column in batch.columns])


_NO_VALUE = (ArithmeticError, LookupError, ValueError, pa.ArrowException)
"""What pyarrow raises for a value that Python has not: a year past 9999, a time zone that nobody knows, bad UTF-8."""


def _together(names: list[str], values: list[pa.Scalar]) -> Any:
    pairs = list(zip(names, map(value_in_python, values), strict=True))
    return dict(pairs) if len(set(names)) == len(names) else pairs
