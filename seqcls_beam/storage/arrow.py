"""A file system of fsspec as Arrow's datasets take it."""

from typing import Any

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
from pyarrow.fs import LocalFileSystem as ArrowDisk


class _Handler(FSSpecHandler):
    """Opens files without what reads ahead of them.

    A dataset asks for whole column chunks, and leaves its files to be collected: one that reads ahead has a task on its
    client's loop, which then ends with "Task was destroyed but it is pending!" on the terminal.
    """

    def open_input_file(self, path: str) -> Any:
        """An open file that may be read at any place."""
        return pa.PythonFile(self.fs.open(path, "rb", cache_type="none"), mode="r")


def arrow_files(fs: AbstractFileSystem) -> FileSystem:
    """The files of `fs`, to be opened by Arrow.

    Those of a disk it opens itself: by way of Python a thread of its own may still close one when Python has ended,
    which ends the process with SIGABRT.
    """
    if isinstance(fs, LocalFileSystem):
        return ArrowDisk()
    return PyFileSystem(_Handler(fs))
