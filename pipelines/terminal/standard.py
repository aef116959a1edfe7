"""The standard streams: they take all that is printed, be they closed or full, and tell what became of it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines import voice


class NotShown(Exception):
    """The standard output takes nothing more, and what was to be shown stands nowhere else."""


class _Lenient(io.FileIO):
    """A file that goes on where nothing can be written: no command ends otherwise because of its screen."""

    lost: str | None = None

    def write(self, data: Any, /) -> int:
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error.strerror or str(error)
        return len(data)


@contextmanager
def lenient() -> Iterator[None]:
    """The standard streams of this process raise nothing until the block ends.

    What else somebody put in their places stays there: it is theirs.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lenient(sys.stdout, 1), _lenient(sys.stderr, 2)
    try:
        yield
    finally:
        for stream, kept in zip((sys.stdout, sys.stderr), before, strict=True):
            if stream is not None and stream is not kept:
                stream.flush()
        sys.stdout, sys.stderr = before


def lost() -> str | None:
    """Why the standard output took not all that was printed on it; None where it did, or was closed from the start."""
    if sys.stdout is None:
        return None
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, _Lenient) else None


def ensure_shown() -> None:
    """Raise `NotShown` where the standard output took not all that was printed on it, and no document has it."""
    if voice.now.json is None and (why := lost()) is not None:
        raise NotShown(why)


def _lenient(stream: Any, number: int) -> Any:
    if stream is None:  # it is closed, and `print` would take the other one
        return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
    if type(stream) is not io.TextIOWrapper or type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    stream.flush()
    raw = _Lenient(stream.fileno(), "wb", closefd=False)
    # Whatever names are shown, and whatever a terminal can show.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through or number == 2,
    )
