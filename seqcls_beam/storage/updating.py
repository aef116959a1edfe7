"""One small file that several processes change: read, changed and written, with nobody in between."""

import fcntl
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from seqcls_beam.storage.discretion import without_password
from seqcls_beam.storage.faults import StoreError
from seqcls_beam.storage.names import is_local
from seqcls_beam.storage.stores import connect
from seqcls_beam.storage.writing import ensure_file, put, put_if_absent

Change = Callable[[bytes | None], bytes | None]

WAIT = 60.0
"""Seconds that an update waits for others before it gives up; each holds the file for as long as `change` takes."""

_PAUSES = (0.005, 0.25)  # seconds before it is tried again: at first, and at most
_IN_MEMORY = threading.Lock()


def update(uri: str, change: Change) -> bytes | None:
    """Change a small file by compare-and-swap; what it has then, None where it is not there.

    `change` gets what is there (None: no file), and returns what is to be there, or None to leave it. It is asked again
    where another process wrote meanwhile; no write is lost. It must see from the bytes what is done already: where a
    store's answer is lost on the way, and the next process has written before that is known, it is asked once more.

    Raises `OSError` where others do not let it come to its turn for `WAIT` seconds, and for a file system that has
    neither locks nor conditions.
    """
    fs, path = connect(uri)
    step = _on_disk if is_local(uri) else _in_memory if "memory" in fs.protocol else _in_store
    over, pause = time.monotonic() + WAIT, _PAUSES[0]
    while True:
        done, left = step(uri, change, fs, path)
        if done:
            return left
        if time.monotonic() > over:
            raise OSError(
                f"{without_password(uri)} cannot be changed: for {WAIT:g} seconds another process has held it, or was "
                "always there first; end that process, or start again later"
            )
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, _PAUSES[1])


def _on_disk(uri: str, change: Change, _: Any, path: str) -> tuple[bool, bytes | None]:
    """One try on a disk: whether it came to an end, and what is there then."""
    try:
        ensure_file(uri)
        file = os.open(path, os.O_RDWR)  # NFS locks for writing only what is open for writing
    except FileNotFoundError:
        if os.path.islink(path):
            raise StoreError(f"{uri} is a link that leads nowhere: remove it") from None
        new = change(None)
        return new is None or put_if_absent(uri, new), new
    with _closing(file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False, None
        except OSError as error:
            raise OSError(f"{uri} cannot be locked, and other processes may write to it: {error}") from error
        # Who had the lock before may have put another file in its place, which others lock now. It is opened once more
        # because NFS asks the server then, and where it only looks at a name it may not.
        with suppress(FileNotFoundError), open(path, "rb") as now:
            if os.path.sameopenfile(file, now.fileno()):
                old = now.read()
                new = change(old)
                if new is None or new == old:
                    return True, old
                put(uri, new)
                return True, new
    return False, None


def _in_store(uri: str, change: Change, fs: Any, path: str) -> tuple[bool, bytes | None]:
    """One try in a store: whether it came to an end, and what is there then."""
    try:
        old, seen = fs.look(path)
    except FileNotFoundError:
        new = change(None)
        return new is None or fs.create(path, new), new
    new = change(old)
    if new is None or new == old:
        return True, old
    return fs.replace(path, new, seen), new


def _in_memory(uri: str, change: Change, fs: Any, path: str) -> tuple[bool, bytes | None]:
    """Within this process, which is all that sees it."""
    with _IN_MEMORY:
        old = bytes(fs.cat_file(path)) if fs.exists(path) else None
        new = change(old)
        if new is not None:
            fs.pipe_file(path, new)
        return True, old if new is None else new


@contextmanager
def _closing(file: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(file)  # and with it the lock goes
