"""Batches travel whole, with their schema's metadata, and nothing travels with a slice."""

import pyarrow as pa
from apache_beam.coders.typecoders import registry

from seqcls_beam.schema import Mark, record
from seqcls_beam.transforms.coder import RecordBatchCoder

SCHEMA = record(pa.schema([("id", pa.int64()), ("tags", pa.list_(pa.string()))]), pair=True)


def batch(rows: int) -> pa.RecordBatch:
    values = [
        {
            "source": "a",
            "position": i,
            "text": f"text {i}" if i % 3 else None,
            "text_pair": "b",
            "keep": {"id": i, "tags": ["x"] * (i % 4)},
            "reject": None if i % 3 else {"stage": "read", "reason": "empty_text", "detail": "", "raw": b"\xff"},
        }
        for i in range(rows)
    ]
    return Mark(unit=3, units=9, sequence=2).on(pa.RecordBatch.from_pylist(values, SCHEMA))


def test_a_batch_comes_back_as_it_went():
    for rows in (0, 1, 1000):
        sent = batch(rows)
        got = RecordBatchCoder().decode(RecordBatchCoder().encode(sent))
        assert got.equals(sent, check_metadata=True)
        assert Mark.of(got) == Mark.of(sent)


def test_a_slice_does_not_carry_the_batch_it_was_cut_from():
    large = batch(20_000)
    coder = RecordBatchCoder()
    assert len(coder.encode(large.slice(5, 10))) < len(coder.encode(large)) / 100
    assert coder.decode(coder.encode(large.slice(5, 10))).equals(large.slice(5, 10))


def test_beam_uses_it_for_record_batches():
    assert isinstance(registry.get_coder(pa.RecordBatch), RecordBatchCoder)
