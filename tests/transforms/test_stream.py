"""Streams as PTransforms: how much is pulled, where event time is, what graph each runner gets, and that epochs end."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.sdf_utils import (
    RestrictionTrackerView,
    ThreadsafeRestrictionTracker,
    ThreadsafeWatermarkEstimator,
)
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory
from apache_beam.utils.timestamp import Timestamp

from pipelines import classify, epochs, stream_graph, streaming
from pipelines.usage import UsageError
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, WindowOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.reading import clients
from seqcls_beam.reading.messages import Message, message_layout, to_record
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.flow import MAX_BYTES, Flow, Pace, Took
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms import stream as stream_steps
from seqcls_beam.transforms.stream import AppendWindows, PullMessages, _Append, _Pull, _Pulls, _timed, prompt_bundles
from tests import broker, tiny
from tests.corpora import texts

NAME = "projects/some-project/subscriptions/sub"


@pytest.fixture
def clock():
    """What a batch takes beside the model."""
    return SimpleNamespace(beside=0.0)


@pytest.fixture
def pace():
    """Of steps of which only the model takes time, but for `clock.beside` seconds a batch."""
    return Pace()


def through(pace, clock, rows, size, seconds):
    pace.done(Took(rows, size, seconds, clock.beside))


def test_a_batch_is_what_the_steps_behind_do_in_the_time_they_have(clock, pace):
    assert pace.enough(2.5, 8192) == (32, MAX_BYTES)
    through(pace, clock, 32, 3_200, 0.1)
    assert pace.enough(2.5, 8192) == (128, 80_000)  # 800 rows in 2.5 s, but no more than four times the last
    for _ in range(8):
        through(pace, clock, 1_000, 100_000, 2.0)
    assert pace.enough(2.5, 8192) == (1_250, 125_000)
    assert pace.enough(2.5, 1_000) == (1_000, 125_000)
    # Rows that are ten times as long: bytes end the batch.
    through(pace, clock, 125, 125_000, 2.5)
    rows, size = pace.enough(2.5, 8192)
    assert rows * 1_000 > size
    for _ in range(8):
        through(pace, clock, 10, 10_000, 100.0)
    assert pace.enough(2.5, 8192) == (1, 250)


def test_what_a_batch_costs_whatever_is_in_it_makes_no_batches_of_one_row(clock, pace):
    clock.beside = 0.5
    for _ in range(8):
        through(pace, clock, 500, 50_000, 0.5)
    assert pace.enough(2.5, 8192) == (2_000, 200_000)
    assert pace.enough(0.1, 8192) == (500, 50_000)


def times(*micros):
    return pa.array(micros, pa.int64())


def test_event_time_is_the_greatest_seen_and_the_least_over_pullers():
    flow, minute = Flow(), 60_000_000
    assert flow.watermark is None
    assert flow.pulled(0, times(), times()) is None
    assert flow.pulled(0, times(5 * minute, 3 * minute), times(10 * minute, 10 * minute)) == 5 * minute
    assert flow.pulled(0, times(4 * minute), times(11 * minute)) == 5 * minute
    # Dated years after its publishing: a wrong clock, which moves nothing; by some seconds: time of publishing.
    assert flow.pulled(0, times(900_000 * minute), times(12 * minute)) == 5 * minute
    assert flow.pulled(0, times(12 * minute + 5), times(12 * minute)) == 12 * minute
    assert flow.pulled(1, times(7 * minute), times(12 * minute)) == 7 * minute
    assert flow.watermark == 7 * minute
    published = pa.array([13 * minute], pa.timestamp("us", "UTC"))
    assert flow.pulled(1, times(13 * minute), published) == 13 * minute


def test_a_rejected_row_has_an_event_time_unless_its_message_does_not_tell_it():
    layout = message_layout(ReadOptions(input=()), SourceOptions(subscription=NAME, timestamp_attribute="t"))
    told, untold, wrong = {"t": "2000"}, dict[str, str](), {"t": "noon"}
    messages = [
        Message(str(i), 9_000_000, attributes, data)
        for i, (attributes, data) in enumerate(
            (attributes, data) for data in (b'{"text": "a"}', b"{", b"") for attributes in (told, untold, wrong)
        )
    ]
    batch = to_record(messages, layout)
    timed = _timed(messages, batch, "t")
    assert timed.to_pylist() == [True, False, False] * 3
    assert set(batch["position"].filter(timed).to_pylist()) == {2_000_000}
    assert _timed(messages, batch, None).to_pylist() == [True] * 9  # when it was published


def test_bundles_end_when_their_work_is_done():
    """Of work of many lengths; sampled as Beam likes half of it would wait for 100 ms."""
    waited = []

    def bundle(number):
        sampler = statesampler.StateSampler(f"{number}", CounterFactory())
        sampler.start()
        time.sleep(1.5 + number * 0.02)
        begun = time.monotonic()
        sampler.stop()
        waited.append(time.monotonic() - begun)

    beams = statesampler.StateSampler
    with prompt_bundles(), ThreadPoolExecutor(11) as pool:
        [*pool.map(bundle, range(11))]
    assert statistics.median(waited) < 0.05
    assert statesampler.StateSampler is beams


class Labels(PipelineVisitor):
    def __init__(self):
        self.found = []

    def visit_transform(self, node):
        self.found.append(node.full_label)


@pytest.mark.parametrize("runner", ["DataflowRunner", "FlinkRunner"])
def test_each_runner_has_its_source(tmp_path, runner):
    source = SourceOptions(subscription=NAME)
    config = StreamConfig(
        read=ReadOptions(input=()),
        model=ModelOptions(),
        source=source,
        windows=WindowOptions(),
        end=EndOptions(),
        run=RunOptions(output=str(tmp_path)),
    )
    layout = message_layout(config.read, source)
    stream = stream_graph.Stream(config, tiny.resolved(), layout, str(tmp_path), runner)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--streaming"]))
    stream_graph.build(pipeline, stream)
    labels = Labels()
    pipeline.visit(labels)
    own = runner == "DataflowRunner"
    assert any(label.startswith("ReadMessages/Read") for label in labels.found) == own
    assert any(label.startswith("PullMessages/Pull") for label in labels.found) != own
    assert [label for label in labels.found if label.startswith("AppendWindows/")]
    assert pipeline.to_runner_api().components.transforms


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--window=60"], "--window is of a stream: it needs --subscription"),
        (["--for=60"], "--for is of a stream: it needs --subscription"),
        ([f"--subscription={NAME}"], "--output is missing"),
        ([f"--subscription={NAME}", "--output=o", "--input=x"], "--input is of files, and --subscription reads"),
        ([f"--subscription={NAME}", "--output=o", "--txt=files"], "--txt is of files"),
        ([f"--subscription={NAME}", "--output=o", "--overwrite"], "--overwrite is of files"),
        ([f"--subscription={NAME}", "--output=o", "--run_date=2026-11-20"], "--run_date is of files"),
        ([f"--subscription={NAME}", "--output=o", "--dtype=int8"], "--dtype=int8 is fitted to the first rows"),
        ([f"--subscription={NAME}", "--output=o", "--dtype=fastest"], "--dtype=fastest is found on the first rows"),
        ([f"--subscription={NAME}", "--output=o", "--for=-1"], "--for=-1.0: expected at least 0"),
        (["--subscription=sub", "--output=o"], "--subscription=sub: expected projects/PROJECT/subscriptions/NAME"),
        ([f"--subscription={NAME}", "--output=o", "--attributes=a,b,a"], "--attributes names a twice"),
        ([f"--subscription={NAME}", "--output=o", "--direct_running_mode=multi_processing"], "runs in one process"),
        ([f"--subscription={NAME}", "--output=o", "--runner=FlinkRunner", "--for=1"], "--for and --until_idle are of"),
        ([f"--subscription={NAME}", "--text=a"], "--text is a quick look"),
    ],
)
def test_flags_of_a_stream(flags, sentence, capsys):
    assert classify.main(flags) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_flags_that_need_a_plan():
    with pytest.raises(UsageError):
        streaming.plan({"source": {}, "windows": {}, "end": {"seconds": 1.0}}, "FnApiRunner", PipelineOptions([]))


@pytest.mark.streams
@broker.needs_go
def test_a_source_ends_after_its_pulls_and_acknowledges_what_was_done(tmp_path):
    checkpoint = resolve(tiny.checkpoint(tmp_path / "model"), None, None)
    out = str(tmp_path / "out")
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("ends", "ends-sub")
        payloads = [b"{" if i % 9 == 0 else orjson.dumps({"text": text}) for i, text in enumerate(texts(90))]
        ids = service.publish("ends", [(payload, {}) for payload in payloads])
        source = SourceOptions(subscription=name, max_latency=20.0, pullers=2)
        layout = message_layout(ReadOptions(input=()), source)
        prepare(out, 3600, labeled(layout.keep, False, streamed=True), None)
        pipeline = beam.Pipeline(runner=FnApiRunner())
        batches = pipeline | PullMessages(source, layout, batch_rows=10, pulls=4)
        kept = (
            batches
            | Tokenize(checkpoint, ModelOptions())
            | Classify(checkpoint, ModelOptions())
            | AppendWindows(out, 3600, name)
        )
        assert batches.element_type is kept.element_type is pa.RecordBatch
        result = pipeline.run()
        result.wait_until_finish()
        pieces = [pq.read_table(path, partitioning=None) for path in (tmp_path / "out").rglob("window=*/*.parquet")]
        taken = pa.concat_tables(pieces)["message_id"].to_pylist()
        # Two pullers of four pulls of ten each, which a busy broker has time for; the hour may have ended in between.
        assert len(taken) == 80 and 8 <= len(pieces) <= 9
        clients.forget(source, 10)
        rest = service.pull(name, 3)
        assert sorted([*taken, *rest]) == sorted(ids)
        assert len(rest) == 10
    found = result.metrics().query()
    payload = dict(zip(ids, payloads, strict=True))
    assert {each.key.metric.name: each.committed for each in found["counters"] if ours(each)} == {
        "messages": 80,
        "bytes": sum(len(payload[id]) for id in taken),
        "rows": 80,
        "rows-rejected": sum(payload[id] == b"{" for id in taken),
        "pieces": len(pieces),
    }
    (waited,) = [each.committed for each in found["distributions"] if ours(each)]
    assert waited.count == 8 and 0 <= waited.min <= waited.max < 600_000


def ours(metric) -> bool:
    return metric.key.metric.namespace in ("seqcls_beam.PullMessages", "seqcls_beam.AppendWindows")


def test_pulls_are_put_off_and_never_shared_out():
    pulls = _Pulls(OffsetRange(0, 1000))
    assert pulls.try_claim(0)
    assert pulls.try_split(0.5) is None and pulls.try_split(0.1) is None
    assert pulls.current_restriction() == OffsetRange(0, 1000)
    assert pulls.try_split(0) == (OffsetRange(0, 1), OffsetRange(1, 1000))
    pulls.check_done()


def test_a_puller_that_goes_on_in_another_process_does_not_go_back_in_time(monkeypatch):
    """A runner keeps its event time; what another process pulls next may be older: what was not acknowledged."""
    came: list[Message] = []
    monkeypatch.setattr(stream_steps, "opened", lambda _: SimpleNamespace(take=lambda *_: came, acknowledge=print))
    flows.forget(NAME)
    source = SourceOptions(subscription=NAME, timestamp_attribute="t")
    pull = _Pull(PullMessages(source, message_layout(ReadOptions(input=()), source)))
    watermark = ThreadsafeWatermarkEstimator(ManualWatermarkEstimator(Timestamp(9)))
    for at, reached in ((5, 9), (20, 20)):
        came[:] = [Message(str(at), 100_000_000, {"t": str(at * 1000)}, b'{"text": "a"}')]
        pulls = RestrictionTrackerView(ThreadsafeRestrictionTracker(_Pulls(OffsetRange(0, 9))))
        (batch,) = pull.process(0, beam.DoFn.BundleFinalizerParam(), pulls, watermark)
        assert batch.timestamp == Timestamp(at) and watermark.current_watermark() == Timestamp(reached)
    flows.forget(NAME)


def test_a_worker_begins_nothing_where_no_stream_has_begun(tmp_path):
    """As on a machine that does not see the launcher's disk: what lies there nobody seals."""
    step = _Append(AppendWindows(str(tmp_path / "out"), 300))
    with pytest.raises(RunError, match=rf"^--output={tmp_path}/out: no stream has begun there, as .* sees it"):
        step.setup()
    assert not (tmp_path / "out").exists()
    prepare(str(tmp_path / "out"), 300)
    step.setup()


