"""Events of OpenLineage → a server, a file, or wherever OpenLineage's own configuration says.

Servers are asked by `posting`, for ten seconds for all that is to be said at once, whoever names them; what else its
configuration may say (Kafka, several of them) is the client library's, with the same ten seconds. Events name their
run, and saying them again changes nothing: a file that has one does not get it again.
"""

import fcntl
import gzip
import json
import logging
import os
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import RunEvent, RunState
from openlineage.client.serde import Serde
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import (
    HttpCompression,
    HttpConfig,
    HttpTransport,
    TokenProvider,
    create_token_provider,
)
from openlineage.client.transport.noop import NoopTransport
from openlineage.client.transport.transport import Transport

from seqcls_beam import storage
from seqcls_beam.announcing import posting
from seqcls_beam.announcing.patience import Late, within
from seqcls_beam.announcing.published import PlatformError, brief

ENVIRONMENT = "env"
SECONDS = posting.SECONDS
"""For all that is said at once."""
_PASSING = (500, *posting.PASSING)
_KEY = "OPENLINEAGE_API_KEY"
_TAIL = 2**25
"""Bytes at the end of a file in which an event is looked for: ten thousand events."""

_begun: set[tuple[str, str]] = set()
"""(where, run) of which this process said that they began, and not yet how they ended."""


class _Server(Transport):
    """What the client library is configured to ask, asked as everything else is."""

    kind = HttpTransport.kind

    def __init__(self, shown: str, configured: HttpTransport) -> None:
        self._shown, self._to = shown, configured
        self._over = time.monotonic() + SECONDS

    def emit(self, event: Any) -> None:
        """Send one. Raises `PlatformError`."""
        to = self._to
        body, headers = Serde.to_json(event).encode(), {"Content-Type": "application/json"}
        if to.compression == HttpCompression.GZIP:
            body, headers["Content-Encoding"] = gzip.compress(body, mtime=0), "gzip"
        if bearer := to.config.auth.get_bearer():
            headers["Authorization"] = bearer
        headers |= to.config.custom_headers
        url = urljoin(to.url, to.endpoint)
        try:
            tls = _tls(to) if url.lower().startswith("https:") else None
        except (OSError, ValueError) as error:
            raise PlatformError(f"{self._shown}: its certificates cannot be read; mend openlineage.yml") from error
        try:
            answer = posting.post(url, body, headers, tls, _PASSING, self._over - time.monotonic())
        except posting.Unanswered as error:
            raise PlatformError(f"{self._shown} cannot be reached ({error}): look whether it runs") from error
        if not answer.is_taken:
            raise PlatformError(f"{self._shown} took no events: it answered {answer.line}; {_cure(answer.status)}")

    def close(self, timeout: float = -1) -> bool:
        """Nothing is kept."""
        return True


def _tls(to: HttpTransport) -> Any:
    certificate, key = (to.cert, None) if isinstance(to.cert, str) else to.cert or (None, None)
    made = posting.identity(to.verify if isinstance(to.verify, str) else None, certificate, key)
    if to.verify is False:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def _cure(status: int) -> str:
    return _CURES.get(status, "look into its log" if status >= 500 else "look whether it is a server of OpenLineage")


_CURES = {
    401: f"set {_KEY}",
    403: f"set {_KEY} to a key that may write",
    404: "look at the URL, and whether OPENLINEAGE_ENDPOINT is its path",
    413: "have it take larger requests",
}


def is_url(where: str) -> bool:
    """Whether events go to a server."""
    return where.lower().startswith(("http://", "https://"))


def check(where: str) -> None:
    """Raise `PlatformError` where nothing could be said: what is misspelled or missing, without asking a server."""
    if where == ENVIRONMENT or is_url(where):
        _client(where).close()
        return
    if not storage.is_local(where):
        raise PlatformError(
            f"--openlineage={where}: events go to a server, http://HOST:PORT, or are appended to a file of a disk: "
            "name one of them"
        )
    path = storage.local_path(where)
    folder = os.path.dirname(path)
    _ensure_file(path)
    if not os.path.isdir(folder):
        raise PlatformError(
            f"--openlineage={where}: there is no folder {folder}; name a file that gets a line for each event"
        )
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PlatformError(f"--openlineage={where} cannot be written by this user; name another file")
    _client(where).close()


def send(where: str, events: Sequence[RunEvent]) -> None:
    """Say events in their order; of several the first, a START, only where it was not said before.

    Raises `PlatformError`, within `SECONDS`; then some of them may have been said.
    """
    shown = _shown(where)
    try:
        within(SECONDS, partial(_say, _client(where), where, events))
    except PlatformError:
        raise
    except Late:
        raise PlatformError(f"{shown} took no events in {SECONDS:.0f} seconds: look whether it is well") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PlatformError(f"{shown} cannot be written ({why}): mend that") from error
    except Exception as error:  # of whatever openlineage.yml names
        raise PlatformError(f"{shown} took no events ({brief(f'{type(error).__name__}: {error}')})") from error
    run = where, events[-1].run.runId
    _begun.add(run) if events[-1].eventType == RunState.START else _begun.discard(run)


