"""Messages of Dataflow's own source: how they are gathered, on a clock that the test moves, and what comes of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.coders.typecoders import registry
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct import clock as clocks
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing import test_stream
from apache_beam.utils.timestamp import Timestamp
from google import pubsub_v1

from pipelines import seal
from seqcls_beam import open_labels
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.messages import Message, message_layout
from seqcls_beam.reading.packs import PACK, pack, unpack
from seqcls_beam.runs import pieces
from seqcls_beam.runs.table import read_manifest
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize, messages
from seqcls_beam.transforms.messages import ReadMessages
from seqcls_beam.transforms.stream import AppendWindows
from tests import tiny

NAME = "projects/some-project/subscriptions/sub"
BASE = datetime(2026, 11, 20, 10, tzinfo=UTC)
WINDOW = 300


@pytest.fixture
def clock(monkeypatch):
    """What TestStream moves is what the steps look at, too."""
    found = clocks.TestClock()
    monkeypatch.setattr("apache_beam.runners.direct.direct_runner.TestClock", lambda: found)
    monkeypatch.setattr("seqcls_beam.transforms.messages.now", found.time)
    monkeypatch.setattr("seqcls_beam.transforms.messages._KEYS", messages._Keys())  # those of this process are older
    return found


def message(
    number: int, seconds: float = 0, data: bytes | None = None, attributes: dict[str, str] | None = None
) -> PubsubMessage:
    """As Beam makes it of what the service sends, published so long after the base."""
    sent = {
        "data": orjson.dumps({"text": f"number {number}"}) if data is None else data,
        "attributes": attributes or {},
        "message_id": f"{1_000 + number}",
        "publish_time": BASE + timedelta(seconds=seconds, microseconds=number),
    }
    return PubsubMessage._from_proto_str(pubsub_v1.types.PubsubMessage.serialize(sent))


def reading(monkeypatch, events: test_stream.TestStream) -> list[dict[str, object]]:
    """Beam's own source is replaced by this one; what is behind it is what Dataflow gets."""
    asked: list[dict[str, object]] = []

    class Read(beam.PTransform):
        def __init__(self, **how):
            super().__init__()
            asked.append(how)

        def expand(self, root):
            return root | events

    monkeypatch.setattr("apache_beam.io.gcp.pubsub.ReadFromPubSub", Read)
    return asked


def kept(batch: pa.RecordBatch, folder: str) -> str:
    """A file whose name says when it came by the clock of the test."""
    path = f"{folder}/{batch['keep'].field('message_id')[0]} {messages.now():g}"
    with pa.ipc.new_file(path, batch.schema) as file:
        file.write_batch(batch)
    return path


def batches(monkeypatch, folder: Path, events: test_stream.TestStream, rows: int = 10, **source) -> list[pa.Table]:
    """What is gathered, in the order of the first message's id."""
    options = SourceOptions(subscription=NAME, max_latency=5.0, **source)
    layout = message_layout(ReadOptions(input=()), options)
    asked = reading(monkeypatch, events)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as pipeline:
        read = pipeline | ReadMessages(options, layout, batch_rows=rows)
        assert read.element_type is pa.RecordBatch
        _ = read | beam.Map(kept, str(folder))
    assert asked == [{"subscription": NAME, "with_attributes": True}]
    return [pa.ipc.open_file(path).read_all() for path in sorted(folder.iterdir())]


def came(folder: Path) -> dict[int, float]:
    """The first message of each batch → when that came, in seconds."""
    return {int(id) - 1_000: float(time) for id, time in (path.name.split(" ") for path in folder.iterdir())}


def ids(tables: list[pa.Table]) -> list[list[int]]:
    return [[int(row["message_id"]) - 1_000 for row in table["keep"].to_pylist()] for table in tables]


