"""One request of HTTP that ends, whatever the other side does.

It takes `SECONDS` as a whole: an answer that comes a byte at a time has no longer than one that does not come. Of a
long answer the first `MOST` bytes are read. Nobody is sent on to another address: headers have keys in them. What the
environment says of proxies holds; what ~/.netrc says of passwords does not.
"""

import http.client
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.error import URLError

from seqcls_beam.version import __version__

SECONDS = 10.0
_CONNECTING = 3.0
"""Seconds for an address of the host, for the handshake of TLS, and for what is sent, each."""
MOST = 65536


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # its beginning; b"" where that did not come in time


class Unanswered(Exception):
    """Why nothing came back, in some words; `lost` where the connection was there, and broke."""

    def __init__(self, why: str, lost: bool = False) -> None:
        super().__init__(why)
        self.lost = lost


def post(url: str, body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> Answer:
    """Send something to an http or https URL; the answer, whatever its status. Raises `Unanswered`."""
    over = time.monotonic() + SECONDS
    opener = urllib.request.build_opener(_Http(over), _Https(over, tls), _AsItIs())
    opener.addheaders = [("User-Agent", f"seqcls_beam/{__version__}")]
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    try:
        with opener.open(request, timeout=_CONNECTING) as response:
            return Answer(response.status, response.headers, _beginning(response))
    except (OSError, http.client.HTTPException) as error:
        raise _unanswered(error) from None  # what a library says of a request may have its headers in it


def _beginning(response: Any) -> bytes:
    try:
        return bytes(response.read(MOST))
    except (OSError, http.client.HTTPException):
        return b""


def _unanswered(error: Exception) -> Unanswered:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return Unanswered("it does not answer in time")
    if isinstance(reason, ConnectionRefusedError):
        return Unanswered("nothing listens there")
    if isinstance(reason, socket.gaierror):
        return Unanswered("there is no host of that name")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Unanswered(f"its certificate is not trusted: {reason.verify_message}")
    if isinstance(reason, ConnectionError):
        return Unanswered("it breaks the connection off", lost=True)
    if isinstance(reason, http.client.HTTPException):
        return Unanswered("what it answers is no HTTP")
    return Unanswered(getattr(reason, "strerror", None) or type(reason).__name__)


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """An answer of any status is one, and leads nowhere else."""

    def http_response(self, request: Any, response: Any) -> Any:
        """The same."""
        return response

    https_response = http_response


class _Http(urllib.request.HTTPHandler):
    def __init__(self, over: float) -> None:
        super().__init__()
        self._over = over

    def http_open(self, req: urllib.request.Request) -> Any:
        """Send a request."""
        return self.do_open(partial(_connection, http.client.HTTPConnection, self._over), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, over: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(context=tls)
        self._over, self._tls = over, tls

    def https_open(self, req: urllib.request.Request) -> Any:
        """Send a request."""
        return self.do_open(partial(_connection, http.client.HTTPSConnection, self._over, context=self._tls), req)


def _connection(kind: Any, over: float, host: str, **options: Any) -> Any:
    made = kind(host, **options)
    made.response_class = partial(_Response, over)
    return made


class _Response(http.client.HTTPResponse):
    """An answer that is read until a moment, and not longer."""

    def __init__(self, over: float, sock: Any, *options: Any, **more: Any) -> None:
        super().__init__(sock, *options, **more)
        self.fp: Any = io.BufferedReader(_Hurried(self.fp.detach(), sock, over))


class _Hurried(io.RawIOBase):
    """What a socket receives; raises `TimeoutError` from a moment on, not only where nothing comes."""

    def __init__(self, raw: Any, sock: socket.socket, over: float) -> None:
        self._raw, self._sock, self._over = raw, sock, over

    def readable(self) -> bool:
        """It is read only."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Bytes that came."""
        left = self._over - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()
        super().close()
