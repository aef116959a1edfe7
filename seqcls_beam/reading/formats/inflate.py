"""Compressed bytes → decoded bytes, as far as they can be decoded.

Knows gz, bz2, xz and zst, also of several members. The stream classes of the standard library raise at a cut and keep
what they had decoded up to it; the decompressor objects used here hand it over first.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zstandard

# Bytes that a decompressor is fed at a time: it may make a thousand times more of them, and that of zst takes no limit
# for its output.
FED = {"gz": 64 * 2**10, "bz2": 64 * 2**10, "xz": 64 * 2**10, "zst": 16 * 2**10}
LIMIT = 2**20  # bytes decoded at a time

_NEW: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ),
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


class Damaged(Exception):
    """The compressed bytes end early or cannot be decoded further."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def inflate(fed: Iterable[bytes], compression: str) -> Iterator[bytes]:
    """Compressed chunks → decoded chunks; raises `Damaged` once every byte before it was handed over.

    Damage is noticed where the code breaks or a checksum does not fit. That of gz stands only at the end of a member,
    so bytes that were handed over before may be wrong.
    """
    decoder = None
    total = members = 0
    for chunk in fed:
        total += len(chunk)
        while chunk:
            if decoder is None:
                if members and compression in ("gz", "xz"):
                    chunk = chunk.lstrip(b"\0")  # tapes and block devices pad with zeros
                    if not chunk:
                        break
                decoder = _NEW[compression]()
            try:
                yield from _drain(decoder, chunk, compression)
            except _ERRORS as error:
                behind = f" behind member {members}" if members else ""
                detail = f"{compression}: {error}{behind}, near compressed byte {total}"
                raise Damaged("corrupt_file", detail) from error
            chunk = b""
            if decoder.eof:
                chunk, decoder = decoder.unused_data, None
                members += 1
    if decoder is not None or not members:
        raise Damaged("truncated_file", f"{compression}: the file ends after {total} bytes, in the middle of its data")


def _drain(decoder: Any, chunk: bytes, compression: str) -> Iterator[bytes]:
    """Feed a chunk and yield everything that comes of it, at most `LIMIT` bytes at a time where that can be asked."""
    if compression == "zst":
        yield decoder.decompress(chunk)
        return
    while True:
        decoded = decoder.decompress(chunk, LIMIT)
        yield decoded
        chunk = getattr(decoder, "unconsumed_tail", b"")  # gz hands back its input, the others keep it
        if decoder.eof or (len(decoded) < LIMIT and not chunk):
            return
