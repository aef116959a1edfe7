"""The few things done with files, local or in a bucket, that must be atomic.

fsspec opens, lists and copies; this file adds what it leaves open: writing whole or not at all, creating only where
nothing is, and moving in a way that can be repeated after a crash. Knows nothing of runs and parts.
"""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec


def connect(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Listings are not cached: other processes write there too."""
    return fsspec.core.url_to_fs(uri, use_listings_cache=False)


def absolute(uri: str) -> str:
    """A URI that means the same file in any working folder; no slash at the end."""
    return os.path.abspath(os.path.expanduser(connect(uri)[1])) if is_local(uri) else uri.rstrip("/")


def join(folder: str, *names: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *names])


def size(uri: str) -> int | None:
    """Bytes of a file; None where there is none."""
    fs, path = connect(uri)
    try:
        return int(fs.info(path)["size"])
    except FileNotFoundError:
        return None


def version(info: dict[str, Any]) -> str:
    """What tells a file from its later self, read off fsspec's `info` of it.

    Generation or etag where the store has one, else the modification time; "" where there is nothing of the kind.
    """
    for key in ("generation", "etag", "ETag", "mtime", "LastModified", "created"):
        if info.get(key):
            return str(info[key])
    return ""


def without_password(uri: str) -> str:
    """A URI without the user and password it may name, for what is published."""
    return re.sub(r"://[^/@\s]*@", "://", uri)


def read(uri: str) -> bytes:
    """The bytes of a file; raises `FileNotFoundError`."""
    fs, path = connect(uri)
    return bytes(fs.cat_file(path))


def files(folder: str) -> list[str]:
    """URIs of the files directly in a folder, sorted; none where there is no folder."""
    return _children(folder, "file")


def folders(folder: str) -> list[str]:
    """URIs of the folders directly in a folder, sorted; none where there is no folder."""
    return _children(folder, "directory")


def ensure_writable(folder: str) -> None:
    """Make a folder if need be, and create a file in it as a commit does; raises `OSError` saying why not."""
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
        os.makedirs(os.path.dirname(path), exist_ok=True)
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
    sync_folder(path)


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
    finally:
        os.unlink(aside)
    sync_folder(path)
    return True


def move(source: str, target: str) -> None:
    """Move a file, replacing the target; atomic on a local disk, copy and delete in a store.

    Raises `FileNotFoundError` where there is no source.
    """
    fs, path = connect(source)
    _, target_path = connect(target)
    if is_local(source):
        os.makedirs(os.path.dirname(target_path), exist_ok=True)
        os.replace(path, target_path)
    else:
        fs.mv(path, target_path)


def remove(uri: str) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where there is none.

    Several processes may remove the same folder at once.
    """
    fs, path = connect(uri)
    if not is_local(uri):
        with suppress(FileNotFoundError):
            fs.rm(path, recursive=True)
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


def remove_if_empty(folder: str) -> None:
    """Remove a local folder that holds nothing; a store has no folders to remove."""
    if is_local(folder):
        with suppress(OSError):
            os.rmdir(connect(folder)[1])


def cache() -> Path:
    """The folder of this machine for what is fetched or derived and can be made again: SEQCLS_BEAM_CACHE."""
    folder = Path(os.environ.get("SEQCLS_BEAM_CACHE") or "~/.cache/seqcls_beam").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """The path of `name` in the cache, to make or look at while no other process on this machine does."""
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache() / name


def is_local(uri: str) -> bool:
    """Whether a URI is on this machine's disks, where folders can be renamed at once."""
    # By name: connecting to a store can take seconds.
    return fsspec.utils.get_protocol(uri) in ("file", "local")


def sync_folder(path: str) -> None:
    """Bring the names in the folder that a local path lies in to the disk, so that a rename outlives a power cut."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_aside(path: str, data: bytes, scratch: str | None) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    folder = connect(scratch)[1] if scratch else os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    aside = os.path.join(folder, f".{os.path.basename(path)}-{secrets.token_hex(8)}")
    with open(aside, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return aside


def _children(folder: str, kind: str) -> list[str]:
    fs, path = connect(folder)
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(join(folder, each["name"].rstrip("/").rsplit("/", 1)[-1]) for each in found if each["type"] == kind)
