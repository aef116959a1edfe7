"""Google Cloud Storage: a write can name the generation that it replaces, and a read unpacks unless it is told not to.

An object with `contentEncoding: gzip` is decompressed by the service on the way, and then has no ranges and another
length than its listing says; asked with `Accept-Encoding: gzip` the service gives what is stored. aiohttp sends that,
but decompresses by itself, also a range that begins in the middle. So such objects are read by a client that does not.
https://cloud.google.com/storage/docs/transcoding
"""

import json
import secrets
from typing import Any
from urllib.parse import quote

import aiohttp
from fsspec.spec import AbstractBufferedFile

from seqcls_beam.storage.faults import StoreError, told
from seqcls_beam.storage.remote import Remote
from seqcls_beam.storage.retries import patiently

# gcsfs waits for ever. A stall of so many seconds is an error, which it asks again; the whole may take hours.
STALLED = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)
_AS_STORED = {"auto_decompress": False, "headers": {"Accept-Encoding": "gzip"}}
_WRITER = "seqcls-beam-writer"
_BOUNDARY = "==seqcls-beam=="


class Google(Remote):
    """A client of Google Cloud Storage."""

    encodes = True

    def create(self, path: str, data: bytes) -> bool:
        """Write an object, unless there is one; says whether it was written."""
        mark = secrets.token_hex(8)
        try:
            with told(self.unstrip_protocol(path)):
                patiently(self.asked.pipe_file, path, data, mode="create", metadata={_WRITER: mark})
        except FileExistsError:
            return self._wrote(path, mark)
        except FileNotFoundError:
            raise StoreError(f"{self.unstrip_protocol(path)}: there is no such bucket") from None
        return True

    def look(self, path: str) -> tuple[bytes, str]:
        """The bytes of an object, and a generation that is no later than them."""
        generation = str(self.info(path)["generation"])
        return bytes(self.cat_file(path)), generation

    def replace(self, path: str, data: bytes, seen: str) -> bool:
        """Write an object if that of the generation `seen` is there; says whether it was written."""
        bucket, key, _ = self.asked.split_path(path)
        mark = secrets.token_hex(8)
        about = json.dumps({"name": key, "metadata": {_WRITER: mark}})
        parts = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        try:
            with told(self.unstrip_protocol(path)):
                patiently(
                    self.asked.call,
                    "POST",
                    f"{self.asked.base.replace('/storage/v1/', '/upload/storage/v1/')}b/{quote(bucket)}/o",
                    uploadType="multipart",
                    ifGenerationMatch=seen,
                    headers={"Content-Type": f'multipart/related; boundary="{_BOUNDARY}"'},
                    data=parts.encode() + data + f"\r\n--{_BOUNDARY}--".encode(),
                    json_out=True,
                )
        except (FileExistsError, FileNotFoundError):  # 412, or it is gone
            return self._wrote(path, mark)
        return True

    def remove(self, path: str, seen: str) -> None:
        """Remove the object of a generation: an error where there is a newer one."""
        self.again(version_aware=True).rm_file(f"{path}#{seen}")

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """An open object; what is read of it are the bytes that are stored, and as many as a listing says."""
        if mode != "rb":
            return super().open(path, mode, **options)
        # gcsfs's own reads ahead by way of what `_guarded` does not see.
        options = {"cache_type": "readahead", **options}
        file = super().open(path, mode, **options)
        if not file.details.get("contentEncoding"):
            return file
        file.close()
        raw = self.again(session_kwargs=_AS_STORED).asked
        stored = _Stored(raw, path, "rb", cache_type=options["cache_type"], size=int(file.details["size"]))
        return self._guarded(stored, path, self.unstrip_protocol(path))

    def _wrote(self, path: str, mark: str) -> bool:
        """Whether an object is the one that was written with a mark: then only the answer was lost on the way."""
        try:
            return (self.info(path).get("metadata") or {}).get(_WRITER) == mark
        except FileNotFoundError:
            return False


class _Stored(AbstractBufferedFile):
    """An object as it is stored."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start=start, end=end))
