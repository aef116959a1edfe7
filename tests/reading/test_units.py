"""The plan: every byte of every file in exactly one unit, in order, from names and sizes alone."""

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.units import MAX_PIECES, list_files, load_plan, plan_units, save_plan
from seqcls_beam.schema import UNIT, Mark

MIB = 2**20


def whole(path: str, size: int, format: str = "jsonl", compression: str = "") -> dict:
    return {
        "path": path, "format": format, "compression": compression, "start": 0, "end": -1, "size": size, "version": "1",
    }  # fmt: skip


def paths(files: pa.RecordBatch) -> list[str]:
    return [path.rsplit("/", 1)[-1] for path in files["path"].to_pylist()]


def test_patterns_are_read_in_their_order_and_files_once(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c.jsonl.gz", "_SUCCESS", ".hidden.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.jsonl").write_bytes(b"")
    files = list_files(ReadOptions(input=(f"{tmp_path}/c*", f"{tmp_path}/*.jsonl", str(tmp_path))))
    assert paths(files) == ["c.jsonl.gz", "a.jsonl", "b.jsonl", "d.jsonl"]
    assert files["compression"].to_pylist() == ["gz", "", "", ""]
    assert files["size"].to_pylist() == [3, 3, 3, 0]


def test_links_to_files_are_files(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "data").write_bytes(b"{}\n{}\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "blobs" / "data")
    for pattern in (f"{tmp_path}/in", f"{tmp_path}/in/*", f"{tmp_path}/in/link.jsonl"):
        files = list_files(ReadOptions(input=(pattern,)))
        assert (paths(files), files["size"].to_pylist()) == (["link.jsonl"], [6])


def test_two_stars_go_into_folders(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "z.txt").write_bytes(b"z")
    assert paths(list_files(ReadOptions(input=(f"{tmp_path}/**/*.txt",)))) == ["z.txt"]


def test_a_name_with_pattern_signs_can_be_named(tmp_path):
    (tmp_path / "a[1].txt").write_bytes(b"x")
    assert paths(list_files(ReadOptions(input=(f"{tmp_path}/a[1].txt",)))) == ["a[1].txt"]


def test_a_pattern_without_files_and_an_unknown_extension_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\*.txt matches no file"):
        list_files(ReadOptions(input=(f"{tmp_path}/none*.txt",)))
    (tmp_path / "corpus.docx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"corpus\.docx"):
        list_files(ReadOptions(input=(str(tmp_path),)))


FILES = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from([("jsonl", ""), ("text", "gz"), ("csv", ""), ("text", "")])),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(FILES, st.integers(1, 200))
def test_every_byte_is_in_one_unit_in_order(files, unit_bytes):
    rows = [whole(f"f{i}", size, *kind) for i, (size, kind) in enumerate(files)]
    units = plan_units(pa.RecordBatch.from_pylist(rows, UNIT), unit_bytes)
    marks = [Mark.of(unit) for unit in units]
    assert [(mark.unit, mark.units) for mark in marks] == [(i, len(units)) for i in range(len(units))]
    pieces = [piece for unit in units for piece in unit.to_pylist()]
    for row in rows:
        own = [(piece["start"], piece["end"]) for piece in pieces if piece["path"] == row["path"]]
        if own != [(0, -1)]:
            assert (row["format"], row["compression"]) in (("jsonl", ""), ("text", ""))
            assert own[0][0] == 0
            assert own[-1][1] == row["size"]
            assert all(first[1] == second[0] for first, second in pairwise(own))
    order = [row["path"] for row in rows]
    assert [order.index(piece["path"]) for piece in pieces] == sorted(order.index(piece["path"]) for piece in pieces)
    for unit in units:
        read = sum((p["size"] if p["end"] == -1 else p["end"] - p["start"]) for p in unit.to_pylist())
        assert read <= unit_bytes or unit.num_rows == 1


@pytest.mark.parametrize(
    ("sizes", "units"),
    [
        ([0], [0]),
        ([MIB], [MIB]),
        ([MIB + 1], [MIB, 1]),
        ([MIB // 2, MIB - 1, 1], [MIB // 2, MIB]),
        ([256 * MIB], [MIB] * 256),
        ([256 * MIB + 1], [MIB + 1] * 255 + [MIB - 254]),
        ([1000 * MIB, 20 * MIB, 260 * MIB], [5 * MIB] * 256),
        ([64 * 256 * MIB], [64 * MIB] * 256),
        ([64 * 257 * MIB], [64 * MIB] * 257),
    ],
)
def test_by_default_the_size_of_the_input_says_how_large_units_are(sizes, units):
    rows = [whole(f"f{i}", size) for i, size in enumerate(sizes)]
    planned = plan_units(pa.RecordBatch.from_pylist(rows, UNIT), ReadOptions(input=("f",)).unit_bytes)
    assert [
        sum((p["size"] if p["end"] == -1 else p["end"] - p["start"]) for p in unit.to_pylist()) for unit in planned
    ] == units


def test_a_size_that_is_given_is_kept():
    rows = [whole("f", 1024 * MIB)]
    for unit_bytes, units in ((64 * MIB, 16), (MIB, 1024), (2048 * MIB, 1)):
        assert len(plan_units(pa.RecordBatch.from_pylist(rows, UNIT), unit_bytes)) == units


def test_thousands_of_small_files_are_bundled():
    rows = [whole(f"f{i:05d}", 10) for i in range(5000)]
    units = plan_units(pa.RecordBatch.from_pylist(rows, UNIT), 64 * 2**20)
    assert [unit.num_rows for unit in units] == [MAX_PIECES] * 5


def test_a_large_parquet_file_is_cut_between_row_groups(tmp_path):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": [f"{i:064d}" for i in range(1000)]}), path, row_group_size=100, compression="none")
    files = list_files(ReadOptions(input=(str(path),)))
    units = plan_units(files, 30_000)
    cuts = [(piece["start"], piece["end"]) for unit in units for piece in unit.to_pylist()]
    assert len(cuts) > 2
    assert cuts[0][0] == 0
    assert cuts[-1][1] == 10
    assert all(first[1] == second[0] for first, second in pairwise(cuts))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=4))
def test_a_saved_plan_is_loaded_as_it_was(tmp_path_factory, sizes):
    uri = str(tmp_path_factory.mktemp("plan") / "plan.parquet")
    units = []
    for index, size in enumerate(sizes):
        rows = pa.RecordBatch.from_pylist([whole(f"u{index}", size)], UNIT)
        many = pa.Table.from_batches([rows] * size).combine_chunks().to_batches()[0]
        units.append(Mark(unit=index, units=len(sizes)).on(many))
    save_plan(units, uri)
    loaded = list(load_plan(uri, len(units)))
    assert [Mark.of(unit) for unit in loaded] == [Mark.of(unit) for unit in units]
    assert all(a.equals(b) for a, b in zip(loaded, units, strict=True))
