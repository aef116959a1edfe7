"""A topic that takes, refuses, or does not answer: what `publish` returns from is there, and what fails is said."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.iam.v1 import iam_policy_pb2  # type: ignore[import-untyped]
from google.pubsub_v1 import types

from seqcls_beam.runs import publisher
from seqcls_beam.runs.letters import Letter
from seqcls_beam.runs.publisher import Publisher
from seqcls_beam.runs.run import RunError

TOPIC = "projects/some-project/topics/out"
ON: threading.Event = threading.Event()  # never set: a stream that goes on
UNAVAILABLE, DENIED, ABSENT = (
    getattr(grpc.StatusCode, each) for each in ("UNAVAILABLE", "PERMISSION_DENIED", "NOT_FOUND")
)


class Service(grpc.GenericRpcHandler):
    """The publisher service as far as it is used; what it refuses is set by tests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.refuse: Callable[[Any], grpc.StatusCode | None] = lambda request: None
        self.topic: grpc.StatusCode | None = None
        self.permissions: list[str] | grpc.StatusCode = ["pubsub.topics.publish"]
        self.asked: list[str] = []
        self.wait = 0.0

    def service(self, call: Any) -> Any:
        kinds: dict[str, tuple[Any, Any, Any]] = {
            "Publish": (types.PublishRequest, types.PublishResponse, self._publish),
            "GetTopic": (types.GetTopicRequest, types.Topic, self._get_topic),
        }
        name = call.method.rpartition("/")[2]
        self.asked.append(name)
        if name == "TestIamPermissions":
            return grpc.unary_unary_rpc_method_handler(
                self._permissions,
                iam_policy_pb2.TestIamPermissionsRequest.FromString,
                iam_policy_pb2.TestIamPermissionsResponse.SerializeToString,
            )
        request, response, answer = kinds[name]
        return grpc.unary_unary_rpc_method_handler(answer, request.deserialize, response.serialize)

    def _publish(self, request: Any, context: Any) -> Any:
        time.sleep(self.wait)
        if (code := self.refuse(request)) is not None:
            context.abort(code, "as the\ntest wants it")
        self.requests.append(request)
        return types.PublishResponse(message_ids=[str(number) for number in range(len(request.messages))])

    def _get_topic(self, request: Any, context: Any) -> Any:
        if self.topic is not None:
            context.abort(self.topic, "no")
        return types.Topic(name=request.topic)

    def _permissions(self, request: Any, context: Any) -> Any:
        if isinstance(self.permissions, grpc.StatusCode):
            context.abort(self.permissions, "no")
        assert (request.resource, [*request.permissions]) == (TOPIC, ["pubsub.topics.publish"])
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=self.permissions)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made, pool = Service(), ThreadPoolExecutor(12)
    server = grpc.server(pool, [made])
    port = server.add_insecure_port("127.0.0.1:0")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    server.start()
    yield made
    server.stop(0).wait()
    pool.shutdown()


@pytest.fixture
def topic(service: Service) -> Iterator[Publisher]:
    made = Publisher("output_topic", TOPIC)
    yield made
    made.close()


def letters(count: int, size: int = 10) -> list[Letter]:
    return [Letter(b"%010d" % number + b"x" * (size - 10), {"n": str(number)}) for number in range(count)]


def taken(service: Service) -> list[tuple[bytes, dict[str, str]]]:
    found = [(each.data, dict(each.attributes)) for request in service.requests for each in request.messages]
    return sorted(found, key=lambda each: each[0])


def times(count: int, code: grpc.StatusCode) -> Callable[[Any], grpc.StatusCode | None]:
    left = [*range(count)]
    lock = threading.Lock()

    def refuse(_: Any) -> grpc.StatusCode | None:
        with lock:
            return code if left and left.pop() >= 0 else None

    return refuse


@pytest.mark.parametrize(
    ("count", "size", "requests"), [(0, 10, 0), (1, 10, 1), (2_500, 10, 3), (30, 100_000, 4), (3, 2_000_000, 3)]
)
def test_all_is_confirmed_in_requests_that_the_service_takes(service, topic, count, size, requests):
    service.wait = 0.2
    sent = letters(count, size)
    topic.publish(sent, ON)
    assert taken(service) == [tuple(each) for each in sent]
    assert len(service.requests) == requests
    assert all(each.topic == TOPIC and len(each.messages) <= 1_000 for each in service.requests)
    many = [types.PublishRequest.serialize(each) for each in service.requests if len(each.messages) > 1]
    assert all(len(each) <= 1_000_000 for each in many)


