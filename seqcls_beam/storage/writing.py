"""Files that are there whole or not at all, and of which one of many processes creates one."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from seqcls_beam.storage.faults import StoreError
from seqcls_beam.storage.names import is_local, local_path
from seqcls_beam.storage.stores import connect


def make_folder(uri: str) -> None:
    """Make a local folder and those above it, although others may remove empty ones at that moment."""
    path = connect(uri)[1]
    for _ in range(20):
        with suppress(FileNotFoundError):
            os.makedirs(path, exist_ok=True)
            return
    os.makedirs(path, exist_ok=True)


def ensure_file(uri: str) -> None:
    """Raise `StoreError` for a name of a disk that is no file's: a pipe would be waited for, without an end.

    `FileNotFoundError` where there is nothing.
    """
    kind = os.stat(local_path(uri)).st_mode
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe, a socket or a device"
        raise StoreError(f"{uri} is {what}, where a file is due: move it away")


def ensure_puts(uri: str) -> None:
    """Make the folder of a file, and raise `OSError` where `put` would not write that file."""
    path = connect(uri)[1]
    if is_local(uri):
        with suppress(FileNotFoundError):
            ensure_file(uri)
        os.unlink(_write_aside(path, b"", None))
        return
    probe = f"{uri}.probe-{secrets.token_hex(8)}"
    put(probe, b"probe")
    with suppress(OSError):  # who may write may not be allowed to remove
        connect(uri)[0].rm_file(connect(probe)[1])


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """What says that a disk takes no more says of which file: of several disks that tells which one."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename is None:
            error.filename = path
        raise


def _has(fs: Any, path: str, size: int) -> bool:
    try:
        return int(fs.info(path)["size"]) == size
    except FileNotFoundError:
        return False


@contextmanager
def creating(uri: str) -> Iterator[IO[bytes]]:
    """A new file open for writing; on the disk (not in a cache of the machine) when the block ends.

    Where the block raises, a store gets no file, and a local disk keeps what was written so far.
    """
    fs, path = connect(uri)
    if is_local(uri):
        make_folder(os.path.dirname(path))
        with _naming(path), open(path, "wb") as local:
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
    try:
        file.close()
    except FileNotFoundError:
        # So a store answers of an upload that is over, too, when the word of that was lost on the way.
        if not _has(fs, path, file.tell()):
            raise


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
        return bool(fs.create(path, data))
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
        with _naming(aside), open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(FileNotFoundError):  # on a full disk what is left of it would take room for ever
            os.unlink(aside)
        raise
    return aside
