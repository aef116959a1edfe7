"""Events of OpenLineage → a server, a file, or wherever OpenLineage's own configuration says.

A server is given ten seconds for all that is to be said at once, however it answers; it is asked twice at most, follows
no redirect, and of what it answers nothing but the status is read. Events name their run, and saying them again changes
nothing: a file that has one does not get it again.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import RunEvent, RunState
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport, TokenProvider, create_token_provider
from openlineage.client.transport.transport import Transport

from seqcls_beam import storage
from seqcls_beam.announcing.published import PlatformError

ENVIRONMENT = "env"
SECONDS = 10.0
"""For all that is said at once."""
_ANSWER = 4.0  # seconds for one answer, of which two fit in
_PAUSE = 0.5
_KEY = "OPENLINEAGE_API_KEY"
_LONGEST_ANSWER = 300  # signs of what another library says

_begun: set[tuple[str, str]] = set()
"""(where, run) of which this process said that they began, and not yet how they ended."""


class _Answered(Exception):
    """A server said no: (status, its word for that)."""


class _Session(requests.Session):
    """Requests that read nothing of an answer but its head, and follow no redirect."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """As the library has it; raises `_Answered` for whatever is no success."""
        response = super().request(*args, **{**options, "stream": True, "allow_redirects": False})
        if not 200 <= response.status_code < 300:
            response.close()
            raise _Answered(response.status_code, response.reason)
        return response


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
    if os.path.isdir(path) or not os.path.isdir(folder):
        what = f"{path} is a folder" if os.path.isdir(path) else f"there is no folder {folder}"
        raise PlatformError(f"--openlineage={where}: {what}; name a file that gets a line for each event")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PlatformError(f"--openlineage={where} cannot be written by this user; name another file")


def send(where: str, events: Sequence[RunEvent]) -> None:
    """Say events in their order; of several the first, a START, only where it was not said before.

    Raises `PlatformError`, within `SECONDS`; then some of them may have been said.
    """
    client = _client(where)
    over = threading.Event()
    failure: list[Exception] = []

    def work() -> None:
        try:
            if isinstance(client.transport, FileTransport) and client.transport.config.append:
                _append(client, client.transport.config.log_file_path, events)
            else:
                for event in events[len(events) > 1 and (where, events[0].run.runId) in _begun :]:
                    _twice(lambda event=event: client.emit(event), over)  # type: ignore[misc]
                if not client.close(SECONDS):
                    raise PlatformError(
                        f"{_shown(where)} took no events in {SECONDS:.0f} seconds: look whether it is well"
                    )
        except Exception as error:
            failure.append(error)
        finally:
            with suppress(Exception):
                client.close(0.0)

    thread = threading.Thread(target=work, name="openlineage", daemon=True)  # nobody waits for a server that hangs
    thread.start()
    thread.join(SECONDS)
    over.set()
    if thread.is_alive():
        raise PlatformError(f"{_shown(where)} took no events in {SECONDS:.0f} seconds: look whether it is well")
    if failure:
        raise _told(where, failure[0]) from failure[0]
    run = where, events[-1].run.runId
    _begun.add(run) if events[-1].eventType == RunState.START else _begun.discard(run)


def _twice(do: Callable[[], object], over: threading.Event) -> None:
    """Do it, and once more where another answer is likely then, unless it is too late."""
    try:
        do()
    except (_Answered, requests.ConnectionError, requests.Timeout) as error:
        if isinstance(error, _Answered) and error.args[0] < 500:
            raise
        if over.wait(_PAUSE):
            return
        do()


def _append(client: OpenLineageClient, path: str, events: Sequence[RunEvent]) -> None:
    """Add events that a file has not, each as a line; one process after the other."""
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


def _said(path: str, run: str) -> set[tuple[str, str]]:
    """(type, time) of the events of a run that a file has."""
    found, mark = set[tuple[str, str]](), run.encode()
    with open(path, "rb") as lines:
        for line in lines:
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
            said = storage.without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))
            raise PlatformError(
                f"--openlineage={where}: OpenLineage's configuration cannot be used ({said[:_LONGEST_ANSWER]}): mend "
                "OPENLINEAGE_URL, or openlineage.yml"
            ) from error
        named = (client.config.transport or {}).get("type")
    if where == ENVIRONMENT and client.transport.kind == "console" and not named:
        raise PlatformError(
            "--openlineage=env: neither OPENLINEAGE_URL nor an openlineage.yml says where events go: set one of them, "
            "or name a URL or a file"
        )
    if isinstance(client.transport, HttpTransport):
        client.transport.config.retry = {"total": 0}  # asked again here, and by nobody else
        client.transport.session = _Session()
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
    return HttpTransport(HttpConfig(where.rstrip("/") + "/", endpoint, _ANSWER, auth=auth))


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


def _told(where: str, error: Exception) -> PlatformError:
    """What went wrong, as a sentence; of what a library says only what is known to hold no key."""
    shown = _shown(where)
    if isinstance(error, PlatformError):
        return error
    if isinstance(error, _Answered):
        status, word = error.args
        cure = _CURES.get(
            status, "look into its log" if status >= 500 else "look whether it is a server of OpenLineage"
        )
        return PlatformError(f"{shown} took no events: it answered {status} ({str(word)[:80]}); {cure}")
    if isinstance(error, requests.Timeout):
        return PlatformError(f"{shown} did not answer in {_ANSWER:.0f} seconds: look whether it is well")
    if isinstance(error, requests.RequestException):
        return PlatformError(f"{shown} cannot be reached ({_reason(error)}): look whether it runs")
    if isinstance(error, OSError):
        return PlatformError(f"{shown} cannot be written ({error.strerror or type(error).__name__}): mend that")
    said = storage.without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))
    return PlatformError(f"{shown} took no events ({said[:_LONGEST_ANSWER]})")


_CURES = {
    401: f"set {_KEY}",
    403: f"set {_KEY} to a key that may write",
    404: "look at the URL, and whether OPENLINEAGE_ENDPOINT is its path",
    413: "have it take larger requests",
}


def _shown(where: str) -> str:
    if where == ENVIRONMENT:
        return "what OpenLineage is configured for"
    return storage.without_password(where)


def _reason(error: BaseException) -> str:
    """What the system says at the bottom of an error of a connection."""
    seen: BaseException | None = error
    for _ in range(10):
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = next((each for each in seen.args if isinstance(each, BaseException)), None) if seen else None
        seen = getattr(seen, "reason", None) or inner or (seen.__cause__ or seen.__context__ if seen else None)
        if not isinstance(seen, BaseException):
            break
    return type(error).__name__
