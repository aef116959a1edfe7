"""A unit of work → RECORD batches, whatever its files are.

Rows come from the format modules in blocks as large as reading likes them; here they are cut and joined, across small
files, to the batches that travel. Knows units and batches; of formats only the names.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from dataclasses import field as a_field
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import delimited, jsonl, parquet, text
from seqcls_beam.reading.formats.blocks import Block, Fault, to_columns
from seqcls_beam.reading.formats.columns import Layout, pin
from seqcls_beam.reading.formats.pieces import InputChanged, Piece
from seqcls_beam.rows import row_bytes
from seqcls_beam.schema import Mark, record

__all__ = ["InputChanged", "Layout", "plan_layout", "read_unit"]

MAX_BATCH_BYTES = 32 * 2**20  # a batch of long rows has fewer; a text that is kept counts twice
_MODULES: dict[str, Any] = {"text": text, "jsonl": jsonl, "csv": delimited, "tsv": delimited, "parquet": parquet}


def plan_layout(files: pa.RecordBatch, options: ReadOptions) -> Layout:
    """UNIT rows of whole files, in order → Layout, by a look at the first of them.

    Files of several formats are laid out as those of the first one's. Raises `ValueError` for a column that is asked
    for and cannot be read or kept, naming those there are, and `InputChanged`.
    """
    pieces = [Piece(**row) for row in files.slice(0, 1000).to_pylist()]  # of a million, enough to sample from
    format = pieces[0].format if pieces else "text"
    same = [piece for piece in pieces if piece.format == format]
    return pin(options, format, _MODULES[format].columns(same, options))


def read_unit(unit: pa.RecordBatch, layout: Layout) -> Iterator[pa.RecordBatch]:
    """UNIT → RECORD batches of `batch_rows` rows, fewer in the last and where texts are long; each carries its `Mark`.

    So must `unit`. Exactly one batch, the last, has `last` set; of a unit without rows it is empty. A file that is gone
    is a reject. Raises `InputChanged`, and what the disk or the store raises.
    """
    began = time.perf_counter()
    mark = Mark.of(unit)
    queue = _Queue(layout)
    inputs: list[dict[str, Any]] = []
    done = sequence = rows = 0
    for piece in (Piece(**row) for row in unit.to_pylist()):
        inputs.append({**asdict(piece), "rows": 0})
        consumed = 0
        for block in _read(piece, layout):
            columns = to_columns(block.block(layout) if isinstance(block, Fault) else block, layout)
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


def _read(piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    try:
        file = piece.open()
    except FileNotFoundError as error:
        yield Fault(0, "vanished_file", str(error), b"", 0)
        return
    with file:
        yield from _MODULES[piece.format].read(file, piece, layout)


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
        return pa.RecordBatch.from_arrays([sources, *columns.columns], schema=schema)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
