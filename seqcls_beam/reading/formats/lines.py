"""Chunks of bytes → whole lines, and which lines belong to a byte range.

A line belongs to the range that holds its first byte, so that any cut of a file into ranges gives the same lines.
Lines end with \\n or \\r\\n. Knows nothing of what is in a line.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Fault, clipped
from seqcls_beam.reading.formats.columns import valid_utf8
from seqcls_beam.reading.formats.inflate import Damaged
from seqcls_beam.reading.formats.pieces import HEAD, Piece, decoded

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file."""

    data: bytes  # ends with \n
    starts: np.ndarray  # int64 [lines], in `data`
    ends: np.ndarray  # int64 [lines], terminators excluded
    offset: int  # byte of the (decompressed) file at which `data` begins
    consumed: int  # input bytes of the piece read so far

    def __len__(self) -> int:
        return len(self.starts)

    def raw(self, line: int) -> bytes:
        """The bytes of a line, without its terminator."""
        return self.data[self.starts[line] : self.ends[line]]

    def whole(self) -> memoryview:
        """The bytes of all lines, with their terminators."""
        return memoryview(self.data)[self.starts[0] : self.data.index(b"\n", self.ends[-1]) + 1]

    def valid_utf8(self) -> bool:
        """Whether all of `data` is UTF-8."""
        bounds = pa.py_buffer(np.array([0, len(self.data)], np.int32))
        return valid_utf8(pa.Array.from_buffers(pa.binary(), 1, [None, bounds, pa.py_buffer(self.data)]))

    def array(self) -> pa.BinaryArray:
        """All lines as binary values."""
        # Lines and the terminators between them, in turn, are one contiguous array; every other value is a line.
        bounds = np.column_stack([self.starts, self.ends]).astype(np.int32).reshape(-1)
        values = [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.binary(), len(bounds) - 1, values).take(pa.array(np.arange(0, len(bounds), 2)))


def split(data: bytes, offset: int, consumed: int) -> Lines:
    """Bytes that end with \\n → their lines."""
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == 10)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    return Lines(data, starts, ends - ((view[ends - 1] == 13) & (ends > starts)), offset, consumed)


@dataclass
class _Open:
    """The line that is being read and has no end yet; its memory is bounded."""

    position: int
    size: int = 0
    parts: list[bytes] = field(default_factory=list)  # its bytes, or its beginning once it is too long to be kept
    last: bytes = b""  # its last byte, which may be half of a line end

    def add(self, part: bytes) -> None:
        if self.size <= blocks.MAX_RAW_BYTES:
            self.parts.append(part)
            if self.size + len(part) > blocks.MAX_RAW_BYTES:
                self.parts = [b"".join(self.parts)[: blocks.CLIPPED_BYTES]]
        self.size += len(part)
        self.last = part[-1:]

    def fault(self, reason: str, detail: str, consumed: int) -> Fault:
        raw = b"".join(self.parts)
        if self.size > blocks.MAX_RAW_BYTES:
            detail += clipped(self.size)
        elif reason == "record_too_large":
            raw = raw.removesuffix(b"\r")
        return Fault(self.position, reason, detail, raw, consumed)

    def too_large(self, consumed: int) -> Fault:
        return self.fault("record_too_large", too_large(self.size - (self.last == b"\r")), consumed)


def too_large(size: int) -> str:
    """The detail of `record_too_large`."""
    return f"the record has {size} bytes; at most {blocks.MAX_RECORD_BYTES} are read"


def read_lines(file: Any, piece: Piece) -> Iterator[Lines | Fault]:
    """Piece of a line file → its lines in order, and what is wrong where there is no line. Blank lines are lines."""
    if piece.start and file.read(2) in UTF16:
        return  # rejected where the file begins
    end = piece.end if piece.end >= 0 else sys.maxsize
    at = max(piece.start - 1, 0)
    line = _Open(at) if at == piece.start else None  # None: the first line of the range is still looked for
    consumed = 0
    damage = None
    try:
        for chunk, consumed in decoded(file, piece):
            if not at and not piece.start:
                if chunk.startswith(UTF16):
                    yield Fault(0, "unreadable_file", "the file is UTF-16; convert it to UTF-8", b"", consumed)
                    return
                if chunk.startswith(BOM):
                    # The line behind the mark is the first range's, even of one that ends within the mark.
                    chunk, at, line, end = chunk[len(BOM) :], len(BOM), _Open(len(BOM)), max(end, HEAD)
            if line is None:
                # Only a line end before the last byte of the range is followed by a line that begins in it.
                begin = chunk.find(b"\n", 0, max(end - 1 - at, 0)) + 1
                if not begin:
                    at += len(chunk)
                    if at >= end - 1:
                        return
                    continue
                chunk, at = chunk[begin:], at + begin
                line = _Open(at)
            yield from _lines(line, chunk, at, end, consumed)
            at += len(chunk)
            cut = chunk.rfind(b"\n") + 1
            if cut:
                line = _Open(at - len(chunk) + cut)
                if cut < len(chunk):
                    line.add(chunk[cut:])
            elif chunk:
                line.add(chunk)
            if line.position >= end:
                return
    except Damaged as error:
        damage = error
    if line is None:
        return
    if damage:
        yield line.fault(damage.reason, damage.detail, consumed)
    elif line.size > blocks.MAX_RECORD_BYTES + 1:
        yield line.too_large(consumed)
    elif line.size:
        yield from _lines(line, b"\n", at, end, consumed)


def _lines(line: _Open, chunk: bytes, at: int, end: int, consumed: int) -> Iterator[Lines | Fault]:
    """The lines that end in a chunk; `line`, the one that is open where it begins, included."""
    first, cut = chunk.find(b"\n"), chunk.rfind(b"\n") + 1
    if not cut:
        return
    position = line.position
    if line.size + first > blocks.MAX_RECORD_BYTES + 1:  # 1: it may end with \\r
        if first:
            line.add(chunk[:first])
        yield line.too_large(consumed)
        data, position = chunk[first + 1 : cut], at + first + 1
    else:
        data = b"".join([*line.parts, chunk[:cut]])
    if not data:
        return
    lines = split(data, position, consumed)
    count = int(np.searchsorted(lines.starts, end - position))
    large = np.flatnonzero(lines.ends[:count] - lines.starts[:count] > blocks.MAX_RECORD_BYTES).tolist()
    begin = 0
    for each in [*large, count]:
        if begin < each:
            yield Lines(data, lines.starts[begin:each], lines.ends[begin:each], position, consumed)
        if each < count:
            raw = lines.raw(each)
            yield Fault(position + int(lines.starts[each]), "record_too_large", too_large(len(raw)), raw, consumed)
        begin = each + 1
