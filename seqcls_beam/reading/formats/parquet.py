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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.footers import classes_in
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.classes import Classes, by_name
from seqcls_beam.reading.formats.columns import Layout, listed, plain, shown
from seqcls_beam.reading.formats.fitting import fitted
from seqcls_beam.reading.formats.pieces import CHUNK, HEAD, LOOKED_AT, Piece, sampled
from seqcls_beam.reading.formats.signatures import no_parquet
from seqcls_beam.reading.values import as_json
from seqcls_beam.rows import is_list, row_in_python, with_lists
from seqcls_beam.schema import with_classes

MAX_ROWS = 2**16  # rows decoded at a time
MAX_DECODED = 128 * 2**20  # bytes that those may take if each is the largest value of its dictionary
_FIRST = 16  # rows that are decoded to see the dictionaries


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
            for batch in _decoded(parquet, watched, group, layout.names):
                batch.validate()  # a damaged offset would end the process later
                if row + len(batch) > past:
                    raise ValueError("there are more")
                typed = _typed(batch, own) if noted else batch
                yield _block(typed, row, layout, called, int(share * (row + len(batch) - begin)))
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
    """Whether a type has lists that are others to Arrow than to Parquet: of one length, or views."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
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
    first = pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=texts, **file.how)
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
    if is_list(kind):
        return _most(values) * _largest(values.values)
    return int(values.nbytes)


def _most(values: pa.Array) -> int:
    lengths = np.diff(values.offsets) if pa.types.is_map(values.type) else pc.list_value_length(values)
    return int(pc.max(lengths).as_py() or 0)


def _block(batch: pa.RecordBatch, row: int, layout: Layout, called: dict[str, Classes], consumed: int) -> Block:
    rejects: dict[int, tuple[str, str]] = {}
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
