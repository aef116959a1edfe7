"""What a table says of its files is what is in them, counted by their rows."""

import random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.conversions import from_bytes

from seqcls_beam.announcing import iceberg
from seqcls_beam.announcing.iceberg_files import absolute
from seqcls_beam.runs.parts import ROW_GROUP_ROWS
from tests.announcing import tables
from tests.announcing.tables import WHERE, rows_of


@pytest.fixture
def found(tmp_path, monkeypatch):
    """The files of a table of which one has several row groups, by their paths."""
    told = tables.catalog(monkeypatch, tmp_path / "catalog")
    draw = random.Random(7)
    rows = ROW_GROUP_ROWS + 1000
    big = {
        "n": pa.array([draw.choice([None, draw.randrange(-(10**12), 10**12)]) for _ in range(rows)], pa.int64()),
        "name": pa.array([draw.choice(["Zoë", "a" * 30, "m", None]) for _ in range(rows)]),
        "x": pa.array([draw.random() for _ in range(rows)], pa.float32()),
        "scores": pa.array([[0.5, 0.5]] * rows, pa.list_(pa.float32())),
    }
    small = pa.table({name: array.slice(5, 3) for name, array in big.items()})
    empty = small.slice(0, 0)
    parts = [pa.table(big), small, empty]
    iceberg.tell(WHERE, rows_of(tmp_path / "out", "a", parts, "run_date=2026-01-26"))
    with load_catalog("nights", **told) as catalog:
        table = catalog.load_table("sentiment.reviews")
        files = sorted((task.file for task in table.scan().plan_files()), key=lambda each: each.file_path)
        yield table.schema(), files


def test_counts_and_sizes(found):
    _, files = found
    assert [each.record_count for each in files] == [ROW_GROUP_ROWS + 1000, 3]
    for each in files:
        path = each.file_path.removeprefix("file://")
        with open(path, "rb") as opened:
            assert each.file_size_in_bytes == len(opened.read())
        assert len(each.split_offsets) == pq.ParquetFile(path).num_row_groups == (2 if each is files[0] else 1)
        assert each.split_offsets == sorted(each.split_offsets) and each.split_offsets[0] == 4


def test_nulls_and_bounds(found):
    schema, files = found
    for each in files:
        rows = pq.read_table(each.file_path.removeprefix("file://"))
        for name in ("n", "name", "x"):
            field = schema.find_field(name)
            assert each.value_counts[field.field_id] == len(rows)
            assert each.null_value_counts[field.field_id] == rows[name].null_count
            low = from_bytes(field.field_type, each.lower_bounds[field.field_id])
            high = from_bytes(field.field_type, each.upper_bounds[field.field_id])
            ends = pc.min_max(rows[name]).as_py()
            assert low <= ends["min"] and high >= ends["max"]
            if name != "name":  # of texts the first 16 signs
                assert (low, high) == (ends["min"], ends["max"])
        element = schema.find_field("scores.element").field_id
        assert each.value_counts[element] == 2 * len(rows) and element not in each.lower_bounds


def test_a_part_without_rows_is_no_file(found):
    assert len(found[1]) == 2


@pytest.mark.parametrize(
    ("uri", "named"),
    [("/data/out", "file:///data/out"), ("file:///data/out", "file:///data/out"), ("s3://b/out", "s3://b/out")],
)
def test_names_have_a_protocol(uri, named):
    assert absolute(uri) == named