def _say(client: OpenLineageClient, where: str, events: Sequence[RunEvent]) -> None:
    try:
        if isinstance(client.transport, FileTransport) and client.transport.config.append:
            _append(client, client.transport.config.log_file_path, events)
            return
        for event in events[len(events) > 1 and (where, events[0].run.runId) in _begun :]:
            client.emit(event)
        if not client.close(SECONDS):
            raise Late
    finally:
        with suppress(Exception):
            client.close(0.0)


def _append(client: OpenLineageClient, path: str, events: Sequence[RunEvent]) -> None:
    """Add events that a file has not, each as a line; one process after the other."""
    _ensure_file(path)
    with open(path, "ab+") as file:
        with suppress(OSError):  # of a disk that knows no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        said = _said(path, events[0].run.runId)
        if os.fstat(file.fileno()).st_size and not _ends(path):  # a process died while it wrote
            file.write(b"\n")
            file.flush()
        for event in events:
            kind = event.eventType.value if event.eventType else ""
            again = (kind, event.eventTime) in said
            started = len(events) > 1 and kind == "START" and any(each == kind for each, _ in said)
            if not again and not started:
                client.emit(event)


def _ensure_file(path: str) -> None:
    """Raise `PlatformError` for what has no end, or keeps nothing, where a file is to be."""
    try:
        with suppress(FileNotFoundError):
            storage.ensure_file(path)
    except storage.StoreError as error:
        what = str(error).partition(", where")[0]
        raise PlatformError(f"--openlineage={what}; name a file that gets a line for each event") from error


def _said(path: str, run: str) -> set[tuple[str, str]]:
    """(type, time) of the events of a run that the end of a file has."""
    found, mark = set[tuple[str, str]](), run.encode()
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _TAIL))
        for line in file.read(_TAIL).splitlines():  # a device has no end
            if mark not in line:
                continue
            with suppress(ValueError, KeyError, TypeError):  # half a line, or no event
                event = json.loads(line)
                if event["run"]["runId"] == run:
                    found.add((event["eventType"], event["eventTime"]))
    return found


def _ends(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _client(where: str) -> OpenLineageClient:
    """Raises `PlatformError` where there can be none."""
    with _undisturbed():
        try:
            client = OpenLineageClient(transport=_transport(where))
        except PlatformError:
            raise
        except Exception as error:  # of whatever openlineage.yml names
            raise PlatformError(
                f"--openlineage={where}: OpenLineage's configuration cannot be used "
                f"({brief(f'{type(error).__name__}: {error}')}): mend OPENLINEAGE_URL, or openlineage.yml"
            ) from error
        named = (client.config.transport or {}).get("type")
    if where == ENVIRONMENT and client.transport.kind == "console" and not named:
        raise PlatformError(
            "--openlineage=env: neither OPENLINEAGE_URL nor an openlineage.yml says where events go: set one of them, "
            "or name a URL or a file"
        )
    if isinstance(client.transport, NoopTransport):
        raise PlatformError(
            f"--openlineage={where}: OPENLINEAGE_DISABLED, or openlineage.yml, turns OpenLineage off, and nobody would "
            "be told: leave out the flag, or turn it on"
        )
    if isinstance(client.transport, HttpTransport):
        url = urlsplit(client.transport.url)
        if url.scheme.lower() not in ("http", "https") or url.username is not None:
            raise PlatformError(
                f"--openlineage={where}: the URL that OpenLineage is configured with has a user in it, or is none of "
                f"HTTP: write http://HOST:PORT, and set {_KEY}, which is sent as a bearer's token"
            )
        client.transport = _Server(_shown(where), client.transport)
    return client


def _transport(where: str) -> Transport | None:
    if where == ENVIRONMENT:
        return None
    if not is_url(where):
        return FileTransport(FileConfig(storage.local_path(where), append=True))
    try:
        url = urlsplit(where)
        bad = not url.hostname or url.port == 0
    except ValueError:
        bad = True
    if bad or any(sign.isspace() for sign in where):
        raise PlatformError(f"--openlineage={where}: expected http://HOST:PORT or https://HOST")
    if url.username is not None or url.query or url.fragment:
        raise PlatformError(
            f"--openlineage={where}: a URL has no user and no key here: leave them out, and set {_KEY}, which is sent "
            "as a bearer's token"
        )
    key = os.environ.get(_KEY, "").strip()
    if not key.isprintable() or not key.isascii():
        raise PlatformError(f"{_KEY} has signs that no key has, such as an end of a line: set it anew")
    auth = create_token_provider({"type": "api_key", "apiKey": key}) if key else TokenProvider({})
    endpoint = os.environ.get("OPENLINEAGE_ENDPOINT", "api/v1/lineage")
    return HttpTransport(HttpConfig(where.rstrip("/") + "/", endpoint, auth=auth))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have the library say nothing of its own, and leave in the environment no copy of a key."""
    logger, before = logging.getLogger("openlineage"), set(os.environ)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in set(os.environ) - before:
            if name.startswith("OPENLINEAGE__"):
                del os.environ[name]


def _shown(where: str) -> str:
    if where == ENVIRONMENT:
        return "what OpenLineage is configured for"
    return storage.without_password(where)