def test_a_batch_has_so_many_rows_and_all_of_a_message(tmp_path, monkeypatch, clock):
    sent = [message(i, i, attributes={"n": str(i)} if i % 2 else None) for i in range(25)]
    events = test_stream.TestStream().add_elements(sent).advance_processing_time(3).advance_watermark_to_infinity()
    found = batches(monkeypatch, tmp_path, events, attributes=("n",))
    assert sorted(map(len, found)) == [5, 10, 10]
    # Those that are full wait for nothing, and the rest for the clock.
    assert came(tmp_path) == {0: 0, 10: 0, 20: 3}
    rows = {row["keep"]["message_id"]: row for table in found for row in table.to_pylist()}
    assert len(rows) == 25
    for i, each in enumerate(sent):
        row = rows[each.message_id]
        assert (row["text"], row["keep"]["n"]) == (f"number {i}", str(i) if i % 2 else None)
        assert row["keep"]["publish_time"] == each.publish_time


def test_a_message_waits_for_half_of_the_latency(tmp_path, monkeypatch, clock):
    events = test_stream.TestStream()
    events.add_elements([message(0)]).advance_processing_time(1).add_elements([message(1)])
    events.advance_processing_time(1).add_elements([message(2)])
    events.advance_processing_time(1)  # 3 s after the first one: its group has gone on
    events.add_elements([message(3)]).advance_processing_time(1).add_elements([message(4)])
    events.advance_processing_time(2).advance_processing_time(60).advance_watermark_to_infinity()
    assert ids(batches(monkeypatch, tmp_path, events)) == [[0, 1, 2], [3, 4]]
    assert came(tmp_path) == {0: 3, 3: 6}


def test_a_drained_job_waits_for_no_clock(tmp_path, monkeypatch, clock):
    events = test_stream.TestStream().add_elements([message(0), message(1)]).advance_watermark_to_infinity()
    assert ids(batches(monkeypatch, tmp_path, events)) == [[0, 1]]
    assert clock.time() == 0


@pytest.fixture
def small(monkeypatch):
    """The bound in bytes, a thirty-second of what it is."""
    monkeypatch.setattr("seqcls_beam.transforms.messages.MAX_BYTES", 1 << 20)
    return 1 << 20


