"""The transforms in a pipeline of the user's own, and what Beam is told of the elements between them."""

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.runs.run import Run
from seqcls_beam.transforms import ClassifierHandler, Classify, ReadRecords, Tokenize, WriteLabeled
from seqcls_beam.transforms.overlap import Gathered
from tests import tiny
from tests.corpora import labels, plain_scores, rejects, texts, write_jsonl

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return write_jsonl(folder / "c.jsonl", [{"id": i, "text": text} for i, text in enumerate(texts(60))] + [{"id": 60}])


def test_ten_lines_of_a_users_own_pipeline(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | ReadRecords(ReadOptions(input=(str(corpus),), id_column="id", unit_bytes=1000))
            | Tokenize(checkpoint, OPTIONS)
            | Classify(checkpoint, OPTIONS)
            | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
        )
    assert labels(tmp_path / "out")["id"].to_pylist() == list(range(60))
    (reject,) = rejects(tmp_path / "out")
    assert reject["reason"] == "missing_text"


def shout(records: pa.RecordBatch) -> pa.RecordBatch:
    position = records.schema.get_field_index("text")
    return records.set_column(position, "text", pc.utf8_upper(records["text"]))


def test_a_step_of_the_users_own_may_stand_between(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),), id_column="id"))
        changed = records | "Shout" >> beam.Map(shout)
        predictions = changed | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        predictions | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
    assert labels(tmp_path / "out").num_rows == 60


def drop_some(records: pa.RecordBatch) -> pa.RecordBatch:
    return records.slice(1)


def test_a_step_that_drops_rows_fails_the_run(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    with pytest.raises(RuntimeError, match="61 rows were read, but 59 labelled and 1 rejected"):  # noqa: SIM117
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),))) | "Drop" >> beam.Map(drop_some)
            predictions = records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
            predictions | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
    assert not (tmp_path / "out" / "labels").exists()


COLLECTED: list[pa.RecordBatch] = []


def collect(batch: pa.RecordBatch) -> None:
    COLLECTED.append(batch)


def test_the_handler_works_in_a_users_own_run_inference_with_beams_metrics(model, corpus):
    checkpoint = resolve(str(model))
    COLLECTED.clear()
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),), batch_rows=16))
    tokens = records | Tokenize(checkpoint, OPTIONS)
    predictions = tokens | RunInference(ClassifierHandler(checkpoint, OPTIONS).with_no_batching())
    predictions | beam.Map(collect)
    result = pipeline.run()
    result.wait_until_finish()
    scores = (
        pa.Table.from_batches([b.replace_schema_metadata(None) for b in COLLECTED])["scores"].drop_null().to_pylist()
    )
    expected = plain_scores(model, texts(60))
    assert len(scores) == 60
    assert np.abs(np.array(scores) - expected).max() <= 1e-5
    counters = {c.key.metric.name: c.committed for c in result.metrics().query()["counters"]}
    assert counters["num_inferences"] == 61
    sizes = {d.key.metric.name: d.committed for d in result.metrics().query()["distributions"]}
    assert sizes["inference_request_batch_size"].max == 16
    assert sizes["load_model_latency_milli_secs"].count == 1


def test_counters_count_rows(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),), unit_bytes=1000))
    predictions = records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
    predictions | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
    result = pipeline.run()
    result.wait_until_finish()
    counters = {
        c.key.metric.name: c.committed
        for c in result.metrics().query()["counters"]
        if c.key.metric.namespace == "seqcls_beam.WriteLabeled"
    }
    assert counters["rows-labeled"] == 60
    assert counters["rows-rejected"] == 1
    assert counters["tokens"] == sum(labels(tmp_path / "out")["tokens"].to_pylist())
    assert counters["units"] > 1


class _Types(PipelineVisitor):
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def visit_value(self, value: Any, producer_node: Any) -> None:
        self.found[f"{producer_node.full_label}"] = value.element_type


def test_every_batch_travels_by_the_arrow_coder(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),)))
    predictions = records | Tokenize(checkpoint) | Classify(checkpoint)
    predictions | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
    for each in (records, predictions):
        assert each.element_type is pa.RecordBatch
    types = _Types()
    pipeline.visit(types)
    assert len(types.found) > 10
    # What is no batch, or some of them, is a run, options, a unit's number or a record in JSON.
    small = {pa.RecordBatch, Gathered, Run, ReadOptions, int, str}
    # Inside Reshuffle, Create and RunInference the types are Beam's own affair; what they yield is checked.
    inside = (
        "SpreadUnits/",
        "SpreadRecords/",
        "RunInference/",
        "Create(",
        "/Impulse",
        "/Run/",
        "RunToCommit/",
        "/Options/",
    )
    ours = {label: kind for label, kind in types.found.items() if not any(part in label for part in inside)}
    assert {label for label, kind in ours.items() if kind not in small} == set(), ours
    for label in ("ReadRecords/ReadUnit", "ReadRecords/PlanUnits", "Tokenize/Ahead", "Classify/RunInference"):
        matching = [kind for name, kind in types.found.items() if name.startswith(label)]
        assert matching and matching[-1] is pa.RecordBatch, (label, matching)


def test_building_a_pipeline_writes_nothing(tmp_path, model, corpus):
    checkpoint = resolve(str(model))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | ReadRecords(ReadOptions(input=(str(corpus),)))
    records | Tokenize(checkpoint) | Classify(checkpoint) | WriteLabeled(Run(str(tmp_path / "out"), "my-run"))
    assert list(tmp_path.iterdir()) == []
