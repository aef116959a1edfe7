"""JSON lines: one row a line, an object. Blank lines between them are no rows.

Fast: blocks of lines are parsed by `pyarrow.json`. That parser takes more than we do (two objects on a line, an object
over two lines, NaN, bytes that are not UTF-8, integers that a double rounds), so a block is looked at before and after;
and it takes less (no number beyond doubles or half of a surrogate pair, though nobody reads that column). Where it
raises, the lines about which it complains are read by `json_faults`. A row is what its line alone says, whatever its
neighbours.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Block, Fault, rows_at_once
from seqcls_beam.reading.formats.columns import Layout, requested, shown, taken, text_columns, untyped
from seqcls_beam.reading.formats.json_faults import EXACT, Column, narrow
from seqcls_beam.reading.formats.json_shapes import OF_ARRAY, OF_OBJECTS, count_values, other_shape
from seqcls_beam.reading.formats.json_text import Object, has_more_values, members, no_numbers
from seqcls_beam.reading.formats.json_types import infer
from seqcls_beam.reading.formats.lines import Lines, read_lines
from seqcls_beam.reading.formats.pieces import Piece, sampled

MAX_VALUES = 2**18  # of a record: more are rejected, since each takes up to 400 bytes in Python's parser
LEAF = 16  # lines that are read one by one where the parser raises; more of them the longer it goes on raising
BLANK = b" \t\r\n"
_ROW = re.compile(r"in row (\d+)")


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns that their first lines have, and the types that fit most of their values.

    Raises `ValueError` for a file that is JSON and no JSON lines, and for a column that is asked for and has no type.
    """
    texts = text_columns(options)
    rows: list[Object] = []
    for file, piece in sampled(pieces):
        found = list(read_lines(file, piece, options.encoding))
        lines = [line for each in found for line in _texts(each, options.encoding)]
        objects = [row for row in map(_object, lines) if row is not None]
        cut = bool(found) and isinstance(found[-1], Fault)
        shape = other_shape("\n".join(lines), objects=bool(objects), cut=cut)
        if shape:
            name = shlex.quote(piece.path)
            files = "" if piece.name == "-" else f" {name} > {name}.jsonl"
            raise ValueError(
                f"{piece.name}: it seems to be {shape[0]}, and JSON lines have one object a line; make them with: "
                f"{shape[1]}{files}"
            )
        rows += [row for row in objects if all(isinstance(dict(row).get(name), str | None) for name in texts)]
    if not rows:
        return None
    schema, why = infer(rows, texts)
    requests, pins = options.keep_columns or (), _pins(options)
    asked = {*why} if "*" in requests else {*requests, options.id_column}
    for name in why:
        if name in asked and name not in pins:
            raise ValueError(
                f"column {shown(name)} of the first files {why[name]}, and so has no one type that it can be kept "
                f"under: {untyped(name, options)}"
            )
    return schema


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Piece of a JSON-lines file → blocks."""
    parser = Parser(layout)
    first = True  # no line was seen yet that is not blank
    for lines in read_lines(file, piece, layout.options.encoding):
        if first:
            lost = _lost(lines, piece, layout.options.encoding)
            if lost is not None:
                yield lost
                return
            first = not _filled(lines)
        if isinstance(lines, Fault):
            yield lines
            continue
        for low in range(0, len(lines), parser.most):
            block = parser.block(lines.some(low, min(low + parser.most, len(lines))))
            if len(block.positions):
                yield block


class Parser:
    """Lines → blocks, under the types of a layout. A "line" may also be any text with line ends in it, as a message is.

    `cured`: what is no row is told what would help if the whole file were like it.
    """

    def __init__(self, layout: Layout, cured: bool = True) -> None:
        self.layout = layout
        self.cured = cured
        kept = {field.name: field.type for field in layout.keep}
        self.schema = pa.schema(list({**kept, **dict.fromkeys(layout.texts, pa.string())}.items()))
        pins = _pins(layout.options)
        self.columns = []
        for name, type in zip(self.schema.names, self.schema.types, strict=True):
            numbers = type == pa.string() and name not in layout.texts
            self.columns.append(Column(name, f"{json.dumps(name)}:", type, numbers, numbers and name in pins))
        # A key that a struct lacks is only seen where the parser may infer it.
        self.unexpected = "infer" if any(_has(field.type, pa.types.is_struct) for field in self.schema) else "ignore"
        self.most = rows_at_once(self.schema)  # lines of a block
        self.doubles = [field.name for field in self.schema if _has(field.type, pa.types.is_floating)]
        # Of the lines under way: number → (reason, detail), number → what is read of it.
        self.rejects: dict[int, tuple[str, str]] = {}
        self.narrow: dict[int, bytes] = {}

    def block(self, lines: Lines) -> Block:
        """Lines → the rows among them."""
        self.rejects = {**lines.invalid, **_crowded(lines)}
        blank, odd, candidates = self._look(lines)
        self._one_by_one(lines, odd)
        # Where the parser infers, it makes a column of every key that some row has.
        most = 4 * blocks.MAX_CELLS // max(lines.data.count(b":"), 1) if self.unexpected == "infer" else self.most
        parsed = [*self._parse(lines, candidates, max(most, 1)), *self._narrowed()]
        table = pa.concat_tables([table for _, table in parsed]) if parsed else self.schema.empty_table()
        rows = np.setdiff1d(np.arange(len(lines)), blank, assume_unique=True) if len(blank) else np.arange(len(lines))
        columns = {name: _joined(table[name]) for name in self.schema.names}
        rejects = self.rejects
        if len(parsed) > 1 or rejects:
            # Every row to its place; rejected ones are null.
            place = np.full(len(lines), -1, np.int64)
            place[np.concatenate([np.empty(0, np.int64), *(numbers for numbers, _ in parsed)])] = np.arange(len(table))
            index = pa.array(place[rows], mask=place[rows] < 0)
            columns = {name: taken(values, index) for name, values in columns.items()}
            bad = np.searchsorted(rows, np.array(list(rejects), np.int64)).tolist()
            rejects = dict(zip(bad, rejects.values(), strict=True))
        return Block(
            positions=lines.positions[rows],
            texts=[columns[name] for name in self.layout.texts],
            keep=[columns[name] for name in self.layout.keep.names],
            rejects=rejects,
            raw=lambda row: lines.raw(int(rows[row])),
            consumed=lines.consumed,
        )

    def _look(self, lines: Lines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lines → of those that are not rejected (blank ones, those read one by one, those that may be parsed)."""
        view = np.frombuffer(lines.data, np.uint8)
        plain = (view[lines.starts] == ord("{")) & (view[lines.ends - 1] == ord("}"))
        empty = lines.starts == lines.ends
        blank = np.flatnonzero(empty).tolist()
        for line in np.flatnonzero(~(plain | empty)).tolist():
            bare = lines.line(line).strip(BLANK)
            plain[line] = bare.startswith(b"{") and bare.endswith(b"}")
            if not bare:
                blank.append(line)
        plain[[line for line in np.searchsorted(lines.ends, no_numbers(lines.data)) if line < len(lines)]] = False
        plain[list(self.rejects)] = False
        odd = np.setdiff1d(np.flatnonzero(~plain), [*blank, *self.rejects], assume_unique=True)
        return np.sort(np.array(blank, np.int64)), odd, np.flatnonzero(plain)

    def _parse(self, lines: Lines, numbers: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Line numbers → (numbers, their rows), at most so many at once; lines that are no rows are rejected."""
        leaf, window = LEAF, most
        while len(numbers):
            window = min(window, most)
            some = numbers[:window]
            table, stop = self._try(_joined_lines(lines, some), len(some))
            if table is not None:
                yield from self._checked(lines, some, table)
                numbers, window = numbers[window:], 2 * window
            elif stop is not None:
                # Where line after line is refused, asking costs more than reading them.
                leaf = LEAF if stop else 2 * leaf
                yield from self._parse(lines, some[:stop], most)
                self._one_by_one(lines, some[stop : stop + leaf])
                numbers, window = numbers[min(stop + leaf, window) :], 2 * max(stop, leaf)
            elif len(some) > LEAF:
                window = len(some) // 2
            else:
                self._one_by_one(lines, some)
                numbers = numbers[window:]

    def _checked(self, lines: Lines, numbers: np.ndarray, table: pa.Table) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Line numbers and rows → the same; those where a double may be a rounded integer are read again."""
        large = sorted({row for name in self.doubles for row in _large(_joined(table[name]))})
        if large:
            self._one_by_one(lines, numbers[large])
            small = np.setdiff1d(np.arange(len(numbers)), large, assume_unique=True)
            numbers, table = numbers[small], table.take(small)
        yield numbers, table

    def _one_by_one(self, lines: Lines, numbers: np.ndarray) -> None:
        """Judge lines by Python's parser: those that are rows wait for `_narrowed`, the others are rejected."""
        known: dict[bytes, bytes | tuple[str, str]] = {}  # where there are many such lines, most are alike
        for line in numbers.tolist():
            data = lines.line(line)
            found = known.get(data)
            if found is None:
                found = known[data] = narrow(data.decode(), self.columns, self.cured)
            if isinstance(found, bytes):
                self.narrow[line] = found
            else:
                self.rejects[line] = found

    def _narrowed(self) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """The rows that Python's parser found, if any; the fast one makes their values, as it does of all others."""
        if self.narrow:
            numbers = sorted(self.narrow)
            data = b"\n".join([*map(self.narrow.__getitem__, numbers), b""])
            table, _ = self._try(data, len(numbers))
            if table is None:
                raise RuntimeError(f"pyarrow.json takes not all lines of {data[:1000]!r}")
            yield np.array(numbers, np.int64), table
            self.narrow = {}

    def _try(self, data: Any, rows: int) -> tuple[pa.Table | None, int | None]:
        """So many rows, or None and, if it is known, the row at which the parser stopped."""
        try:
            table = pj.read_json(
                pa.BufferReader(data),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
                parse_options=pj.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior=self.unexpected),
            )
        except pa.ArrowInvalid as error:
            row = _ROW.search(str(error))
            return None, int(row[1]) if row and int(row[1]) < rows else None
        table = table.select(self.schema.names)
        return (table if table.num_rows == rows and table.schema.equals(self.schema) else None), None


