"""One request of HTTP that ends, whatever the other side does.

It takes `SECONDS` as a whole, with names, connections, TLS, and a second try: an answer that comes a byte at a time has
no longer than one that does not come. Of a long answer the first `MOST` bytes are read. Nobody is sent on to another
address: headers have keys in them. What the environment says of proxies holds; what ~/.netrc says of passwords does
not.
"""

import http.client
import io
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.error import URLError

from seqcls_beam.announcing.patience import Late, within
from seqcls_beam.version import __version__

SECONDS = 10.0
_CONNECTING = 3.0
"""Seconds for an address of the host, for the handshake of TLS, and for what is sent, each, within those."""
MOST = 65536
PASSING = (429, 502, 503, 504)
"""Answers after which one may ask again."""
PAUSE, LONGEST_PAUSE = 1.0, 5.0
"""Seconds before that, and at most, where the answer says how many."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # its beginning; b"" where that did not come in time

    @property
    def is_taken(self) -> bool:
        """Whether what was sent was."""
        return 200 <= self.status < 300

    @property
    def line(self) -> str:
        """Its status, and what HTTP calls that; not what the server does, which may hold anything."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()


class Unanswered(Exception):
    """Why nothing came back, in some words; `lost` where the connection was there, and broke."""

    def __init__(self, why: str, lost: bool = False) -> None:
        super().__init__(why)
        self.lost = lost


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None = None,
    again: Collection[int] = PASSING,
    seconds: float | None = None,
) -> Answer:
    """Send something to an http or https URL; the answer, whatever its status. Raises `Unanswered`.

    It is sent once more where the connection broke, or the answer is one of `again` and asks for no long pause. All
    that takes `SECONDS` at most, or those that are left.
    """
    seconds = SECONDS if seconds is None else seconds
    once = partial(_once, url, body, headers, tls)
    over = time.monotonic() + 0.95 * seconds  # before nobody waits any more: what came until then counts
    try:
        return within(seconds, partial(_insist, once, again, over))
    except Late:
        raise Unanswered("it does not answer in time") from None


def _insist(once: Callable[[float], Answer], again: Collection[int], over: float) -> Answer:
    try:
        answer = once(over)
    except Unanswered as error:
        if not error.lost or time.monotonic() + PAUSE > over:
            raise
        pause = PAUSE
    else:
        asked = _pause(answer.headers.get("Retry-After")) if answer.status in again else None
        if asked is None or time.monotonic() + asked > over:
            return answer
        pause = asked
    time.sleep(pause)
    return once(over)


def _pause(said: str | None) -> float | None:
    """Seconds until one may ask again; None where that is longer than anybody waits."""
    if said is None:
        return PAUSE
    if re.fullmatch(r"\s*\d{1,9}\s*", said):
        seconds = float(said)
    else:
        try:
            when = parsedate_to_datetime(said)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds <= LONGEST_PAUSE else None


def _once(url: str, body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext | None, over: float) -> Answer:
    opener = urllib.request.build_opener(_Http(over), _Https(over, tls), _AsItIs())
    opener.addheaders = [("User-Agent", f"seqcls_beam/{__version__}")]
    try:
        request = urllib.request.Request(url, body, dict(headers), method="POST")
        with opener.open(request, timeout=max(0.01, min(_CONNECTING, over - time.monotonic()))) as response:
            return Answer(response.status, response.headers, _beginning(response))
    except (OSError, http.client.HTTPException) as error:
        raise _unanswered(error) from None  # what a library says of a request may have its headers in it
    except ValueError:
        raise Unanswered("the URL, or a header, has signs in it that none has") from None


def identity(authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Whom to trust, and who one is, as files of PEM. Raises `OSError` or `ValueError`."""
    context = ssl.create_default_context(cafile=authority or None)
    if certificate:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    return context


def _no_password() -> str:
    """Asked for where a key has one; the terminal would be, otherwise."""
    return ""


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