def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise ValueError("a step that fails")


@pytest.mark.streams
@broker.needs_go
def test_what_a_bundle_took_that_failed_comes_again_at_once(tmp_path):
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("fails", "fails-sub", deadline=60)
        ids = service.publish("fails", [(text.encode(), {}) for text in texts(20)])
        source = SourceOptions(subscription=name, message_format="text", max_latency=1.0, max_outstanding=20)
        pipeline = beam.Pipeline(runner=FnApiRunner())
        pulls = PullMessages(source, message_layout(ReadOptions(input=()), source), batch_rows=20, pulls=1)
        pipeline | pulls | beam.Map(fail).with_output_types(pa.RecordBatch)
        try:
            with pytest.raises(Exception, match="a step that fails"):
                pipeline.run().wait_until_finish()
            # The process lives, and hands on none of what it holds: so it holds none of them, and pulls them again.
            again = clients.opened(source).take(20, 2**30, 5)
            assert sorted(each.id for each in again) == sorted(ids)
        finally:
            clients.forget(source, 10)


@pytest.mark.streams
@broker.needs_go
def test_epochs_share_one_model(tmp_path, monkeypatch, capsys):
    loaded, begun = [], []
    made, built = Classifier.__init__, stream_graph.build

    def load(self, *args):
        loaded.append(args)
        made(self, *args)

    def build(*args):
        begun.append(args)
        built(*args)

    monkeypatch.setattr(Classifier, "__init__", load)
    monkeypatch.setattr(epochs, "build", build)
    monkeypatch.setattr(epochs, "EPOCH_PULLS", 3)
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("epochs", "epochs-sub")
        service.publish("epochs", [(text.encode(), {}) for text in texts(400)])
        model = tiny.checkpoint(tmp_path / "model")
        flags = [f"--subscription={name}", f"--output={tmp_path / 'out'}", f"--model={model}", "--batch_rows=20"]
        flags += ["--message_format=text", "--threads=1", "--until_idle=3", "--max_latency=1"]
        assert classify.main(flags) == 0
    assert len(begun) >= 7
    assert len(loaded) == 1
    assert "400 labelled, 0 rejected" in capsys.readouterr().out
