"""DuckDB and Spark read an Iceberg table as pyarrow reads the folder, and leave out files that a filter rules out."""

import datetime
import decimal
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from seqcls_beam import open_labels
from seqcls_beam.announcing import iceberg
from seqcls_beam.runs.publication import follow, publish_empty
from seqcls_beam.runs.run import Run
from tests.announcing import tables
from tests.announcing.tables import newest_of, night, rows_of
from tests.announcing.test_iceberg_columns import KINDS, STRUCT

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-spark" / "bin" / "python"
TOOLS = ("duckdb", "spark")
MONDAY, TUESDAY, WEDNESDAY = (f"run_date=2026-01-{day}" for day in (26, 27, 28))
FILTERS = {
    "": None,
    "run_date = '2026-01-27'": 2,
    "id >= 20": 1,
    "run_date = '2026-01-26' and id = 12": 1,
    "label = 'positive' and score < 0.1": None,
    "run_date > '2026-01-27'": 0,
}
"""Condition → how many files have rows that meet it, by hand; None: not looked at."""


@dataclass
class Made:
    """An output, and its table."""

    out: Path
    metadata: str


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Made]:
    """Outputs by what became of them."""
    folder = tmp_path_factory.mktemp("iceberg")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        told = tables.catalog(patch, folder / "catalog")
        with load_catalog("nights", **told) as catalog:
            for case, make in CASES.items():
                out, where = folder / case, f"nights:cases.{case.replace(' ', '_').replace('%', '')}"

                def tell(partition: str, out: Path = out, where: str = where) -> None:
                    iceberg.tell(where, newest_of(out, partition))

                make(out, tell)
                found[case] = Made(out, catalog.load_table(where.partition(":")[2]).metadata_location)
    return found


def nights(out: Path, tell) -> None:
    """Three nights; one is replaced by a longer one before it is swept, and one by none."""
    for letter, partition in (("a", MONDAY), ("b", TUESDAY), ("c", WEDNESDAY)):
        night(out, letter, partition)
        tell(partition)
    night(out, "d", MONDAY, units=3, placed=lambda partition, *_: tell(partition))
    gone = Run(str(out), "e" * 32, True, partition=WEDNESDAY, placed=lambda *_: tell(WEDNESDAY))
    publish_empty(follow(gone), {})


def plain(out: Path, tell) -> None:
    night(out, "a")
    tell("")
    night(out, "b", units=1)  # told after the parts before it were removed
    tell("")


def windows(out: Path, tell) -> None:
    """A message that came late: the second version has the parts of the first."""
    first = rows_of(out, "a", [pa.table({"id": [1, 2]})], "window=20260126T100000Z")
    tell("window=20260126T100000Z")
    keep = [dict(first.manifest["parts"][0])]
    rows_of(out, "b", [pa.table({"id": [3], "late": ["x"]})], "window=20260126T100000Z", keep=keep)
    tell("window=20260126T100000Z")


def grown(out: Path, tell) -> None:
    """Columns that grow, come, and go."""
    rows_of(out, "a", [pa.table({"n": pa.array([1, 5], pa.int16()), "old": ["x", None]})], MONDAY)
    tell(MONDAY)
    new = pa.array([[{"a": 1}], None], pa.list_(pa.struct([("a", pa.int64())])))
    rows_of(out, "b", [pa.table({"new": new, "n": pa.array([7, 2**40])})], TUESDAY)
    tell(TUESDAY)


def kinds(out: Path, tell) -> None:
    rows = {f"c{at}": pa.array(values, kind) for at, (kind, (values, _)) in enumerate(KINDS.items())}
    rows["s"] = pa.array([{"a": 1, "inner": {"x": 0.5}}, None], STRUCT)
    rows["ls"] = pa.array([[{"a": 1, "inner": None}], []], pa.list_(STRUCT))
    rows_of(out, "a", [pa.table({"id": [1, 2], **rows})], MONDAY)
    tell(MONDAY)


CASES = {
    "nights": nights,
    "plain": plain,
    "windows": windows,
    "grown": grown,
    "kinds": kinds,
    "two words 100%25": nights,
}


@pytest.fixture(scope="module")
def answers(made) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What both tools say to all that they are asked, in one go: Spark takes seconds to start."""
    assert PYTHON.exists(), "make .venv-spark/.test makes the environment that Spark and DuckDB run in"
    asked = [
        (tool, case, where) for tool in TOOLS for case in CASES for where in (FILTERS if case == "nights" else [""])
    ]
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("iceberg_rows.py")],
        input=json.dumps([(tool, made[case].metadata, where) for tool, case, where in asked]),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(asked, json.loads(done.stdout), strict=True))


def plainly(value: Any) -> Any:
    """A value as JSON would have it, whoever read it."""
    if isinstance(value, dict):
        return {key: plainly(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plainly(each) for each in value]
    if isinstance(value, datetime.datetime):
        return str(value.replace(tzinfo=None))
    if isinstance(value, (bytes, bytearray, datetime.date, decimal.Decimal)):
        return str(bytes(value) if isinstance(value, bytearray) else value)
    if isinstance(value, str):
        return value.removesuffix("+00:00").replace("bytearray(", "").removesuffix(")")
    return value


def in_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(plainly(row), sort_keys=True) for row in rows)


def expected(out: Path) -> list[dict[str, Any]]:
    """The rows as `open_labels` reads them from the folder, maps as objects."""
    rows = open_labels(str(out)).to_table().to_pylist()
    maps = [f"c{at}" for at, kind in enumerate(KINDS) if pa.types.is_map(kind)]
    return [
        {key: dict(each) if key in maps and each is not None else each for key, each in row.items()} for row in rows
    ]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_those_of_the_folder(made, answers, tool, case):
    rows = expected(made[case].out)
    assert rows and in_order(answers[tool, case, ""]["rows"]) == in_order(rows)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("where", list(FILTERS))
def test_filters_find_their_rows(made, answers, tool, where):
    import duckdb

    rows = open_labels(str(made["nights"].out)).to_table()  # noqa: F841 - DuckDB finds it by its name
    met = duckdb.sql(f"select * from rows where {where or 'true'}").to_arrow_table().to_pylist()
    assert in_order(answers[tool, "nights", where]["rows"]) == in_order(met)


@pytest.mark.parametrize("where", [each for each, files in FILTERS.items() if files])
def test_files_that_have_none_are_not_opened(answers, where):
    assert answers["duckdb", "nights", where]["files"] == FILTERS[where]
