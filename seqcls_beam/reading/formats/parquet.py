"""Parquet files: one row a row; the pieces are row groups. Only the columns that are read leave the disk.

The bytes of a rejected row are those columns as JSON, since a row has no bytes of its own. Whatever a damaged file
makes the parser raise costs the row group it stands in: the footer says how many rows that had.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.footers import classes_in
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.classes import Classes, by_name
from seqcls_beam.reading.formats.columns import Layout, listed, plain, shown, stringy
from seqcls_beam.reading.formats.fitting import fitted
from seqcls_beam.reading.formats.pieces import CHUNK, HEAD, LOOKED_AT, Piece, sampled
from seqcls_beam.reading.formats.row_groups import MAX_ROW_BYTES, decoded
from seqcls_beam.reading.formats.signatures import no_parquet
from seqcls_beam.reading.values import as_json
from seqcls_beam.rows import row_in_python, with_lists
from seqcls_beam.schema import with_classes


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns of the first that has rows, or at least a footer; with the names of their classes."""
    found = None
    for file, piece in sampled(pieces, LOOKED_AT):
        parquet = _open(file, piece)[0]
        if not isinstance(parquet, str) and (found is None or parquet.metadata.num_rows):
            there = parquet.schema_arrow
            kinds = [pa.field(each.name, plain(each.type)) for each in there]
            found = pa.schema([with_classes(each, classes_in(there, each.name)) for each in kinds])
            if parquet.metadata.num_rows:
                break
    return found


def named(pieces: list[Piece], names: set[str]) -> tuple[str, ...]:
    """Those of some columns whose class numbers have names in one of the first files."""
    found: set[str] = set()
    for file, piece in sampled(pieces):
        parquet = _open(file, piece)[0]
        if not isinstance(parquet, str):
            found |= {name for name in names if classes_in(parquet.schema_arrow, name) is not None}
    return tuple(sorted(found))


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Row groups of a Parquet file → blocks."""
    parquet, watched = _open(file, piece)
    if isinstance(parquet, str):
        if piece.start == 0:  # once a file, of which no piece says how much of it it is
            file.seek(0)
            detail = no_parquet(file.read(HEAD)) or parquet
            yield Fault(0, "unreadable_file", f"not a Parquet file: {detail}", b"", 0)
        return
    footer = parquet.metadata
    rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    share = piece.size / max(sum(rows), 1)  # bytes a row, so that progress grows with the rows
    groups = range(piece.start, len(rows) if piece.end < 0 else piece.end)
    row, here = sum(rows[: piece.start]), sum(rows[group] for group in groups)
    there = Counter(parquet.schema_arrow.names)
    lacking = [name for name in layout.names if there[name] != 1]
    if lacking:
        detail = f"the file has the column {shown(lacking[0])} {there[lacking[0]]} times: {listed(there)}"
        yield Fault(row, "missing_column", detail[:1000], b"", int(share * here), here, int(share * here))
        return
    own = pa.schema([parquet.schema_arrow.field(name) for name in layout.names], parquet.schema_arrow.metadata)
    called = {name: classes_in(own, name) for name in layout.keep.names}
    noted = any(map(_noted, own.types))
    if noted:
        with suppress(pa.ArrowException):
            parquet = _as_stored(watched)
    begin = row
    for group in groups:
        past = row + rows[group]
        said = f"row group {group} has {rows[group]} rows"
        try:
            for batch, large in decoded(parquet, watched, watched.how, group, layout.names, CHUNK):
                if row + len(batch) > past:
                    raise ValueError("there are more")
                typed = _typed(batch, own) if noted else batch
                rejects = {each: _too_large(size) for each, size in large.items()}
                yield _block(typed, row, layout, called, rejects, int(share * (row + len(batch) - begin)))
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


def _open(file: Any, piece: Piece) -> tuple[Any, "_Watched"]:
    """An open file as Parquet, or what is wrong with it."""
    watched = _Watched(file, _how(piece))
    try:
        parquet = pq.ParquetFile(watched, **watched.how)
        footer = parquet.metadata
        rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        if min(rows, default=0) < 0 or sum(rows) != footer.num_rows:
            return f"its footer tells of {footer.num_rows} rows, and of {sum(rows)} in row groups", watched
        pa.schema(parquet.schema_arrow)  # names that are no UTF-8, types that Python has not
        return parquet, watched
    except Exception as error:  # as above
        watched.check()
        return f"{type(error).__name__}: {error}", watched


def _how(piece: Piece) -> dict[str, Any]:
    """How a file is read: from a disk pages as they come; from a store the columns of a row group in few requests."""
    local = storage.is_local(piece.path)
    return {"pre_buffer": not local, "buffer_size": 2**20 if local else 0, "page_checksum_verification": True}


def _noted(kind: pa.DataType) -> bool:
    """Whether a type is another to Arrow than to Parquet where it matters.

    That are lists of one length, or views; and strings of a type of their own, which are never left in dictionaries.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return stringy(plain(kind)) or _noted(kind.storage_type)
    return bool(with_lists(kind) != kind)


def _as_stored(file: "_Watched") -> Any:
    """The same file under the types of Parquet, without those of Arrow that its writer noted.

    Arrow refuses every null of a list of one length, which to Parquet is a list like any other. The note is passed over
    by giving it another name, as long as its own.
    """
    end = file.seek(0, 2)
    file.seek(end - 8)
    tail = file.read(8)
    size = int.from_bytes(tail[:4], "little")
    file.seek(end - 8 - size)
    before, key, after = file.read(size).rpartition(b"\x0cARROW:schema")
    footer = before + key.replace(b":", b"-") + after
    metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + footer + tail))
    return pq.ParquetFile(file, metadata=metadata, **file.how)


def _typed(batch: pa.RecordBatch, own: pa.Schema) -> pa.RecordBatch:
    """Columns that were read as they are stored, under the types that their writer noted."""
    for at, name in enumerate(batch.schema.names):
        with suppress(pa.ArrowException):  # its rows are rejected, where the layout has another type
            batch = batch.set_column(at, name, batch.column(at).cast(plain(own.field(name).type)))
    return batch


class _Watched:
    """A file that remembers what reading it raised: a disk or store that fails is no reason to reject a row group."""

    def __init__(self, file: Any, how: dict[str, Any]) -> None:
        self.file = file
        self.how = how  # Parquet is read of it
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


def _too_large(size: int) -> tuple[str, str]:
    return "record_too_large", f"the row has {size} bytes; at most {MAX_ROW_BYTES} are read, and no larger cell is kept"


def _block(
    batch: pa.RecordBatch,
    row: int,
    layout: Layout,
    called: dict[str, Classes],
    rejects: dict[int, tuple[str, str]],
    consumed: int,
) -> Block:
    """Rows → a block; `rejects` are those that cannot be read, and the others that are none are added."""
    texts = [fitted(batch.column(name), name, pa.string(), rejects, text=True) for name in layout.texts]
    keep = []
    for field in layout.keep:
        values = by_name(batch.column(field.name), field, called[field.name], layout, rejects)
        keep.append(fitted(values, field.name, field.type, rejects))
    return Block(
        positions=np.arange(row, row + len(batch)),
        texts=texts,
        keep=keep,
        rejects=rejects,
        raw=lambda number: as_json(row_in_python(batch, number)),
        consumed=consumed,
        called=called,
    )
