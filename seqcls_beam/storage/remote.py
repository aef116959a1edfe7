"""A store as the rest of the program sees it: one kind of error, asked again where that may help, read whole."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from seqcls_beam.storage.faults import StoreError, told
from seqcls_beam.storage.identity import identity, packing
from seqcls_beam.storage.retries import Passing, patiently

_OF_FILES = ("read", "readinto", "readline", "write", "flush", "close", "discard")
"""The methods of an open file that may ask the store."""


def _asking(method: str, named: int = 0) -> Callable[..., Any]:
    """A method that asks the client, and names in a fault its `named`-th argument."""

    def ask(self: "Remote", *arguments: Any, **options: Any) -> Any:
        with told(self.asked.unstrip_protocol(arguments[named])):
            return patiently(getattr(self.asked, method), *arguments, **options)

    return ask


class Remote(AbstractFileSystem):
    """The file system of a client, whose calls raise `StoreError`, and so do those of the files that it opens.

    The client itself is left as it is: it relies on its own errors within.
    """

    cachable = False  # the client is
    encodes: ClassVar[bool] = False  # whether its `info` may say that a file is packed, and its listings do not

    def __init__(self, asked: AbstractFileSystem) -> None:
        super().__init__()
        self.asked = asked
        self.protocol = asked.protocol

    info = _asking("info")
    ls = _asking("ls")
    find = _asking("find")
    cat_file = _asking("cat_file")
    pipe_file = _asking("pipe_file")
    cp_file = _asking("cp_file")
    put_file = _asking("put_file", named=1)
    rm_file = _asking("rm_file")

    def create(self, path: str, data: bytes) -> bool:
        """Write a file whole, unless there is one; says whether it was written."""
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            self.asked.pipe_file(path, data, mode="create")

        try:
            with told(self.unstrip_protocol(path)):
                patiently(once)
        except FileExistsError:
            # Where an answer was lost on the way the file that is there is ours.
            return tries > 1 and bytes(self.cat_file(path)) == data
        return True

    def look(self, path: str) -> tuple[bytes, str]:
        """The bytes of a file, and what `replace` takes for them; raises `FileNotFoundError`."""
        raise StoreError(self._one_at_a_time(path))

    def replace(self, path: str, data: bytes, seen: str) -> bool:
        """Write a file whole if it is still what `look` saw; says whether it was written."""
        raise StoreError(self._one_at_a_time(path))

    def remove(self, path: str, seen: str) -> None:
        """Remove a file if its `identity`, asked just before, is what was seen; raises `FileNotFoundError`."""
        if identity(self.info(path)) == seen:
            self.rm_file(path)

    def get_file(self, path: str, target: str) -> None:
        """Fetch a file whole, to a path of this machine."""

        def once() -> None:
            self.asked.get_file(path, target)
            info = self.asked.info(path)
            size, came = info.get("size"), os.path.getsize(target)
            if size is not None and came != size and not packing(info):
                raise Passing(f"of {size} bytes {came} came")

        with told(self.unstrip_protocol(path)):
            patiently(once)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """An open file. What is read of it comes whole, or is an error that names it."""
        name = self.asked.unstrip_protocol(path)
        with told(name):
            file = patiently(self.asked.open, path, mode, **options)
        return self._guarded(file, path, name)

    def _guarded(self, file: Any, path: str, name: str) -> Any:
        """An open file of a client → one that asks again, and raises `StoreError`."""
        if hasattr(getattr(file, "cache", None), "fetcher"):
            file.cache.fetcher = self._whole(file, path, file.cache.fetcher)
        for method in _OF_FILES:
            if hasattr(file, method):
                setattr(file, method, told(name)(getattr(file, method)))
        return file

    def _whole(self, file: Any, path: str, fetch: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
        """What asks for bytes of a file → what does so until they are all there."""

        def once(start: int, end: int) -> bytes:
            data = fetch(start, end)
            missing = min(end, file.size) - start - len(data)
            if missing > 0 and int(self.asked.info(path)["size"]) == file.size:  # else it is another file by now
                raise Passing(f"of bytes {start} to {end} the last {missing} do not come")
            return data

        def fetched(start: int, end: int) -> bytes:
            return patiently(once, start, end)

        return fetched

    def glob(self, path: str, **options: Any) -> Any:
        """What a pattern finds; raises what the client does, since a pattern may be wrong."""
        return patiently(self.asked.glob, path, **options)

    def unstrip_protocol(self, name: str) -> str:
        """A path → its URI."""
        return str(self.asked.unstrip_protocol(name))

    @property
    def creates(self) -> bool:
        """Whether it creates a file only if there is none, and does not ask first, and then write."""
        return isinstance(self.asked, AsyncFileSystem) or type(self.asked).pipe_file is not AbstractFileSystem.pipe_file

    def again(self, **options: Any) -> Self:
        """The same store, with other options."""
        return type(self)(type(self.asked)(**{**self.asked.storage_options, **options}))

    def _one_at_a_time(self, path: str) -> str:
        return (
            f"{self.unstrip_protocol(path)} is changed by several processes, and its file system cannot write a file "
            "only where nobody else has: put it on a disk, in gs:// or in s3://"
        )
