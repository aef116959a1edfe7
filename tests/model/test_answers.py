"""Rows of Python values, whatever a kept column holds."""

import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from seqcls_beam.model.answers import rows
from seqcls_beam.reading.rows import record_batches, row_layout
from tests.batches import predictions

FAR = 2**40  # seconds: the year 36812
SIXTY = Decimal("1" * 60)
KEPT = {
    "year": (pa.array([FAR, 0], pa.timestamp("s")), "1099511627776 (timestamp[s])", datetime.datetime(1970, 1, 1)),
    "before": (pa.array([-FAR, None], pa.timestamp("s")), "-1099511627776 (timestamp[s])", None),
    "largest": (pa.array([2**62, None], pa.timestamp("us")), f"{2**62} (timestamp[us])", None),
    "zone": (pa.array([1, None], pa.timestamp("s", "Mars/Phobos")), "1 (timestamp[s, tz=Mars/Phobos])", None),
    "day": (pa.array([2**30, 0], pa.date32()), f"{2**30} (date32[day])", datetime.date(1970, 1, 1)),
    "day_ms": (pa.array([FAR * 86_400, None], pa.date64()), f"{FAR * 86_400} (date64[ms])", None),
    "span": (pa.array([2**60, 1], pa.duration("s")), f"{2**60} (duration[s])", datetime.timedelta(seconds=1)),
    "clock": (pa.array([2**62, 0]).view(pa.time64("us")), f"{2**62} (time64[us])", datetime.time()),
    "decimal": (pa.array([SIXTY, None], pa.decimal256(60)), SIXTY, None),
    "list": (
        pa.array([[FAR, 0], None], pa.list_(pa.timestamp("s"))),
        [f"{FAR} (timestamp[s])", datetime.datetime(1970, 1, 1)],
        None,
    ),
    "views": (pa.array([[FAR], []], pa.large_list_view(pa.timestamp("s"))), [f"{FAR} (timestamp[s])"], []),
    "map": (
        pa.array([[("a", FAR)], None], pa.map_(pa.string(), pa.timestamp("s"))),
        [("a", f"{FAR} (timestamp[s])")],
        None,
    ),
    "struct": (
        pa.array([{"a": FAR, "b": "x"}, None], pa.struct([("a", pa.timestamp("s")), ("b", pa.string())])),
        {"a": f"{FAR} (timestamp[s])", "b": "x"},
        None,
    ),
    "twice": (
        pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
        [("a", 1), ("a", 3)],
        [("a", 2), ("a", 4)],
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_value_that_python_has_not_costs_no_row(name):
    values, told, other = KEPT[name]
    batch = predictions(0, 1, range(2), last=True, rows=2)
    at = batch.schema.get_field_index("keep")
    found = rows(batch.set_column(at, "keep", pa.StructArray.from_arrays([values], [name])))
    assert [row[name] for row in found] == [told, other]
    assert [(row["label"], row["reject"]) for row in found] == [("negative", None), ("positive", None)]


def test_a_rejected_row_has_its_reject():
    first, second = rows(predictions(0, 1, range(2), frozenset({1}), last=True, rows=2))
    assert (first["id"], first["text"], first["label"], first["reject"]) == (0, "text 0", "negative", None)
    assert second["reject"] == {
        "source": "corpus.jsonl",
        "position": 100,
        "stage": "read",
        "reason": "invalid_json",
        "detail": "no",
        "raw": b"{1",
    }
    said = {"reject": second["reject"], "model": first["model"]}
    assert {name: value for name, value in second.items() if value is not None} == said


@pytest.mark.parametrize("name", KEPT)
def test_a_batch_with_a_row_to_reject_gives_its_bytes(name):
    values, told, _ = KEPT[name]
    batch = pa.record_batch({"text": pa.array([None, "good"], pa.string()), name: values})
    (records,) = record_batches([batch], [0], row_layout("text", None, (), "rows", {}))
    raw = json.loads(records["reject"][0].as_py()["raw"])
    assert raw == {"text": None, name: json.loads(json.dumps(told, default=str))}
    assert records["text"].to_pylist() == [None, "good"]


def test_columns_of_one_name_are_both_in_the_bytes_of_a_reject():
    batch = pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    (records,) = record_batches([batch], [0], row_layout("text", None, (), "rows", {}))
    assert json.loads(records["reject"][0].as_py()["raw"]) == [["text", "a"], ["text", "b"]]
