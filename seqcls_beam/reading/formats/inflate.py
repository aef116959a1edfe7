"""Compressed bytes → decoded bytes, as far as they can be decoded, or as far as they can be trusted.

Knows gz, bz2, xz and zst, also of several members. The stream classes of the libraries raise at a cut and keep what
they had decoded up to it; the decompressor objects used here hand it over first.
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import zstandard

FED = 64 * 2**10  # bytes that a decompressor is fed at a time; it may make a thousand times more of them …
LIMIT = 2**20  # … and hands over so many at a time
MEMORY = 256 * 2**20  # bytes that a file may ask for to be decoded: xz -9 takes 65 MiB, zstd without --long at most 128

_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


class Damaged(Exception):
    """The compressed bytes end early or cannot be decoded further."""

    def __init__(self, reason: str, detail: str, missing: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.missing = missing  # decoded bytes behind the end, where the file says how many it has


@dataclass(frozen=True)
class Sound:
    """What of a compressed file is to be believed."""

    decoded: int  # so many decoded bytes …
    read: int  # … which so many compressed bytes hold
    damage: Damaged | None  # what comes behind them
    kept: bytes | None  # all that was decoded, if it is not much


def prove(fed: Iterable[bytes], compression: str, keep: int = 0) -> Sound:
    """All of a compressed file → what of it is to be believed: of a damaged one the members before the damage.

    A member's checksum stands at its end, so nothing of a damaged one is proven. Of a file that only ends early all
    that can be decoded is believed, and so are frames of zst that have no checksum. `keep` bytes at most are `kept`.
    """
    inflater = Inflater(compression)
    parts: list[bytes] = []
    damage = None
    tail = b""

    def watched() -> Iterator[bytes]:
        nonlocal tail
        for chunk in fed:
            tail = (tail + chunk)[-4:]
            yield chunk

    try:
        for part in inflater.chunks(watched()):
            if inflater.decoded <= keep:
                parts.append(part)
            else:
                parts.clear()
    except Damaged as error:
        damage = error
    kept = b"".join(parts) if inflater.decoded <= keep else None
    if damage is None or (damage.reason == "truncated_file" and not _ends_whole(inflater, tail)):
        return Sound(inflater.decoded, inflater.gave if damage else inflater.read, damage, kept)
    return Sound(*inflater.whole, Damaged("corrupt_file", damage.detail), kept)


def _ends_whole(inflater: "Inflater", tail: bytes) -> bool:
    """Whether a gz file whose data do not end is whole: a changed bit can hide where they do.

    Its last four bytes are then the size of the member, and what was decoded is that and what was made of the last
    bytes: 64 bits are at most 64 copies of 258 bytes.
    """
    size = inflater.decoded - inflater.whole[0]
    return inflater.compression == "gz" and bool(size) and abs(size % 2**32 - int.from_bytes(tail, "little")) < 64 * 258


class Inflater:
    """Compressed chunks → decoded chunks."""

    def __init__(self, compression: str) -> None:
        self.compression = compression
        self.decoded = 0  # bytes handed over …
        self.read = 0  # … and fed …
        self.gave = 0  # … up to those of which the last bytes came
        self.whole = (0, 0)  # both, where the last member that is whole ended
        self._members = 0

    def chunks(self, fed: Iterable[bytes]) -> Iterator[bytes]:
        """Decoded chunks of `LIMIT` bytes at most; raises `Damaged` once every byte before was handed over."""
        decoder = None
        for chunk in fed:
            self.read += len(chunk)
            while chunk:
                if decoder is None:
                    if self._members:
                        chunk = chunk.lstrip(b"\0")  # tapes and block devices pad with zeros
                        if not chunk:
                            break
                    decoder = _NEW[self.compression]()
                try:
                    yield from self._drain(decoder, chunk)
                except _ERRORS as error:
                    behind = f" behind member {self._members}" if self._members else ""
                    detail = f"{self.compression}: {error}{behind}, near compressed byte {self.read}"
                    raise Damaged("corrupt_file", detail) from error
                chunk = b""
                if decoder.eof:
                    chunk, decoder = decoder.unused_data, None
                    self.whole = (self.decoded, self.read - len(chunk))
                    self.gave = min(self.gave, self.whole[1])
                    self._members += 1
        if decoder is not None or not self._members:
            detail = f"{self.compression}: the file ends after {self.read} bytes, in the middle of its data"
            # Behind one member there may be any number of others: only of the first is the size that of the file.
            size = getattr(decoder, "size", None) if not self._members else None
            missing = size - self.decoded if size is not None and size > self.decoded else None
            raise Damaged("truncated_file", detail, missing)

    def _drain(self, decoder: Any, chunk: bytes) -> Iterator[bytes]:
        """Feed a chunk and yield everything that comes of it."""
        while True:
            decoded = decoder.decompress(chunk, LIMIT)
            self.decoded += len(decoded)
            self.gave = self.read if decoded else self.gave
            yield decoded
            chunk = getattr(decoder, "unconsumed_tail", b"")  # gz and zst hand back their input, the others keep it
            if decoder.eof or (len(decoded) < LIMIT and not chunk):
                return


class _Zstd:
    """Decodes one frame of zst, and not more of it at a time than asked for, as the standard library's decoders do.

    The library's own decoder takes no such limit, and may make 128 KiB of each four bytes. So it is fed block by block
    (RFC 8878, section 3.1.1); what the bytes say beyond the sizes of blocks, and whether it is right, is its task.
    """

    BLOCK = 128 * 2**10  # bytes that a block decodes to at most
    HEADER = 18  # bytes that the header of a frame has at most
    LARGEST = 2**48  # decoded bytes of a frame: what says more of itself is not believed

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=MEMORY).decompressobj()
        self._header = b""  # what is there of the header of the frame, or of a block …
        self._missing = 5  # … and how many bytes of it are to come
        self._body = 0  # bytes to come of what the last header told of
        self._begun = False  # blocks follow
        self._first = b""  # the bytes that the header of the frame is among
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        """What was fed behind the end of the frame."""
        return bytes(self._decoder.unused_data) + self.unconsumed_tail

    @property
    def size(self) -> int | None:
        """Decoded bytes of the frame, where its header says how many."""
        try:
            size = zstandard.frame_content_size(self._first)
        except zstandard.ZstdError:
            return None
        return size if 0 < size < self.LARGEST else None

    def decompress(self, chunk: bytes, limit: int) -> bytes:
        """Decode the next bytes; those of them that would make too much are the `unconsumed_tail`."""
        at, blocks = 0, max(limit // self.BLOCK, 1)
        while at < len(chunk) and (blocks or self._body):
            if self._body:
                step = min(self._body, len(chunk) - at)
                self._body -= step
            else:
                step = min(self._missing, len(chunk) - at)
                self._header += chunk[at : at + step]
                self._missing -= step
                if not self._missing:
                    blocks -= self._begun
                    self._parse()
            at += step
        self.unconsumed_tail = chunk[at:]
        self._first += chunk[: min(at, self.HEADER - len(self._first))]
        return bytes(self._decoder.decompress(chunk[:at]))

    def _parse(self) -> None:
        """Header → how many bytes follow before the next, or all where it is the last or not known."""
        header, self._header = self._header, b""
        self._missing = 3
        if not self._begun:
            self._begun = True
            if header[:4] == zstandard.FRAME_HEADER:
                self._body = zstandard.frame_header_size(header) - len(header)
            else:
                self._missing = sys.maxsize
        else:
            block = int.from_bytes(header, "little")
            self._body = 1 if block >> 1 & 3 == 1 else block >> 3  # a byte that is repeated, or so many
            if block & 1:
                self._missing = sys.maxsize  # the last: at most a checksum follows


_NEW: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY),
    "zst": _Zstd,
}
