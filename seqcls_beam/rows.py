"""What rows weigh, whatever their columns mean."""

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
        total += _bytes(column)
    return total


def _bytes(values: pa.Array) -> npt.NDArray[np.int64]:
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _bytes(values.storage)
    if pa.types.is_dictionary(kind):
        return np.full(len(values), 8, np.int64)  # the names themselves are shared
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _bytes(values.cast(pa.large_binary()))
    if pa.types.is_fixed_size_binary(kind):
        return np.full(len(values), 8 + kind.byte_width, np.int64)
    if _has_length(kind):
        return 8 + pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_struct(kind):
        total = np.full(len(values), 8, np.int64)
        for child in values.flatten():
            total += _bytes(child)
        return total
    if pa.types.is_map(kind):
        values = pa.ListArray.from_arrays(
            values.offsets, pa.StructArray.from_arrays([values.keys, values.items], ["k", "v"])
        )
        kind = values.type
    if is_list(kind):
        # Not by offsets: those of views are in any order.
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(_bytes(pc.list_flatten(values)))])
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
