"""S3: where a write can name the ETag that it replaces, and what two of them at once are told.

`If-None-Match: *` and `If-Match` are answered 412 where the condition does not hold, and 409 where another write was
under way, which is asked again.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

import secrets
from contextlib import suppress
from typing import Any

from seqcls_beam.storage.faults import Replaced, StoreError, told
from seqcls_beam.storage.identity import identity
from seqcls_beam.storage.remote import Remote
from seqcls_beam.storage.retries import patiently, status

_WRITER = "seqcls-beam-writer"
_REFUSED = 412


class _Refused(Exception):
    """A condition did not hold."""


class Amazon(Remote):
    """A client of S3."""

    encodes = True

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What there is of an object, how it is packed among it, which the client leaves out; or of a folder."""
        bucket, key, version = self.asked.split_path(path)
        if not key:
            return dict(super().info(path))
        try:
            of = {"VersionId": version} if version else {}
            head = self._call("head_object", path, Bucket=bucket, Key=key, **of)
        except FileNotFoundError:
            folder = {"Prefix": f"{key.rstrip('/')}/", "MaxKeys": 1}
            if self._call("list_objects_v2", path, Bucket=bucket, **folder).get("KeyCount"):
                return {"name": f"{bucket}/{key}".rstrip("/"), "type": "directory", "size": 0}
            raise FileNotFoundError(self.unstrip_protocol(path)) from None
        kept = ("ETag", "LastModified", "VersionId", "ContentEncoding", "Metadata")
        found = {name: head[name] for name in kept if head.get(name)}
        return {**found, "name": f"{bucket}/{key}", "type": "file", "size": head["ContentLength"]}

    def create(self, path: str, data: bytes) -> bool:
        """Write an object, unless there is one; says whether it was written."""
        return self._write(path, data, IfNoneMatch="*")

    def look(self, path: str) -> tuple[bytes, str]:
        """The bytes of an object, and its ETag."""
        while True:
            with suppress(Replaced), self.open(path, cache_type="none") as file:  # reads nothing but what has its ETag
                return bytes(file.read()), str(file.details["ETag"])

    def replace(self, path: str, data: bytes, seen: str) -> bool:
        """Write an object if there is one with the ETag `seen`; says whether it was written."""
        return self._write(path, data, IfMatch=seen)

    def remove(self, path: str, seen: str) -> None:
        """Remove an object if its `identity` is what was seen.

        The store compares the ETag, so what may be removed in its place is an object of the same bytes, written between
        the question and the removal.
        """
        now = self.info(path)
        if identity(now) == seen:
            bucket, key, _ = self.asked.split_path(path)
            with suppress(_Refused):
                self._call("delete_object", path, Bucket=bucket, Key=key, IfMatch=now["ETag"])

    def _write(self, path: str, data: bytes, **condition: str) -> bool:
        bucket, key, _ = self.asked.split_path(path)
        mark = secrets.token_hex(8)
        try:
            self._call("put_object", path, Bucket=bucket, Key=key, Body=data, Metadata={_WRITER: mark}, **condition)
        except _Refused:
            return self._wrote(path, mark)
        except FileNotFoundError:
            if "IfMatch" not in condition:
                raise StoreError(f"{self.unstrip_protocol(path)}: there is no such bucket") from None
            return self._wrote(path, mark)
        return True

    def _wrote(self, path: str, mark: str) -> bool:
        """Whether an object is the one that was written with a mark: then only the answer was lost on the way."""
        try:
            return (self.info(path).get("Metadata") or {}).get(_WRITER) == mark
        except FileNotFoundError:
            return False

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """Ask as botocore does; raises `_Refused` where a condition does not hold."""
        with told(self.unstrip_protocol(path)):
            try:
                return patiently(self.asked.call_s3, method, **arguments)
            except Exception as error:
                if status(error) != _REFUSED:
                    raise
        raise _Refused
