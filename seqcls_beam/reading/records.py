"""A unit of work → RECORD batches, whatever its files are.

Rows come from the format modules in blocks as large as reading likes them; here they are cut and joined, across small
files, to the batches that travel. Knows units and batches; of formats only the names.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from dataclasses import field as a_field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import folders
from seqcls_beam.reading.formats import delimited, jsonl, parquet, text, textfile
from seqcls_beam.reading.formats.blocks import Block, Fault, to_columns
from seqcls_beam.reading.formats.columns import Layout, pin, requested
from seqcls_beam.reading.formats.pieces import InputChanged, InputFailed, Piece
from seqcls_beam.rows import row_bytes
from seqcls_beam.schema import LOSSES, Mark, record

__all__ = ["InputChanged", "Layout", "plan_layout", "read_unit", "read_unit_again"]

PAUSE = 2.0  # seconds: a writer that replaces a file and puts it back, or a store that lags, may be done then
MAX_BATCH_BYTES = 16 * 2**20  # a batch of long rows has fewer; a text that is kept counts twice
_MODULES: dict[str, Any] = {
    "text": text,
    "textfile": textfile,
    "jsonl": jsonl,
    "csv": delimited,
    "tsv": delimited,
    "parquet": parquet,
}


def plan_layout(files: pa.RecordBatch, options: ReadOptions) -> Layout:
    """UNIT rows of whole files, in order → Layout, by a look at the first of them.

    Files of several formats are laid out as those of the first one's. Raises `ValueError` for a column that is asked
    for and cannot be read or kept, naming those there are, and `InputChanged`.
    """
    pieces = [Piece(**row) for row in files.slice(0, 1000).to_pylist()]  # of a million, enough to sample from
    format = pieces[0].format if pieces else "text"
    same = [piece for piece in pieces if piece.format == format]
    there = _MODULES[format].columns(same, options)
    in_files = [] if there is None else there.names
    named = folders.names(files, options)
    # What stands in the file counts before what its folder is called, where it is kept.
    asked, kept = _of_folders([name for name in named if name not in in_files or options.keep_columns is None], options)
    layout = pin(asked, format, there, same[0].name if len(files) == 1 else "the first files")
    kept = [field for field in kept if field.name not in layout.keep.names]
    _refuse_misfits(files, kept)
    strings = {field.name for field in layout.keep if field.type == pa.string()} - set(layout.texts)
    return Layout(
        options,
        pa.schema([*layout.keep, *kept]),
        folders=tuple(field.name for field in kept),
        named=parquet.named([piece for piece in pieces if piece.format == "parquet"], strings) if strings else (),
        both=tuple(name for name in named if name in in_files),
        sourced=options.keep_source or not {"text", "textfile"}.isdisjoint(files["format"].to_pylist()),
    )


def _of_folders(named: list[str], options: ReadOptions) -> tuple[ReadOptions, list[pa.Field]]:
    """Columns that folders have → (the options without those of them that are asked for; those that are kept).

    All are kept where nobody says which columns to keep.
    """
    if options.keep_columns is None:
        return options, [pa.field(name, pa.string()) for name in named]
    types: dict[str, pa.DataType] = {}
    rest = []
    for request in options.keep_columns:
        name, type = requested(request)
        if name == "*":
            types = {**dict.fromkeys(named, pa.string()), **types}
        if name in named:
            types[name] = type or pa.string()
        else:
            rest.append(request)
    return replace(options, keep_columns=tuple(rest)), [pa.field(name, type) for name, type in types.items()]


def _refuse_misfits(files: pa.RecordBatch, kept: list[pa.Field]) -> None:
    """Raise `ValueError` where a folder's value is not of the type that is asked for."""
    for field in kept:
        for path in files["path"].to_pylist() if field.type != pa.string() else ():
            try:
                said = folders.value(path, field.name)
                if field.type == pa.bool_() and said in ("0", "1"):
                    raise pa.ArrowInvalid(f"{said!r}, which is a number")
                pa.scalar(said).cast(field.type)
            except pa.ArrowInvalid as error:
                raise ValueError(
                    f"--keep_columns={field.name}:{field.type}: the folders of {path} say {error}"
                ) from error


