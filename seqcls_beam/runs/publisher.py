"""A topic of Pub/Sub as this process publishes to it: what `publish` returns from, the service has.

Letters go by Publish of the generated client's transport, a thousand in a request: the publisher of
`google.cloud.pubsub_v1`, which gathers messages one by one, takes thirteen times the processor time a message, and a
batch is gathered already.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from itertools import count
from typing import Any

from seqcls_beam.reading.pubsub import ANSWERS, CALL_SECONDS, CONFIRM_SECONDS, PAUSE, answer_of, connected
from seqcls_beam.runs.letters import MAX_LETTER, Letter
from seqcls_beam.runs.run import RunError

PATIENCE = 600.0
"""Seconds that a request is offered for; then its batch has failed, and comes again."""
LAST_SECONDS = 10.0
"""The same from when the stream is told to end, with the call that is under way."""
MAX_REQUEST = 1_000
"""Letters of a request, as the service allows."""
REQUEST_BYTES = 1_000_000
"""Of a request, or of one letter that is larger; the service takes ten times as many."""
REQUESTS_AT_ONCE = 8
PERMISSION = "pubsub.topics.publish"
_TICK = 0.25  # seconds in which it is noticed that the stream is to end

_log = logging.getLogger(__name__)


class Publisher:
    """The process's one client of a topic; its methods may be called by any thread.

    `flag` is the option that names the topic, for what is said of it. Making one raises as `reading.pubsub.connected`.
    """

    def __init__(self, flag: str, topic: str) -> None:
        # Here and not above: whoever publishes nothing needs no package of Google's.
        from google.api_core.gapic_v1.routing_header import to_grpc_metadata
        from google.iam.v1 import iam_policy_pb2  # type: ignore[import-untyped]
        from google.pubsub_v1 import types
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        self._named = f"--{flag}={topic}"
        self._topic = topic
        self._types = types
        self._message = type(types.PublishRequest.pb(types.PublishRequest()))  # without wrappers, which cost more
        self._asked = iam_policy_pb2.TestIamPermissionsRequest(resource=topic, permissions=[PERMISSION])
        self._metadata = {key: [to_grpc_metadata({key: topic})] for key in ("topic", "resource")}  # for routing
        self._transport = connected(PublisherGrpcTransport, f"{self._named} is published to")
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
        request = self._types.GetTopicRequest(topic=self._topic)
        _, code, said = answer_of(self._call("get_topic", request, CONFIRM_SECONDS))
        if code == "NOT_FOUND":
            raise self._refusal(code, said)
        if not permission:
            return
        answer, code, _ = answer_of(self._call("test_iam_permissions", self._asked, CONFIRM_SECONDS, "resource"))
        if code is None and PERMISSION not in answer.permissions:
            raise RunError(f"{self._named}: {_MAY_NOT}, if it is there")

    def close(self) -> None:
        """Give up the connection."""
        self._pool.shutdown()
        self._transport.close()

    def _call(self, what: str, request: Any, seconds: float, routed: str = "topic") -> Any:
        return getattr(self._transport, what).future(request, timeout=seconds, metadata=self._metadata[routed])

    def _offer(self, request: Any, ending: threading.Event, over: threading.Event) -> None:
        """Offer a request until the service has it, or others of its batch have failed; raises as `publish`."""
        patience = _Patience(ending)
        for attempt in count():
            if over.is_set():
                return
            call = self._call("publish", request, CALL_SECONDS)
            if not patience.sees(call):
                call.cancel()
            _, code, said = answer_of(call)
            if code is None:
                return
            if code in ANSWERS:
                raise self._refusal(code, said)
            why = "no answer in time" if code == "CANCELLED" else f"{code}: {said}"
            self._fails(why)
            patience.rests(min(PAUSE[1], PAUSE[0] * 2 ** min(attempt, 10)) * random.uniform(0.5, 1))
            if patience.left() <= 0:
                raise OSError(f"{self._named}: Pub/Sub took no message ({why})")

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

    def _fails(self, why: str) -> None:
        with self._lock:
            first, self._away = self._away is None, self._away or time.monotonic()
        if first:
            told = "%s: Pub/Sub takes no message, and is asked again until it does (%s)"
            _log.warning(told, self._named, why)

    def _refusal(self, code: str, said: str) -> RunError:
        match code:
            case "NOT_FOUND":
                why = "there is no such topic: see `gcloud pubsub topics list`"
            case "PERMISSION_DENIED":
                why = _MAY_NOT
            case "UNAUTHENTICATED":
                why = "Pub/Sub does not know this account: run `gcloud auth application-default login`"
            case _:
                why = "Pub/Sub refuses what is published to it (has it a schema?)"
        return RunError(f"{self._named}: {why} ({code}: {said})")


_MAY_NOT = "this account may not publish to it, for which it needs the role roles/pubsub.publisher"


class _Patience:
    """How long a request is offered, which the end of the stream cuts short."""

    def __init__(self, ending: threading.Event) -> None:
        self._ending, self._ends = ending, False
        self._until = time.monotonic() + PATIENCE

    def left(self) -> float:
        """Seconds; to be asked every 0.25 s, since it knows of the end from then on."""
        now = time.monotonic()
        if not self._ends and self._ending.is_set():
            self._ends, self._until = True, min(self._until, now + LAST_SECONDS)
        return self._until - now

    def sees(self, call: Any) -> bool:
        """Whether a call of gRPC ends in this time."""
        import grpc

        while (left := self.left()) > 0:
            try:
                call.exception(timeout=min(left, _TICK))
                return True
            except grpc.FutureTimeoutError:
                continue
            except grpc.FutureCancelledError:
                return True
        return False

    def rests(self, seconds: float) -> None:
        """Wait for so long, or until none is left."""
        until = time.monotonic() + seconds
        while (rest := min(until - time.monotonic(), self.left())) > 0:
            time.sleep(min(rest, _TICK))


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
