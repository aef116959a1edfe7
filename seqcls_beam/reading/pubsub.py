"""Calls to Pub/Sub's subscriber service, by the client that is generated from it; tried again as long as it may help.

Knows the service and its answers, no messages.
"""

import logging
import os
import random
import threading
from itertools import count
from typing import Any

from seqcls_beam.reading.formats.pieces import InputFailed

CALL_SECONDS = 30.0  # that a call may take; who pulls waits no longer for a first message
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

_log = logging.getLogger(__name__)


class Service:
    """The service as one subscription needs it; its methods may be called by any thread.

    `fault`: why it will never answer, a sentence; None as long as it may.
    """

    def __init__(self, subscription: str) -> None:
        self.subscription = subscription
        self.fault: str | None = None
        self._types: Any = None
        self._transport: Any = None
        self._metadata = [("x-goog-request-params", f"subscription={subscription}")]  # by which requests are routed
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._under_way: set[Any] = set()
        self._failing: set[str] = set()  # what is tried again

    def connect(self) -> None:
        """Prepare calls; none is made. Raises `ImportError` naming the extra, `InputFailed` where nobody says who asks.

        PUBSUB_EMULATOR_HOST leads elsewhere, as it does all clients of Google.
        """
        try:
            import grpc
            from google.auth.exceptions import DefaultCredentialsError
            from google.pubsub_v1 import types
            from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
        except ImportError as error:
            raise ImportError(
                "google-cloud-pubsub is missing, which a subscription needs: pip install 'seqcls_beam[gcp]'",
                name=error.name,
            ) from error
        self._types = types
        elsewhere = os.environ.get("PUBSUB_EMULATOR_HOST")
        if elsewhere:
            self._transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(elsewhere, CHANNEL))
            return

        def channel(host: str, **how: Any) -> grpc.Channel:
            return SubscriberGrpcTransport.create_channel(host, **{**how, "options": CHANNEL})

        try:
            self._transport = SubscriberGrpcTransport(channel=channel)
        except DefaultCredentialsError as error:
            raise InputFailed(
                f"{self.subscription}: nobody says which account pulls from it: run `gcloud auth application-default "
                f"login`, or set GOOGLE_APPLICATION_CREDENTIALS ({error})"
            ) from error

    def call(self, what: str, refused: frozenset[str] = frozenset(), **fields: Any) -> Any:
        """What the service answers, asked again until it does.

        None where it never will (`fault`), where it refused this request for one of the codes, or after `end`.
        """
        for attempt in count():
            answer, code, said = self._once(what, CALL_SECONDS, fields)
            if code is None or self._ended.is_set() or code in refused:
                return answer
            if code in _FINAL or (code in REFUSED and what == "pull"):
                self.fault = self._sentence(what, code, said)
                return None
            if code in REFUSED:
                return None
            # A pull without any message may end so, too.
            if what == "pull" and code == "DEADLINE_EXCEEDED":
                continue
            self._fails(what, f"{code}: {said}")
            self._ended.wait(min(PAUSE[1], PAUSE[0] * 2 ** min(attempt, 10)) * random.uniform(0.5, 1))
        return None

    def once(self, what: str, seconds: float, **fields: Any) -> bool:
        """Whether a call was answered, or never will be, within some seconds."""
        _, code, said = self._once(what, seconds, fields)
        if code is None or code in REFUSED | _FINAL:
            return True
        if self._ended.is_set():
            return False
        self._fails(what, f"{code}: {said}")
        return False

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

    def _once(self, what: str, seconds: float, fields: dict[str, Any]) -> tuple[Any, str | None, str]:
        """An answer, or the code of the failure and what was said of it."""
        import grpc

        request = getattr(self._types, REQUESTS[what])(subscription=self.subscription, **fields)
        future = getattr(self._transport, what).future(request, timeout=seconds, metadata=self._metadata)
        with self._lock:
            self._under_way.add(future)
        try:
            answer = future.result()
        except grpc.FutureCancelledError:
            return None, "CANCELLED", "cancelled"
        except grpc.RpcError as error:
            return None, error.code().name, str(error.details())[:300]
        finally:
            with self._lock:
                self._under_way.discard(future)
        self._answers(what)
        return answer, None, ""

    def _fails(self, what: str, why: str) -> None:
        with self._lock:
            first = not self._failing
            self._failing.add(what)
        if first:
            _log.warning("%s: Pub/Sub does not answer, and is asked again until it does (%s)", self.subscription, why)

    def _answers(self, what: str) -> None:
        with self._lock:
            last = self._failing == {what}
            self._failing.discard(what)
        if last:
            _log.warning("%s: Pub/Sub answers again", self.subscription)

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
