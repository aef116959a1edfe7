"""The step that tells topics: after the pieces, in the same bundle, and a bundle fails with it."""

import logging
import threading
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from seqcls_beam.config.stream import TopicOptions
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.schema import ATTRIBUTES
from seqcls_beam.transforms import publish
from seqcls_beam.transforms.publish import PublishRows
from seqcls_beam.transforms.stream import AppendWindows
from tests.messages import Message, predictions

OUT, DEAD = "projects/some-project/topics/out", "projects/some-project/topics/dead"
NAME = "projects/some-project/subscriptions/sub"
BOTH = TopicOptions(output_topic=OUT, dead_letter_topic=DEAD)


class Topics:
    """In place of the service: what it got, and what was durable by then."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.got: dict[str, list[tuple[str, dict[str, str]]]] = {}
        self.durable: list[int] = []
        self.fails = False

    def opened(self, flag: str, topic: str) -> "Topic":
        assert (flag, topic) in {("output_topic", OUT), ("dead_letter_topic", DEAD)}
        return Topic(self, topic)


class Topic:
    def __init__(self, topics: Topics, name: str) -> None:
        self._topics, self._name = topics, name

    def publish(self, letters, ending: threading.Event) -> None:
        assert not ending.is_set()
        if self._topics.fails:
            raise OSError("--output_topic=x: Pub/Sub took no message (UNAVAILABLE: no)")
        self._topics.durable.append(len([*self._topics.out.rglob("window=*/*.parquet")]))
        got = self._topics.got.setdefault(self._name, [])
        got += [
            (each.attributes.get("message_id") or each.attributes["seqcls_beam.message_id"], each.attributes)
            for each in letters
        ]


@pytest.fixture
def topics(tmp_path, monkeypatch):
    prepare(str(tmp_path / "out"), 300)
    made = Topics(tmp_path / "out")
    monkeypatch.setattr(publish, "opened", made.opened)
    flows.forget(NAME)
    yield made
    flows.forget(NAME)


def batch(numbers: range, large: bool = False) -> pa.RecordBatch:
    """One row of three is rejected, and each is in a window of its own."""
    rows = [
        Message(str(n), n * 300_000_000, rejected=n % 3 == 0, text="\x01" * 1_700_000 if large else "") for n in numbers
    ]
    made = predictions(rows)
    return made.append_column(ATTRIBUTES, pa.array([[("n", str(n))] for n in numbers], ATTRIBUTES.type))


def published(topics: Topics, given: TopicOptions, *batches: pa.RecordBatch):
    pipeline = beam.Pipeline(runner=FnApiRunner())
    made = pipeline | beam.Create([0]) | beam.FlatMap(_each, batches).with_output_types(pa.RecordBatch)
    done = made | AppendWindows(str(topics.out), 300) | PublishRows(given, 300, NAME)
    assert done.element_type is pa.RecordBatch
    result = pipeline.run()
    result.wait_until_finish()
    return {
        each.key.metric.name: each.committed
        for each in result.metrics().query()["counters"]
        if each.key.metric.namespace == "seqcls_beam.PublishRows"
    }


def _each(_: int, batches: tuple[pa.RecordBatch, ...]) -> list[pa.RecordBatch]:
    return [*batches]


def test_each_row_goes_to_its_topic_when_its_piece_is_durable(topics):
    counters = published(topics, BOTH, batch(range(7)), batch(range(10, 13)))
    assert {name: [id for id, _ in got] for name, got in topics.got.items()} == {
        OUT: ["1", "2", "4", "5", "10", "11"],
        DEAD: ["0", "3", "6", "12"],
    }
    assert [each["n"] for _, each in topics.got[DEAD]] == ["0", "3", "6", "12"]
    assert topics.durable == [7, 7, 10, 10]
    assert counters == {"published": 6, "dead-lettered": 4, "too-large": 0}
    flow = flows.flow_of(NAME)
    assert (flow.sent, flow.dead_lettered, flow.too_large, flow.passed) == (6, 4, 0, 10)


@pytest.mark.parametrize(
    ("given", "got"),
    [(TopicOptions(output_topic=OUT), {OUT: ["1", "2"]}), (TopicOptions(dead_letter_topic=DEAD), {DEAD: ["0"]})],
)
def test_one_topic_alone_gets_its_own_rows(topics, given, got):
    published(topics, given, batch(range(3)))
    assert {name: [id for id, _ in each] for name, each in topics.got.items()} == got
    assert flows.flow_of(NAME).passed == 3


def test_a_bundle_fails_where_its_rows_are_not_published(topics):
    topics.fails = True
    with pytest.raises(Exception, match="Pub/Sub took no message"):
        published(topics, BOTH, batch(range(3)))
    assert flows.flow_of(NAME).passed == 0
    assert (
        len([*topics.out.rglob("window=*/*.parquet")]) == 3
    )  # durable before, and dropped as copies when they come again


def test_what_is_too_large_is_counted_and_told_once(topics, caplog):
    with caplog.at_level(logging.WARNING):
        counters = published(topics, BOTH, batch(range(3), large=True), batch(range(3, 6), large=True))
    assert counters == {"published": 0, "dead-lettered": 2, "too-large": 4}
    (told,) = [each.getMessage() for each in caplog.records if each.name == publish.__name__]
    assert told.startswith("2 of 3 messages would be larger than Pub/Sub takes")
    assert OUT not in topics.got