def read_unit(unit: pa.RecordBatch, layout: Layout) -> Iterator[pa.RecordBatch]:
    """UNIT → RECORD batches of `batch_rows` rows, fewer in the last and where texts are long; each carries its `Mark`.

    So must `unit`. Exactly one batch, the last, has `last` set; of a unit without rows it is empty. What cannot be read
    of a file is one rejected row, and stands in the last mark's `inputs` with what it cost. Raises `InputChanged` where
    a file is gone, or is another one before, while or after it is read: the last batch comes only of files that are as
    they were planned. Raises what the disk or the store does.
    """
    began = time.perf_counter()
    mark = replace(Mark.of(unit), sourced=layout.sourced)
    queue = _Queue(layout)
    layout = layout.in_files
    inputs: list[dict[str, Any]] = []
    done = sequence = rows = 0
    for piece in (Piece(**row) for row in unit.to_pylist()):
        inputs.append({**asdict(piece), "rows": 0, "losses": []})
        consumed = 0
        for block in _read(piece, layout, inputs[-1]):
            columns = to_columns(block.block(layout) if isinstance(block, Fault) else block, layout)
            if isinstance(block, Fault) and block.reason in LOSSES:
                inputs[-1]["losses"].append(_loss(block, piece, inputs[-1]["rows"]))
            else:
                inputs[-1]["rows"] += len(columns)
            consumed = block.consumed
            queue.put(piece.path, columns, done + consumed)
            while queue.over():
                before, batch = int(queue.consumed), queue.take()
                rows += len(batch)
                now = replace(mark, sequence=sequence, rows=rows, bytes=int(queue.consumed) - before)
                yield now.spent("read", time.perf_counter() - began).on(batch)
                began = time.perf_counter()
                sequence += 1
        done += _size(piece, consumed)
    before, batch = int(queue.consumed), queue.take()
    now = replace(mark, sequence=sequence, last=True, rows=rows + len(batch), bytes=done - before, inputs=inputs)
    yield now.spent("read", time.perf_counter() - began).on(batch)


def read_unit_again(unit: pa.RecordBatch, layout: Layout) -> Iterator[pa.RecordBatch]:
    """As `read_unit`; where a file has changed all batches once more from the first, for it may have been put back.

    Whoever takes them drops what it has of the unit where the `sequence` of a `Mark` is 0 again.
    """
    try:
        yield from read_unit(unit, layout)
    except InputChanged:
        time.sleep(PAUSE)
        yield from read_unit(unit, layout)


def _read(piece: Piece, layout: Layout, told: dict[str, Any]) -> Iterator[Block | Fault]:
    """The rows of a piece; `told` is what its unit says of it."""
    try:
        with piece.open() as file:
            if not piece.size and file.read(1):  # as what the kernel makes of a file when it is asked for
                raise InputChanged.of(piece.path, "0 bytes", "more")
            yield from _MODULES[piece.format].read(file, piece.stored(file), layout)
        seen = piece.verify(file)
    except storage.Replaced as error:
        planned = f"{piece.size} bytes (version {piece.version})"
        raise InputChanged.of(piece.path, planned, "others, from the middle of it on") from error
    except FileNotFoundError as error:
        raise piece.gone() from error
    except OSError as error:
        raise InputFailed(f"{piece.name} cannot be read: {error}") from error
    if piece.start or piece.end >= 0:
        told["seen"] = seen


def _loss(fault: Fault, piece: Piece, rows: int) -> dict[str, Any]:
    """What a fault costs behind so many rows: reason, detail, rows (None: not known), bytes of the input, and `weight`.

    That says how the rows are known, or how what the bytes are worth is to be taken: `counted`, `estimated` or
    `at_least`.
    """
    size, lost, weight = fault.lost_bytes, fault.lost, "estimated" if fault.lost is None else "counted"
    if size is None:
        size = max((piece.size if piece.format == "parquet" else _size(piece, 0)) - fault.consumed, 0)
    if fault.reason == "truncated_file" and lost is None:
        if rows and fault.position and fault.missing is not None:
            lost = math.ceil((len(fault.raw) + fault.missing) * rows / fault.position)
        else:
            weight = "at_least"  # what is behind the end is in no file
    return {"reason": fault.reason, "detail": fault.detail, "rows": lost, "bytes": size, "weight": weight}


