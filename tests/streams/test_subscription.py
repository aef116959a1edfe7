"""A subscription on a real broker that is halted, cut off, slow, or gone."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading import pubsub, subscription
from seqcls_beam.reading.clients import forget, opened
from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.messages import Message
from seqcls_beam.reading.subscription import Subscription
from tests import broker

pytestmark = [pytest.mark.streams, broker.needs_go]
ROOT = Path(__file__).parent.parent.parent
LARGE = 2**30


@pytest.fixture(scope="module")
def service() -> Iterator[broker.Broker]:
    with broker.running(deadline=2) as running, broker.leading(running.address):
        yield running


def named(service: broker.Broker, request: pytest.FixtureRequest, deadline: int = 10) -> tuple[str, str]:
    """A topic and a subscription of a test's own: (topic, path of the subscription)."""
    topic = request.node.name.replace("_", "-").split("[")[0]
    return topic, service.topic(topic, f"{topic}-sub", deadline=deadline)[0]


def numbered(count: int, first: int = 0) -> list[tuple[bytes, dict[str, str]]]:
    return [(b'{"text": "number %d"}' % number, {"n": str(number)}) for number in range(first, first + count)]


def source(path: str, **options: int) -> SourceOptions:
    return SourceOptions(subscription=path, **options)  # type: ignore[arg-type]


def all_of(one: Subscription, count: int, seconds: float = 60) -> list[Message]:
    """So many messages, or what has come after some time; none is acknowledged."""
    found: list[Message] = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        found += one.take(count - len(found), LARGE, 0.5)
    return found


def until(what, seconds: float = 20) -> bool:
    """Whether something becomes true within some time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(what())


@pytest.fixture
def one(service, request):
    """A subscription with a deadline of 10 s, opened."""
    topic, path = named(service, request)
    options = source(path)
    yield topic, opened(options)
    forget(options, 5)


def test_messages_come_whole_and_once(service, one):
    topic, client = one
    sent = numbered(2500)
    ids = service.publish(topic, sent)
    before = time.time() * 1e6
    found = all_of(client, 2500)
    assert sorted(each.id for each in found) == sorted(ids)
    by_id = dict(zip(ids, sent, strict=True))
    for each in found:
        assert (each.data, each.attributes) == by_id[each.id]
        assert before - 60e6 < each.published < before + 60e6
    assert client.outstanding == client.pulled == 2500 and client.oldest == min(each.published for each in found)
    client.acknowledge([each.id for each in found])
    assert until(lambda: client.acknowledged == 2500) and client.outstanding == 0 and client.oldest is None
    assert client.take(10, LARGE, 0.2) == []


def test_rows_bytes_and_waiting_bound_what_is_taken(service, one):
    topic, client = one
    service.publish(topic, [(b"x" * 1000, {})] * 10)
    assert until(lambda: client.outstanding == 10)
    assert len(client.take(3, LARGE, 5)) == 3
    assert len(client.take(10, 2500, 5)) == 2
    assert len(client.take(10, 10, 5)) == 1  # one that is larger
    began = time.monotonic()
    assert len(client.take(10, LARGE, 1.0)) == 4  # came more than a second ago
    assert time.monotonic() - began < 1.5
    began = time.monotonic()
    assert client.take(10, LARGE, 0.5) == []
    assert 0.4 < time.monotonic() - began < 1.5


def test_a_lone_message_waits_no_longer_than_it_may(service, one):
    topic, client = one
    service.publish(topic, numbered(1))
    began = time.monotonic()
    assert len(client.take(1000, LARGE, 2.0)) == 1
    assert time.monotonic() - began < 3.5


def test_no_more_is_held_than_may_be(service, request):
    topic, path = named(service, request)
    service.publish(topic, numbered(500))
    options = source(path, max_outstanding=120)
    client = opened(options)
    try:
        assert until(lambda: client.outstanding == 120)
        began = time.monotonic()
        found = client.take(1000, LARGE, 30)
        assert len(found) == 120 and time.monotonic() - began < 5  # no more could have come
        assert client.take(10, LARGE, 0.5) == [] and client.outstanding == 120
        client.acknowledge([each.id for each in found[:50]])
        assert until(lambda: client.pulled == 170) and client.outstanding == 120
    finally:
        forget(options, 5)


def test_large_payloads_are_held_by_their_bytes(service, request, monkeypatch):
    topic, path = named(service, request)
    monkeypatch.setattr(subscription, "MAX_HELD_BYTES", 5_000_000)
    monkeypatch.setattr(subscription, "PULL_BYTES", 2_000_000)
    service.publish(topic, [(b"x" * 1_000_000, {})] * 20)
    options = source(path)
    client = opened(options)
    try:
        assert until(lambda: client.outstanding >= 5)
        time.sleep(1)
        assert client.outstanding <= 7
        seen = 0
        while seen < 20:
            found = client.take(20, LARGE, 2)
            assert 0 < len(found) <= 7
            seen += len(found)
            client.acknowledge([each.id for each in found])
    finally:
        forget(options, 5)


def test_leases_are_extended_while_a_batch_runs(service, one):
    topic, client = one
    ids = service.publish(topic, numbered(300))
    found = all_of(client, 300)
    assert service.pull(client.name, 25) == []  # two and a half deadlines
    assert client.outstanding == client.pulled == 300
    client.acknowledge([each.id for each in found])
    assert until(lambda: client.acknowledged == 300)
    assert service.pull(client.name, 11) == []
    assert sorted(each.id for each in found) == sorted(ids)


def test_a_process_that_is_gone_loses_nothing(service, request):
    topic, path = named(service, request, deadline=2)
    ids = service.publish(topic, numbered(200))
    child = subprocess.Popen(
        [sys.executable, "-c", PULLS, path, "200", "0"], stdout=subprocess.PIPE, cwd=ROOT,
        env=broker.environment(service.address), text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert len(json.loads(child.stdout.readline())) == 200
    child.kill()
    child.wait()
    child.stdout.close()
    options = source(path)
    client = opened(options)
    found = all_of(client, 200, 30)
    assert sorted(each.id for each in found) == sorted(ids)
    forget(options, 5)


PULLS = """
import json, sys, time
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.clients import forget, opened
path, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
source = SourceOptions(subscription=path, max_outstanding=500)
client = opened(source)
found, quiet = [], time.monotonic()
while len(found) < count and time.monotonic() - quiet < 5:
    for each in client.take(100, 2**30, 0.5):
        found.append(each.id)
        quiet = time.monotonic()
    if seconds:
        time.sleep(seconds)  # by then leases have ended once
        client.acknowledge(found)
