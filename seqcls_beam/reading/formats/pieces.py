"""A piece of a file: a row of UNIT, opened through fsspec and read as decoded chunks of bounded size.

Knows neither lines nor columns.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from seqcls_beam import storage
from seqcls_beam.reading.formats import inflate
from seqcls_beam.reading.formats.inflate import Damaged, Inflater, prove
from seqcls_beam.reading.formats.witness import Read, Witness

CHUNK = 2 * 2**20  # decoded bytes at a time
HEAD = 10  # bytes that are always read together at the start of a file: they tell what it is
KEPT = 32 * 2**20  # decoded bytes of a compressed file that are not decoded twice
BEHIND = 64 * 2**10  # bytes at a time behind the end of a range, where only the end of one line is looked for

SAMPLE = 2**20  # bytes of a file that are looked at to plan a run …
SAMPLED = 3  # … of so many files …
LOOKED_AT = 20  # … among the first so many


class InputChanged(RuntimeError):
    """A file is no longer the one that the run was planned for."""

    @classmethod
    def of(cls, path: str, planned: str, found: str) -> Self:
        """What was planned to be there, and what is."""
        return cls(
            f"{storage.without_password(path)} had {planned} when the run was planned and has {found} now; once nobody "
            "writes to the file start again: a new run takes it as it is then"
        )


class InputFailed(OSError):
    """A file cannot be read, which is no fault of what is in it."""


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

    @property
    def name(self) -> str:
        """The path as it may be shown."""
        return storage.without_password(self.path)

    @property
    def extent(self) -> int:
        """Bytes of the file that it is, of a file of lines."""
        return (self.size if self.end < 0 else min(self.end, self.size)) - self.start

    def open(self) -> Witness:
        """Open the whole file for reading.

        Raises `FileNotFoundError`, `InputChanged` where it is not the one that was planned, `InputFailed` where it is
        stored in a way that is not read, and what the storage does.
        """
        info = self._look()
        self._refuse_packed(storage.packing(info))
        fs, path = storage.connect(self.path)
        file = fs.open(path, "rb", cache_type="none")  # chunks are large already: each is one request to a store
        return Witness(file, info, noting=not storage.proves(info))

    def stored(self, file: Witness) -> "Piece":
        """The piece as the file that `open` gave has it: one that is stored with a Content-Encoding is compressed."""
        return self if self.compression or not storage.packing(file.info) else replace(self, compression="gz")

    def verify(self, file: Witness) -> dict[str, Any]:
        """Make sure that what was read of the file that `open` gave was of one version of it, the planned one.

        The size and the version say so, or the bytes themselves, read a second time; raises as `open` where they do
        not. Returns what tells whether other pieces were read from the same file: its `state`, "" where nobody knows,
        and the `reads`, as lists.
        """
        info = self._look()
        before, after = storage.identity(file.info), storage.identity(info)
        if before != after:  # put back by way of another version
            raise InputChanged.of(self.path, f"the version {before}", f"the version {after}")
        state, reads = storage.state(self.path), file.reads()
        self.compare(reads)
        return {"state": state, "reads": [[*each] for each in reads]}

    def compare(self, reads: list[Read]) -> None:
        """Raise as `open` where the bytes of some ranges are not those that were read before."""
        if not reads:
            return
        with self.open() as again:
            if other := again.differing(reads):
                past = other.start + other.length
                raise InputChanged.of(
                    self.path,
                    f"{self.size} bytes (version {self.version})",
                    f"as many, of that version, and others from byte {other.start} to {past}",
                )
        self._look()

    def gone(self) -> InputChanged:
        """What is to be raised where there is no file any more."""
        return InputChanged(
            f"{self.name} had {self.size} bytes when the run was planned and has none: it is gone; put it back and "
            "start again, or start a new run without it"
        )

    def _refuse_packed(self, packing: str) -> None:
        if not packing or self.compression:  # what the name says is packed is meant, once
            return
        said = f"{self.name} is stored with Content-Encoding {packing}, "
        if packing not in ("gzip", "x-gzip"):
            raise InputFailed(f"{said}which is not read: store it with gzip, or as it is")
        if self.format == "parquet" or self.start:
            raise InputFailed(f"{said}and cannot be read from its middle: store it as it is")

    def _look(self) -> dict[str, Any]:
        fs, path = storage.connect(self.path)
        info: dict[str, Any] = fs.info(path)
        now = (info["size"], storage.version(info))
        if now != (self.size, self.version if self.version is not None else now[1]):
            raise InputChanged.of(
                self.path, f"{self.size} bytes (version {self.version})", f"{now[0]} bytes (version {now[1]})"
            )
        return info

    def ended(self, at: int) -> InputChanged:
        """What is to be raised where the file ends early."""
        return InputChanged.of(self.path, f"{self.size} bytes", f"{at} bytes")


def sampled(pieces: list[Piece], most: int = SAMPLED) -> Iterator[tuple[Any, Piece]]:
    """Whole files → the first few that are there and not empty, open, each with the piece of it to look at."""
    some = 0
    for piece in pieces[:LOOKED_AT]:
        try:
            file = piece.open()
        except FileNotFoundError:
            continue  # which ends the run when its unit is read
        with file:
            if piece.size:
                yield file, replace(piece.stored(file), end=SAMPLE)
                some += 1
        if some == most:
            return


def decoded(file: Any, piece: Piece) -> Iterator[tuple[bytes, int]]:
    """Piece → chunks of decoded bytes, each with the number of input bytes read up to its end.

    A byte range begins one byte early (a line starts where the one before has ended) and runs on behind its end, at
    most to that of the file, for as long as chunks are taken. Raises `Damaged` behind the last byte that could be
    decoded and believed, and `InputChanged` where the file is shorter than it was.
    """
    if piece.compression:
        yield from _inflated(file, piece)
        return
    at = max(piece.start - 1, 0)
    end = piece.size if piece.end < 0 else min(piece.end, piece.size)
    file.seek(at)
    while at < piece.size:
        some = max(HEAD, min(CHUNK, end - at)) if at < end else BEHIND
        chunk = file.read(min(some, piece.size - at))
        if not chunk:
            raise piece.ended(at)
        at += len(chunk)
        yield chunk, min(at, end) - piece.start


def _inflated(file: Any, piece: Piece) -> Iterator[tuple[bytes, int]]:
    """Compressed file → chunks of at least `CHUNK` decoded bytes, but for the last.

    All of it is decoded before, lest a row be read whose checksum turns out not to fit; a larger one is then decoded
    again. Not so for a sample (`end`).
    """
    if piece.end >= 0:
        yield from _chunks(Inflater(piece.compression), _fed(file, piece))
        return
    fed: Iterable[bytes] = _fed(file, piece)
    if piece.size <= CHUNK:
        fed = list(fed)  # one request to a store, and so one version
    sound = prove(fed, piece.compression, KEPT)
    if sound.kept is not None:
        for at in range(0, sound.decoded, CHUNK):
            past = min(at + CHUNK, sound.decoded)
            yield sound.kept[at:past], sound.read * past // sound.decoded
    elif sound.decoded:
        at = 0
        again = fed if isinstance(fed, list) else _fed(file, piece)
        for chunk, read in _chunks(Inflater(piece.compression), again, sound.decoded):
            at += len(chunk)
            yield chunk, min(read, sound.read)
        if at < sound.decoded:
            raise InputChanged.of(piece.path, f"{sound.decoded} decoded bytes", f"{at}")
    if sound.damage:
        raise sound.damage


def _chunks(inflater: Inflater, fed: Iterable[bytes], limit: int = sys.maxsize) -> Iterator[tuple[bytes, int]]:
    """The first `limit` decoded bytes; raises `Damaged` if they end before."""
    parts: list[bytes] = []
    size = 0
    damage = None
    try:
        for part in inflater.chunks(fed):
            parts.append(part[: len(part) - max(inflater.decoded - limit, 0)])
            size += len(part)
            if size >= CHUNK:
                yield b"".join(parts), inflater.read
                parts, size = [], 0
            if inflater.decoded >= limit:
                break
    except Damaged as error:
        damage = error
    if rest := b"".join(parts):
        yield rest, inflater.read
    if damage:
        raise damage


def _fed(file: Any, piece: Piece) -> Iterator[bytes]:
    """All bytes of a file as stored, a little at a time."""
    file.seek(0)
    at = 0
    while at < piece.size:
        chunk = file.read(min(CHUNK, piece.size - at))
        if not chunk:
            raise piece.ended(at)
        at += len(chunk)
        for start in range(0, len(chunk), inflate.FED):
            yield chunk[start : start + inflate.FED]
