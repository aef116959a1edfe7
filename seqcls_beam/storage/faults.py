"""What goes wrong at a store, as one kind of `OSError`: no two of their clients raise the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from seqcls_beam.storage.discretion import without_password
from seqcls_beam.storage.retries import Passing
from seqcls_beam.storage.sentences import without_secrets

_LONGEST = 500
"""Characters of what a client says; a proxy may answer with a whole page."""


class StoreError(OSError):
    """A store refused, or gave no answer that its client understands: one sentence, which names the file."""


class MissingPackage(ImportError):
    """What opens a store is not installed: one sentence, which says how to install it."""


class Replaced(StoreError):
    """A file is no longer the one that was opened."""


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
        shown, said = without_password(name), " ".join(without_secrets(str(error)).split())[:_LONGEST]
        kind = "" if isinstance(error, Passing) else f"{type(error).__name__}: "
        said = said if shown in said else f"{shown}: {kind}{said}".removesuffix(": ")
        raise (Replaced if kind == "FileExpired: " else StoreError)(said) from None
