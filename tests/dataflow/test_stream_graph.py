"""The graph of a stream for Dataflow: that it does what the source of our own does, and stays what a job runs on."""

import json
import os
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from apache_beam import DoFn
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines import labelling, seal, stream_graph
from seqcls_beam import open_labels
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import TopicOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.reading.messages import Message
from seqcls_beam.reading.packs import PACK
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.letters import Letter
from seqcls_beam.runs.run import Run
from seqcls_beam.transforms import publish
from tests import tiny
from tests.corpora import part_digests, plain_scores, texts
from tests.dataflow import streamed
from tests.dataflow.shape import shape
from tests.dataflow.staged import pickles

GOLDEN = Path(__file__).parent / "golden"
ANEW = "SEQCLS_BEAM_GOLDEN"
MEANS = f"""\
the graph of {{name}} is not the one in tests/dataflow/golden/{{name}}.json. If this is meant, a job that runs cannot
simply be replaced with --update:
- a step has another name: say which is which with --transform_name_mapping='{{{{"old": "new"}}}}';
- a coder, a state, a timer or the windowing of a step that keeps state has changed, or such a step is gone: it cannot
  be updated; drain the job, and start the new one on the same subscription and folder.
Say so in CHANGELOG.md, and write the file anew: {ANEW}=write pytest tests/dataflow/test_stream_graph.py"""