def _object(line: str) -> Object | None:
    """Line → its members, if it is an object that is not too large."""
    bare = line.strip()
    if not (bare.startswith("{") and bare.endswith("}")) or has_more_values(line, MAX_VALUES):
        return None
    try:
        return Object((name, value) for name, value, _, _ in members(line))
    except ValueError:
        return None


def _pins(options: ReadOptions) -> dict[str, pa.DataType]:
    """Columns whose type was asked for."""
    return {name: type for name, type in map(requested, options.keep_columns or ()) if type is not None}


def _crowded(lines: Lines) -> dict[int, tuple[str, str]]:
    """Lines that have too many values: number → (reason, detail)."""
    long = [
        line for line in np.flatnonzero(lines.ends - lines.starts > MAX_VALUES).tolist() if line not in lines.invalid
    ]
    crowded = [line for line in long if has_more_values(lines.line(line).decode(), MAX_VALUES)]
    return dict.fromkeys(crowded, ("record_too_large", f"arrays and objects of it have more than {MAX_VALUES} values"))


def _lost(lines: Lines | Fault, piece: Piece, encoding: str) -> Fault | None:
    """What a file begins with → that all its rows are lost, where it is one line: an array, or several objects.

    As one rejected row it would weigh no more than one.
    """
    filled = _filled(lines)
    if isinstance(lines, Fault):
        (line,) = _texts(lines, encoding)
        if lines.reason != "record_too_large" or not other_shape(line, objects=False, cut=True):
            return None
        position, raw, rows = lines.position, lines.raw, None
    elif len(filled) == 1 and filled[0] not in lines.invalid:
        line, position, raw = lines.line(filled[0]).decode(), int(lines.positions[filled[0]]), lines.raw(filled[0])
        rows = count_values(line)
        if rows is None:
            return None
    else:
        return None
    with piece.open() as file:
        count = 0
        for each in read_lines(file, replace(piece, start=0, end=-1), encoding):
            count += len(_filled(each))
            if count > 1:
                return None
    array = line.lstrip().startswith("[")
    what, cure = ("one JSON array", OF_ARRAY) if array else ("objects without line ends between them", OF_OBJECTS)
    detail = f"the file is {what}, and JSON lines have one object a line; make them with: {cure} FILE > FILE.jsonl"
    return Fault(position, "unreadable_file", detail, raw, 0, rows, piece.size)