def _size(piece: Piece, consumed: int) -> int:
    """Input bytes of a piece that was read."""
    if piece.start == 0 and piece.end < 0:
        return piece.size
    if piece.format == "parquet":
        return consumed
    return (piece.size if piece.end < 0 else piece.end) - piece.start


@dataclass
class _Queue:
    """Rows that wait to fill a batch."""

    layout: Layout
    rows: int = 0
    size: int = 0
    consumed: float = 0.0  # input bytes up to the last row taken; within a block rows count alike
    # Rows of one file each: source, columns, cumulative sizes and the size before them, `consumed` at their end.
    parts: deque[tuple[str, pa.RecordBatch, np.ndarray, int, int]] = a_field(default_factory=deque)

    def put(self, source: str, columns: pa.RecordBatch, consumed: int) -> None:
        """Add rows of one file, RECORD without `source`; `consumed` is the input bytes of the unit up to their end."""
        sizes = np.cumsum(row_bytes(columns))  # so that to find how many rows fit is one search
        self.parts.append((source, columns, sizes, 0, consumed))
        self.rows += len(columns)
        self.size += int(sizes[-1])

    def over(self) -> bool:
        """Whether a batch can be taken that is full, and leaves a row for the next."""
        return self.rows > self.layout.options.batch_rows or (self.rows > 1 and self.size > MAX_BATCH_BYTES)

    def take(self) -> pa.RecordBatch:
        """A batch of as many rows as there may be, in order."""
        taken: list[tuple[str, pa.RecordBatch]] = []
        rows, room = self.layout.options.batch_rows, MAX_BATCH_BYTES
        while self.parts and rows:
            source, columns, sizes, before, consumed = self.parts[0]
            fit = min(rows, int(np.searchsorted(sizes, before + room, side="right")))
            if not fit and not taken:
                fit = 1  # a row larger than any batch is a batch
            if not fit:
                break
            taken.append((source, columns.slice(0, fit)))
            size = int(sizes[fit - 1]) - before
            self.consumed += (consumed - self.consumed) * fit / len(columns)
            self.parts.popleft()
            self.rows, self.size, rows, room = self.rows - fit, self.size - size, rows - fit, room - size
            if fit < len(columns):
                self.parts.appendleft((source, columns.slice(fit), sizes[fit:], before + size, consumed))
                break
        return self._join(taken)

    def _join(self, taken: list[tuple[str, pa.RecordBatch]]) -> pa.RecordBatch:
        schema = record(self.layout.keep, self.layout.options.text_pair_column is not None)
        if not taken:
            return _empty(schema)
        columns = pa.concat_batches([columns for _, columns in taken]) if len(taken) > 1 else taken[0][1]
        names = list(dict.fromkeys(source for source, _ in taken))
        number = {name: i for i, name in enumerate(names)}
        index = np.repeat([number[source] for source, _ in taken], [len(columns) for _, columns in taken])
        sources = pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(names, pa.string()))
        if self.layout.folders:
            columns = self._with_folders(columns, names, index)
        return pa.RecordBatch.from_arrays([sources, *columns.columns], schema=schema)

    def _with_folders(self, columns: pa.RecordBatch, paths: list[str], index: np.ndarray) -> pa.RecordBatch:
        """Rows with what the folders of their file say, where they are not rejected; `index` is the path of each."""
        children = columns["keep"].flatten()
        good = columns["reject"].is_null()
        for field in list(self.layout.keep)[len(children) :]:
            said = pa.array([folders.value(path, field.name) for path in paths], pa.string()).cast(field.type)
            children.append(pc.if_else(good, said.take(pa.array(index)), pa.scalar(None, field.type)))
        at = columns.schema.get_field_index("keep")
        return columns.set_column(at, "keep", pa.StructArray.from_arrays(children, fields=list(self.layout.keep)))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
