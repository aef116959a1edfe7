"""The standard input, as a file of this machine's cache.

It is named by the digest of its content, and its time is made of it: so the same input is the same run, which can be
taken up where it stopped, and another one of that size is another version. Whoever is told of it is told of "-". The
file goes with the last process that reads it; what a killed one left goes with the next that reads a standard input.
"""

import atexit
import fcntl
import hashlib
import io
import os
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from seqcls_beam.cache import cache, locked
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import FORMATS
from seqcls_beam.reading.formats.signatures import compression_of
from seqcls_beam.storage import STANDARD_INPUT

_CHUNK = 2**20

_spooled: tuple[Any, str, str] | None = None
"""The stream that was read, for which option, and the file it became."""


def taken(options: ReadOptions, option: str = "input") -> ReadOptions:
    """The options with a file in place of `-`; where that is no pattern of theirs, as they are.

    A process reads its standard input once: later calls find the same file. Raises `ValueError` where there is nothing
    to read or nobody says what it is.
    """
    global _spooled
    if "-" not in options.input:
        return options
    if len(options.input) > 1:
        raise ValueError(f"--{option}=- is the standard input, and stands alone; a file of that name is ./-")
    if options.input_format == "auto":
        raise ValueError(f"--{option}=- has no extension that says what it holds: say it with --input_format")
    if _spooled is None or _spooled[0] is not sys.stdin:
        _spooled = (sys.stdin, option, _spool(option, options.input_format))
    if _spooled[1] != option:
        raise ValueError(f"--{option}=-: the standard input can be read once, and --{_spooled[1]} has it")
    return replace(options, input=(_spooled[2],))


def _spool(option: str, format: str) -> str:
    stream = sys.stdin
    if what := _unusable(stream):
        raise ValueError(f"--{option}=- reads the standard input, and that is {what}: lead a file or a pipe into it")
    with locked("stdin") as path:
        _sweep(path.parent)
        handle, name = tempfile.mkstemp(prefix=STANDARD_INPUT, dir=path.parent)
        file: IO[bytes] = os.fdopen(handle, "w+b")
        fcntl.flock(file, fcntl.LOCK_SH)
    try:
        digest, first = _copy(stream.buffer, file)
    except BaseException:
        file.close()
        os.unlink(name)
        raise
    compression = compression_of(first) if format != "parquet" else ""
    suffix = FORMATS[format][0] + (f".{compression}" if compression else "")
    target = str(cache() / f"{STANDARD_INPUT}{digest}{suffix}")
    with locked("stdin"):
        if os.path.exists(target):  # of another process, or of one that was killed
            file.close()
            os.unlink(name)
            file = open(target, "rb")  # noqa: SIM115 - open, and so locked, as long as this process lives
            fcntl.flock(file, fcntl.LOCK_SH)
        else:
            os.utime(name, ns=(int(digest[:15], 16),) * 2)  # up to the year 2006
            os.rename(name, target)
    atexit.register(partial(_leave, file, target))
    return target


def _unusable(stream: Any) -> str:
    """What a standard input is of which nothing can be read; "" where something can."""
    if stream is None or stream.closed:
        return "closed"
    try:
        if stream.isatty():
            return "a terminal"
        return "a folder" if stat.S_ISDIR(os.fstat(stream.fileno()).st_mode) else ""
    except (io.UnsupportedOperation, AttributeError):  # a stream of a program's own
        return ""
    except OSError:  # closed by whoever started the process
        return "closed"


def _copy(source: IO[bytes], file: IO[bytes]) -> tuple[str, bytes]:
    """Copy to the end; the digest of the content and its first bytes."""
    digest = hashlib.blake2b(digest_size=16)
    first = b""
    while chunk := source.read(_CHUNK):
        first = first or chunk[:10]
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    return digest.hexdigest(), first


def _leave(file: IO[bytes], path: str) -> None:
    with suppress(OSError), locked("stdin"):
        file.close()
        _remove_unread(path)


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{STANDARD_INPUT}*"):
        with suppress(OSError):
            _remove_unread(str(path))


def _remove_unread(path: str) -> None:
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where somebody reads it
        os.unlink(path)