def _texts(lines: Lines | Fault, encoding: str) -> list[str]:
    """What of lines can be read."""
    if isinstance(lines, Fault):
        return [lines.raw.decode(encoding, "replace")]
    return [lines.line(line).decode() for line in range(len(lines)) if line not in lines.invalid]


def _filled(lines: Lines | Fault) -> list[int]:
    """The first two of some lines that are not blank."""
    if isinstance(lines, Fault):
        return [0]
    there = np.flatnonzero(lines.starts < lines.ends)
    return list(islice((line for line in map(int, there) if lines.line(line).strip(BLANK)), 2))


def _joined_lines(lines: Lines, numbers: np.ndarray) -> Any:
    """Lines, the last with an end, too: the parser cuts off what follows the last one and parses it apart."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers) and last + 1 < len(lines):
        return memoryview(lines.data)[lines.starts[first] : lines.starts[last + 1]]
    if last - first + 1 == len(numbers) and lines.ends[last] < len(lines.data):
        return memoryview(lines.data)[lines.starts[first] :]
    return b"\n".join([*(lines.line(line) for line in numbers.tolist()), b""])


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _has(type: pa.DataType, is_wanted: Any) -> bool:
    """Whether a type, or one within it, is of a kind."""
    return is_wanted(type) or any(_has(type.field(i).type, is_wanted) for i in range(type.num_fields))


def _large(values: pa.Array) -> list[int]:
    """Rows with a double that an integer may have been rounded to."""
    if pa.types.is_floating(values.type):
        return np.flatnonzero(~(np.abs(values.fill_null(0).to_numpy()) < EXACT)).tolist()
    if pa.types.is_list(values.type):
        parents = pc.list_parent_indices(values).to_numpy()
        return parents[_large(values.flatten())].tolist()
    if pa.types.is_struct(values.type):
        return [row for field in values.flatten() for row in _large(field)]
    return []
