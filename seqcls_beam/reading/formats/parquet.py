"""Parquet files: one row a row; the pieces are row groups. Only the columns that are read leave the disk.

The bytes of a rejected row are those columns as JSON, since a row has no bytes of its own.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileOpener

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, cast, invalid_rows, misfits, nulled, plain, valid_utf8
from seqcls_beam.reading.formats.pieces import CHUNK, Piece, sampled

MAX_ROWS = 2**16  # rows decoded at a time


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
        yield Fault(0, "unreadable_file", f"not a Parquet file: {parquet}", b"", piece.size)
        return
    there = parquet.schema_arrow.names
    lacking = [name for name in layout.names if there.count(name) != 1]
    if lacking:
        if piece.start == 0:  # once a file, not once a piece
            detail = f"the file has the column {lacking[0]!r} {there.count(lacking[0])} times: {there}"
            yield Fault(0, "missing_column", detail[:1000], b"", piece.size)
        return
    footer = parquet.metadata
    groups = range(piece.start, footer.num_row_groups if piece.end < 0 else piece.end)
    begin = row = sum(footer.row_group(group).num_rows for group in range(piece.start))
    share = piece.size / max(footer.num_rows, 1)  # bytes a row, so that progress grows with the rows
    for group in groups:
        past = row + footer.row_group(group).num_rows
        try:
            for batch in parquet.iter_batches(
                _rows_at_a_time(footer.row_group(group), layout.names),
                row_groups=[group],
                columns=layout.names,
                use_threads=False,
            ):
                consumed = int(share * (row + len(batch) - begin))
                yield _block(batch, row, layout, consumed)
                row += len(batch)
        except (pa.ArrowException, OSError) as error:
            watched.check()
            detail = f"row group {group}, of which {past - row} rows are lost: {error}"
            yield Fault(row, "corrupt_file", detail, b"", int(share * (past - begin)))
        row = past


def _open(file: Any) -> tuple[Any, "_Watched"]:
    """An open file as Parquet, or what is wrong with it."""
    local = isinstance(file, LocalFileOpener)
    watched = _Watched(file)
    try:
        # From a disk, pages are read as they come; from a store, the columns of a row group in few requests.
        return pq.ParquetFile(watched, pre_buffer=not local, buffer_size=2**20 if local else 0), watched
    except (pa.ArrowException, OSError) as error:
        watched.check()
        return str(error), watched


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


def _rows_at_a_time(group: Any, names: list[str]) -> int:
    """Rows of a row group whose columns that are read make about `CHUNK` bytes."""
    parts = [group.column(i) for i in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in names)
    return max(1, min(MAX_ROWS, CHUNK * group.num_rows // max(size, 1)))


def _block(batch: pa.RecordBatch, row: int, layout: Layout, consumed: int) -> Block:
    rejects: dict[int, tuple[str, str]] = {}
    texts = [_column(batch, name, pa.string(), rejects, text=True) for name in layout.texts]
    keep = [_column(batch, each.name, each.type, rejects, text=False) for each in layout.keep]
    return Block(
        positions=np.arange(row, row + len(batch)),
        texts=texts,
        keep=keep,
        rejects=rejects,
        raw=lambda number: orjson.dumps(_row(batch, number), default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS),
        consumed=consumed,
    )


def _column(
    batch: pa.RecordBatch, name: str, type: pa.DataType, rejects: dict[int, tuple[str, str]], text: bool
) -> pa.Array:
    """A column under a type; rows that do not fit it are rejected."""
    values = batch.column(name)
    found = plain(values.type)
    if isinstance(values.type, pa.DictionaryType):
        values = values.cast(found)
    elif isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    elif values.type in (pa.string_view(), pa.binary_view()):
        values = values.cast(found)
    stringy = pa.types.is_string(found) or pa.types.is_large_string(found)
    # Parquet promises that strings are UTF-8; nobody checks it but the reader.
    if stringy and not valid_utf8(values):
        bad = invalid_rows(values.cast(pa.binary()).to_pylist())
        rejects.update({each: ("invalid_utf8", f"{name!r} is not UTF-8") for each in bad})
        values = nulled(values, bad)
    # A text must be one: a number that could be cast to a string is none.
    values, unfit = misfits(values, type) if text and not stringy else cast(values, type)
    for each in unfit:
        rejects.setdefault(each, ("wrong_type", f"{name!r} is {found} in this file and no {type}"))
    return values


def _row(batch: pa.RecordBatch, number: int) -> dict[str, Any]:
    """A row as Python has it, for the bytes of a reject."""
    row = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = values[number].as_py()
        except UnicodeDecodeError:
            row[name] = values[number].cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")
        except (OverflowError, ValueError, pa.ArrowException):
            row[name] = None  # no Python value: a date past year 9999, bad UTF-8 inside a list
    return row
