"""The few things done with files, local or in a bucket, that must be atomic.

    names.py     how files are named
    identity.py  what tells a file from its later self, and how it is packed
    faults.py    what goes wrong at a store, as one kind of error
    retries.py   what is asked again
    remote.py    a store as the rest sees it
    google.py, amazon.py, web.py   … and what is particular of some
    stores.py    which of them a URI means
    writing.py   files that are there whole or not at all
    updating.py  one small file that several processes change

fsspec opens, lists and copies; this file adds what it leaves open: writing whole or not at all, creating only where
nothing is, and moving in a way that can be repeated after a crash. Knows nothing of runs and parts.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from seqcls_beam.storage.discretion import without_password as without_password
from seqcls_beam.storage.faults import MissingPackage as MissingPackage
from seqcls_beam.storage.faults import Replaced as Replaced
from seqcls_beam.storage.faults import StoreError as StoreError
from seqcls_beam.storage.identity import identity as identity
from seqcls_beam.storage.identity import itself as itself
from seqcls_beam.storage.identity import packing as packing
from seqcls_beam.storage.identity import proves as proves
from seqcls_beam.storage.identity import state as state
from seqcls_beam.storage.identity import version as version
from seqcls_beam.storage.names import STANDARD_INPUT as STANDARD_INPUT
from seqcls_beam.storage.names import absolute as absolute
from seqcls_beam.storage.names import is_gone as is_gone
from seqcls_beam.storage.names import is_local as is_local
from seqcls_beam.storage.names import is_web as is_web
from seqcls_beam.storage.names import join as join
from seqcls_beam.storage.names import lies_in as lies_in
from seqcls_beam.storage.names import local_path as local_path
from seqcls_beam.storage.names import named as named
from seqcls_beam.storage.names import resolved as resolved
from seqcls_beam.storage.remote import Remote
from seqcls_beam.storage.sentences import without_secrets as without_secrets
from seqcls_beam.storage.stores import connect as connect
from seqcls_beam.storage.updating import update as update
from seqcls_beam.storage.writing import creating as creating
from seqcls_beam.storage.writing import ensure_file as ensure_file
from seqcls_beam.storage.writing import ensure_puts as ensure_puts
from seqcls_beam.storage.writing import make_folder as make_folder
from seqcls_beam.storage.writing import put as put
from seqcls_beam.storage.writing import put_if_absent as put_if_absent
from seqcls_beam.storage.writing import sync as sync

Item = TypeVar("Item")
Result = TypeVar("Result")


def size(uri: str) -> int | None:
    """Bytes of a file; None where there is none."""
    fs, path = connect(uri)
    try:
        return int(fs.info(path)["size"])
    except FileNotFoundError:
        return None


def exists(uri: str) -> bool:
    """Whether there is a file, or on a local disk a folder, of that name."""
    # Not `exists`, for which a question that fails is a no.
    fs, path = connect(uri)
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(path) if is_local(uri) else fs.info(path)
        return True
    return False


def version_of(uri: str) -> str | None:
    """What tells the file that is there now from a later one, even of the same bytes; None where there is none."""
    fs, path = connect(uri)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return None
    return identity(info)


def read(uri: str) -> bytes:
    """The bytes of a file; raises `FileNotFoundError`, and `StoreError` for what is no file."""
    fs, path = connect(uri)
    if is_local(uri):
        ensure_file(uri)
    return bytes(fs.cat_file(path))


def files(folder: str) -> list[str]:
    """URIs of the files directly in a folder, sorted; none where there is no folder."""
    return _children(folder, "file")


def names(folder: str) -> list[str]:
    """Names of what is directly in a folder, sorted; none where there is no folder."""
    return sorted(uri.rsplit("/", 1)[-1] for uri in _children(folder, "file", "directory"))


def token() -> str:
    """Letters that nobody else draws."""
    return secrets.token_hex(8)


def each(do: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    """Do something with each of some files, several at once; the results in order."""
    step = len(items) // 256 + 1  # a rename takes less time than handing it to a thread
    if len(items) <= step:
        return [do(item) for item in items]
    with ThreadPoolExecutor(16) as pool:
        runs = pool.map(lambda start: [do(item) for item in items[start : start + step]], range(0, len(items), step))
        return [result for run in runs for result in run]


def ensure_writable(folder: str) -> None:
    """Make a folder if need be, and create a file in it as a commit does; raises `OSError` saying why not.

    So it does where the file system would not create a file only if there is none, but ask, and then write; and where
    a store takes no notice of being told so.
    """
    fs = connect(folder)[0]
    would = f"of two runs that publish at once the file system of {folder} would let both win"
    if isinstance(fs, Remote) and not fs.creates:
        raise OSError(would)
    probe = join(folder, f".probe-{secrets.token_hex(8)}")
    put_if_absent(probe, b"probe")
    again = isinstance(fs, Remote) and put_if_absent(probe, b"again")
    remove(probe)
    if again:
        raise OSError(f"{would}: it writes over a file that it was told not to write over")


def rename(source: str, target: str) -> None:
    """Rename a file or a folder of a local disk, at once; a file replaces a file, a folder only an empty one.

    Raises `OSError` with the reason.
    """
    os.rename(connect(source)[1], connect(target)[1])


def copy(source: str, target: str) -> None:
    """Copy a file within a store, replacing the target; raises `FileNotFoundError` where there is no source."""
    fs, path = connect(source)
    fs.cp_file(path, connect(target)[1])


def remove(uri: str) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where there is none.

    Several processes may remove the same folder at once.
    """
    fs, path = connect(uri)
    if not is_local(uri):
        # Not `rm`, to which [1] or * in a name is a pattern.
        each(remove_file, [fs.unstrip_protocol(found) for found in fs.find(path)])
    elif os.path.isfile(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
    else:
        for _ in range(20):
            shutil.rmtree(path, ignore_errors=True)
            if not os.path.exists(path):
                return
            time.sleep(0.05)
        shutil.rmtree(path)


def remove_file(uri: str) -> None:
    """Remove one file by its name, without asking a listing; nothing happens where there is none."""
    fs, path = connect(uri)
    with suppress(FileNotFoundError):
        if is_local(uri):
            os.unlink(path)
        else:
            fs.rm_file(path)


def remove_version(uri: str, seen: str) -> None:
    """Remove a file of a store if it is still the version that `version_of` saw.

    In Google Cloud Storage the store itself compares; S3 compares the bytes; elsewhere it is asked just before.
    """
    fs, path = connect(uri)
    with suppress(FileNotFoundError):
        fs.remove(path, seen)


def remove_if_empty(folder: str) -> None:
    """Remove a local folder that holds nothing; a store has no folders to remove."""
    if is_local(folder):
        with suppress(OSError):
            os.rmdir(connect(folder)[1])


def _children(folder: str, *kinds: str) -> list[str]:
    fs, path = connect(folder)
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    # A listing of a file is that file.
    inside = [each for each in found if each["type"] in kinds and each["name"].rstrip("/") != path.rstrip("/")]
    return sorted(join(folder, each["name"].rstrip("/").rsplit("/", 1)[-1]) for each in inside)
