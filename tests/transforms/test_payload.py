"""A message that the tokenizer or the model rejects keeps its payload, which exists nowhere else once acknowledged."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import reject, tokenize
from seqcls_beam.reading.messages import Message, message_layout, to_record
from seqcls_beam.runs.pieces import append, prepare
from tests import tiny

NAME = "projects/some-project/subscriptions/sub"
BAD = b'{"text": "unembeddable film", "id": 77, "other": "IMPORTANT"}'
DATA = [b'{"text": "a film", "id": 1}', BAD, b'{"text": "another film", "other": "SECRET"}']


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.raising(tmp_path_factory.mktemp("model"))


def records() -> pa.RecordBatch:
    layout = message_layout(ReadOptions(input=()), SourceOptions(subscription=NAME))
    return to_record([Message(str(i), 1_000_000, {}, data) for i, data in enumerate(DATA)], layout)


@pytest.mark.engine
def test_a_message_on_which_the_model_raises_is_kept_whole(tmp_path, model):
    options = ModelOptions(model=str(model), threads=1)
    checkpoint = resolve(options.model, options.revision, options.problem_type)
    tokens = tokenize(records(), checkpoint, options)
    (found,) = classify([tokens], Classifier(checkpoint, options), checkpoint, options)
    (none, bad, nothing) = found["reject"].to_pylist()
    assert none is nothing is None
    assert (bad["stage"], bad["reason"], bad["raw"]) == ("classify", "model_error", BAD)
    # What is labelled is not held twice.
    prepare(str(tmp_path / "out"), 300)
    append(str(tmp_path / "out"), found, 300)
    (piece,) = (tmp_path / "out" / "_pieces").glob("window=*/*.parquet")
    rows = pq.read_table(piece, partitioning=None)
    assert rows["reject"].to_pylist()[1]["raw"] == BAD
    assert "payload" not in rows.schema.names and "SECRET" not in str(rows.to_pylist())


def test_a_message_on_which_the_tokenizer_raises_is_kept_whole():
    (_, bad, _) = reject(records(), "tokenize", {1: ValueError("no")})["reject"].to_pylist()
    assert bad["raw"] == BAD
