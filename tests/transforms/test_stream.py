"""Streams as PTransforms: how much is pulled, where event time is, what graph each runner gets, and that epochs end."""

from types import SimpleNamespace

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines import classify, streaming
from pipelines.options import UsageError
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, WindowOptions
from seqcls_beam.model.engine import Classifier
from seqcls_beam.reading import subscription as subscriptions
from seqcls_beam.reading.messages import message_layout
from seqcls_beam.runs.flow import MAX_BYTES, Flow, Pace
from seqcls_beam.runs.sealing import Sealed
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.stream import PullMessages, gathered
from tests import broker, tiny
from tests.corpora import texts

NAME = "projects/some-project/subscriptions/sub"


@pytest.fixture
def clock(monkeypatch):
    """Time that passes as it is told."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("seqcls_beam.runs.flow.time.monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def pace(clock):
    """Of steps of which only the model takes time, but for `clock.beside` seconds a batch."""
    clock.worked = clock.beside = 0.0
    return Pace(lambda: clock.worked)


def through(pace, clock, rows, size, seconds):
    pace.begin(rows, size)
    clock.worked += seconds
    clock.seconds += seconds + clock.beside
    pace.end()


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


def test_whoever_notices_first_ends_a_batch(clock, pace):
    pace.end()
    through(pace, clock, 100, 1_000, 1.0)
    clock.seconds += 1_000
    pace.end()
    assert pace.enough(1.0, 8192) == (100, 1_000)


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


def test_a_window_stays_open_where_rows_came_while_it_was_sealed(clock):
    flow = Flow()
    flow.written([("window=a", 10, 1), ("window=b", 5, 0)], 0.5)
    clock.seconds = since = 1.0
    clock.seconds = 2.0
    flow.written([("window=b", 1, 0)], 0.5)
    for name in "ab":
        flow.published(Sealed(f"window={name}", version=1, duplicates=2), since)
    assert (flow.rows, flow.rejected, [*flow.open]) == (16, 1, ["window=b"])
    assert (flow.sealed, flow.amended, flow.duplicates) == (2, 0, 4)


def test_what_beam_gathered_is_bounded_by_its_payload():
    source = SourceOptions(subscription=NAME, message_format="text")
    layout = message_layout(ReadOptions(input=()), source)
    large = b"x" * (MAX_BYTES // 2 + 1)
    plain: list[tuple[str, int, dict[str, str], bytes]] = [
        (str(i), 1_000_000 * i, {}, large if i < 3 else b"a text") for i in range(6)
    ]
    batches = list(gathered((b"", plain), layout))
    assert [len(batch) for batch in batches] == [1, 1, 4]
    assert pa.concat_arrays([batch["position"] for batch in batches]).to_pylist() == [1_000_000 * i for i in range(6)]
    assert Mark.of(batches[0]).units == 0


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
    stream = streaming.Stream(config, tiny.resolved(), layout, str(tmp_path), runner)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--streaming"]))
    streaming.build(pipeline, stream)
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
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("ends", "ends-sub")
        ids = service.publish("ends", [(text.encode(), {}) for text in texts(90)])
        source = SourceOptions(subscription=name, message_format="text", max_latency=1.0, pullers=2)
        layout = message_layout(ReadOptions(input=()), source)
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            kept = pipeline | PullMessages(source, layout, batch_rows=10, pulls=4) | beam.Map(written, str(tmp_path))
            assert kept.element_type is str
        batches = [path.read_text().split() for path in tmp_path.iterdir()]
        taken = [id for batch in batches for id in batch]
        assert {len(batch) for batch in batches} == {10}
        assert len(batches) == 8  # two pullers of four pulls each
        subscriptions.forget(source, 10)
        rest = service.pull(name, 3)
        assert sorted([*taken, *rest]) == sorted(ids)
        assert len(rest) == 10


def written(batch: pa.RecordBatch, folder: str) -> str:
    ids = batch["keep"].field("message_id").to_pylist()
    with open(f"{folder}/{ids[0]}", "w") as file:
        file.write(" ".join(ids))
    return ids[0]


@pytest.mark.streams
@broker.needs_go
def test_epochs_share_one_model(tmp_path, monkeypatch, capsys):
    loaded, epochs = [], []
    made, built = Classifier.__init__, streaming.build

    def load(self, *args):
        loaded.append(args)
        made(self, *args)

    def build(*args):
        epochs.append(args)
        built(*args)

    monkeypatch.setattr(Classifier, "__init__", load)
    monkeypatch.setattr(streaming, "build", build)
    monkeypatch.setattr(streaming, "EPOCH_PULLS", 3)
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("epochs", "epochs-sub")
        service.publish("epochs", [(text.encode(), {}) for text in texts(400)])
        model = tiny.checkpoint(tmp_path / "model")
        flags = [f"--subscription={name}", f"--output={tmp_path / 'out'}", f"--model={model}", "--batch_rows=20"]
        flags += ["--message_format=text", "--threads=1", "--until_idle=3", "--max_latency=1"]
        assert classify.main(flags) == 0
    assert len(epochs) >= 7
    assert len(loaded) == 1
    assert "400 labelled, 0 rejected" in capsys.readouterr().out
