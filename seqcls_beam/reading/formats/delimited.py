"""CSV and TSV files: one row a record, fields by position, names from the header or from `column_names`.

Python's csv reader in strict mode decides what a record is: \\n, \\r\\n or a lone \\r ends one outside quotes, and is
text inside. Where the reader raises, only the line on which the record began is rejected, and reading goes on with the
next line: a stray quote costs one row and not the rest of the file.
"""

import csv
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, cast, listed, other_delimiter, shown, text_columns
from seqcls_beam.reading.formats.fed import Fed
from seqcls_beam.reading.formats.lines import MAX_LINES, Lines, read_lines
from seqcls_beam.reading.formats.pieces import Piece, sampled
from seqcls_beam.schema import LOSSES

_UNCLOSED = "unexpected end of data"  # as the csv module says it
MAX_NAMES = 2**18  # columns of a file: more are not read, since each takes some kilobytes while they are looked at
SEARCHED, _AGAIN = 64 * 2**20, 4  # bytes that may be read in vain for ends of quotes, and more for each byte read


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns that the first header names, all strings.

    Raises `ValueError` where names cannot be decoded, unless those that are asked for are among the others.
    """
    names = list(options.column_names or ())
    for file, piece in sampled(pieces):
        if not names:
            reader = _Reader(piece.format, options)
            next(reader.records(file, piece), None)
            names = reader.header
            if reader.garbled and not _found(names, options):
                raise ValueError(
                    f"{piece.name}: the names of its columns are not {options.encoding}: "
                    f"{listed(names)}; say with --encoding what the file is written in, such as cp1252"
                )
    return pa.schema([(name, pa.string()) for name in names]) if names else None


def _found(names: list[str], options: ReadOptions) -> bool:
    """Whether all names that are asked for are there, one by one."""
    asked = [*text_columns(options), *filter(None, [options.id_column]), *(options.keep_columns or ())]
    return all(name in names or name.rpartition(":")[0] in names for name in asked)


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Whole csv or tsv file → blocks."""
    reader = _Reader(piece.format, layout.options)
    found = reader.records(file, piece)
    nothing = True
    for records in found:
        nothing = False
        if isinstance(records, Fault):
            yield records
            continue
        if lacking := _lacking(reader.header, layout):
            yield from _missing(lacking, reader.header, chain([records], found))
            return
        yield records.block(reader.header, layout)
    # Of a file that is only a header nothing is lost: that it lacks the column is still said.
    if nothing and reader.header and (lacking := _lacking(reader.header, layout)):
        yield from _missing(lacking, reader.header, [])


def _lacking(header: list[str], layout: Layout) -> str | None:
    """The first column that is read and does not stand there once."""
    counts = Counter(header)
    return next((name for name in layout.names if counts[name] != 1), None)


def _missing(name: str, header: list[str], found: Iterable["_Records | Fault"]) -> Iterator[Fault]:
    """What is there of a file that lacks a column → one fault that has counted it, and what else befell the file."""
    lost = 0
    losses = []
    for each in found:
        if isinstance(each, Fault) and each.reason in LOSSES:
            losses.append(each)
        else:
            lost += len(each) if isinstance(each, _Records) else 1
    detail = f"the header has {shown(name)} {header.count(name)} times: {listed(header)}" + other_delimiter(header)
    yield Fault(0, "missing_column", detail, b"", 0, lost, None if lost or losses else 0)
    yield from losses