print(json.dumps(found), flush=True)
if seconds:
    forget(source, 10)
else:
    time.sleep(60)
"""


def test_two_processes_share_the_work(service, request):
    topic, path = named(service, request, deadline=2)
    ids = service.publish(topic, numbered(2000))
    command = [sys.executable, "-c", PULLS, path, "2000", "0.5"]
    environment = broker.environment(service.address)
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True) for _ in range(2)
    ]
    shares = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert Counter(shares[0] + shares[1]) == Counter(ids)
    assert all(shares)


def test_who_closes_gives_back_at_once(service, request):
    topic, path = named(service, request)
    ids = service.publish(topic, numbered(400))
    options = source(path)
    client = opened(options)
    found = all_of(client, 100)  # the others wait to be taken
    assert until(lambda: client.outstanding == 400)
    client.acknowledge([each.id for each in found[:60]])
    began = time.monotonic()
    forget(options, 5)
    assert time.monotonic() - began < 3
    assert client.acknowledged == 60
    given = service.pull(path, 2)
    assert sorted(given) == sorted({*ids} - {each.id for each in found[:60]})


def test_who_stops_pulls_no_more_and_acknowledges_still(service, one):
    topic, client = one
    service.publish(topic, numbered(50))
    found = all_of(client, 50)
    waiting: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        assert client.take(10, LARGE, 30) == []
        waiting.append(time.monotonic() - began)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    client.stop()
    thread.join(5)
    assert waiting and waiting[0] < 2
    service.publish(topic, numbered(50))
    client.acknowledge([each.id for each in found])
    assert until(lambda: client.acknowledged == 50) and client.pulled <= 100
    assert client.take(10, LARGE, 1) == []


def test_a_broker_that_is_halted_and_back(request, caplog):
    with broker.running() as own, broker.leading(own.address), caplog.at_level(logging.WARNING):
        topic, path = named(own, request)
        ids = own.publish(topic, numbered(300))
        options = source(path)
        client = opened(options)
        found = all_of(client, 300)
        assert client.topic()  # and so the deadline is known, without which no lease is extended
        own.halt()
        client.acknowledge([each.id for each in found[:200]])
        assert client.take(10, LARGE, 15) == []  # one and a half deadlines: its clock goes on
        own.resume()
        assert until(lambda: client.acknowledged == 200)
        more = own.publish(topic, numbered(100))
        assert sorted(each.id for each in all_of(client, 100)) == sorted(more)  # none of the first again
        assert client.pulled == 400
        client.acknowledge([*ids[:], *more])
        assert until(lambda: client.acknowledged == 400)
        assert own.pull(path, 11) == []
        forget(options, 5)
    assert told(caplog) == ["Pub/Sub does not answer", "Pub/Sub answers again"]


def test_a_broker_that_is_cut_off_and_back(service, request, caplog):
    topic, path = named(service, request)
    with broker.proxied(service) as proxy, caplog.at_level(logging.WARNING):
        ids = service.publish(topic, numbered(300))
        options = source(path)
        client = opened(options)
        found = all_of(client, 300)
        assert client.topic()  # and so the deadline is known, without which no lease is extended
        proxy.cut()
        client.acknowledge([each.id for each in found[:200]])
        time.sleep(14)
        assert client.acknowledged == 0 and client.outstanding == 300
        proxy.restore()
        assert until(lambda: client.acknowledged == 200)
        more = service.publish(topic, numbered(100))
        assert sorted(each.id for each in all_of(client, 100)) == sorted(more)
        client.acknowledge([*ids, *more])
        assert until(lambda: client.acknowledged == 400)
        forget(options, 5)
    assert service.pull(path, 11) == []
    assert told(caplog) == ["Pub/Sub does not answer", "Pub/Sub answers again"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The beginnings of our sentences, behind the subscription."""
    said = [each.getMessage() for each in caplog.records if each.name.startswith("seqcls_beam")]
    return [line.split(": ")[1].split(",")[0] for line in said]


