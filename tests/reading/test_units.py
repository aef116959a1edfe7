"""The plan: every byte of every file in exactly one unit, in order, from names and sizes alone."""

import subprocess
import sys
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.units import MAX_PIECES, load_plan, plan_units, save_plan
from seqcls_beam.schema import UNIT, Mark

MIB = 2**20


def whole(path: str, size: int, format: str = "jsonl", compression: str = "") -> dict:
    return {
        "path": path, "format": format, "compression": compression, "start": 0, "end": -1, "size": size, "version": "1",
    }  # fmt: skip


FILES = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from([("jsonl", ""), ("text", "gz"), ("csv", ""), ("text", "")])),
    min_size=1,
    max_size=30,
)


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


def test_row_groups_are_weighed_without_their_columns(tmp_path):
    """Of an encrypted column pyarrow tells nothing: asked, it ends the process."""
    path = tmp_path / "secret.parquet"
    table = pa.table({"text": [f"{i:064d}" for i in range(1000)], "id": [str(i) for i in range(1000)]})
    factory = encryption.CryptoFactory(lambda _: Keys())
    how = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["id"]}, plaintext_footer=True)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), how)
    pq.write_table(table, path, row_group_size=100, encryption_properties=properties)
    units = plan_units(list_files(ReadOptions(input=(str(path),))), path.stat().st_size // 3)
    cuts = [(piece["start"], piece["end"]) for unit in units for piece in unit.to_pylist()]
    assert len(cuts) > 2 and (cuts[0][0], cuts[-1][1]) == (0, 10)
    assert all(first[1] == second[0] for first, second in pairwise(cuts))


class Keys(encryption.KmsClient):
    """Wraps a key by writing it out."""

    def wrap_key(self, key_bytes, master_key_identifier):
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return bytes.fromhex(wrapped_key.decode())


@pytest.mark.parametrize("data", [b"PAR1" + b"x" * 5000, b"x" * 5000, b"PAR1" + b"x" * 5000 + b"\xff\xff\0\0PAR1"])
def test_a_parquet_file_without_a_footer_is_left_whole(data, tmp_path):
    (tmp_path / "a.parquet").write_bytes(data)
    (unit,) = plan_units(list_files(ReadOptions(input=(str(tmp_path),))), 1000)
    assert unit.to_pylist()[0]["end"] == -1


def test_every_byte_of_a_footer_may_be_wrong(tmp_path):
    """In a process of its own, which pyarrow must not end."""
    pq.write_table(pa.table({"text": [str(i) for i in range(100)]}), tmp_path / "a.parquet", row_group_size=10)
    code = f"""
import os
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.units import plan_units
path = {str(tmp_path / "a.parquet")!r}
data = open(path, "rb").read()
footer = int.from_bytes(data[-8:-4], "little") + 8
for at in range(len(data) - footer, len(data)):
    for value in (0, 0xFF, data[at] ^ 1, data[at] ^ 0x80):
        open(path, "wb").write(data[:at] + bytes([value]) + data[at + 1 :])
        units = plan_units(list_files(ReadOptions(input=(path,))), 500)
        pieces = [piece for unit in units for piece in unit.to_pylist()]
        assert pieces[0]["start"] == 0 and all(a["end"] == b["start"] for a, b in zip(pieces, pieces[1:]))
print(footer)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and int(done.stdout) > 500, done.stderr


def test_lines_of_two_bytes_a_character_are_not_cut():
    rows = pa.RecordBatch.from_pylist([whole("f", 1000)], UNIT)
    assert len(plan_units(rows, 100, "latin-1")) == 10
    assert len(plan_units(rows, 100, "utf-16")) == 1


@settings(max_examples=20)
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