@dataclass
class _Records:
    """Records of whole lines; a rejected one has no fields.

    Fields stand one behind the other: a million small lists would keep the garbage collector busy.
    """

    lines: Lines
    fields: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)  # fields of each record
    firsts: list[int] = field(default_factory=list)  # its first line …
    pasts: list[int] = field(default_factory=list)  # … and one past its last
    rejects: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    def add(self, fields: list[str], first: int, past: int) -> None:
        """Append a record."""
        self.fields += fields
        self.counts.append(len(fields))
        self.firsts.append(first)
        self.pasts.append(past)

    def raw(self, record: int) -> bytes:
        """The bytes of a record, without its last line end."""
        first, past = self.firsts[record], self.pasts[record]
        return self.lines.stored[self.lines.begins[first] : self.lines.closes[past - 1]]

    def without_first(self) -> "_Records":
        """The records but for the first."""
        count = self.counts[0]
        rejects = {record - 1: fault for record, fault in self.rejects.items() if record}
        return _Records(self.lines, self.fields[count:], self.counts[1:], self.firsts[1:], self.pasts[1:], rejects)

    def block(self, header: list[str], layout: Layout) -> Block:
        """Records → the columns that are read."""
        rejects = dict(self.rejects)
        for line, fault in self.lines.invalid.items():
            record = bisect_right(self.firsts, line) - 1
            if record >= 0 and line < self.pasts[record]:
                rejects[record] = fault
        counts = np.array(self.counts)
        for count in set(self.counts) - {len(header)}:
            fault = ("ragged_row", f"{count} fields, but {len(header)} columns")
            rejects = dict.fromkeys(np.flatnonzero(counts == count).tolist(), fault) | rejects
        for record in self._again(header, counts):
            rejects.setdefault(record, ("wrong_type", "the row is the header again, as where files are joined"))
        places = {name: place for place, name in enumerate(header)}
        values = {name: self._column(places[name], len(header), rejects) for name in layout.names}
        keep = []
        for each in layout.keep:
            kept, misfits = _typed(values[each.name], each.type)
            keep.append(kept)
            for record in misfits:
                detail = f"{shown(each.name)} is no {each.type}: {values[each.name][record].as_py()[:80]!r}"
                rejects.setdefault(record, ("wrong_type", detail))
        positions = self.lines.positions[np.array(self.firsts)]
        texts = [values[name] for name in layout.texts]
        return Block(positions, texts, keep, rejects, self.raw, self.lines.consumed)

    def _again(self, header: list[str], counts: np.ndarray) -> list[int]:
        """Records that are the header, with or without a byte-order mark; of one column every name may be a text."""
        if len(header) == 1 or header[-1] not in self.fields:
            return []
        width = len(header)
        begins = (np.cumsum(counts) - counts)[counts == width].tolist()
        found = [self.fields[at + width - 1] == header[-1] and self._is(header, at) for at in begins]
        return np.flatnonzero(counts == width)[found].tolist()

    def _is(self, header: list[str], at: int) -> bool:
        first, *rest = self.fields[at : at + len(header)]
        return [first.removeprefix("\ufeff"), *rest] == header

    def _column(self, index: int, width: int, rejects: dict[int, tuple[str, str]]) -> pa.Array:
        values: list[str | None]
        if rejects:
            begins = (np.cumsum(self.counts) - self.counts).tolist()
            values = [None if i in rejects else self.fields[begin + index] for i, begin in enumerate(begins)]
        else:
            values = self.fields[index::width]  # type: ignore[assignment]
        return pa.array(values, pa.string())


def _typed(values: pa.Array, type: pa.DataType) -> tuple[pa.Array, list[int]]:
    """`cast` for fields: where a type is asked for, an empty field is null."""
    if type == pa.string():
        return values, []
    strings = [value or None for value in values.to_pylist()]
    return cast(pa.array(strings, pa.string()), type)