def test_silence_is_what_the_service_confirmed(service, request):
    topic, path = named(service, request)
    with broker.proxied(service) as proxy:
        options = source(path)
        began, begun = time.monotonic(), time.time()
        client = opened(options)
        assert until(lambda: client.silence > 1) and client.away is None
        assert client.silence <= time.monotonic() - began
        proxy.cut()
        assert until(lambda: client.away is not None)
        assert client.away is not None and begun <= client.away <= time.time()
        known = client.silence
        time.sleep(3)
        assert client.silence == known
        restored = time.monotonic()
        proxy.restore()
        assert until(lambda: client.silence != known) and client.away is None
        assert client.silence <= time.monotonic() - restored
        (id,) = service.publish(topic, numbered(1))
        assert [each.id for each in all_of(client, 1)] == [id]
        time.sleep(1.5)
        assert client.silence == 0  # while something is held
        client.acknowledge([id])
        assert until(lambda: client.silence > 0.5)
        forget(options, 5)


def test_a_pull_that_nobody_answers_is_no_silence(request, monkeypatch):
    """A pull may end by the clock here: of a service that holds it until a message comes, and of one that is gone."""
    monkeypatch.setattr(pubsub, "CALL_SECONDS", 0.3)  # the broker holds a pull for half a second
    monkeypatch.setattr(pubsub, "CONFIRM_SECONDS", 0.5)
    with broker.running() as own, broker.leading(own.address):
        topic, path = named(own, request)
        options = source(path)
        client = opened(options)
        assert until(lambda: client.silence > 2) and client.away is None
        own.halt()
        assert until(lambda: client.away is not None)
        known = client.silence
        time.sleep(3)
        assert client.silence == known
        resumed = time.monotonic()
        own.resume()
        assert until(lambda: client.away is None and client.silence != known)
        assert client.silence <= time.monotonic() - resumed
        own.publish(topic, numbered(3))
        assert len(all_of(client, 3)) == 3
        forget(options, 5)


def test_that_it_is_away_is_over_though_nothing_is_asked_again(service, request, caplog):
    """Leases that could not be extended, of messages that nobody holds any more."""
    topic, path = named(service, request, deadline=2)
    with broker.proxied(service) as proxy:
        service.publish(topic, numbered(5))
        options = source(path)
        client = opened(options)
        found = all_of(client, 5)
        assert client.topic()  # and so the deadline is known, without which no lease is extended
        proxy.cut()
        time.sleep(2)  # leases are extended after two thirds of a second
        client.acknowledge([each.id for each in found])
        proxy.restore()
        assert until(lambda: client.outstanding == 0 and client.away is None)
        forget(options, 5)
    assert caplog.text.count("Pub/Sub does not answer") == caplog.text.count("Pub/Sub answers again, after") == 1


