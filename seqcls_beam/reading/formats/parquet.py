"""Parquet files: one row a row; the pieces are row groups. Only the columns that are read leave the disk.

The bytes of a rejected row are those columns as JSON, since a row has no bytes of its own. Whatever a damaged file
makes the parser raise costs the row group it stands in: the footer says how many rows that had.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileOpener

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, plain
from seqcls_beam.reading.formats.fitting import fitted
from seqcls_beam.reading.formats.pieces import CHUNK, Piece, sampled

MAX_ROWS = 2**16  # rows decoded at a time
MAX_DECODED = 128 * 2**20  # bytes that those may take if each is the largest value of its dictionary
_FIRST = 16  # rows that are decoded to see the dictionaries


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns of the first that has a footer."""
    for file, _ in sampled(pieces):
        parquet = _open(file)[0]
        if not isinstance(parquet, str):
            return pa.schema([(field.name, plain(field.type)) for field in parquet.schema_arrow])
    return None


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Row groups of a Parquet file → blocks."""
    parquet, watched = _open(file)
    if isinstance(parquet, str):
        if piece.start == 0:  # once a file, of which no piece says how much of it it is
            yield Fault(0, "unreadable_file", f"not a Parquet file: {parquet}", b"", 0)
        return
    footer = parquet.metadata
    rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    share = piece.size / max(sum(rows), 1)  # bytes a row, so that progress grows with the rows
    groups = range(piece.start, len(rows) if piece.end < 0 else piece.end)
    row, here = sum(rows[: piece.start]), sum(rows[group] for group in groups)
    there = Counter(parquet.schema_arrow.names)
    lacking = [name for name in layout.names if there[name] != 1]
    if lacking:
        detail = f"the file has the column {lacking[0]!r} {there[lacking[0]]} times: {list(there)}"
        yield Fault(row, "missing_column", detail[:1000], b"", int(share * here), here, int(share * here))
        return
    begin = row
    for group in groups:
        past = row + rows[group]
        said = f"row group {group} has {rows[group]} rows"
        try:
            for batch in _decoded(parquet, watched, group, layout.names):
                batch.validate()  # a damaged offset would end the process later
                if row + len(batch) > past:
                    raise ValueError("there are more")
                yield _block(batch, row, layout, int(share * (row + len(batch) - begin)))
                row += len(batch)
            if row < past:
                raise ValueError("the others are not there")
        except Exception as error:  # not of Arrow alone: names and values of damaged bytes break Python's codecs
            watched.check()
            detail = f"{said}, {past - row} of them are lost: {type(error).__name__}: {error}"
            yield Fault(
                row,
                "corrupt_file",
                detail[:1000],
                b"",
                int(share * (past - begin)),
                past - row,
                int(share * (past - row)),
            )
        row = past


def _open(file: Any) -> tuple[Any, "_Watched"]:
    """An open file as Parquet, or what is wrong with it."""
    local = isinstance(file, LocalFileOpener)
    watched = _Watched(file)
    try:
        # From a disk, pages are read as they come; from a store, the columns of a row group in few requests.
        how = {"pre_buffer": not local, "buffer_size": 2**20 if local else 0, "page_checksum_verification": True}
        parquet = pq.ParquetFile(watched, **how)
        footer = parquet.metadata
        rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        if min(rows, default=0) < 0 or sum(rows) != footer.num_rows:
            return f"its footer tells of {footer.num_rows} rows, and of {sum(rows)} in row groups", watched
        pa.schema(parquet.schema_arrow)  # names that are no UTF-8, types that Python has not
        return parquet, watched
    except Exception as error:  # as above
        watched.check()
        return f"{type(error).__name__}: {error}", watched


class _Watched:
    """A file that remembers what reading it raised: a disk or store that fails is no reason to reject a row group."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.closed = False
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self.file.read(size))
        except BaseException as error:
            self.error = error
            raise

    def seek(self, *where: int) -> int:
        return int(self.file.seek(*where))

    def tell(self) -> int:
        return int(self.file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def check(self) -> None:
        """Raise what reading has raised."""
        if self.error is not None:
            raise self.error


def _decoded(parquet: Any, file: "_Watched", group: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a row group, some megabytes or `MAX_ROWS` at a time; raises whatever the parser does."""
    rows = _rows_at_a_time(parquet, file, group, names)
    some: list[pa.RecordBatch] = []
    size = count = 0
    for batch in parquet.iter_batches(rows, row_groups=[group], columns=names, use_threads=False):
        some.append(batch)
        size, count = size + batch.nbytes, count + len(batch)
        if size >= CHUNK or count + rows > MAX_ROWS:
            yield pa.concat_batches(some) if len(some) > 1 else some[0]
            some, size, count = [], 0, 0
    if some:
        yield pa.concat_batches(some) if len(some) > 1 else some[0]


def _rows_at_a_time(parquet: Any, file: "_Watched", group: int, names: list[str]) -> int:
    """Rows of a row group that are decoded at once: `CHUNK` bytes on average, and never more than `MAX_DECODED`.

    The sizes in a footer are those of encoded values: of a value that a dictionary has once every row may be one, so
    the dictionaries are looked at. Raises what reading the first rows raises.
    """
    # Nothing is asked of the metadata of a column: where that is damaged or encrypted, pyarrow ends the process.
    facts = parquet.metadata.row_group(group)
    whole = max(facts.total_byte_size, 1)
    rows = max(1, min(MAX_ROWS, CHUNK * facts.num_rows // whole))
    if rows * whole <= MAX_DECODED:
        return rows
    leaves = [parquet.schema.column(number) for number in range(len(parquet.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    first = pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=texts, buffer_size=2**20)
    for batch in first.iter_batches(_FIRST, row_groups=[group], columns=names, use_threads=False):
        largest = sum(_largest(column) for column in batch.columns)
        return max(1, min(rows, MAX_DECODED // max(largest, 1)))
    return rows


def _largest(values: pa.Array) -> int:
    """Bytes of the largest value that rows like these may have: of their dictionary any, however few have it."""
    kind = values.type
    if isinstance(kind, pa.DictionaryType):
        return int(pc.max(pc.binary_length(values.dictionary)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_largest(values.field(number)) for number in range(kind.num_fields))
    if pa.types.is_map(kind):
        return _most(values) * (_largest(values.keys) + _largest(values.items))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _most(values) * _largest(values.values)
    return int(values.nbytes)


def _most(values: pa.Array) -> int:
    lengths = np.diff(values.offsets) if pa.types.is_map(values.type) else pc.list_value_length(values)
    return int(pc.max(lengths).as_py() or 0)


def _block(batch: pa.RecordBatch, row: int, layout: Layout, consumed: int) -> Block:
    rejects: dict[int, tuple[str, str]] = {}
    texts = [fitted(batch.column(name), name, pa.string(), rejects, text=True) for name in layout.texts]
    keep = [fitted(batch.column(each.name), each.name, each.type, rejects) for each in layout.keep]
    return Block(
        positions=np.arange(row, row + len(batch)),
        texts=texts,
        keep=keep,
        rejects=rejects,
        raw=lambda number: orjson.dumps(_row(batch, number), default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS),
        consumed=consumed,
    )


def _row(batch: pa.RecordBatch, number: int) -> dict[str, Any]:
    """A row as Python has it, for the bytes of a reject."""
    row = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = values[number].as_py()
        except UnicodeDecodeError:
            row[name] = _readable(values[number])
        except (OverflowError, ValueError, pa.ArrowException):
            row[name] = None  # no Python value: a date past year 9999, bad UTF-8 inside a list
    return row


def _readable(value: Any) -> Any:
    """A value with strings in it that are no UTF-8, what they are written as escapes."""
    if not value.is_valid:
        return None
    if isinstance(value, pa.StringScalar | pa.LargeStringScalar):
        return value.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
    if isinstance(value, pa.StructScalar):
        return {field.name: _readable(value[number]) for number, field in enumerate(value.type)}
    if isinstance(value, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar | pa.MapScalar):
        return [_readable(each) for each in value.values]
    return value.as_py()
