"""What goes wrong at a store, as one kind of `OSError`: no two of their clients raise the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from seqcls_beam.storage.names import without_password

_LONGEST = 500
"""Characters of what a client says; a proxy may answer with a whole page."""

_OF_FILES = ("read", "readinto", "readline", "write", "flush", "close", "discard")
"""The methods of an open file that may ask the store."""


class StoreError(OSError):
    """A store refused, or gave no answer that its client understands: one sentence, which names the file."""


@contextmanager
def told(name: str) -> Iterator[None]:
    """Raise `StoreError` for whatever a client raises, but for what callers tell apart: a file is there, or is not.

    The sentence names no password, and nothing else of the error is kept: addresses in it may hold keys.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, ImportError, StoreError):
        raise
    except Exception as error:
        shown, said = without_password(name), " ".join(without_password(str(error)).split())[:_LONGEST]
        kind = type(error).__name__
        said = said if shown in said else f"{shown}: {kind}: {said}" if said else f"{shown}: {kind}"
        raise StoreError(said) from None


def _asking(method: str, named: int = 0) -> Callable[..., Any]:
    """A method that asks the client, and names in a fault its `named`-th argument."""

    def ask(self: "Remote", *arguments: Any, **options: Any) -> Any:
        with told(self.asked.unstrip_protocol(arguments[named])):
            return getattr(self.asked, method)(*arguments, **options)

    return ask


class Remote(AbstractFileSystem):
    """The file system of a client, whose calls raise `StoreError`, and so do those of the files that it opens.

    The client itself is left as it is: it relies on its own errors within.
    """

    cachable = False  # the client is

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

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """An open file."""
        name = self.asked.unstrip_protocol(path)
        with told(name):
            file = self.asked.open(path, mode, **options)
        for method in _OF_FILES:
            if hasattr(file, method):
                setattr(file, method, told(name)(getattr(file, method)))
        return file

    def glob(self, path: str, **options: Any) -> Any:
        """What a pattern finds; raises what the client does, since a pattern may be wrong."""
        return self.asked.glob(path, **options)

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
