"""Chunks of bytes → whole lines, and which lines belong to a byte range.

A line belongs to the range that holds its first byte, so that any cut of a file into ranges gives the same lines.
A line ends with \\n, \\r\\n or a lone \\r, in any mixture (see `encodings`). Knows nothing of what is in a line.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.formats.blocks import Fault, clipped
from seqcls_beam.reading.formats.columns import valid_utf8
from seqcls_beam.reading.formats.encodings import UTF8, Decoder, Encoding, Undecided, of
from seqcls_beam.reading.formats.inflate import Damaged
from seqcls_beam.reading.formats.pieces import HEAD, Piece, decoded
from seqcls_beam.reading.formats.signatures import no_text

MAX_LINES = 2**16  # handed over at once: each may be a reject, which weighs more than an empty line


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file, one behind the other, in UTF-8 and as stored: of a UTF-8 file the same bytes and bounds.

    Both end with the last line, which alone may have no line end.
    """

    data: bytes  # UTF-8, with the line ends that the file has
    starts: np.ndarray  # int64 [lines], in `data`
    ends: np.ndarray  # int64 [lines], line ends excluded
    stored: bytes
    begins: np.ndarray  # int64 [lines], in `stored`
    closes: np.ndarray  # int64 [lines], line ends excluded
    offset: int  # byte of the (decompressed) file at which `stored` begins
    consumed: int  # input bytes of the piece read so far
    encoding: Encoding = UTF8
    undecoded: dict[int, str] = field(default_factory=dict)  # lines not of the encoding, and why; of UTF-8 not known

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def positions(self) -> np.ndarray:
        """Byte of the (decompressed) file at which each line begins."""
        return self.begins + self.offset

    def line(self, line: int) -> bytes:
        """A line in UTF-8, without its line end."""
        return self.data[self.starts[line] : self.ends[line]]

    def raw(self, line: int) -> bytes:
        """The bytes of a line as stored, without its line end."""
        return self.stored[self.begins[line] : self.closes[line]]

    @cached_property
    def invalid(self) -> dict[int, tuple[str, str]]:
        """Lines that are not of the encoding: number → (reason, detail). In `data` they are not to be relied on."""
        found = self.undecoded
        if self.encoding == UTF8 and not self.valid_utf8():
            found = {}
            for line, (start, end) in enumerate(zip(self.starts.tolist(), self.ends.tolist(), strict=True)):
                try:
                    self.data[start:end].decode()
                except UnicodeDecodeError as error:
                    found[line] = f"byte {error.start} of the line: {error.reason}"
        return {line: (self.encoding.reason, detail) for line, detail in found.items()}

    def valid_utf8(self) -> bool:
        """Whether all of `data` is UTF-8."""
        bounds = pa.py_buffer(np.array([0, len(self.data)], np.int32))
        return valid_utf8(pa.Array.from_buffers(pa.binary(), 1, [None, bounds, pa.py_buffer(self.data)]))

    def array(self) -> pa.BinaryArray:
        """All lines as binary values, UTF-8 where they are valid."""
        # Lines and the line ends between them, in turn, are one contiguous array; every other value is a line.
        bounds = np.column_stack([self.starts, self.ends]).astype(np.int32).reshape(-1)
        values = [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.binary(), len(bounds) - 1, values).take(pa.array(np.arange(0, len(bounds), 2)))

    def some(self, first: int, past: int | None = None) -> "Lines":
        """The lines from one on, at least one, up to another one or the last."""
        past = len(self) if past is None else past
        if (first, past) == (0, len(self)):
            return self
        data, starts, ends = _cut(self.data, self.starts, self.ends, first, past)
        stored, begins, closes = data, starts, ends
        if self.stored is not self.data:
            stored, begins, closes = _cut(self.stored, self.begins, self.closes, first, past)
        undecoded = {line - first: why for line, why in self.undecoded.items() if first <= line < past}
        offset = self.offset + int(self.begins[first])
        return Lines(data, starts, ends, stored, begins, closes, offset, self.consumed, self.encoding, undecoded)

    @classmethod
    def joined(cls, blocks: "list[Lines]") -> "Lines":
        """Lines that follow one another in the file, of at least one block."""
        first, last = blocks[0], blocks[-1]
        if len(blocks) == 1:
            return first
        data, starts, ends = _joined([(each.data, each.starts, each.ends) for each in blocks])
        stored, begins, closes = data, starts, ends
        if any(each.stored is not each.data for each in blocks):
            stored, begins, closes = _joined([(each.stored, each.begins, each.closes) for each in blocks])
        undecoded: dict[int, str] = {}
        before = 0
        for each in blocks:
            undecoded |= {before + line: why for line, why in each.undecoded.items()}
            before += len(each)
        offset = first.offset + int(first.begins[0])
        return cls(data, starts, ends, stored, begins, closes, offset, last.consumed, last.encoding, undecoded)