def test_its_topic_is_known_before_anything_is_pulled(service, request):
    topic, path = named(service, request)
    (id,) = service.publish(topic, numbered(1))
    client = opened(source(path), pulling=False)
    assert client.topic() == f"{broker.PROJECT}/topics/{topic}"
    assert service.pull(path, 1) == [id]  # another one had it
    forget(source(path), 5)
    service.delete(topic)
    assert opened(source(path)).topic() is None
    forget(source(path), 5)


def test_who_waits_for_a_topic_can_be_stopped(service, request):
    _, path = named(service, request)
    with broker.proxied(service) as proxy:
        proxy.cut()
        client = opened(source(path), pulling=False)
        waiting = threading.Thread(target=client.topic)
        waiting.start()
        assert until(lambda: client.away is not None) and waiting.is_alive()
        client.stop()
        waiting.join(5)
        assert not waiting.is_alive()
        forget(source(path), 5)


def test_answers_that_are_lost(service, request):
    topic, path = named(service, request)
    with broker.proxied(service) as proxy:
        ids = service.publish(topic, numbered(300))
        options = source(path)
        client = opened(options)
        found = all_of(client, 300)
        proxy.late.set()  # the broker hears what we do not hear it answer
        client.acknowledge([each.id for each in found])
        time.sleep(2)
        assert client.acknowledged == 0
        proxy.reset()
        proxy.late.clear()
        assert until(lambda: client.acknowledged == 300)
        assert client.take(10, LARGE, 1) == [] and client.pulled == 300
        assert service.pull(path, 11) == []
        assert sorted(each.id for each in found) == sorted(ids)
        forget(options, 5)


def test_a_network_that_is_slow_and_breaks(service, request):
    topic, path = named(service, request)
    with broker.proxied(service) as proxy:
        proxy.delay = 0.05
        ids = service.publish(topic, numbered(3000))
        options = source(path, max_outstanding=1000)
        client = opened(options)
        found: Counter[str] = Counter()
        breaks = 0
        end = time.monotonic() + 60
        while len(found) < 3000 and time.monotonic() < end:
            some = client.take(200, LARGE, 1)
            found.update(each.id for each in some)
            client.acknowledge([each.id for each in some])
            if breaks < 3 and len(found) > 600 * (breaks + 1):
                proxy.reset()
                breaks += 1
        assert breaks == 3 and found == Counter(ids)
        assert until(lambda: client.acknowledged == 3000)
        forget(options, 10)


def test_an_acknowledgement_that_comes_too_late_is_repeated(service, one, monkeypatch):
    """A lease that was lost, as of a bundle that nobody finished: the message comes again, and then is known."""
    topic, client = one
    monkeypatch.setattr(subscription, "MAX_LEASE", 0.5)
    service.publish(topic, numbered(20))
    found = all_of(client, 20)
    assert until(lambda: client.outstanding == 0, 10)
    client.acknowledge([each.id for each in found])
    assert client.take(20, LARGE, 15) == []  # in which they came again, and were acknowledged by a lease that is good
    assert (client.pulled, client.acknowledged, client.outstanding) == (20, 0, 0)
    assert service.pull(client.name, 11) == []


def test_a_bundle_that_nobody_finished_comes_again(service, one, monkeypatch, caplog):
    topic, client = one
    monkeypatch.setattr(subscription, "MAX_LEASE", 0.5)
    ids = service.publish(topic, numbered(20))
    assert len(all_of(client, 20)) == 20
    again = all_of(client, 20, 30)
    assert sorted(each.id for each in again) == sorted(ids)
    assert "20 messages were not done" in caplog.text


def test_what_comes_again_while_it_is_held_is_not_handed_on(service, one):
    topic, client = one
    ids = service.publish(topic, numbered(100))
    assert len(all_of(client, 100)) == 100
    # As of leases that were lost: under such ids the broker delivers a message the first time.
    lost = {"subscription": client.name, "ack_ids": [f"{id}:1" for id in ids], "ack_deadline_seconds": 0}
    service.client.modify_ack_deadline(request=lost)
    assert client.take(10, LARGE, 3) == [] and client.outstanding == client.pulled == 100
    client.acknowledge(ids)
    assert until(lambda: client.acknowledged == 100)
    forget(source(client.name), 5)
    assert service.pull(client.name, 11) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("PERMISSION_DENIED", "needs the role roles/pubsub.subscriber"),
        ("UNAUTHENTICATED", "gcloud auth application-default login"),
        ("FAILED_PRECONDITION", "nothing can be pulled from it"),
        ("INVALID_ARGUMENT", "Pub/Sub refuses to pull"),
    ],
)
def test_what_will_never_be_answered_ends_the_job(request, code, says):
    with broker.running(Pull=code) as own, broker.leading(own.address):
        _, path = named(own, request)
        client = opened(source(path))
        with pytest.raises(InputFailed, match=says):
            client.take(10, LARGE, 30)
        forget(source(path), 5)


