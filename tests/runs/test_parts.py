"""Parts are right whatever cut the rows arrived in, and the record says what is in them."""

import hashlib
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.runs import parts
from seqcls_beam.runs.parts import PartWriter, UnitWriter
from seqcls_beam.schema import Mark
from tests.batches import KEEP, LABELS, predictions, unit_batches

REJECTED = frozenset({3, 4, 50})


def write_unit(folder, batches):
    writer, record = None, None
    for batch in batches:
        writer = writer or UnitWriter(str(folder), batch)
        record = writer.write(batch)
    assert record is not None
    return record


def test_the_parts_hold_every_row_in_order_once(tmp_path):
    record = write_unit(tmp_path, unit_batches(0, 1, range(100), 7, REJECTED))
    labels = pq.read_table(tmp_path / "labels" / record["labels"]["name"])
    rejects = pq.read_table(tmp_path / "rejects" / record["rejects"]["name"])
    good = [i for i in range(100) if i not in REJECTED]
    assert labels["id"].to_pylist() == good
    assert labels["label"].to_pylist() == [LABELS[i % 2] for i in good]
    assert labels.schema.field("label").type == pa.string()
    assert labels.column_names == [*KEEP.names, "label", "score", "scores", "tokens", "truncated", "model"]
    assert rejects["position"].to_pylist() == [300, 400, 5000]
    assert rejects["raw"].to_pylist() == [b"{3", b"{4", b"{50"]


def test_the_record_says_what_is_in_the_parts(tmp_path):
    record = write_unit(tmp_path, unit_batches(2, 5, range(100), 7, REJECTED))
    data = (tmp_path / "labels" / record["labels"]["name"]).read_bytes()
    assert record["labels"]["bytes"] == len(data)
    assert record["labels"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert (record["unit"], record["units"], record["rows"]) == (2, 5, 100)
    assert (record["labels"]["rows"], record["rejects"]["rows"]) == (97, 3)
    good = [i for i in range(100) if i not in REJECTED]
    assert record["tokens"] == sum(i % 11 for i in good)
    assert record["truncated"] == sum(i % 13 == 0 for i in good)
    assert record["label_counts"] == {"negative": sum(i % 2 == 0 for i in good), "positive": sum(i % 2 for i in good)}
    assert sum(record["score_histogram"]) == 97
    assert record["reasons"] == {"invalid_json": 3}
    assert record["seconds"]["read"] == pytest.approx(0.5 * 15)


@settings(max_examples=15)
@given(st.integers(1, 60), st.integers(1, 60))
def test_the_bytes_of_a_part_do_not_depend_on_how_rows_arrived(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROW_GROUP_ROWS", 16)
        patch.setattr(parts, "ROW_GROUP_BYTES", 1500)
        records = [write_unit(folder, unit_batches(0, 1, range(60), rows, REJECTED)) for rows in (first, second)]
    assert records[0]["labels"]["sha256"] == records[1]["labels"]["sha256"]
    assert records[0]["rejects"]["sha256"] == records[1]["rejects"]["sha256"]


def test_row_groups_end_at_the_row_limit_and_at_the_byte_limit(tmp_path, monkeypatch):
    schema = pa.schema([("text", pa.string())])
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 1000)
    writer = PartWriter(str(tmp_path / "part.parquet"), schema)
    writer.write(pa.RecordBatch.from_pydict({"text": ["x"] * 25 + ["y" * 400] * 4 + ["z" * 5000]}, schema))
    writer.close()
    footer = pq.read_metadata(tmp_path / "part.parquet")
    # 5 short and 2 long texts are 853 bytes with 8 a row beside; the last text is larger than a group by itself.
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [10, 10, 7, 2, 1]


def test_a_unit_without_rows_is_an_empty_part_with_the_schema(tmp_path):
    record = write_unit(tmp_path, unit_batches(0, 1, range(0), 7))
    table = pq.read_table(tmp_path / "labels" / record["labels"]["name"])
    assert table.num_rows == 0
    assert table.column_names[:3] == ["id", "text", "label"]
    assert record["rejects"] is None


def test_a_missing_batch_is_an_error_not_a_short_part(tmp_path):
    first, _, third = unit_batches(0, 1, range(30), 10)
    writer = UnitWriter(str(tmp_path), first)
    writer.write(first)
    with pytest.raises(RuntimeError, match="batch 2 came where 1 was due"):
        writer.write(third)
    writer.abandon(RuntimeError("out of order"))


def test_a_dropped_row_is_an_error(tmp_path):
    batch = predictions(0, 1, range(9), last=True, rows=10)
    with pytest.raises(RuntimeError, match="10 rows were read, but 9 labelled and 0 rejected"):
        UnitWriter(str(tmp_path), batch).write(batch)


def test_a_kept_column_that_has_one_of_our_names_is_renamed(tmp_path):
    batch = predictions(0, 1, range(3), last=True, rows=3)
    keep = pa.array([{"Label": "gold", "text": "t", "input_label": "older"}] * 3)
    position = batch.schema.get_field_index("keep")
    batch = batch.set_column(position, "keep", keep)
    record = UnitWriter(str(tmp_path), batch).write(batch)
    assert record is not None
    names = pq.read_schema(tmp_path / "labels" / record["labels"]["name"]).names
    said = ["label", "score", "scores", "tokens", "truncated", "model"]
    assert names == ["input_input_Label", "text", "input_label", *said]


@pytest.mark.parametrize(("threshold", "said"), [({}, "0123456789ab"), ({"threshold": 0.25}, "0123456789ab@0.25")])
def test_every_row_says_which_model_labelled_it(tmp_path, threshold, said):
    batch = predictions(0, 1, range(9), frozenset({4}), last=True, rows=9)
    mark = Mark.of(batch)
    batch = replace(mark, engine={**mark.engine, **threshold}).on(batch)
    record = UnitWriter(str(tmp_path), batch).write(batch)
    assert record is not None
    part = pq.ParquetFile(tmp_path / "labels" / record["labels"]["name"])
    assert part.read()["model"].to_pylist() == [said] * 8
    chunks = [part.metadata.row_group(0).column(at) for at in range(part.metadata.num_columns)]
    (chunk,) = [each for each in chunks if each.path_in_schema == "model"]
    assert chunk.has_dictionary_page


def test_a_full_disk_raises_and_leaves_no_record(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    texts = pa.array([os.urandom(3000).hex() for _ in range(2000)])
    writer = PartWriter(str(tmp_path / "part.parquet"), pa.schema([("text", pa.string())]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.write(pa.RecordBatch.from_arrays([texts], ["text"]))
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.abandon(RuntimeError("full"))
