"""Topics of a stream on a real broker: each message comes out of one of them, whatever dies in between."""

import json
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines import classify
from tests import broker, tiny
from tests.corpora import texts
from tests.streams.test_classify_stream import BASE, Job, Subscribe, pieces_of, sealed, window_of

pytestmark = [pytest.mark.streams, broker.needs_go]

ATTRIBUTES = {"n" * 256: "v" * 1024, "größe": "東京", "empty": "", **{f"a{number:02d}": "x" for number in range(90)}}
"""As much as a message may have, but for the places that are ours."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.raising(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def service():
    with broker.running(deadline=2) as running:
        yield running


@pytest.fixture
def subscribe(service, request):
    return Subscribe(service, request.node.name)


class Outputs:
    """Two topics, and a subscription of each that has all from the beginning."""

    def __init__(self, service: broker.Broker, name: str) -> None:
        self._service = service
        self.out, self.dead = (f"{broker.PROJECT}/topics/{name}-{each}" for each in ("out", "dead"))
        self._subscriptions = [service.topic(f"{name}-{each}", f"{name}-{each}")[0] for each in ("out", "dead")]
        self.flags = [f"--output_topic={self.out}", f"--dead_letter_topic={self.dead}"]

    def read(self) -> tuple[list[Any], list[Any]]:
        """All messages that are in the two topics."""
        return self._all(self._subscriptions[0]), self._all(self._subscriptions[1])

    def _all(self, subscription: str) -> list[Any]:
        found: list[Any] = []
        until = time.monotonic() + 2
        while (left := until - time.monotonic()) > 0:
            request = {"subscription": subscription, "max_messages": 1000}
            answer = self._service.client.pull(request=request, timeout=left + 1, retry=None)
            if answer.received_messages:
                acks = [each.ack_id for each in answer.received_messages]
                self._service.client.acknowledge(subscription=subscription, ack_ids=acks)
                until = time.monotonic() + 2
            found += [each.message for each in answer.received_messages]
        return found


@pytest.fixture
def outputs(service, subscribe):
    return Outputs(service, subscribe.topic)


def mixed(count: int, seed: int) -> list[tuple[bytes, dict[str, str]]]:
    """Messages with a time and a key; one of ten is broken, and one has a text on which the model raises."""
    chance = random.Random(seed)
    made = []
    for number, text in enumerate(texts(count, seed=seed, longest=12)):
        at = (BASE + timedelta(seconds=round(chance.uniform(0, 1_800), 3))).isoformat()
        whole = json.dumps({"id": number, "text": "good unembeddable film" if number == 77 else text}).encode()
        broken = [whole[:-1], whole[:20] + b"\xff\xfe" + whole[20:], b"", b"\x00\xef\xbb\xbf"]
        made.append((chance.choice(broken) if number % 10 == 0 else whole, {"key": f"k{number}", "at": at}))
    return made


FLAGS = ("--keep_columns=id:int64,text", "--timestamp_attribute=at", "--id_attribute=key")


@pytest.mark.timeout(900)
def test_every_message_comes_out_of_one_topic_whatever_dies(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe(deadline=2)
    sent = mixed(3_000, seed=1)
    out, chance = tmp_path / "out", random.Random(5)
    flags = (*FLAGS, *outputs.flags, "--batch_rows=200", "--until_idle=4", "--allowed_lateness=7200")
    ids: dict[str, int] = {}
    for first in (0, 1_000, 2_000):
        ids |= {
            id: first + number
            for number, id in enumerate(service.publish(subscribe.topic, sent[first : first + 1_000]))
        }
        job = Job(model, subscription, out, service.address, *flags).until(len(pieces_of(out)) + chance.randint(3, 12))
        time.sleep(chance.uniform(0, 0.3))
        job.kill()
    said = Job(model, subscription, out, service.address, *flags).end()
    assert "published" in said and "to the dead letters" in said
    assert service.pull(subscription, 3) == []

    rows, letters = outputs.read()
    bad = {number for number in range(3_000) if number % 10 == 0 or number == 77}
    assert {ids[each.attributes["message_id"]] for each in rows} == {*range(3_000)} - bad
    assert {ids[each.attributes["seqcls_beam.message_id"]] for each in letters} == bad
    for each in letters:
        number = ids[each.attributes["seqcls_beam.message_id"]]
        theirs = {name: value for name, value in each.attributes.items() if not name.startswith("seqcls_beam.")}
        assert (each.data, theirs) == sent[number]
        assert (each.attributes["seqcls_beam.reason"] == "model_error") == (number == 77)
    labels, _ = sealed(out)
    table = {row["message_id"]: row for row in labels.to_pylist()}
    for each in rows:
        row, there = json.loads(each.data), table[each.attributes["message_id"]]
        at = datetime.fromisoformat(sent[row["id"]][1]["at"]).astimezone(UTC)
        assert datetime.fromisoformat(row["event_time"]) == at == datetime.fromisoformat(each.attributes["event_time"])
        assert f"window={each.attributes['window']}" == window_of(at) == there["window"]
        assert (each.attributes["message_key"], each.attributes["model"]) == (f"k{row['id']}", there["model"])
        assert {**row, "event_time": at, "publish_time": datetime.fromisoformat(row["publish_time"])} == {
            name: value for name, value in there.items() if name != "window"
        }


def test_payload_and_attributes_travel_as_they_came(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe()
    data = b"\xff\x00\xfe broken \xed\xa0\x80"
    more = {f"b{number:02d}": "x" for number in range(7)}
    one, two = service.publish(subscribe.topic, [(data, ATTRIBUTES), (data, ATTRIBUTES | more)])
    Job(model, subscription, tmp_path / "out", service.address, *outputs.flags, "--until_idle=3").end()
    rows, letters = outputs.read()
    assert rows == [] and [each.data for each in letters] == [data] * 2
    found = {each.attributes["seqcls_beam.message_id"]: dict(each.attributes) for each in letters}
    why = {"stage": "read", "reason": "invalid_utf8"}
    own = {f"seqcls_beam.{name}": value for name, value in why.items()}
    details = [each.pop("seqcls_beam.detail") for each in found.values()]
    assert all(details)
    assert len(ATTRIBUTES) == 93
    assert found[one] == {**ATTRIBUTES, **own, "seqcls_beam.message_id": one}
    # Of 100 five are left out, the last ones by name.
    last = sorted(ATTRIBUTES | more)[95:]
    assert found[two] == {name: value for name, value in (ATTRIBUTES | more).items() if name not in last} | {
        **own,
        "seqcls_beam.message_id": two,
        "seqcls_beam.attributes_left_out": "5",
    }


def test_a_topic_that_takes_nothing_for_a_while(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe(deadline=2)
    ids = service.publish(subscribe.topic, mixed(300, seed=2))
    fault = {"program": "tests.streams.faulty", "fault": ("publish:UNAVAILABLE", "8")}
    job = Job(model, subscription, tmp_path / "out", service.address, *FLAGS, *outputs.flags, "--until_idle=4", **fault)
    said = job.end()
    assert said.count("a publication is refused") == 8
    assert said.count("Pub/Sub takes no message, and is asked again until it does (UNAVAILABLE: as the test") >= 1
    assert "Pub/Sub takes messages again, after" in said and "tried again in" not in said
    rows, letters = outputs.read()
    # No batch was given back, so none was twice.
    found = [each.attributes["message_id"] for each in rows]
    found += [each.attributes["seqcls_beam.message_id"] for each in letters]
    assert sorted(found) == sorted(ids)
    assert f"{len(rows)} published, {len(letters)} to the dead letters" in said
    assert service.pull(subscription, 3) == []


def test_what_is_not_published_is_not_acknowledged_and_comes_again(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe(deadline=2)
    ids = service.publish(subscribe.topic, mixed(60, seed=3))
    fault = {"program": "tests.streams.faulty", "fault": ("unpublished", "2")}
    flags = (*FLAGS, *outputs.flags, "--until_idle=6")
    said = Job(model, subscription, tmp_path / "out", service.address, *flags, **fault).end()
    # Two tries in a row without progress, though their pieces were written.
    assert said.count("nothing of this is acknowledged, and it is tried again in 1 s: ") == 1
    assert said.count("nothing of this is acknowledged, and it is tried again in 2 s: ") == 1
    assert "Traceback" not in said
    rows, letters = outputs.read()
    found = {each.attributes["message_id"] for each in rows}
    found |= {each.attributes["seqcls_beam.message_id"] for each in letters}
    assert found == {*ids}
    labels, rejects = sealed(tmp_path / "out")
    assert len(labels) + len(rejects) == len(ids)
    assert service.pull(subscription, 3) == []


def test_who_may_not_publish_is_told_and_loses_nothing(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe(deadline=60)
    ids = service.publish(subscribe.topic, mixed(60, seed=4))
    fault = {"program": "tests.streams.faulty", "fault": ("publish:PERMISSION_DENIED", "999999")}
    said = Job(model, subscription, tmp_path / "out", service.address, *FLAGS, *outputs.flags, **fault).end(1)
    assert f"={outputs.out}: this account may not publish to it" in said or f"={outputs.dead}: this account" in said
    assert "roles/pubsub.publisher" in said and "Traceback" not in said and "tried again" not in said
    assert sorted(service.pull(subscription, 5)) == sorted(ids)
    assert outputs.read() == ([], [])


def test_told_to_end_it_does_not_wait_for_a_topic_for_ever(tmp_path, model, service, subscribe, outputs):
    (subscription,) = subscribe(deadline=60)
    ids = service.publish(subscribe.topic, mixed(60, seed=5))
    fault = {"program": "tests.streams.faulty", "fault": ("publish:UNAVAILABLE", "999999")}
    job = Job(model, subscription, tmp_path / "out", service.address, *FLAGS, *outputs.flags, **fault)
    job.until_said("a publication is refused")
    job.process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    said = job.end()
    assert time.monotonic() - begun < 30  # 10 of them for the topics
    assert "the messages in hand are not acknowledged, and come again: " in said
    assert "Pub/Sub took no message (UNAVAILABLE: as the test wants it)" in said
    assert sorted(service.pull(subscription, 5)) == sorted(ids)


@pytest.mark.parametrize("flag", ["output_topic", "dead_letter_topic"])
def test_a_topic_that_cannot_be_is_refused_before_anything_is_pulled(tmp_path, model, service, subscribe, capsys, flag):
    (subscription,) = subscribe()
    ids = service.publish(subscribe.topic, mixed(5, seed=6))
    flags = [f"--subscription={subscription}", f"--output={tmp_path / 'out'}", f"--model={model}"]
    with broker.leading(service.address):
        assert classify.main([*flags, f"--{flag}={broker.PROJECT}/topics/absent"]) == 1
        said = capsys.readouterr().err
        assert f"--{flag}={broker.PROJECT}/topics/absent: there is no such topic" in said
        own = f"{broker.PROJECT}/topics/{subscribe.topic}"
        assert classify.main([*flags, f"--{flag}={own}"]) == 1
        said = capsys.readouterr().err
    assert f"--{flag}={own} is the topic that {subscription} is of: what is published would be labelled again" in said
    assert "Traceback" not in said
    assert sorted(service.pull(subscription, 2)) == sorted(ids)
