"""What tells a file from its later self, and how it is packed, read off fsspec's `info` of it."""

import os
import re
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
    """What tells a file from a later one, even of the same bytes; in S3 as far as seconds or versions do."""
    if "generation" in info:
        return version(info)
    return f"{version(info)} {info.get('LastModified', '')} {info.get('VersionId') or ''}".rstrip()


def packing(info: dict[str, Any]) -> str:
    """How the bytes of a file are packed, as the Content-Encoding that its store has of it says; "" where not.

    Only what `info` of the file itself says counts; a listing may leave it out.
    """
    said = info.get("contentEncoding") or info.get("ContentEncoding") or info.get("encoding") or ""
    # aws-chunked is how an upload came, which some clients leave in it.
    names = [name for name in re.split(r"[\s,]+", said.casefold()) if name not in ("", "identity", "aws-chunked")]
    return ", ".join(names)


def itself(uri: str) -> str:
    """What all names of a file of a disk have in common; "" elsewhere, and where there is none or the disk says none.

    These are links, hard links, and names in a folder that is mounted at two places. It holds as long as nothing is
    done to the file.
    """
    if not is_local(uri):
        return ""
    try:
        facts = os.stat(local_path(uri))
    except OSError:
        return ""
    # Some file systems have no numbers of files, or use them again.
    return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_ctime_ns}" if facts.st_ino else ""


def state(uri: str) -> str:
    """What a disk says of the last change of a file; "" elsewhere.

    Nobody can set it back, and it moves with whatever is done to the file, to its mode and its names, too.
    """
    if not is_local(uri):
        return ""
    facts = os.stat(local_path(uri))
    return f"{facts.st_ino} {facts.st_ctime_ns}"
