"""A file system of fsspec as Arrow's datasets take it."""

import atexit
import os
import threading
import time
from typing import Any

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
from pyarrow.fs import LocalFileSystem as ArrowDisk

_QUIET = 0.2  # seconds without a call after which threads of Arrow count as being at rest: none says when it is
_LONGEST = 60.0  # seconds that Python waits for a call when it ends


class _Calls:
    """Calls of Arrow's own threads into Python, which must be over before Python ends: else it waits for ever.

    Who reads the first rows of a dataset has others read ahead of them, and nobody to wait for these. When Python ends,
    those under way are waited for, and no other begins.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a process does that was forked: threads stay with its parent."""
        self._lock = threading.Lock()
        self._open, self._last = 0, 0.0
        self._awaited = self._ending = False

    def __enter__(self) -> None:
        with self._lock:
            if self._ending:
                self._last = time.monotonic()  # whoever asked may ask for another file at once
                raise OSError("the program is at its end")
            self._open += 1
            if not self._awaited:
                self._awaited = True
                atexit.register(self.rest)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open, self._last = self._open - 1, time.monotonic()

    def rest(self) -> None:
        """Begin no call any more, and wait until none is under way and none has been for a moment."""
        self._ending = True
        over = time.monotonic() + _LONGEST
        while (now := time.monotonic()) < over and (self._open or now - self._last < _QUIET):
            time.sleep(_QUIET / 10)


_CALLS = _Calls()
os.register_at_fork(after_in_child=_CALLS.forget)


class _File:
    """An open file that tells when it is read."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, *size: int) -> Any:
        """The next bytes."""
        with _CALLS:
            return self._file.read(*size)

    def close(self) -> None:
        """Close it."""
        with _CALLS:
            self._file.close()


class _Handler(FSSpecHandler):
    """Opens files without what reads ahead of them.

    A dataset asks for whole column chunks, and leaves its files to be collected: one that reads ahead has a task on its
    client's loop, which then ends with "Task was destroyed but it is pending!" on the terminal.
    """

    def open_input_file(self, path: str) -> Any:
        """An open file that may be read at any place."""
        with _CALLS:
            return pa.PythonFile(_File(self.fs.open(path, "rb", cache_type="none")), mode="r")


def arrow_files(fs: AbstractFileSystem) -> FileSystem:
    """The files of `fs`, to be opened by Arrow.

    Those of a disk it opens itself: by way of Python a thread of its own may still close one when Python has ended,
    which ends the process with SIGABRT.
    """
    if isinstance(fs, LocalFileSystem):
        return ArrowDisk()
    return PyFileSystem(_Handler(fs))
