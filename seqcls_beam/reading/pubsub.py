"""Calls to Pub/Sub's subscriber service, by the client that is generated from it; tried again as long as it may help.

Knows the service and its answers, no messages. How it is reached, `connected`, and what it answers, `answer_of` and
ANSWERS, hold for its publisher service, too.
"""

import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

from seqcls_beam.reading.formats.pieces import InputFailed

CALL_SECONDS = 30.0  # that a call may take; who pulls waits no longer for a first message
CONFIRM_SECONDS = 5.0  # that the service has to say that it is there
MAX_IDS = 1000  # of one request, which may have 512 KiB, and an id some 200 bytes
LEASES_AT_ONCE = 8  # requests, so that 200,000 leases are extended in a third of 10 seconds
LEAST_DEADLINE = 10  # seconds; what a subscription has whose deadline we may not ask for
PAUSE = (0.1, 5.0)  # seconds before a call is tried again: after the first failure, and at most
CHANNEL = (
    # As the client's own, but for a service that is back after long, which would be asked again minutes later.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
REQUESTS = {
    "pull": "PullRequest",
    "acknowledge": "AcknowledgeRequest",
    "modify_ack_deadline": "ModifyAckDeadlineRequest",
    "get_subscription": "GetSubscriptionRequest",
}
REFUSED = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"}  # this request; another one may do
_FINAL = {"NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}  # whatever is asked, and again
ANSWERS = REFUSED | _FINAL  # codes that nobody but the service gives
_DELETED = "_deleted-topic_"  # of a subscription that has outlived its topic

_log = logging.getLogger(__name__)


def connected(transport: Any, who: str) -> Any:
    """A connection for a generated client, by its class of transports for gRPC; no call is made.

    PUBSUB_EMULATOR_HOST leads elsewhere, as it does all clients of Google. Raises `InputFailed` where nobody says which
    account asks: `who`, a subscription or a topic, and what is done with it.
    """
    import grpc
    from google.auth.exceptions import DefaultCredentialsError

    elsewhere = os.environ.get("PUBSUB_EMULATOR_HOST")
    if elsewhere:
        return transport(channel=grpc.insecure_channel(elsewhere, CHANNEL))

    def channel(host: str, **how: Any) -> grpc.Channel:
        return transport.create_channel(host, **{**how, "options": CHANNEL})

    try:
        return transport(channel=channel)
    except DefaultCredentialsError as error:
        raise InputFailed(
            f"{who}: nobody says which account does so: run `gcloud auth application-default login`, or set "
            f"GOOGLE_APPLICATION_CREDENTIALS ({error})"
        ) from error


def answer_of(call: Any) -> tuple[Any, str | None, str]:
    """What a call is answered, which is waited for; or the code of its failure and what was said of it, on one line."""
    import grpc

    try:
        return call.result(), None, ""
    except grpc.FutureCancelledError:
        return None, "CANCELLED", "cancelled"
    except grpc.RpcError as error:
        return None, error.code().name, " ".join(str(error.details()).split())[:300]


class About(NamedTuple):
    """What the service says of a subscription."""

    topic: str | None = None  # None: it is deleted, or this account may not ask
    deadline: int = LEAST_DEADLINE  # seconds until what is not acknowledged comes again


class Service:
    """The service as one subscription needs it; its methods may be called by any thread.

    `fault`: why it will never answer, a sentence; None as long as it may. `away`: when, in seconds since 1970, it
    answered the last time before it failed to; None while it answers. By the monotonic clock `asked` is when the last
    pull began that was answered, and `there` since when it has answered all, which is infinite while it does not.
    """

    def __init__(self, subscription: str, on_fault: Callable[[], None] | None = None) -> None:
        self.subscription = subscription
        self._on_fault = on_fault
        self.fault: str | None = None
        self.away: float | None = None
        self.asked, self.there = 0.0, time.monotonic()
        self._heard = time.time()
        self._about: About | None = None
        self._types: Any = None
        self._transport: Any = None
        self._metadata: list[tuple[str, str]] = []  # by which requests are routed
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._under_way: set[Any] = set()
        self._failing: set[str] = set()  # what is tried again

    def connect(self) -> None:
        """Prepare calls; none is made. Raises `ImportError` naming the extra, and else as `connected`."""
        try:
            from google.api_core.gapic_v1.routing_header import to_grpc_metadata
            from google.pubsub_v1 import types
            from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
        except ImportError as error:
            raise ImportError(
                "google-cloud-pubsub is missing, which a subscription needs: pip install 'seqcls_beam[gcp]'",
                name=error.name,
            ) from error
        self._types = types
        self._metadata = [to_grpc_metadata({"subscription": self.subscription})]
        self._transport = connected(SubscriberGrpcTransport, f"{self.subscription} is to be pulled from")

    def about(self) -> About:
        """What it says of the subscription, asked once; as `call`."""
        if self._about is None:
            said = self.call("get_subscription", refused=frozenset(["PERMISSION_DENIED"]))
            if said is None:
                self._about = About()
            else:
                topic = said.topic if said.topic != _DELETED else None
                self._about = About(topic or None, said.ack_deadline_seconds or LEAST_DEADLINE)
        return self._about

    def call(self, what: str, refused: frozenset[str] = frozenset(), **fields: Any) -> Any:
        """What the service answers, asked again until it does.

        None where it never will (`fault`), where it refused this request for one of the codes, or after `end`.
        """
        for attempt in count():
            answer, code, said = self._once(what, CALL_SECONDS, fields)
            if code is None or self._ended.is_set() or code in refused:
                return answer
            if code in _FINAL or (code in REFUSED and what == "pull"):
                self.give_up(self._sentence(what, code, said))
                return None
            if code in REFUSED:
                return None
            # A pull without any message may end so, and so does one that the service never heard of.
            if what == "pull" and code == "DEADLINE_EXCEEDED" and self._confirmed():
                return self._types.PullResponse()
            self._fails(what, f"{code}: {said}")
            self._ended.wait(min(PAUSE[1], PAUSE[0] * 2 ** min(attempt, 10)) * random.uniform(0.5, 1))
        return None

    def lease(self, ack_ids: Sequence[str], deadline: int, seconds: float) -> bool:
        """Whether leases end in `deadline` seconds now, or never will; 0 gives back. A request may take `seconds`."""
        what = "modify_ack_deadline"
        if not ack_ids:
            self._settled(what)  # nothing is asked, so nothing waits for an answer
        failed = threading.Event()

        def ask(start: int) -> None:
            if failed.is_set():
                return
            fields = {"ack_ids": ack_ids[start : start + MAX_IDS], "ack_deadline_seconds": deadline}
            _, code, said = self._once(what, seconds, fields)
            if code is not None and code not in ANSWERS:
                failed.set()
                self._fails(what, f"{code}: {said}")

        with ThreadPoolExecutor(LEASES_AT_ONCE) as pool:
            deque(pool.map(ask, range(0, len(ack_ids), MAX_IDS)), maxlen=0)  # which raises what a call raised
        return not failed.is_set()

    def give_up(self, fault: str) -> None:
        """Never answer again, for a reason."""
        self.fault = fault
        if self._on_fault is not None:
            self._on_fault()

    def end(self) -> None:
        """Repeat no call, and cancel those under way."""
        self._ended.set()
        with self._lock:
            under_way = [*self._under_way]
        for each in under_way:
            each.cancel()

    def close(self) -> None:
        """Give up the connection."""
        if self._transport is not None:
            self._transport.close()

    def _settled(self, what: str) -> None:
        with self._lock:
            back = self._failing == {what}
            self._failing.discard(what)
            away = self.away
            if back:
                self.away, self.there = None, time.monotonic()
        if back and away is not None:
            _log.warning("%s: Pub/Sub answers again, after %.0f s", self.subscription, time.time() - away)

    def _confirmed(self) -> bool:
        """Whether the service is there after a pull without an answer: then it had no message for it until now."""
        asked = time.monotonic()
        _, code, _ = self._once("get_subscription", CONFIRM_SECONDS, {})
        if code is not None and code not in ANSWERS:
            return False
        self.asked = asked
        self._settled("pull")
        return True

    def _once(self, what: str, seconds: float, fields: dict[str, Any]) -> tuple[Any, str | None, str]:
        """As `answer_of`."""
        request = getattr(self._types, REQUESTS[what])(subscription=self.subscription, **fields)
        began = time.monotonic()
        future = getattr(self._transport, what).future(request, timeout=seconds, metadata=self._metadata)
        with self._lock:
            self._under_way.add(future)
        try:
            answer, code, said = answer_of(future)
        finally:
            with self._lock:
                self._under_way.discard(future)
        if code is None or code in ANSWERS:  # which is an answer, too
            self._hears(what)
        if code is None and what == "pull":
            self.asked = began
        return answer, code, said

    def _hears(self, what: str) -> None:
        self._heard = time.time()
        self._settled(what)

    def _fails(self, what: str, why: str) -> None:
        if self._ended.is_set():
            return
        with self._lock:
            first = not self._failing
            self._failing.add(what)
            if first:
                self.away = since = self._heard
                self.there = math.inf
        if first:
            _log.warning(
                "%s: Pub/Sub does not answer, and is asked again until it does; it was last heard at %s (%s)",
                self.subscription,
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since)),
                why,
            )

    def _sentence(self, what: str, code: str, said: str) -> str:
        """Why a call will never be answered, and what to do."""
        match code:
            case "NOT_FOUND":
                why = "there is no such subscription: see `gcloud pubsub subscriptions list`"
            case "PERMISSION_DENIED":
                why = "this account may not pull from it, for which it needs the role roles/pubsub.subscriber"
            case "UNAUTHENTICATED":
                why = "Pub/Sub does not know this account: run `gcloud auth application-default login`"
            case "FAILED_PRECONDITION":
                why = "nothing can be pulled from it (does it push, or is it detached?)"
            case _:
                why = f"Pub/Sub refuses to {what}"
        return f"--subscription={self.subscription}: {why} ({said})"
