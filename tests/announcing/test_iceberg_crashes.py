"""Whoever is killed, or comes at the same moment: each version is one snapshot in the end, and no row is twice."""

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog

from seqcls_beam.announcing import iceberg
from tests.announcing import tables
from tests.announcing.tables import WHERE, newest_of, night

ROOT = Path(__file__).parent.parent.parent
MONDAY, TUESDAY = "run_date=2026-01-26", "run_date=2026-01-27"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    told = tables.catalog(monkeypatch, tmp_path / "catalog")
    with load_catalog("nights", **told) as opened:
        yield opened


def start(*args: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.announcing.tellers", *map(str, args)], cwd=ROOT)


def check(catalog, out: Path, snapshots: int) -> None:
    """The table has the files that lie in the folder, and their rows, each once."""
    table = catalog.load_table("sentiment.reviews")
    there = sorted((out / "labels").rglob("*.parquet"))
    assert sorted(task.file.file_path for task in table.scan().plan_files()) == [f"file://{each}" for each in there]
    rows = table.scan().to_arrow().to_pylist()
    assert len(rows) == sum(pq.ParquetFile(each).metadata.num_rows for each in there)
    assert len({(row["run_date"], row["id"]) for row in rows}) == len(rows)
    assert len(table.snapshots()) == snapshots


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("function", ["create_namespace_if_not_exists", "create_table", "commit_table"])
def test_killed_while_it_tells_of_a_first_version(out, catalog, function, when):
    told = night(out, "a", MONDAY)
    with start("tell", out, function, when) as process:
        assert process.wait(100) == -signal.SIGKILL
    for _ in range(2):
        iceberg.tell(WHERE, told)
    check(catalog, out, 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_tells_of_a_version_that_replaces_another(out, catalog, when):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    iceberg.tell(WHERE, night(out, "a", TUESDAY))
    told = night(out, "b", MONDAY, units=3)
    with start("tell", out, "commit_table", when) as process:
        assert process.wait(100) == -signal.SIGKILL
    for _ in range(2):
        iceberg.tell(WHERE, told)
    check(catalog, out, 3)


def test_killed_between_the_commit_and_the_announcement(out, catalog):
    iceberg.tell(WHERE, night(out, "a", MONDAY))
    with start("overwrite", out, MONDAY) as process:
        assert process.wait(100) == -signal.SIGKILL
    assert newest_of(out, MONDAY).version == 2
    iceberg.tell(WHERE, newest_of(out, MONDAY))  # before what was replaced is swept, by whoever comes next
    night(out, "a", TUESDAY)
    assert catalog.load_table("sentiment.reviews").scan().to_arrow().num_rows == 29
    night(out, "c", MONDAY)
    for partition in (MONDAY, TUESDAY):
        iceberg.tell(WHERE, newest_of(out, partition))
    check(catalog, out, 4)


def test_two_processes_with_nights_of_their_own(out, catalog):
    days = [[f"2026-0{month}-{day:02}" for day in range(1, 7)] for month in (1, 2)]
    started = [start("nights", out, *each) for each in days]
    assert [process.wait(200) for process in started] == [0, 0]
    check(catalog, out, 12)


def test_two_processes_that_tell_the_same(out, catalog):
    for day in range(1, 6):
        night(out, "a", f"run_date=2026-01-{day:02}")
    started = [start("all", out) for _ in range(2)]
    assert [process.wait(200) for process in started] == [0, 0]
    check(catalog, out, 5)