@pytest.mark.parametrize("together", [True, False])
def test_a_batch_is_bounded_by_its_bytes(tmp_path, monkeypatch, clock, small, together):
    """In one bundle, where packs are cut, and one by one, where groups are."""
    large = b"x" * (small // 4)
    sent = [message(i, data=large if i != 4 else b"{}") for i in range(9)]
    events = test_stream.TestStream()
    for some in [sent] if together else [[each] for each in sent]:
        events = events.add_elements(some)
    found = batches(monkeypatch, tmp_path, events.advance_watermark_to_infinity())
    assert sorted(chain.from_iterable(ids(found))) == list(range(9))
    assert all(sum(map(len, table["payload"].to_pylist())) <= small for table in found)
    # Four quarters fill a pack, and the small one takes the place of a quarter in the next; alone, each has some bytes
    # beside it, so that a group holds three, and once the small one, too.
    assert sorted(map(len, found)) == ([1, 4, 4] if together else [2, 3, 4])


def test_attributes_weigh_too(tmp_path, monkeypatch, clock, small):
    heavy = {f"{i:0256d}": "x" * 1024 for i in range(100)}  # what Pub/Sub takes at most: 128 kB beside a few bytes
    sent = [message(i, attributes=heavy) for i in range(20)]
    events = test_stream.TestStream().add_elements(sent).advance_watermark_to_infinity()
    found = batches(monkeypatch, tmp_path, events, rows=8192)
    assert sorted(map(len, found)) == [4, 8, 8]  # 1 MiB holds 8 of 128,000 bytes and some


def test_what_is_behind_the_watermark_is_gathered_like_the_rest(tmp_path, monkeypatch, clock):
    events = test_stream.TestStream().advance_watermark_to(Timestamp.from_utc_datetime(BASE + timedelta(hours=1)))
    events.add_elements([message(0)]).advance_processing_time(3)
    events.advance_watermark_to(Timestamp.from_utc_datetime(BASE + timedelta(hours=9)))
    events.add_elements([message(1)]).advance_processing_time(3).advance_watermark_to_infinity()
    assert ids(batches(monkeypatch, tmp_path, events)) == [[0], [1]]


def test_packs_hold_all_of_a_message():
    made = [
        Message("1", -1, {}, b""),
        Message("2", 1_763_632_800_000_001, {"a": "", "b": "grün"}, b"\xff\x00"),
    ]
    packed = pack(made)
    assert packed.schema.equals(PACK)
    assert unpack(packed) == made
    assert unpack(pa.concat_batches([packed, pack([]), packed.slice(1)])) == [*made, made[1]]


def test_what_comes_when_its_group_has_gone_on_is_another_group(tmp_path, clock):
    """A pack that was on its way; and of the group before it nothing is left."""
    packs = [(b"k", pack([Message(f"{1_000 + i}", i, {}, b'{"text": "a"}')])) for i in range(2)]
    keyed = beam.typehints.Tuple[bytes, pa.RecordBatch]
    events = test_stream.TestStream(coder=registry.get_coder(keyed))
    for each in packs:
        events = events.add_elements([each]).advance_processing_time(3)
    layout = message_layout(ReadOptions(input=()), SourceOptions(subscription=NAME))
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as pipeline:
        gathered = pipeline | events.advance_watermark_to_infinity() | beam.ParDo(messages._Group(10, 2.5))
        read = gathered | beam.Map(messages.recorded, layout).with_output_types(pa.RecordBatch)
        _ = read | "Kept" >> beam.Map(kept, str(tmp_path))
    found = [pa.ipc.open_file(path).read_all() for path in sorted(tmp_path.iterdir())]
    assert ids(found) == [[0], [1]]
    assert came(tmp_path) == {0: 3, 1: 6}


def test_a_key_is_of_one_group(clock):
    keys, four = messages._Keys(), pack([Message(str(i), i, {}, b"") for i in range(4)])
    assert [keys.key(name, four, 10, 2.5) for name in "abc"] == [b"a", b"a", b"c"]
    clock.advance_time(2)
    assert keys.key("d", four, 10, 2.5) == b"c"
    clock.advance_time(1)
    assert keys.key("e", four.slice(0, 1), 10, 2.5) == b"e"


@pytest.mark.engine
def test_messages_without_an_id_are_all_labelled(tmp_path, monkeypatch, clock):
    """The source of Dataflow may leave it out. What is delivered again is one row, what differs in anything its own."""
    when, text, second = {"at": BASE.isoformat()}, b'{"text": "a"}', timedelta(seconds=1)
    sent = [
        PubsubMessage(data, attributes, "", published)
        for data, attributes, published in [
            (text, when, BASE + second),
            (b'{"text": "b"}', when, BASE + second),
            (text, when, BASE + 2 * second),
            (text, when | {"k": "v"}, BASE + second),
            (text, when | {"kv": ""}, BASE + second),
            (b"{", when, BASE + second),
            (text, when, BASE + second),
        ]
    ]
    events = test_stream.TestStream().add_elements(sent).advance_watermark_to_infinity()
    out = tmp_path / "out"
    labelled(monkeypatch, out, events, tiny.resolved())
    assert seal.main([str(out)]) == 0
    rows = open_labels(str(out)).to_table().to_pylist()
    assert sorted((row["text"], row["publish_time"].second) for row in rows) == [
        *[("a", 1)] * 3,
        ("a", 2),
        ("b", 1),
    ]
    assert len({row["message_id"] for row in rows}) == 5
    assert all(row["message_id"].startswith("derived-") for row in rows)
    manifest = read_manifest(str(out), "window=20261120T100000Z")
    assert manifest is not None and (manifest["messages"]["distinct"], manifest["messages"]["duplicates"]) == (6, 1)


class Once:
    """Raises the first time behind, or before, what it does."""

    def __init__(self, does, behind: bool) -> None:
        self.does, self.behind, self.raised = does, behind, 0

    def __call__(self, *args):
        if self.raised == 0 and not self.behind:
            self.raised = 1
            raise OSError("the disk was away")
        done = self.does(*args)
        if self.raised == 0:
            self.raised = 1
            raise OSError("the disk was away when it had been written")
        return done


def labelled(monkeypatch, out: Path, events: test_stream.TestStream, checkpoint) -> None:
    """The whole stream, with event times of an attribute."""
    options = SourceOptions(subscription=NAME, max_latency=5.0, timestamp_attribute="at")
    layout = message_layout(ReadOptions(input=()), options)
    pieces.prepare(str(out), WINDOW, labeled(layout.keep, False, streamed=True), None, options)
    reading(monkeypatch, events)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as pipeline:
        _ = (
            pipeline
            | ReadMessages(options, layout, batch_rows=4)
            | Tokenize(checkpoint, ModelOptions(threads=1))
            | Classify(checkpoint, ModelOptions(threads=1))
            | AppendWindows(str(out), WINDOW)
        )


def at(number: int, seconds: float, data: bytes | None = None) -> PubsubMessage:
    """Of this event time, published at once."""
    return message(number, seconds, data, {"at": (BASE + timedelta(seconds=seconds)).isoformat()})


def written(out: Path) -> Iterator[tuple[str, list[int]]]:
    for path in sorted(out.rglob("_pieces/window=*/*.parquet")):
        found = pq.read_table(path, partitioning=None)["message_id"].to_pylist()
        yield path.parent.name.removeprefix("window="), sorted(int(id) - 1_000 for id in found)


def sealed(out: Path) -> dict[str, list[int]]:
    assert seal.main([str(out)]) == 0
    assert not list(written(out))
    found: dict[str, list[int]] = {}
    for row in open_labels(str(out)).to_table().to_pylist():
        found.setdefault(row["window"], []).append(int(row["message_id"]) - 1_000)
    return {window: sorted(rows) for window, rows in found.items()}


@pytest.mark.engine
@pytest.mark.parametrize("behind", [None, False, True], ids=["no fault", "before a piece", "behind a piece"])
def test_each_message_is_once_in_its_window(tmp_path, monkeypatch, clock, behind):
    """Early, on time, late, delivered twice, of several windows in one bundle, and of a bundle that is tried again."""
    if behind is not None:
        once = Once(pieces.append, behind)
        monkeypatch.setattr("seqcls_beam.transforms.stream.append", once)
    out, checkpoint = tmp_path / "out", tiny.resolved()
    events = test_stream.TestStream()
    events.add_elements([at(0, 10), at(1, 310), at(2, 20), at(3, 900), at(4, 30)])
    events.advance_processing_time(3)
    events.advance_watermark_to(Timestamp.from_utc_datetime(BASE + timedelta(seconds=600)))
    events.add_elements([at(5, 320), at(0, 10), at(6, 40), at(7, 50, data=b"{")])  # all but the second are late
    events.advance_processing_time(3).advance_watermark_to_infinity()
    labelled(monkeypatch, out, events, checkpoint)
    assert behind is None or once.raised
    assert sorted(written(out)) == [
        ("20261120T100000Z", [0, 2]),
        ("20261120T100000Z", [0, 6, 7]),
        ("20261120T100000Z", [4]),
        ("20261120T100500Z", [1]),
        ("20261120T100500Z", [5]),
        ("20261120T101500Z", [3]),
    ]
    assert sealed(out) == {"20261120T100000Z": [0, 2, 4, 6], "20261120T100500Z": [1, 5], "20261120T101500Z": [3]}
    (refused,) = [row for path in out.rglob("_rejects/**/*.parquet") for row in pq.read_table(path).to_pylist()]
    assert refused["raw"] == b"{"
    # The job goes on, and a message that was on its way for long comes when its window is sealed.
    more = test_stream.TestStream().add_elements([at(8, 60), at(2, 20), at(9, 905)]).advance_watermark_to_infinity()
    labelled(monkeypatch, out, more, checkpoint)
    assert sealed(out)["20261120T100000Z"] == [0, 2, 4, 6, 8]
    manifest = read_manifest(str(out), "window=20261120T100000Z")
    assert manifest is not None and manifest["window"]["amended"] == 1
