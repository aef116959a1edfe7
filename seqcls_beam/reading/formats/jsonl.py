"""JSON lines: one row a line, an object. Blank lines between them are no rows.

Fast: blocks of lines are parsed by `pyarrow.json`. That parser takes more than we do (two objects on a line, an object
over two lines, NaN, bytes that are not UTF-8), so a block is looked at first; and where it raises, the block is halved
until the lines that are no rows stand alone. A row is what the parser makes of its line alone, whatever its neighbours.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, invalid_rows, text_columns
from seqcls_beam.reading.formats.json_faults import find_fault
from seqcls_beam.reading.formats.json_types import infer
from seqcls_beam.reading.formats.lines import Lines, read_lines
from seqcls_beam.reading.formats.pieces import Piece, sampled

LEAF = 64  # lines that are not halved further but judged one by one
BLANK = b" \t\r"
_NO_NUMBER = re.compile(rb"(?:NaN|Inf(?:inity)?)[ \t\r]*[,}\]]")


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns that their first lines have, and the types that fit most of their values."""
    texts = text_columns(options)
    rows = []
    for file, piece in sampled(pieces):
        for lines in read_lines(file, piece):
            if isinstance(lines, Lines):
                found = map(lines.raw, range(len(lines)))
                rows += [line for line in found if find_fault(line, [], texts) is None]
    return infer(rows, texts) if rows else None


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Piece of a JSON-lines file → blocks."""
    parser = _Parser(layout)
    for lines in read_lines(file, piece):
        block = lines if isinstance(lines, Fault) else parser.block(lines)
        if isinstance(block, Fault) or len(block.positions):
            yield block


class _Parser:
    """Lines → blocks, under the types of a layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        kept = {field.name: field.type for field in layout.keep}
        self.schema = pa.schema(list({**kept, **dict.fromkeys(layout.texts, pa.string())}.items()))
        self.rejects: dict[int, tuple[str, str]] = {}  # of the lines under way: number → (reason, detail)

    def block(self, lines: Lines) -> Block:
        """Lines → the rows among them."""
        blank, candidates = self._look(lines)
        parsed = list(self._parse(lines, candidates))
        table = pa.concat_tables([table for _, table in parsed]) if parsed else self.schema.empty_table()
        rows = np.setdiff1d(np.arange(len(lines)), blank, assume_unique=True) if len(blank) else np.arange(len(lines))
        columns = {name: _joined(table[name]) for name in self.schema.names}
        rejects: dict[int, tuple[str, str]] = {}
        if self.rejects:
            # Parsed rows take their places between the rejected ones, which are null.
            place = np.full(len(lines), -1, np.int64)
            place[np.concatenate([np.empty(0, np.int64), *(numbers for numbers, _ in parsed)])] = np.arange(len(table))
            index = pa.array(place[rows], mask=place[rows] < 0)
            columns = {name: values.take(index) for name, values in columns.items()}
            rejects = {int(np.searchsorted(rows, line)): fault for line, fault in self.rejects.items()}
            self.rejects = {}
        return Block(
            positions=lines.starts[rows] + lines.offset,
            texts=[columns[name] for name in self.layout.texts],
            keep=[columns[name] for name in self.layout.keep.names],
            rejects=rejects,
            raw=lambda row: lines.raw(int(rows[row])),
            consumed=lines.consumed,
        )

    def _look(self, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
        """Lines → (blank ones, those that may be parsed); the rest is rejected here."""
        view = np.frombuffer(lines.data, np.uint8)
        framed = (view[lines.starts] == ord("{")) & (view[lines.ends - 1] == ord("}"))
        blank = []
        for line in np.flatnonzero(~framed).tolist():
            bare = lines.raw(line).strip(BLANK)
            framed[line] = bare.startswith(b"{") and bare.endswith(b"}")
            if not bare:
                blank.append(line)
            elif not framed[line]:
                self._reject(lines, line)
        suspects = set(np.searchsorted(lines.ends, _no_numbers(lines.data)).tolist()) - {len(lines)}
        if not lines.valid_utf8():
            suspects |= set(invalid_rows(map(lines.raw, range(len(lines)))))
        for line in suspects:
            if framed[line] and self._fault(lines, line) is not None:
                framed[line] = False
                self._reject(lines, line)
        return np.array(blank, np.int64), np.flatnonzero(framed)

    def _parse(self, lines: Lines, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Line numbers → (numbers, their rows), in order; lines that are no rows are rejected."""
        if not len(numbers):
            return
        table = self._try(lines, numbers)
        if table is not None:
            yield numbers, table
        elif len(numbers) > LEAF:
            half = len(numbers) // 2
            yield from self._parse(lines, numbers[:half])
            yield from self._parse(lines, numbers[half:])
        elif len(numbers) == 1:
            self._reject(lines, int(numbers[0]))
        else:
            # Python's parser only says which lines to try alone, which saves calls; of those, too, `_try` decides.
            doubted = np.array([self._fault(lines, int(line)) is not None for line in numbers])
            alone = doubted if doubted.any() else np.ones(len(numbers), bool)
            for group in np.split(numbers, np.flatnonzero(np.diff(alone) | alone[1:]) + 1):
                yield from self._parse(lines, group)

    def _try(self, lines: Lines, numbers: np.ndarray) -> pa.Table | None:
        """The rows of some lines, or None where the parser raises or sees another number of rows."""
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            # With its line end: the parser cuts off what follows the last \r or \n and parses it apart.
            begin = int(lines.starts[first])
            data: Any = memoryview(lines.data)[begin : lines.data.index(b"\n", int(lines.ends[last])) + 1]
        else:
            data = b"\n".join([*(lines.raw(line) for line in numbers.tolist()), b""])
        try:
            table = _read_json(data, self.schema)
        except pa.ArrowInvalid:
            return None
        return table if table.num_rows == len(numbers) else None

    def _fault(self, lines: Lines, line: int) -> tuple[str, str] | None:
        return find_fault(lines.raw(line), self.schema.names, self.layout.texts)

    def _reject(self, lines: Lines, line: int) -> None:
        self.rejects[line] = self._fault(lines, line) or ("wrong_type", self._misfit(lines.raw(line)))

    def _misfit(self, line: bytes) -> str:
        """The first column whose value the parser does not take, and what it says."""
        for field in self.schema:
            try:
                _read_json(line + b"\n", pa.schema([field]))
            except pa.ArrowInvalid as error:
                return f"{field.name!r} is no {field.type}: {error}"
        return "the line does not fit the columns"


def _read_json(data: Any, schema: pa.Schema) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(data),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _no_numbers(data: bytes) -> list[int]:
    """Where NaN or Infinity may stand as a value: `pyarrow.json` takes them, and JSON has no such thing."""
    found = []
    for word in (b"NaN", b"Inf"):
        at = data.find(word)
        while at >= 0:
            if _NO_NUMBER.match(data, at):
                found.append(at)
            at = data.find(word, at + 1)
    return found


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
