"""Files over HTTP: what fsspec reads, asked for in the way in which they are read.

One request for the first byte tells all that reading must know, also where a server (or a signed URL) answers no HEAD:
whether it gives ranges, how long the file is, and what tells it from its later self.
"""

import io
import re
import tempfile
from typing import Any

import aiohttp
from fsspec.asyn import sync, sync_wrapper
from fsspec.implementations.http import HTTPFile, HTTPFileSystem

from seqcls_beam.storage.discretion import without_password
from seqcls_beam.storage.retries import BUSY, Passing
from seqcls_beam.storage.sentences import without_secrets

# No limit of the whole: a file that is fetched at once may take hours.
_PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_VERSIONS = ("ETag", "Last-Modified")


class Web(HTTPFileSystem):
    """Files as the server stores them; where it gives no ranges, fetched whole when they are opened.

    `info` has `size`, None where the server does not say it; `ranges`, whether a part can be asked for; and `encoding`,
    how the server packs the file on the way ("" where it does not). No error names a password.
    """

    def __init__(self, **options: Any) -> None:
        client = {"auto_decompress": False, "headers": {"Accept-Encoding": "identity"}, "timeout": _PATIENCE}
        super().__init__(client_kwargs=client, **options)

    async def _info(self, url: str, **_: Any) -> dict[str, Any]:
        shown = without_password(url)
        try:
            session = await self.set_session()
            async with session.get(self.encode_url(url), headers={"Range": "bytes=0-0"}) as answer:
                status, headers = answer.status, answer.headers
                if status in (404, 410):
                    raise FileNotFoundError(f"{shown}: the server answers {status} {answer.reason}")
                if status not in (200, 206, 416):  # 204 and 205 have no content, and are no empty file
                    kind = Passing if status in BUSY else OSError
                    raise kind(f"{shown}: the server answers {status} {answer.reason}")
        except aiohttp.TooManyRedirects:
            raise OSError(f"{shown}: the server leads from one address to another without an end") from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            said = without_secrets(str(error)) or type(error).__name__
            # A server to which nothing leads may be a slip of the pen.
            never = isinstance(error, (aiohttp.ClientConnectorError, ValueError))
            raise (OSError if never else Passing)(f"{shown}: no answer ({said})") from None
        found: dict[str, Any] = {"name": url, "type": "file", "ranges": status == 206}
        found["encoding"] = headers.get("Content-Encoding", "").replace("identity", "")
        found["size"] = _size(status, headers.get("Content-Range", ""), headers.get("Content-Length", ""))
        return {**found, **{name: headers[name] for name in _VERSIONS if name in headers}}

    def _open(self, path: str, mode: str = "rb", **how: Any) -> Any:
        info = self.info(path)
        if not info["size"]:
            return io.BytesIO()
        if info["ranges"]:
            session = sync(self.loop, self.set_session)
            block, cache = how.get("block_size") or self.block_size, how.get("cache_type") or self.cache_type
            return _Ranged(
                self, path, session=session, block_size=block, size=info["size"], cache_type=cache, loop=self.loop
            )
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the reader closes it
        try:
            sync(self.loop, self._get_file, path, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file


class _Ranged(HTTPFile):
    """A file of which parts are asked for; a part that is another one, or ends early, is an error."""

    async def async_fetch_range(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`."""
        shown = without_password(self.url)
        try:
            wanted = {"Range": f"bytes={start}-{end - 1}"}
            async with self.session.get(self.fs.encode_url(self.url), headers=wanted) as answer:
                given = answer.headers.get("Content-Range", "")
                if answer.status in BUSY:
                    raise Passing(f"{shown}: the server answers {answer.status} {answer.reason}")
                if answer.status != 206 or not given.startswith(f"bytes {start}-{end - 1}/"):
                    raise OSError(
                        f"{shown}: asked for bytes {start} to {end - 1} the server gives {given or answer.status}"
                    )
                data = bytes(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Passing(f"{shown}: no answer ({without_secrets(str(error)) or type(error).__name__})") from None
        if len(data) != end - start:
            raise Passing(f"{shown}: the server gives {len(data)} bytes of {end - start}")
        return data

    _fetch_range = sync_wrapper(async_fetch_range)


def _size(status: int, content_range: str, content_length: str) -> int | None:
    if status == 416:  # there is no first byte, or it may not be asked for
        return 0 if content_range in ("", "bytes */0") else None
    total = re.fullmatch(r"bytes 0-0/(\d+)", content_range) if status == 206 else re.fullmatch(r"(\d+)", content_length)
    return int(total[1]) if total else None