def _cut(
    data: bytes, starts: np.ndarray, ends: np.ndarray, first: int, past: int
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Some of the lines, and no bytes of the others."""
    low, high = int(starts[first]), int(starts[past]) if past < len(starts) else len(data)
    return data[low:high], starts[first:past] - low, ends[first:past] - low


def _joined(blocks: list[tuple[bytes, np.ndarray, np.ndarray]]) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The lines of blocks, and no bytes before the first of each."""
    parts: list[memoryview] = []
    begin, past, size = [], [], 0
    for data, starts, ends in blocks:
        parts.append(memoryview(data)[starts[0] :])
        begin.append(starts + (size - starts[0]))
        past.append(ends + (size - starts[0]))
        size += len(parts[-1])
    return b"".join(parts), np.concatenate(begin), np.concatenate(past)


def read_lines(file: Any, piece: Piece, encoding: str = "utf-8") -> Iterator[Lines | Fault]:
    """Piece of a line file → its lines in order, and what is wrong where there is no line. Blank lines are lines.

    They cover the piece from the first line that begins in it to the end of the last. Raises `InputChanged` where the
    file is shorter than it was.
    """
    named = of(encoding)
    cutter = None
    consumed = 0
    damage = None
    try:
        if piece.start:
            file.seek(0)
            _settled(named, file.read(HEAD), piece)
        for chunk, consumed in decoded(file, piece):
            if cutter is None:
                cutter = _Cutter(piece, named if piece.start else _settled(named, chunk, piece))
            yield from cutter.add(chunk, consumed)
            if cutter.done:
                break
    except Undecided as error:
        if not piece.start:  # once a file
            yield Fault(0, "unreadable_file", str(error), b"", 0, lost_bytes=piece.size)
        return
    except Damaged as error:
        damage = error
    yield from (cutter or _Cutter(piece, UTF8)).finish(damage, consumed)


def _settled(encoding: Encoding, head: bytes, piece: Piece) -> Encoding:
    """As `Encoding.settled`; raises `Undecided` for what is no text, too."""
    if said := no_text(head[:HEAD], piece.compression):
        raise Undecided(said)
    return encoding.settled(head)


@dataclass
class OpenRecord:
    """A record that is being read and has no end yet; its memory is bounded."""

    position: int
    size: int = 0
    parts: list[bytes] = field(default_factory=list)  # its bytes, or its beginning once it is too long to be kept

    def add(self, part: bytes) -> None:
        """Its next bytes."""
        if self.size <= blocks.MAX_RAW_BYTES:
            self.parts.append(part)
            if self.size + len(part) > blocks.MAX_RAW_BYTES:
                self.parts = [b"".join(self.parts)[: blocks.CLIPPED_BYTES]]
        self.size += len(part)

    def fault(self, reason: str, detail: str, consumed: int) -> Fault:
        """It is rejected."""
        if self.size > blocks.MAX_RAW_BYTES:
            detail += clipped(self.size)
        return Fault(self.position, reason, detail, b"".join(self.parts), consumed)

    def too_large(self, consumed: int) -> Fault:
        """It is rejected for its size."""
        return self.fault("record_too_large", too_large(self.size), consumed)


def too_large(size: int) -> str:
    """The detail of `record_too_large`."""
    return f"the record has {size} bytes; at most {blocks.MAX_RECORD_BYTES} are read"


class _Cutter:
    """Chunks of a piece → its lines."""

    def __init__(self, piece: Piece, encoding: Encoding) -> None:
        self.done = False  # no further line begins in the range
        self._piece = piece
        self._encoding = encoding
        self._decoder = None if encoding == UTF8 else Decoder(encoding)
        self._end = piece.end if piece.end >= 0 else sys.maxsize
        self._at = max(piece.start - 1, 0)  # the byte of the file behind those that are dealt with …
        self._rest = b""  # … where these stand: half of a unit, or a \r that \n may follow
        self._line = None if piece.start else OpenRecord(0)  # None: the first line of the range is still looked for
        self._told = self._at  # the byte behind what was handed over, or is of the range before

    def add(self, chunk: bytes, consumed: int) -> Iterator[Lines | Fault]:
        """The next chunk → the lines that end in it."""
        size = len(self._encoding.mark)
        if size and not (self._at or self._rest or self._piece.start) and chunk.startswith(self._encoding.mark):
            self._at = self._told = size
            chunk = chunk[size:]
            self._line = OpenRecord(size)
            self._end = max(self._end, size + 1)  # the line behind the mark, even if the range ends within it
        yield from self._cut(self._rest + chunk if self._rest else chunk, consumed, final=False)

    def finish(self, damage: Damaged | None, consumed: int) -> Iterator[Lines | Fault]:
        """What has no line end, and the damage that ends the file."""
        if not self.done:
            yield from self._cut(self._rest, consumed, final=True)
            line = self._line or OpenRecord(self._told)
            if damage:
                yield replace(line.fault(damage.reason, damage.detail, consumed), missing=damage.missing)
            elif line.size > blocks.MAX_RECORD_BYTES:
                yield line.too_large(consumed)
            elif line.size:
                size = np.array([line.size])
                zero = np.zeros(1, np.int64)
                yield self._lines(b"".join(line.parts), zero, size, size, line.position, consumed)
            self._tell(line.position, line.position + line.size)
        if self._told < min(self._end, self._at):
            raise RuntimeError(f"{self._piece.name}: bytes {self._told} to {self._at} made no line")

    def _tell(self, begin: int, past: int) -> None:
        if begin != self._told:
            raise RuntimeError(f"{self._piece.name}: bytes {self._told} to {begin} made no line")
        self._told = past

    def _cut(self, data: bytes, consumed: int, final: bool) -> Iterator[Lines | Fault]:
        """Bytes from `_at` on → the lines that end in them."""
        ends, pasts, known = self._encoding.line_ends(data, final)
        begin, cut = self._at, int(pasts[-1]) if len(pasts) else 0
        self._at, self._rest = begin + known, data[known:]
        if self._line is None and cut:  # up to the first line end all is of the range before
            skipped = int(pasts[0])
            self._told = begin + skipped
            self._line = OpenRecord(self._told)
            begin, ends, pasts = self._told, ends[1:] - skipped, pasts[1:] - skipped
            data, cut, known = data[skipped:], cut - skipped, known - skipped
        if self._line is None:
            self._told = self._at
            self.done = self._at + len(self._rest) >= self._end
            return
        if cut:
            yield from self._whole(self._line, data, ends, pasts, begin, consumed)
            self._line = OpenRecord(begin + cut)
        if cut < known:
            self._line.add(data[cut:known])
        self.done = self._line.position >= self._end

    def _whole(
        self, line: OpenRecord, data: bytes, ends: np.ndarray, pasts: np.ndarray, begin: int, consumed: int
    ) -> Iterator[Lines | Fault]:
        """The lines that end in some bytes, the open one first."""
        if line.position < self._end and line.size + ends[0] > blocks.MAX_RECORD_BYTES:
            line.add(data[: ends[0]])
            yield line.too_large(consumed)
            self._tell(line.position, begin + int(pasts[0]))
            stored, position = data[pasts[0] : pasts[-1]], self._told
            closes, pasts = ends[1:] - pasts[0], pasts[1:] - pasts[0]
        else:
            stored, position = b"".join([*line.parts, data[: pasts[-1]]]), line.position
            closes, pasts = ends + line.size, pasts + line.size
        begins = np.concatenate([np.zeros(1, np.int64), pasts[:-1]])[: len(pasts)]
        count = int(np.searchsorted(begins, self._end - position))
        first = 0
        for each in [*np.flatnonzero(closes[:count] - begins[:count] > blocks.MAX_RECORD_BYTES).tolist(), count]:
            for low in range(first, each, MAX_LINES):
                some = slice(low, min(low + MAX_LINES, each))
                start, past = int(begins[low]), int(pasts[some.stop - 1])
                yield self._lines(
                    stored[start:past],
                    begins[some] - start,
                    closes[some] - start,
                    pasts[some] - start,
                    position + start,
                    consumed,
                )
                self._tell(position + start, position + past)
            if each < count:
                start, raw = int(begins[each]), stored[begins[each] : closes[each]]
                yield Fault(position + start, "record_too_large", too_large(len(raw)), raw, consumed)
                self._tell(position + start, position + int(pasts[each]))
            first = each + 1

    def _lines(
        self, stored: bytes, begins: np.ndarray, closes: np.ndarray, pasts: np.ndarray, position: int, consumed: int
    ) -> Lines:
        if self._decoder is None:
            return Lines(stored, begins, closes, stored, begins, closes, position, consumed)
        data, undecoded = self._decoder.decode(stored, closes, pasts)
        starts, ends = bounds(data)
        return Lines(data, starts, ends, stored, begins, closes, position, consumed, self._encoding, undecoded)


def bounds(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Lines in UTF-8, the last perhaps without line end → where they start and end, int64 [lines]."""
    ends, pasts, _ = UTF8.line_ends(data)
    starts = np.concatenate([np.zeros(1, np.int64), pasts])
    if len(data) > starts[-1]:
        return starts, np.append(ends, len(data))
    return starts[:-1], ends