@contextmanager
def failing(request, **calls):
    """A service on which calls always fail, and all 50 of its messages taken: (service, subscription, client, ids)."""
    with broker.running(**calls) as own, broker.leading(own.address):
        topic, path = named(own, request)
        ids = own.publish(topic, numbered(50))
        client = opened(source(path))
        assert len(all_of(client, 50)) == 50
        yield own, path, client, ids
        forget(source(path), 5)


def test_who_may_only_pull_need_not_see_the_deadline(request):
    with failing(request, GetSubscription="PERMISSION_DENIED") as (own, path, client, ids):
        assert client.topic() is None
        assert own.pull(path, 12) == []
        client.acknowledge(ids)
        assert until(lambda: client.acknowledged == 50)


def test_acknowledgements_that_are_refused_do_no_harm(request):
    with failing(request, Acknowledge="INVALID_ARGUMENT") as (_, _, client, ids):
        client.acknowledge(ids)
        assert client.take(10, LARGE, 13) == []  # what came again is known
        assert client.acknowledged == 0 and client.pulled == 50


def test_a_process_may_end_without_a_word(service, request):
    topic, path = named(service, request)
    service.publish(topic, numbered(20))
    code = (
        "import sys; from seqcls_beam.config.stream import SourceOptions; "
        "from seqcls_beam.reading.clients import opened; "
        "print(len(opened(SourceOptions(subscription=sys.argv[1])).take(20, 2**30, 5)))"
    )
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(
        command, cwd=ROOT, env=broker.environment(service.address), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")


def test_a_subscription_that_is_not_there(service):
    options = source("projects/test-project/subscriptions/nowhere")
    client = opened(options, pulling=False)
    with pytest.raises(InputFailed, match="subscriptions/nowhere: there is no such subscription"):
        client.topic()
    forget(options, 10)
    client = opened(options)
    with pytest.raises(InputFailed, match="subscriptions/nowhere: there is no such subscription"):
        client.take(10, LARGE, 30)
    began = time.monotonic()
    forget(options, 10)
    assert time.monotonic() - began < 3


def test_a_subscription_that_is_deleted(service, one):
    topic, client = one
    service.publish(topic, numbered(10))
    found = all_of(client, 10)
    service.client.delete_subscription(subscription=client.name)
    client.acknowledge([each.id for each in found])
    with pytest.raises(InputFailed, match="there is no such subscription"):
        client.take(10, LARGE, 30)


def test_no_service_at_all_is_waited_for(service, request, caplog):
    topic, path = named(service, request)
    service.publish(topic, numbered(5))
    with broker.proxied(service) as proxy:
        proxy.cut()
        options = source(path)
        client = opened(options)
        assert client.take(10, LARGE, 2) == []
        proxy.restore()
        assert len(all_of(client, 5)) == 5
        forget(options, 5)
        assert "does not answer" in caplog.text


def test_close_ends_though_nobody_answers(service, request, caplog):
    topic, path = named(service, request)
    with broker.proxied(service) as proxy:
        service.publish(topic, numbered(50))
        options = source(path)
        client = opened(options)
        found = all_of(client, 50)
        proxy.late.set()
        client.acknowledge([each.id for each in found[:20]])
        began = time.monotonic()
        forget(options, 2)
        assert time.monotonic() - began < 7
        assert "50 messages could not be given back" in caplog.text
        client.acknowledge([each.id for each in found])  # by a finaliser that is late; it does no harm


def test_one_client_a_process(service, one):
    _, client = one
    assert opened(source(client.name)) is client
    forget(source(client.name), 5)
    again = opened(source(client.name))
    assert again is not client
    with pytest.raises(ValueError, match="--subscription=nonsense"):
        source("nonsense")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.pubsub_v1", None)
    with pytest.raises(ImportError, match=r"pip install 'seqcls_beam\[gcp\]'"):
        pubsub.Service("projects/p/subscriptions/sub").connect()
