"""A row group of a Parquet file → batches that are bounded by what they are decoded, whatever is stored.

What is stored says little of what is decoded: a dictionary has a value once of which every row may be one, values may
share their beginnings, and a run of equal values is two numbers. So dictionaries and numbers of values are looked at
before. Of a list of strings nothing says how long it is: where there are such, dictionaries are left in place until
every row is measured.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam.reading.formats.columns import nulled
from seqcls_beam.rows import decoded_bytes, is_list, leaves

MAX_ROWS = 2**16  # rows handed over at a time …
_STEP = 2**10  # … and decoded at once: more are not faster
MAX_DECODED = 64 * 2**20  # bytes that rows decoded at once may take if each is the largest value of its dictionary
MAX_ROW_BYTES = 64 * 2**20  # of the columns that are read; the large cells of a larger row are not decoded
_LEVELS = 12  # bytes that a value in a list takes while it is decoded, with its place in the list
_FEW = 8  # rows that are decoded at once, and may be more than that, where values share their beginnings


class Decoded(NamedTuple):
    """Rows that follow one another."""

    batch: pa.RecordBatch
    large: dict[int, int]  # row → the bytes it has, more than `MAX_ROW_BYTES`; its large cells are null


def decoded(
    parquet: Any, file: Any, how: dict[str, Any], group: int, names: list[str], chunk: int
) -> Iterator[Decoded]:
    """The rows of a row group, in order, about `chunk` decoded bytes or `MAX_ROWS` at a time.

    `parquet` is `file`, opened as `how` says. Raises whatever the parser does.
    """
    own = {name: parquet.schema_arrow.field(name).type for name in names}
    some: list[Decoded] = []
    size = count = 0
    for each in _cut(_steps(parquet, file, how, group, names, chunk), own, chunk):
        if some and count + len(each.batch) > MAX_ROWS:
            yield _joined(some)
            some, size, count = [], 0, 0
        some.append(each)
        size, count = size + each.batch.nbytes, count + len(each.batch)
        if size >= chunk:
            yield _joined(some)
            some, size, count = [], 0, 0
    if some:
        yield _joined(some)


def _joined(some: list[Decoded]) -> Decoded:
    large: dict[int, int] = {}
    before = 0
    for batch, found in some:
        large |= {before + row: size for row, size in found.items()}
        before += len(batch)
    return Decoded(pa.concat_batches([each.batch for each in some]) if len(some) > 1 else some[0].batch, large)


def _cut(steps: Iterator[pa.RecordBatch], own: dict[str, pa.DataType], chunk: int) -> Iterator[Decoded]:
    """Rows, perhaps with dictionaries in place → the same under their own types, cut to `chunk` bytes or one row."""
    flat = not any(map(_is_nested, own.values()))
    for batch in steps:
        batch.validate()  # a damaged offset would end the process later
        if flat and batch.nbytes + 8 * len(batch) * len(own) <= MAX_ROW_BYTES:  # no row can be larger
            yield Decoded(batch, {})
            continue
        cells = [decoded_bytes(column) for column in batch.columns]
        sizes: npt.NDArray[np.int64] = np.sum(cells, axis=0, dtype=np.int64)
        large = {int(row): int(sizes[row]) for row in np.flatnonzero(sizes > MAX_ROW_BYTES)}
        columns = batch.columns
        if large:
            most = MAX_ROW_BYTES // len(columns)
            over = sizes > MAX_ROW_BYTES  # a cell as large in another row is read
            columns = [
                nulled(each, np.flatnonzero(over & (cell > most))) for each, cell in zip(columns, cells, strict=True)
            ]
            sizes = np.minimum(sizes, MAX_ROW_BYTES)
        decoded_now = all(each.type == own[name] for name, each in zip(batch.schema.names, columns, strict=True))
        ends = np.cumsum(sizes)
        low = 0
        while low < len(batch):
            before = int(ends[low - 1]) if low else 0
            fit = len(batch) if decoded_now else int(np.searchsorted(ends, before + chunk, side="right"))
            high = max(fit, low + 1)
            rows = pa.array(np.arange(low, high))  # not a slice: of a list that casts the values of all others, too
            some = [
                each.slice(low, high - low) if each.type == own[name] else _spread(each.take(rows), own[name])
                for name, each in zip(batch.schema.names, columns, strict=True)
            ]
            found = {row - low: size for row, size in large.items() if low <= row < high}
            yield Decoded(pa.RecordBatch.from_arrays(some, names=batch.schema.names), found)
            low = high


def _is_nested(kind: pa.DataType) -> bool:
    """Whether a value may take more than its bytes in the array and eight."""
    return isinstance(kind, pa.BaseExtensionType | pa.DictionaryType) or pa.types.is_nested(kind)


def _spread(values: pa.Array, own: pa.DataType) -> pa.Array:
    """Values with dictionaries → under their own type."""
    return values.cast(_without_dictionaries(values.type)).cast(own)


def _without_dictionaries(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_dictionaries(field.type)) for field in kind])
    if pa.types.is_map(kind):
        key, item = (field.with_type(_without_dictionaries(field.type)) for field in (kind.key_field, kind.item_field))
        return pa.map_(key, item, kind.keys_sorted)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        made = pa.large_list if pa.types.is_large_list(kind) else pa.list_
        return made(kind.value_field.with_type(_without_dictionaries(kind.value_type)))
    return kind


def _steps(
    parquet: Any, file: Any, how: dict[str, Any], group: int, names: list[str], chunk: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a row group as they are decoded; where there are lists of strings, strings in dictionaries."""
    stored = [parquet.schema.column(number) for number in range(len(parquet.schema))]
    texts = [leaf.path for leaf in stored if leaf.physical_type == "BYTE_ARRAY"]
    options = {"row_groups": [group], "columns": names, "use_threads": False}

    def by_dictionary(some: list[str], **how: Any) -> Any:
        return pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=some, **how)

    # Of a store only the beginnings of the columns are asked for.
    first_bytes = {"pre_buffer": False, "buffer_size": 2**20 if how.get("pre_buffer") else 2**16}
    looked = by_dictionary(texts, **{**how, **first_bytes})
    try:
        first, readable = next(looked.iter_batches(1, **options), None), True
    except OSError as error:
        if not _not_by_dictionary(error):
            raise
        first, readable = next(parquet.iter_batches(1, **options), None), False
    # Now that a row is read, the metadata of its columns can be asked for: where they are damaged or encrypted, reading
    # raises, and pyarrow's own look at them ends the process.
    facts = parquet.metadata.row_group(group)
    read = [(stored[number], facts.column(number)) for number in _numbers(parquet.schema_arrow, names)]
    inside = [(leaf, column) for leaf, column in read if leaf.max_repetition_level]
    values = sum(column.num_values for _, column in inside)
    rows = most = min(MAX_ROWS, _rows(8 * chunk, facts.num_rows, max(facts.total_byte_size, _LEVELS * values)))
    if first is not None and readable:
        rows = min(rows, max(1, MAX_DECODED // max(sum(map(_largest, first.columns)), 1)))
    few = min(rows, max(_FEW, MAX_DECODED // max(facts.total_byte_size, 1)))
    if not readable or any("DELTA_BYTE_ARRAY" in column.encodings for _, column in read):
        rows = few
    done = 0
    listed = [leaf.path for leaf, _ in inside if leaf.physical_type == "BYTE_ARRAY"]
    if readable and listed:
        try:
            for batch in by_dictionary(listed, **how).iter_batches(rows, **options):
                yield batch
                done += len(batch)
            return
        except OSError as error:
            if not _not_by_dictionary(error):  # of a later page
                raise
            rows = few
    rows = min(_STEP, rows, max(1, most // 8))
    for batch in parquet.iter_batches(rows, **options):
        if done < len(batch):
            yield batch.slice(done)
        done = max(done - len(batch), 0)


def _not_by_dictionary(error: OSError) -> bool:
    """Whether an encoding is one that pyarrow reads, but not as a dictionary."""
    return "DictAccumulator" in str(error)


def _rows(chunk: int, rows: int, size: int) -> int:
    return max(1, chunk * rows // max(size, 1))


def _numbers(schema: pa.Schema, names: list[str]) -> list[int]:
    """The numbers of the leaves of some columns, among all of a file."""
    found: list[int] = []
    before = 0
    for field in schema:
        past = before + leaves(field.type)
        found += range(before, past) if field.name in names else []
        before = past
    return found


def _largest(values: pa.Array) -> int:
    """Bytes of the largest value that a row may have beside others in no list: of a dictionary any, few as have it."""
    kind = values.type
    if isinstance(kind, pa.DictionaryType):
        return int(pc.max(pc.binary_length(values.dictionary)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_largest(values.field(number)) for number in range(kind.num_fields))
    return 0 if is_list(kind) or pa.types.is_map(kind) else int(values.nbytes)