def test_what_is_not_answered_is_offered_again_and_told_once(service, topic, caplog):
    service.refuse = times(5, UNAVAILABLE)
    topic.publish(letters(3_000), ON)
    assert taken(service) == [tuple(each) for each in letters(3_000)]
    first, last = (each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING)
    assert first == (
        f"--output_topic={TOPIC}: Pub/Sub takes no message, and is asked again until it does "
        "(UNAVAILABLE: as the test wants it)"
    )
    assert last == f"--output_topic={TOPIC}: Pub/Sub takes messages again, after 0 s"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("NOT_FOUND", "there is no such topic: see `gcloud pubsub topics list`"),
        ("PERMISSION_DENIED", "this account may not publish to it, for which it needs the role roles/pubsub.publisher"),
        ("UNAUTHENTICATED", "Pub/Sub does not know this account: run `gcloud auth application-default login`"),
        ("INVALID_ARGUMENT", "Pub/Sub refuses what is published to it (has it a schema?)"),
        ("FAILED_PRECONDITION", "Pub/Sub refuses what is published to it (has it a schema?)"),
    ],
)
def test_what_no_later_try_mends_ends_at_once(service, topic, code, sentence):
    service.refuse = lambda request: getattr(grpc.StatusCode, code)
    with pytest.raises(RunError) as caught:
        topic.publish(letters(1), ON)
    assert str(caught.value) == f"--output_topic={TOPIC}: {sentence} ({code}: as the test wants it)"
    assert service.asked == ["Publish"]


def test_one_request_of_many_that_is_refused_fails_the_batch(service, topic):
    service.refuse = lambda request: DENIED if request.messages[0].attributes["n"] == "2000" else None
    with pytest.raises(RunError, match="may not publish"):
        topic.publish(letters(5_000), ON)
    service.refuse = lambda request: None
    service.requests.clear()
    topic.publish(letters(5_000), ON)
    assert taken(service) == [tuple(each) for each in letters(5_000)]


@pytest.mark.parametrize("ends", ["patience", "stream"])
def test_it_gives_up_after_its_patience_or_when_the_stream_ends(service, topic, monkeypatch, ends):
    service.refuse = lambda request: UNAVAILABLE
    monkeypatch.setattr(publisher, "PATIENCE" if ends == "patience" else "LAST_SECONDS", 0.5)
    ending = threading.Event()
    timer = threading.Timer(0.5, ending.set)
    if ends == "stream":
        timer.start()
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"Pub/Sub took no message \(UNAVAILABLE: as the test wants it\)") as caught:
        topic.publish(letters(1), ending)
    timer.cancel()
    assert caught.value.errno is None
    assert 0.1 < time.monotonic() - begun < 15
    assert len(service.asked) > 1


@pytest.mark.parametrize("before", [False, True], ids=["ends while it is asked", "asked when it ends"])
def test_a_call_that_nobody_answers_ends_with_the_stream(service, topic, monkeypatch, before):
    """Though a call may take 30 s while the stream goes on."""
    monkeypatch.setattr(publisher, "LAST_SECONDS", 1.0)
    released, ending = threading.Event(), threading.Event()
    service.refuse = lambda request: UNAVAILABLE if released.wait(60) else None
    timer = threading.Timer(0 if before else 1.0, ending.set)
    timer.start()
    if before:
        timer.join()
    begun = time.monotonic()
    try:
        with pytest.raises(OSError, match=r"Pub/Sub took no message \(no answer in time\)"):
            topic.publish(letters(2_500), ending)
        assert 0.9 < time.monotonic() - begun < 6
    finally:
        released.set()
        timer.join()


@pytest.mark.parametrize(
    ("there", "permissions", "sentence"),
    [
        (None, ["pubsub.topics.publish"], None),
        (DENIED, ["pubsub.topics.publish"], None),
        (None, grpc.StatusCode.UNIMPLEMENTED, None),
        (UNAVAILABLE, UNAVAILABLE, None),
        (ABSENT, ["pubsub.topics.publish"], "there is no such topic"),
        (None, [], "this account may not publish to it, for which it needs the role roles/pubsub.publisher"),
        (DENIED, [], "if it is there"),
    ],
)
def test_it_is_checked_before_anything_is_published(service, topic, there, permissions, sentence):
    service.topic, service.permissions = there, permissions
    if sentence is None:
        topic.check(permission=True)
    else:
        with pytest.raises(RunError, match=f"--output_topic={TOPIC}: .*{sentence}"):
            topic.check(permission=True)
    assert "Publish" not in service.asked


def test_of_another_accounts_permission_nothing_is_asked(service, topic):
    service.permissions = []
    topic.check(permission=False)
    assert service.asked == ["GetTopic"]


def test_where_nobody_answers_nothing_is_known(service, topic, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    nobody = Publisher("output_topic", TOPIC)
    nobody.check(permission=True)
    nobody.close()


def test_a_process_has_one_client_of_a_topic_and_its_child_another(service, monkeypatch):
    with ThreadPoolExecutor(8) as pool:
        made = {*pool.map(lambda _: publisher.opened("output_topic", TOPIC), range(32))}
    (parents,) = made
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        childs = publisher.opened("output_topic", TOPIC)
        assert childs is not parents
        publisher.close_all()
    assert publisher.opened("output_topic", TOPIC) is parents
    with ThreadPoolExecutor(8) as pool:
        for each in range(8):
            pool.submit(parents.publish, letters(10 * each), ON)
    assert len(taken(service)) == sum(10 * each for each in range(8))
    publisher.close_all()
    again = publisher.opened("output_topic", TOPIC)
    assert again is not parents
    again.publish(letters(1), ON)
    publisher.close_all()
