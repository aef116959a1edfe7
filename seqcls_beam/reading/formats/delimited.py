"""CSV and TSV files: one row a record, fields by position, names from the header or from `column_names`.

Python's csv reader in strict mode decides what a record is. Where it raises, only the line on which the record began
is rejected, and reading goes on with the next line: a stray quote costs one row and not the rest of the file.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Block, Fault
from seqcls_beam.reading.formats.columns import Layout, cast, invalid_rows
from seqcls_beam.reading.formats.lines import Lines, read_lines, split
from seqcls_beam.reading.formats.pieces import Piece, sampled

# The csv reader takes no carriage return outside quotes that ends no line. While it is at work this character, which
# decoding UTF-8 never makes, stands for those.
RETURN = "\ud800"
_LONE_RETURN = re.compile("\r(?!\n)")
_UNCLOSED = "unexpected end of data"  # as the csv module says it


def columns(pieces: list[Piece], options: ReadOptions) -> pa.Schema | None:
    """Files → the columns that the first header names, all strings."""
    names = list(options.column_names or ())
    for file, piece in sampled(pieces):
        if not names:
            names = next(_Reader(piece.format, options).headers(file, piece), [])
    return pa.schema([(name, pa.string()) for name in names]) if names else None


def read(file: Any, piece: Piece, layout: Layout) -> Iterator[Block | Fault]:
    """Whole csv or tsv file → blocks."""
    reader = _Reader(piece.format, layout.options)
    for records in reader.records(file, piece):
        if isinstance(records, Fault):
            yield records
            continue
        if not reader.header:
            names, records = records.header()
            if names is None:
                yield Fault(
                    0, "unreadable_file", "the header has a quote that is not closed", b"", records.lines.consumed
                )
                return
            if not names:
                continue
            reader.header = names
            lacking = [name for name in layout.names if reader.header.count(name) != 1]
            if lacking:
                detail = f"the header has {lacking[0]!r} {reader.header.count(lacking[0])} times: {reader.header}"
                yield Fault(0, "missing_column", detail[:1000], b"", records.lines.consumed)
                return
        if len(records):
            yield records.block(reader.header, layout)


@dataclass
class _Records:
    """Records of whole lines; a rejected one has no fields.

    Fields stand one behind the other, in no list of their own: a million small lists keep the garbage collector busy
    for longer than it takes to read them.
    """

    lines: Lines
    fields: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)  # fields of each record
    firsts: list[int] = field(default_factory=list)  # its first line …
    pasts: list[int] = field(default_factory=list)  # … and one past its last
    rejects: dict[int, tuple[str, str]] = field(default_factory=dict)
    returns: bool = False  # `RETURN` stands in some field

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
        return self.lines.data[self.lines.starts[first] : self.lines.ends[past - 1]]

    def header(self) -> tuple[list[str] | None, "_Records"]:
        """(fields of the first record, the other records); None for fields if it was rejected, [] if there is none."""
        if not self.counts:
            return [], self
        if 0 in self.rejects:
            return None, self
        count = self.counts[0]
        rejects = {record - 1: fault for record, fault in self.rejects.items()}
        rest = (self.fields[count:], self.counts[1:], self.firsts[1:], self.pasts[1:], rejects, self.returns)
        return self.fields[:count], _Records(self.lines, *rest)

    def block(self, header: list[str], layout: Layout) -> Block:
        """Records → the columns that are read."""
        rejects = dict(self.rejects)
        if not self.lines.valid_utf8():
            for record in invalid_rows(self.raw(record) for record in range(len(self))):
                rejects.setdefault(record, ("invalid_utf8", "the record is not UTF-8"))
        counts = np.array(self.counts)
        for record in np.flatnonzero(counts != len(header)).tolist():
            rejects.setdefault(record, ("ragged_row", f"{counts[record]} fields, but {len(header)} columns"))
        values = {name: self._column(header.index(name), len(header), rejects) for name in layout.names}
        keep = []
        for each in layout.keep:
            kept, misfits = _typed(values[each.name], each.type)
            keep.append(kept)
            for record in misfits:
                detail = f"{each.name!r} is no {each.type}: {values[each.name][record].as_py()[:80]!r}"
                rejects.setdefault(record, ("wrong_type", detail))
        positions = self.lines.starts[np.array(self.firsts)] + self.lines.offset
        texts = [values[name] for name in layout.texts]
        return Block(positions, texts, keep, rejects, self.raw, self.lines.consumed)

    def _column(self, index: int, width: int, rejects: dict[int, tuple[str, str]]) -> pa.Array:
        values: list[str | None]
        if rejects:
            begins = (np.cumsum(self.counts) - self.counts).tolist()
            values = [None if i in rejects else self.fields[begin + index] for i, begin in enumerate(begins)]
        else:
            values = self.fields[index::width]  # type: ignore[assignment]
        if self.returns:
            values = [value and value.replace(RETURN, "\r") for value in values]
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
        self.dialect: dict[str, Any] = {
            "delimiter": {"csv": ",", "tsv": "\t"}[format],
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            "strict": True,
        }
        self.header = list(options.column_names or ())

    def headers(self, file: Any, piece: Piece) -> Iterator[list[str]]:
        """The first record of a file, if it can be read."""
        for records in self.records(file, piece):
            if isinstance(records, Fault):
                return
            if len(records):
                yield records.header()[0] or []
                return

    def records(self, file: Any, piece: Piece) -> Iterator[_Records | Fault]:
        """Whole file → its records, and what is wrong where there is none."""
        csv.field_size_limit(2**31 - 1)  # `_parse` bounds whole records instead
        open_: Lines | None = None  # the lines of a record whose quote is still open where a block ends
        for found in read_lines(file, piece):
            if isinstance(found, Fault):
                if open_ is not None and found.reason != "record_too_large":
                    # The cut that this fault tells of goes through the open record.
                    begin = open_.offset + int(open_.starts[0])
                    raw = bytes(open_.whole()) + found.raw
                    found = Fault(begin, found.reason, found.detail, raw, found.consumed)
                elif open_ is not None:
                    yield self._parse(open_, final=True)[0]
                open_ = None
                yield found
                continue
            lines = found
            if open_ is not None:
                data = b"".join([open_.whole(), found.whole()])
                lines = split(data, open_.offset + int(open_.starts[0]), found.consumed)
            records, open_ = self._parse(lines, final=False)
            yield records
        if open_ is not None:
            yield self._parse(open_, final=True)[0]

    def _parse(self, lines: Lines, final: bool) -> tuple[_Records, Lines | None]:
        """Lines → their records, and the lines from the one on where a record is still open."""
        text = str(lines.whole(), "utf-8", "surrogateescape")
        records = _Records(lines)
        if text.count("\r") != text.count("\r\n"):
            text = _LONE_RETURN.sub(RETURN, text)
            records.returns = True
        fed = list(io.StringIO(text, newline="\n"))
        at = 0  # the line where the next record begins
        while at < len(fed):
            reader = csv.reader(map(fed.__getitem__, range(at, len(fed))), **self.dialect)
            base = first = at
            try:
                for fields in reader:
                    past = base + reader.line_num
                    if past - first > 1 and lines.ends[past - 1] - lines.starts[first] > blocks.MAX_RECORD_BYTES:
                        raise csv.Error(_UNCLOSED)
                    if fields:
                        records.add(fields, first, past)
                    first = past
                break
            except csv.Error as error:
                at = first + 1
                detail = str(error)
                if detail == _UNCLOSED:
                    size = int(lines.ends[-1] - lines.starts[first])
                    if not final and size <= blocks.MAX_RECORD_BYTES:
                        rest = Lines(lines.data, lines.starts[first:], lines.ends[first:], lines.offset, lines.consumed)
                        return records, rest
                    detail = f"a quote that is not closed within {min(size, blocks.MAX_RECORD_BYTES)} bytes"
                records.rejects[len(records)] = ("unbalanced_quote", detail)
                records.add([], first, at)
        return records, None
