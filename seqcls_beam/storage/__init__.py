"""The few things done with files, local or in a bucket, that must be atomic.

    names.py     how files are named
    identity.py  what tells a file from its later self
    faults.py    what goes wrong at a store, as one kind of error
    web.py       files over HTTP

fsspec opens, lists and copies; this file adds what it leaves open: writing whole or not at all, creating only where
nothing is, and moving in a way that can be repeated after a crash. Knows nothing of runs and parts.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any, TypeVar

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from seqcls_beam.storage.faults import Remote, told
from seqcls_beam.storage.faults import StoreError as StoreError
from seqcls_beam.storage.identity import identity as identity
from seqcls_beam.storage.identity import proves as proves
from seqcls_beam.storage.identity import state as state
from seqcls_beam.storage.identity import version as version
from seqcls_beam.storage.names import STANDARD_INPUT as STANDARD_INPUT
from seqcls_beam.storage.names import absolute as absolute
from seqcls_beam.storage.names import is_local as is_local
from seqcls_beam.storage.names import is_web as is_web
from seqcls_beam.storage.names import join as join
from seqcls_beam.storage.names import lies_in as lies_in
from seqcls_beam.storage.names import local_path as local_path
from seqcls_beam.storage.names import named as named
from seqcls_beam.storage.names import without_password as without_password

Item = TypeVar("Item")
Result = TypeVar("Result")

_DISK = LocalFileSystem()


def connect(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Listings are not cached: other processes write there too.

    Raises `ValueError` for a protocol that nobody knows, and `ImportError` where its package is missing. A store that
    fails is a `StoreError`, here and in all calls of the file system and of its files.
    """
    if is_local(uri):
        return _DISK, local_path(uri)
    protocol = get_protocol(uri)
    if is_web(uri):
        from seqcls_beam.storage.web import Web  # its package comes with extras only

        return Remote(Web()), uri
    kind = fsspec.get_filesystem_class(protocol)
    if "::" in uri and issubclass(kind, (ChainedFileSystem, AbstractArchiveFileSystem)):
        with told(uri):
            chained, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
        return Remote(chained), path
    # Not `url_to_fs`, which takes a:: in any name for a chain of file systems.
    options = kind._get_kwargs_from_urls(uri)
    if "#" in uri:
        options.pop("version_aware", None)  # a # is a sign like others, and no generation of an object
    path = kind._strip_protocol(uri)
    if protocol == "memory" and path:
        path = f"/{path.lstrip('/')}"
    with told(uri):  # credentials are looked for
        return Remote(kind(**options, use_listings_cache=False)), path


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
    """The bytes of a file; raises `FileNotFoundError`."""
    fs, path = connect(uri)
    return bytes(fs.cat_file(path))


def files(folder: str) -> list[str]:
    """URIs of the files directly in a folder, sorted; none where there is no folder."""
    return _children(folder, "file")


def names(folder: str) -> list[str]:
    """Names of what is directly in a folder, sorted; none where there is no folder."""
    return sorted(uri.rsplit("/", 1)[-1] for uri in _children(folder, "file", "directory"))


def make_folder(uri: str) -> None:
    """Make a local folder and those above it, although others may remove empty ones at that moment."""
    path = connect(uri)[1]
    for _ in range(20):
        with suppress(FileNotFoundError):
            os.makedirs(path, exist_ok=True)
            return
    os.makedirs(path, exist_ok=True)


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

    So it does where the file system would not create a file only if there is none, but ask, and then write.
    """
    fs = connect(folder)[0]
    if isinstance(fs, Remote) and not fs.creates:
        raise OSError(f"of two runs that publish at once the file system of {folder} would let both win")
    probe = join(folder, f".probe-{secrets.token_hex(8)}")
    put_if_absent(probe, b"probe")
    remove(probe)


@contextmanager
def creating(uri: str) -> Iterator[IO[bytes]]:
    """A new file open for writing; on the disk (not in a cache of the machine) when the block ends.

    Where the block raises, a store gets no file, and a local disk keeps what was written so far.
    """
    fs, path = connect(uri)
    if is_local(uri):
        make_folder(os.path.dirname(path))
        with open(path, "wb") as local:
            yield local
            local.flush()
            os.fsync(local.fileno())
        return
    file = fs.open(path, "wb")
    try:
        yield file
    except BaseException:
        # A store publishes an object when it is closed, and half an object must not appear.
        with suppress(Exception):  # what is left of an upload expires; the error that ended it is what matters
            file.discard()
        file.closed = True
        raise
    file.close()


def put(uri: str, data: bytes, scratch: str | None = None) -> None:
    """Write a small file whole, replacing what was there; a reader sees the old bytes or the new ones.

    On a local disk it is written aside first: in `scratch`, a folder of the same disk, or else next to the target.
    """
    fs, path = connect(uri)
    if not is_local(uri):
        fs.pipe_file(path, data)
        return
    aside = _write_aside(path, data, scratch)
    try:
        os.replace(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    sync(os.path.dirname(path))


def put_if_absent(uri: str, data: bytes, scratch: str | None = None) -> bool:
    """Write a small file whole, unless there is one; says whether it was written. Of many at once, one writes."""
    fs, path = connect(uri)
    if not is_local(uri):
        try:
            fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True
    aside = _write_aside(path, data, scratch)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        # Who removed the scratch folder may have done so because the file is there.
        if os.path.lexists(path):
            return False
        raise
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)
    sync(os.path.dirname(path))
    return True


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

    In Google Cloud Storage the store itself compares; elsewhere it is asked just before.
    """
    fs, path = connect(uri)
    with suppress(FileNotFoundError):
        if "generation" in fs.info(path):
            # Only the object of that generation: an error where there is a newer one.
            fs.again(version_aware=True).rm_file(f"{path}#{seen}")
        elif version_of(uri) == seen:
            fs.rm_file(path)


def remove_if_empty(folder: str) -> None:
    """Remove a local folder that holds nothing; a store has no folders to remove."""
    if is_local(folder):
        with suppress(OSError):
            os.rmdir(connect(folder)[1])


def sync(folder: str) -> None:
    """Bring the names in a local folder to the disk, that a rename outlives a power cut; where it is gone, nothing."""
    if not is_local(folder):
        return
    with suppress(FileNotFoundError):
        opened = os.open(connect(folder)[1], os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _write_aside(path: str, data: bytes, scratch: str | None) -> str:
    make_folder(os.path.dirname(path))
    folder = connect(scratch)[1] if scratch else os.path.dirname(path)
    make_folder(folder)
    aside = os.path.join(folder, f".{os.path.basename(path)}-{secrets.token_hex(8)}")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(FileNotFoundError):  # on a full disk what is left of it would take room for ever
            os.unlink(aside)
        raise
    return aside


def _children(folder: str, *kinds: str) -> list[str]:
    fs, path = connect(folder)
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    # A listing of a file is that file.
    inside = [each for each in found if each["type"] in kinds and each["name"].rstrip("/") != path.rstrip("/")]
    return sorted(join(folder, each["name"].rstrip("/").rsplit("/", 1)[-1]) for each in inside)
