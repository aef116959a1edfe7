"""What tells a file from its later self, read off fsspec's `info` of it."""

import os
from typing import Any

from seqcls_beam.storage.names import is_local, local_path


def version(info: dict[str, Any]) -> str:
    """Generation or etag where the store has one, else the modification time; "" where there is nothing of the kind."""
    for key in ("generation", "etag", "ETag", "mtime", "LastModified", "Last-Modified", "created"):
        if info.get(key):
            return str(info[key])
    return ""


def proves(info: dict[str, Any]) -> bool:
    """Whether an equal `version` means equal bytes: a generation, or an etag that is none of a server's weak ones.

    A time does not: it can be set back, and two writes can share one.
    """
    etag = info.get("etag") or info.get("ETag")
    return bool(info.get("generation") or (etag and not str(etag).startswith("W/")))


def identity(info: dict[str, Any]) -> str:
    """What tells a file from a later one, even of the same bytes."""
    return version(info) if "generation" in info else f"{version(info)} {info.get('LastModified', '')}".rstrip()


def state(uri: str) -> str:
    """What a disk says of the last change of a file; "" elsewhere.

    Nobody can set it back, and it moves with whatever is done to the file, to its mode and its names, too.
    """
    if not is_local(uri):
        return ""
    facts = os.stat(local_path(uri))
    return f"{facts.st_ino} {facts.st_ctime_ns}"
