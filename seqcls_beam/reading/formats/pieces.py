"""A piece of a file: a row of UNIT, opened through fsspec and read as decoded chunks of bounded size.

Knows neither lines nor columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seqcls_beam import storage
from seqcls_beam.reading.formats.inflate import FED, Damaged, inflate

CHUNK = 2 * 2**20  # decoded bytes at a time
HEAD = 4  # bytes that are always read together at the start of a file: a byte-order mark
BEHIND = 64 * 2**10  # bytes at a time behind the end of a range, where only the end of one line is looked for

SAMPLE = 2**20  # bytes of a file that are looked at to plan a run …
SAMPLED = 3  # … of so many files …
LOOKED_AT = 20  # … among the first so many


class InputChanged(RuntimeError):
    """A file is no longer the one that the run was planned for."""

    def __init__(self, path: str, planned: str, found: str) -> None:
        super().__init__(
            f"{path} had {planned} when the run was planned and has {found} now; start a new run once the file is no "
            "longer written to"
        )


@dataclass(frozen=True)
class Piece:
    """A row of UNIT, its fields as there; a `version` of None is any."""

    path: str
    format: str
    compression: str
    start: int
    end: int
    size: int
    version: str | None = None

    def open(self) -> Any:
        """Open the whole file for reading; raises `FileNotFoundError` or `InputChanged`."""
        fs, path = storage.connect(self.path)
        info = fs.info(path)
        now = (info["size"], storage.version(info))
        if now != (self.size, self.version if self.version is not None else now[1]):
            raise InputChanged(
                self.path, f"{self.size} bytes (version {self.version})", f"{now[0]} bytes (version {now[1]})"
            )
        return fs.open(path, "rb", cache_type="none")  # chunks are large already: each is one request to a store


def sampled(pieces: list[Piece]) -> Iterator[tuple[Any, Piece]]:
    """Whole files → the first few that are there and not empty, open, each with the piece of it to look at."""
    some = 0
    for piece in pieces[:LOOKED_AT]:
        try:
            file = piece.open()
        except FileNotFoundError:
            continue  # rejected when its unit is read
        with file:
            if piece.size:
                yield file, replace(piece, end=SAMPLE)
                some += 1
        if some == SAMPLED:
            return


def decoded(file: Any, piece: Piece) -> Iterator[tuple[bytes, int]]:
    """Piece → chunks of decoded bytes, each with the number of input bytes read up to its end.

    A byte range begins one byte early (a line starts where the one before has ended) and runs on behind its end for
    as long as chunks are taken. Raises `Damaged` behind the last byte that could be decoded.
    """
    if piece.compression:
        yield from _inflated(file, piece.compression)
        return
    at = max(piece.start - 1, 0)
    end = piece.size if piece.end < 0 else piece.end
    file.seek(at)
    while chunk := file.read(max(HEAD, min(CHUNK, end - at)) if at < end else BEHIND):
        at += len(chunk)
        yield chunk, min(at, end) - piece.start


def _inflated(file: Any, compression: str) -> Iterator[tuple[bytes, int]]:
    """Compressed file → chunks of at least `CHUNK` decoded bytes, but for the last."""
    read = size = 0

    def feed() -> Iterator[bytes]:
        nonlocal read
        while chunk := file.read(CHUNK):
            for at in range(0, len(chunk), FED[compression]):
                fed = chunk[at : at + FED[compression]]
                read += len(fed)
                yield fed

    parts: list[bytes] = []
    damage = None
    try:
        for part in inflate(feed(), compression):
            parts.append(part)
            size += len(part)
            if size >= CHUNK:
                yield b"".join(parts), read
                parts, size = [], 0
    except Damaged as error:
        damage = error
    if parts:
        yield b"".join(parts), read
    if damage:
        raise damage