class _Reader:
    """Lines → records."""

    def __init__(self, format: str, options: ReadOptions) -> None:
        quote = options.quote if options.quote is not None else {"csv": '"', "tsv": ""}[format]
        delimiter = options.delimiter if options.delimiter is not None else {"csv": ",", "tsv": "\t"}[format]
        self.header = list(options.column_names or ())  # else known once the first records are there
        self.garbled = False  # names of columns cannot be decoded
        self._searched = 0  # bytes that were read in vain behind a line that was then rejected
        self._encoding = options.encoding
        self._dialect = csv.reader(  # made once: a reader is begun for every line that is rejected
            [],
            delimiter="\t" if delimiter == "\\t" else delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            strict=True,
        ).dialect

    def records(self, file: Any, piece: Piece) -> Iterator[_Records | Fault]:
        """Whole file → its records behind the header, some at a time, and what is wrong where there is none."""
        for found in self._with_header(file, piece):
            records = found
            if not self.header:
                problem = None
                if isinstance(records, Fault):
                    if records.reason in LOSSES:
                        yield records
                        return
                    problem = records.detail
                elif not len(records):
                    continue
                elif 0 in records.rejects:
                    problem = records.rejects[0][1]
                elif any("\0" in name for name in records.fields[: records.counts[0]]):
                    problem = "it holds U+0000"
                elif records.counts[0] > MAX_NAMES:
                    problem = f"it names {records.counts[0]} columns; at most {MAX_NAMES} are read"
                if problem is not None or isinstance(records, Fault):
                    yield Fault(0, "unreadable_file", f"its header: {problem}", b"", 0)
                    return
                self.header = records.fields[: records.counts[0]]
                self.garbled = any(line < records.pasts[0] for line in records.lines.invalid)
                records = records.without_first()
            if isinstance(records, Fault) or len(records):
                yield records

    def _with_header(self, file: Any, piece: Piece) -> Iterator[_Records | Fault]:
        csv.field_size_limit(2**31 - 1)  # `_some` bounds whole records instead
        open_: list[Lines] = []  # the lines of a record whose quote is still open where a block ends …
        size = parsed = 0  # … how many bytes they are, and how many of these were parsed in vain
        for found in read_lines(file, piece, self._encoding):
            if isinstance(found, Fault):
                if open_ and found.reason != "record_too_large":  # the cut goes through the open record
                    first = Lines.joined(open_)
                    raw = first.stored[first.begins[0] :] + found.raw
                    found = replace(found, position=int(first.positions[0]), raw=raw)
                elif open_:
                    yield from self._parse(Lines.joined(open_), final=True)
                open_, size, parsed = [], 0, 0
                yield found
                continue
            open_.append(found)
            size += _size(found, 0, len(found))
            # What was open is parsed again once there is twice as much of it, or all that a record may have.
            if size >= 2 * parsed or size > blocks.MAX_RECORD_BYTES:
                rest = yield from self._parse(Lines.joined(open_), final=False)
                open_ = [] if rest is None else [rest]
                size = parsed = 0 if rest is None else _size(rest, 0, len(rest))
        if open_:
            yield from self._parse(Lines.joined(open_), final=True)

    def _parse(self, lines: Lines, final: bool) -> Generator[_Records, None, Lines | None]:
        """Lines → their records, not too many at once; returned are the lines from the one on where one is still open.

        Each line is of a record, or blank; where there is one column, a blank line is a record.
        """
        fed = Fed(lines)
        width = len(self.header)
        at = 0  # the line where the next record begins
        while at < len(lines):
            records, past, ended = self._some(lines, fed, at, final, width)
            if records.counts:
                width = width or max(records.counts[0], 1)
                records.lines = lines.some(at, past)
                yield records
            if not ended:
                return lines.some(past)
            at = past
        return None

    def _some(self, lines: Lines, fed: Fed, at: int, final: bool, width: int) -> tuple[_Records, int, bool]:
        """Lines from one on → (some records, the line behind the last of them, False where one is open from there)."""
        records = _Records(lines)
        counts, begin, end = records.counts, at, len(lines)
        most = _most(width)
        while at < end and len(counts) < most:
            # Else, if each line opened a quote that nothing closes, each would be looked for to the end of the file.
            alone = self._searched > SEARCHED + _AGAIN * (lines.offset + int(lines.begins[at]))
            reader = csv.reader(islice(fed.lines(at), 1) if alone else fed.lines(at), self._dialect)
            base = first = at
            try:
                for fields in reader:
                    past = base + reader.line_num
                    if past - first > 1 and _size(lines, first, past) > blocks.MAX_RECORD_BYTES:
                        raise csv.Error(_UNCLOSED)
                    if fields or width == 1:
                        records.add(fields or [""], first - begin, past - begin)
                        if not width:
                            width, most = len(fields), _most(len(fields))
                    first = past
                    if len(counts) >= most:
                        break
                at = first
            except csv.Error as error:
                at = first + 1
                detail = str(error)
                size = _size(lines, first, max(min(base + reader.line_num, end), at))
                if detail == _UNCLOSED and alone:
                    detail = "a quote that is not closed on its line, as too many before it were not at all"
                elif detail == _UNCLOSED:
                    if not final and size <= blocks.MAX_RECORD_BYTES:
                        return records, first, False
                    detail = f"a quote that is not closed within {min(size, blocks.MAX_RECORD_BYTES)} bytes"
                self._searched += min(size, blocks.MAX_RECORD_BYTES)
                records.rejects[len(counts)] = ("unbalanced_quote", detail)
                records.add([], first - begin, at - begin)
        return records, at, True


def _most(width: int) -> int:
    """How many records of so many fields may be made at once."""
    return max(1, min(MAX_LINES, blocks.MAX_CELLS // max(width, 1)))


def _size(lines: Lines, first: int, past: int) -> int:
    """The bytes of some lines as stored, without the last line end."""
    return int(lines.closes[past - 1] - lines.begins[first])
