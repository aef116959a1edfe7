"""Several pullers in one process: each takes batches as large as one alone."""

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.reading import clients
from seqcls_beam.reading.messages import message_layout
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.stream import AppendWindows, PullMessages
from tests import broker, tiny
from tests.corpora import texts

pytestmark = [pytest.mark.streams, pytest.mark.engine, broker.needs_go]


def test_pullers_do_not_starve_one_another(tmp_path):
    options, out = ModelOptions(model=str(tiny.checkpoint(tmp_path / "model")), threads=1), str(tmp_path / "out")
    checkpoint = resolve(options.model, options.revision, options.problem_type)
    prepare(out, 3600)
    with broker.running() as service, broker.leading(service.address):
        (name,) = service.topic("pullers", "pullers-sub")
        ids = service.publish("pullers", [(text.encode(), {}) for text in texts(2_400)])
        source = SourceOptions(subscription=name, message_format="text", max_latency=30, pullers=4)
        flows.forget(name)
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pulls = PullMessages(source, message_layout(ReadOptions(input=()), source), batch_rows=150, pulls=4)
            pieces = pipeline | pulls | Tokenize(checkpoint, options) | Classify(checkpoint, options)
            pieces | AppendWindows(out, 3600, name)
        clients.forget(source, 10)
    sizes = sorted(pq.read_metadata(path).num_rows for path in (tmp_path / "out" / "_pieces").rglob("*.parquet"))
    assert sum(sizes) <= len(ids)
    # A batch of 32 rows, one of 128, and 14 of all that may be in one; a second window may cut one in two.
    assert len(sizes) <= 18
    assert sum(size == 150 for size in sizes) >= 12
    assert flows.flow_of(name).rows == sum(sizes)
