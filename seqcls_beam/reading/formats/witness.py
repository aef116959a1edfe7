"""What was read of a file, so that it can be asked for once more.

Size and version of a file are compared before and after it was read. Where the version is but a time, as on a disk,
equal ones are no proof: a time can be set back, two writes within a tick of the clock share one, and a file that is
mapped into memory is written to without one. So every read of such a file is digested, and in the end the same ranges
are read and digested a second time. All that the second reading sees of a file that became another one is of the other
one, unless that happened later than all of the first; so a first reading of both is one that differs.
"""

import hashlib
from typing import Any, NamedTuple, Self

_CHUNK = 2 * 2**20  # bytes at a time of the second reading
_DIGEST = 16  # bytes


class Read(NamedTuple):
    """Bytes of a file that were read one behind the other, and their blake2b, as hexadecimal digits."""

    start: int
    length: int
    digest: str


class Witness:
    """An open file that notes what is read of it, if asked to; `info` is what its storage said when it was opened."""

    def __init__(self, file: Any, info: dict[str, Any], noting: bool) -> None:
        self.info = info
        self.closed = False
        self._file = file
        self._noting = noting
        self._runs: list[_Run] = []
        self._ends: dict[int, _Run] = {}  # by the place where they go on

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all where `size` is negative; raises what the disk or the store does."""
        if not self._noting:
            return bytes(self._file.read(size))
        at = self._file.tell()
        data = bytes(self._file.read(size))
        if data:
            run = self._ends.pop(at, None)
            if run is None:
                run = _Run(at)
                self._runs.append(run)
            run.digest.update(data)
            run.length += len(data)
            self._ends[at + len(data)] = run
        return data

    def seek(self, *where: int) -> int:
        """Go to a place; that place."""
        return int(self._file.seek(*where))

    def tell(self) -> int:
        """The place of the next byte."""
        return int(self._file.tell())

    def close(self) -> None:
        """Close the file; what was noted stays."""
        self.closed = True
        self._file.close()

    def readable(self) -> bool:
        """It is; Arrow asks."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def reads(self) -> list[Read]:
        """What was noted, each range once, and twice where it had other bytes the second time."""
        return sorted({Read(run.start, run.length, run.digest.hexdigest()) for run in self._runs})

    def differing(self, reads: list[Read]) -> Read | None:
        """The first of some ranges that has other bytes in this file; None where all are the same."""
        for each in reads:
            self._file.seek(each.start)
            digest = _blake2b()
            left = each.length
            while left and (data := self._file.read(min(_CHUNK, left))):
                digest.update(data)
                left -= len(data)
            if digest.hexdigest() != each.digest:
                return each
        return None


class _Run:
    """A range that grows as it is read."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.length = 0
        self.digest = _blake2b()


def _blake2b() -> Any:
    return hashlib.blake2b(digest_size=_DIGEST)
