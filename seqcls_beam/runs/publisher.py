"""A topic of Pub/Sub as this process publishes to it: what `publish` returns from, the service has.

Letters go by the generated client's Publish, a thousand in a request, with the retries that come with it: the publisher
of `google.cloud.pubsub_v1`, which gathers messages one by one, takes thirteen times the processor time a message, and a
batch is gathered already.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from seqcls_beam.reading.pubsub import CALL_SECONDS, CONFIRM_SECONDS, PAUSE, connected
from seqcls_beam.runs.letters import MAX_LETTER, Letter
from seqcls_beam.runs.run import RunError

PATIENCE = 600.0
"""Seconds that a request is offered for; then its batch has failed, and comes again."""
LAST_SECONDS = 10.0
"""The same where the stream is told to end."""
MAX_REQUEST = 1_000
"""Letters of a request, as the service allows."""
REQUEST_BYTES = 1_000_000
"""Of a request, or of one letter that is larger; the service takes ten times as many."""
REQUESTS_AT_ONCE = 8
PERMISSION = "pubsub.topics.publish"

_log = logging.getLogger(__name__)


class Publisher:
    """The process's one client of a topic; its methods may be called by any thread.

    `flag` is the option that names the topic, for what is said of it. Making one raises as `reading.pubsub.connected`.
    """

    def __init__(self, flag: str, topic: str) -> None:
        # Here and not above: whoever publishes nothing needs no package of Google's.
        from google.pubsub_v1 import PublisherClient, types
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        self._named = f"--{flag}={topic}"
        self._topic = topic
        self._types = types
        self._message = type(types.PublishRequest.pb(types.PublishRequest()))  # without wrappers, which cost more
        self._client = PublisherClient(transport=connected(PublisherGrpcTransport, f"{self._named} is published to"))
        self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="publish")
        self._lock = threading.Lock()
        self._away: float | None = None  # since when, by the monotonic clock, the service has taken nothing

    def publish(self, letters: Sequence[Letter], ending: threading.Event) -> None:
        """Publish all; the service has them when this returns, and may have them twice.

        What is not answered is offered again, for ten minutes, or for ten seconds from when a stream is `ending`.
        Raises `RunError` where the service will take none of them ever, and `OSError` where it took not all of them.
        """
        over = threading.Event()
        requests = [self._pool.submit(self._offer, each, ending, over) for each in self._requests(letters)]
        wait(requests, return_when=FIRST_EXCEPTION)
        over.set()
        wait(requests)  # nothing of a batch that failed is under way when it comes again
        with self._lock:
            back, self._away = self._away, None
        errors = [error for each in requests if (error := each.exception()) is not None]
        if errors:
            raise next((error for error in errors if isinstance(error, RunError)), errors[0])
        if back is not None:
            _log.warning("%s: Pub/Sub takes messages again, after %.0f s", self._named, time.monotonic() - back)

    def check(self, permission: bool) -> None:
        """Raise `RunError` where the service says that there is no such topic; nothing is published.

        With `permission`, also where it says that this account may not publish to it. What it does not say, since this
        account may not ask or nobody answers, is known when something is published.
        """
        from google.api_core.exceptions import GoogleAPICallError, NotFound

        try:
            self._client.get_topic(topic=self._topic, retry=None, timeout=CONFIRM_SECONDS)
        except NotFound as error:
            raise self._refusal(error) from error
        except GoogleAPICallError:
            pass
        if not permission:
            return
        asked = {"resource": self._topic, "permissions": [PERMISSION]}
        try:
            answer = self._client.test_iam_permissions(request=asked, timeout=CONFIRM_SECONDS)
        except GoogleAPICallError:
            return
        if PERMISSION not in answer.permissions:
            raise RunError(f"{self._named}: {_MAY_NOT}, if it is there")

    def close(self) -> None:
        """Give up the connection."""
        self._pool.shutdown()
        self._client.transport.close()

    def _offer(self, request: Any, ending: threading.Event, over: threading.Event) -> None:
        """Offer a request until the service has it, or others of its batch have failed; raises as `publish`."""
        if over.is_set():
            return
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.api_core.retry import Retry

        ends: list[float] = []

        def failed(error: Exception) -> None:
            self._fails(error)
            if ending.is_set():
                ends.append(time.monotonic() + LAST_SECONDS)
            if over.is_set() or (ends and time.monotonic() >= ends[0]):
                raise self._gave_up(error) from error

        again = Retry(_may_help, PAUSE[0], PAUSE[1], timeout=PATIENCE, on_error=failed)
        try:
            self._client.publish(request=request, retry=again, timeout=CALL_SECONDS)
        except RetryError as error:
            raise self._gave_up(error.cause or error) from error
        except GoogleAPICallError as error:
            raise self._refusal(error) from error

    def _requests(self, letters: Sequence[Letter]) -> Iterator[Any]:
        request, size = self._message(topic=self._topic), 0
        for each in letters:
            if each.size > MAX_LETTER:
                raise ValueError(f"a letter of {each.size:,} bytes: expected {MAX_LETTER:,} at most")
            if request.messages and (len(request.messages) == MAX_REQUEST or size + each.size > REQUEST_BYTES):
                yield self._types.PublishRequest.wrap(request)
                request, size = self._message(topic=self._topic), 0
            request.messages.add(data=each.data, attributes=each.attributes)
            size += each.size
        if request.messages:
            yield self._types.PublishRequest.wrap(request)

    def _fails(self, error: Exception) -> None:
        with self._lock:
            first, self._away = self._away is None, self._away or time.monotonic()
        if first:
            told = "%s: Pub/Sub takes no message, and is asked again until it does (%s)"
            _log.warning(told, self._named, _said(error))

    def _gave_up(self, error: Exception) -> OSError:
        return OSError(f"{self._named}: Pub/Sub took no message ({_said(error)})")

    def _refusal(self, error: Exception) -> RunError:
        match _code(error):
            case "NOT_FOUND":
                why = "there is no such topic: see `gcloud pubsub topics list`"
            case "PERMISSION_DENIED":
                why = _MAY_NOT
            case "UNAUTHENTICATED":
                why = "Pub/Sub does not know this account: run `gcloud auth application-default login`"
            case _:
                why = "Pub/Sub refuses what is published to it (has it a schema?)"
        return RunError(f"{self._named}: {why} ({_said(error)})")


_MAY_NOT = "this account may not publish to it, for which it needs the role roles/pubsub.publisher"
_FINAL = frozenset(
    ["NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED", "INVALID_ARGUMENT", "FAILED_PRECONDITION"]
)
"""Whatever is published, and again; OUT_OF_RANGE nobody gives here."""


def _code(error: Exception) -> str:
    code = getattr(error, "grpc_status_code", None)
    return "" if code is None else str(code.name)


def _said(error: Exception) -> str:
    """What a service said, on one line."""
    return f"{_code(error) or type(error).__name__}: {' '.join(str(getattr(error, 'message', error)).split())[:300]}"


def _may_help(error: Exception) -> bool:
    """Whether another try may end otherwise."""
    from google.api_core.exceptions import GoogleAPICallError

    return isinstance(error, GoogleAPICallError) and _code(error) not in _FINAL


_OPEN: dict[tuple[int, str], Publisher] = {}
_lock = threading.Lock()


def opened(flag: str, topic: str) -> Publisher:
    """The process's one client of a topic, whatever pipelines come and go; a child of this process makes its own.

    Raises as `Publisher`.
    """
    with _lock:
        own = (os.getpid(), topic)
        if own not in _OPEN:
            _OPEN[own] = Publisher(flag, topic)
        return _OPEN[own]


def close_all() -> None:
    """Close the clients that this process has."""
    with _lock:
        own = [key for key in _OPEN if key[0] == os.getpid()]
        closing = [_OPEN.pop(key) for key in own]
    for each in closing:
        each.close()
