"""What rows weigh, whatever their columns mean."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Size of every row, int64 [rows] bytes: the same whatever batch the row stands in, and near what it takes.

    Whatever is no string, binary, struct, list or map counts 8 bytes.
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
    if _has_length(kind):
        return 8 + pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_struct(kind):
        total = np.full(len(values), 8, np.int64)
        for child in values.flatten():
            total += _bytes(child)
        return total
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        offsets = values.offsets.to_numpy().astype(np.int64)
        children = (
            pa.StructArray.from_arrays([values.keys, values.items], ["k", "v"]) if pa.types.is_map(kind) else None
        )
        ends = np.concatenate([[0], np.cumsum(_bytes(values.values if children is None else children))])
        return 8 + np.diff(ends[offsets])
    return np.full(len(values), 8, np.int64)


def _has_length(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