BASE = int(datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
TOPICS = TopicOptions(output_topic="projects/p/topics/out", dead_letter_topic="projects/p/topics/dead")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def messages() -> list[Message]:
    """Of some windows: early, on time and late, malformed, without a time, and with a key that another one has."""
    made = []
    for i, text in enumerate(texts(60, seed=18)):
        event = BASE + i * 15 * SECOND
        late = 700 * SECOND if i % 10 == 3 else 0  # published two windows later
        at = (event - 20 * SECOND if i % 10 == 5 else event) // 1000  # or dated back into the window before
        attributes = {"at": str(at), "key": f"k-{i // 2 if i % 20 == 1 else i + 100}"}
        data = b"{" if i % 9 == 4 else orjson.dumps({"text": text, "n": i})
        made.append(Message(f"{1_000 + i}", event + late + i, {} if i == 30 else attributes, data))
    return made


def sent() -> list[Message]:
    """As they are delivered: by publishing, some twice."""
    once = sorted(messages(), key=lambda each: each.published)
    return [*once[:40], *once[5:15], *once[40:], once[-1]]


def made(out, model, runner="DataflowRunner", **how):
    layout: dict[str, Any] = {
        "timestamp_attribute": "at",
        "id_attribute": "key",
        "attributes": ("at",),
        "max_latency": 2.0,
    }
    return streamed.stream(out, resolve(str(model)), runner, rows=8, **layout, **how)


def replayed(out, model, bundles, repeat=0, **how):
    graph = streamed.graph(made(out, model, **how))
    wire = [[streamed.on_the_wire(each) for each in some] for some in bundles]
    result = FnApiRunner(bundle_repeat=repeat).run_via_runner_api(streamed.fed(graph, wire), PipelineOptions([]))
    result.wait_until_finish()
    return result


class Canned:
    """A subscription that has these messages and no others."""

    def __init__(self, given):
        self.left, self.acknowledged = list(given), []

    def take(self, rows, size, wait):
        taken, self.left = self.left[: min(rows, 11)], self.left[min(rows, 11) :]
        return taken

    def acknowledge(self, ids):
        self.acknowledged += ids


@pytest.fixture(scope="module")
def pulled(tmp_path_factory, model):
    """The sealed folder of the same messages in another order, by the source of this machine."""
    out, source = tmp_path_factory.mktemp("pulled") / "out", Canned(reversed(sent()))
    flows.forget(streamed.SUBSCRIPTION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqcls_beam.transforms.stream.opened", lambda _: source)
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            stream_graph.build(pipeline, made(out, model, "FnApiRunner"), 20)
    assert not source.left and sorted(source.acknowledged) == sorted(each.id for each in sent())
    assert seal.main([str(out)]) == 0
    return out


def pieces(out: Path) -> list[list[str]]:
    return [
        pq.read_table(path, partitioning=None)["message_id"].to_pylist()
        for path in sorted((out / "_pieces").rglob("window=*/*.parquet"))
    ]


@pytest.mark.engine
@pytest.mark.parametrize("cut", [[71], [1, 7, 40, 71], range(1, 72)], ids=["one", "some", "each alone"])
def test_what_is_submitted_seals_the_bytes_of_the_local_stream(tmp_path, model, pulled, cut):
    """`--threads=1`; the messages in another order, and gathered otherwise."""
    given = sent()
    bundles = [given[start:end] for start, end in pairwise([0, *cut])]
    assert sum(map(len, bundles)) == len(given)
    out = tmp_path / "out"
    result = replayed(out, model, bundles)
    written = pieces(out)
    counted = {each.key.metric.name: each.committed for each in result.metrics().query()["counters"]}
    # A message that is delivered twice, each time alone, has twice the same piece.
    assert counted["rows"] == len(given) and counted["pieces"] >= len(written)
    assert {id for each in written for id in each} == {each.id for each in given}
    assert max(map(len, written)) <= 8
    assert seal.main([str(out)]) == 0
    assert part_digests(out) == part_digests(pulled)


@pytest.mark.engine
def test_rows_are_those_that_transformers_alone_would_make(model, pulled):
    table = open_labels(str(pulled)).to_table()
    first: dict[str, Message] = {}
    for each in sorted(messages(), key=lambda each: (each.published, each.id)):
        if each.data != b"{" and "at" in each.attributes:
            first.setdefault(each.attributes["key"], each)
    found = {row["message_id"]: row for row in table.to_pylist()}
    windows = {each.id: int(each.attributes["at"]) // 300_000 for each in first.values()}
    # Copies with one key are one row where they fall into one window; there are none across windows here.
    assert set(found) == {each.id for each in first.values()}
    chosen = [each for each in first.values()]
    scores = plain_scores(model, [json.loads(each.data)["text"] for each in chosen])
    np.testing.assert_allclose([found[each.id]["scores"] for each in chosen], scores, atol=1e-5)
    names = ["negative", "positive"]
    assert [found[each.id]["label"] for each in chosen] == [names[row.argmax()] for row in scores]
    for each in chosen:
        start = datetime.fromtimestamp(windows[each.id] * 300, UTC)
        assert found[each.id]["window"] == f"{start:%Y%m%dT%H%M%SZ}"
    rejected = [
        row["raw"] for path in (pulled / "_rejects").rglob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert len(rejected) == sum(each.data == b"{" or "at" not in each.attributes for each in messages())


@pytest.mark.engine
def test_bundles_that_run_again_write_the_same_pieces(tmp_path, model, pulled):
    once, again = tmp_path / "once", tmp_path / "again"
    bundles = [sent()[:30], sent()[30:]]
    replayed(once, model, bundles)
    replayed(again, model, bundles, repeat=1)
    assert sorted(pieces(once)) == sorted(pieces(again))
    assert seal.main([str(again)]) == 0
    assert part_digests(again) == part_digests(pulled)


class Topic:
    """In place of one that the service has."""

    def __init__(self) -> None:
        self.got: list[Letter] = []

    def publish(self, letters, ending) -> None:
        self.got += letters


@pytest.mark.engine
def test_what_is_submitted_tells_its_topics(tmp_path, model, monkeypatch):
    """Each message once where each is delivered once: a row with what stands in the folder, or the message itself."""
    topics = {"output_topic": Topic(), "dead_letter_topic": Topic()}
    monkeypatch.setattr(publish, "opened", lambda flag, topic: topics[flag])
    given = messages()
    replayed(tmp_path / "out", model, [given[:25], given[25:]], topics=TOPICS)
    bad = {each.id: each for each in given if each.data == b"{" or "at" not in each.attributes}
    letters = topics["dead_letter_topic"].got
    assert sorted(each.attributes["seqcls_beam.message_id"] for each in letters) == sorted(bad)
    for data, attributes in letters:
        came = bad[attributes["seqcls_beam.message_id"]]
        assert data == came.data
        assert {name: value for name, value in attributes.items() if "." not in name} == came.attributes
        reason = "invalid_json" if came.data == b"{" else "invalid_timestamp"
        assert (attributes["seqcls_beam.stage"], attributes["seqcls_beam.reason"]) == ("read", reason)
        assert attributes["seqcls_beam.detail"] and "seqcls_beam.attributes_left_out" not in attributes
    good = {each.id: each for each in given if each.id not in bad}
    rows = {each.attributes["message_id"]: each for each in topics["output_topic"].got}
    assert len(topics["output_topic"].got) == len(rows) and rows.keys() == good.keys()
    scores = dict(
        zip(good, plain_scores(model, [json.loads(each.data)["text"] for each in good.values()]), strict=True)
    )
    for id, (data, attributes) in rows.items():
        row, came = json.loads(data), good[id]
        assert (row["message_id"], row["text"], row["at"]) == (id, json.loads(came.data)["text"], came.attributes["at"])
        np.testing.assert_allclose(row["scores"], scores[id], atol=1e-5)
        assert row["label"] == ["negative", "positive"][scores[id].argmax()]
        event = datetime.fromtimestamp(int(came.attributes["at"]) / 1000, UTC)
        assert datetime.fromisoformat(attributes["event_time"]) == event
        start = event.replace(minute=event.minute // 5 * 5, second=0, microsecond=0)
        assert attributes["window"] == f"{start:%Y%m%dT%H%M%SZ}"
        assert attributes["message_key"] == came.attributes["key"] and len(attributes["model"]) == 12


def as_it_stands(name, found):
    path = GOLDEN / f"{name}.json"
    if os.environ.get(ANEW) == "write":
        path.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(path.read_text()), MEANS.format(name=name)


@pytest.mark.parametrize("name", ["stream", "stream-with-topics"])
def test_a_running_job_can_be_updated(tmp_path, name):
    topics = TOPICS if "topics" in name else None
    found = shape(streamed.graph(streamed.stream(tmp_path / "out", tiny.resolved(), topics=topics)))
    # What is in the state is known to no coder: packs of the old job and of the new one are put together.
    as_it_stands(name, {**found, "packs": PACK.to_string().splitlines()})


def test_steps_of_files_keep_their_names(tmp_path):
    """No job of files is updated; but what is shown of one, and what alerts look at, goes by these names."""
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    read, run = ReadOptions(input=(str(tmp_path / "in.jsonl"),)), Run(str(tmp_path / "out"), "0123456789abcdef")
    config = SimpleNamespace(read=read, model=ModelOptions())
    job: Any = SimpleNamespace(config=config, run=run, layout=None, checkpoint=tiny.resolved(), first=None)
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    labelling.build(pipeline, job)
    # Those that have no name of their own are Beam's, and in some its line numbers.
    as_it_stands("classify-steps", [name for name in shape(pipeline.to_runner_api())["steps"] if "(" not in name])


def test_the_graph_does_not_depend_on_options_of_rows(tmp_path, model):
    """A job is updated with other attributes, columns and latencies: none of these changes what is compared."""
    one = shape(streamed.graph(streamed.stream(tmp_path / "one", tiny.resolved())))
    assert shape(streamed.graph(made(tmp_path / "two", model))) == one


def test_names_of_steps_are_ours_but_for_those_of_the_source(tmp_path):
    graph = streamed.graph(streamed.stream(tmp_path / "out", tiny.resolved(), topics=TOPICS))
    for name in shape(graph)["steps"]:
        if not name.startswith("ReadMessages/Read/"):
            assert re.fullmatch(r"[A-Za-z_]+(/[A-Za-z_]+)*", name), f"{name} was made by Beam of what is in it"


class DoFns(PipelineVisitor):
    def __init__(self):
        self.found: dict[str, DoFn] = {}

    def visit_transform(self, node):
        if isinstance(node.transform, beam.ParDo):
            self.found[node.full_label] = node.transform.fn


def test_steps_survive_pickling_and_two_lives(tmp_path, model):
    """As the service does it: cloudpickle, no session of the launcher beside it."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming"]))
    stream_graph.build(pipeline, streamed.stream(tmp_path / "out", resolve(str(model)), topics=TOPICS))
    visitor = DoFns()
    pipeline.visit(visitor)
    assert len(visitor.found) >= 8
    assert pickler.desired_pickle_lib.__name__.endswith(".cloudpickle_pickler")
    for name, fn in visitor.found.items():
        again = pickler.loads(pickler.dumps(fn))
        assert type(again) is type(fn), f"{name}: its class is pickled by value"
        for _ in range(2):
            again.setup()
            again.start_bundle()
            assert not list(again.finish_bundle() or ()), f"{name} made something of nothing"
            again.teardown()


def test_a_worker_needs_nothing_of_the_launcher(tmp_path):
    """What is pickled names modules of the package, and none of a command or of these tests."""
    graph = streamed.graph(streamed.stream(tmp_path / "out", tiny.resolved(), topics=TOPICS))
    found = list(pickles(graph.SerializeToString()))
    assert sum(b"seqcls_beam.transforms." in each for each in found) >= 6
    for each in found:
        assert not re.search(rb"__main__|pipelines\.|tests\.", each)
