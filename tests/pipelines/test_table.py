"""An output folder is a table to the tools that people have: each, by the line that docs/output.md gives for it, reads
exactly the labelled rows, whatever else lies in the folder."""

import functools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset

from pipelines import classify
from seqcls_beam import open_labels
from tests import tiny
from tests.corpora import plain_scores, texts

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parent.parent.parent
LABELS = ("negative", "positive")
LINES = {
    "pandas": 'pandas.read_parquet("OUT/labels")',
    "pyarrow": 'pyarrow.dataset.dataset("OUT/labels", partitioning="hive")',
    "DuckDB": "duckdb.sql(\"from read_parquet('OUT/labels/**/*.parquet', hive_partitioning=true)\")",
    "polars": 'polars.scan_parquet("OUT/labels")',
    "datasets": 'load_dataset("parquet", data_files="OUT/labels/**/*.parquet", split="train")',
    "datasets, by pandas": 'Dataset.from_pandas(pandas.read_parquet("OUT/labels"))',
    "seqcls_beam": 'open_labels("OUT")',
}
OUT_ITSELF = {"pandas": 'pandas.read_parquet("OUT")', "pyarrow": 'pyarrow.dataset.dataset("OUT", partitioning="hive")'}
SPARK, SPARK_ON_OUT = 'spark.read.parquet("OUT/labels")', 'spark.read.parquet("OUT")'
SPARK_PYTHON = ROOT / ".venv-spark" / "bin" / "python"
NAMES = {
    "Dataset": Dataset,
    "duckdb": duckdb,
    "load_dataset": load_dataset,
    "open_labels": open_labels,
    "pandas": pandas,
    "polars": polars,
    "pyarrow": pyarrow,
}

# Case → its runs, in turn: the night and what it labels. A night that is there already is overwritten.
RUNS: dict[str, list[tuple[str | None, list[str]]]] = {
    "one run": [(None, ["broken", "monday", "tuesday"])],
    "one run, overwritten": [(None, ["monday", "tuesday"]), (None, ["broken", "wednesday"])],
    "one night": [("2026-11-20", ["broken", "monday"])],
    "three nights": [("2026-11-19", ["broken", "monday"]), ("2026-11-20", ["tuesday"]), ("2026-11-21", ["wednesday"])],
}
RUNS["three nights, one overwritten"] = [*RUNS["three nights"], ("2026-11-20", ["thursday"])]
RUNS["year=2026/a folder"] = RUNS["three nights"]
NIGHTS = [case for case, runs in RUNS.items() if runs[0][0]]

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """An output folder, and what readers should find in it."""

    out: Path
    rows: list[tuple[str, str, str | None]]  # id, label, night; in order
    columns: set[str]

    def line(self, line: str) -> str:
        """A line of the page, for this folder."""
        return line.replace("OUT", str(self.out))

    def check(self, found: list[Row], partitions: bool = True, above: bool = False) -> None:
        """Assert that these are the rows, with their partition, or with what stands `above` the folder, as columns."""
        rows = [(row["id"], row["label"], str(row["run_date"]) if "run_date" in row else None) for row in found]
        assert sorted(rows, key=str) == [row if partitions else (*row[:2], None) for row in self.rows]
        columns = self.columns | ({"run_date"} if partitions and self.rows[0][2] else set())
        columns |= {"year"} if above and "year=2026" in self.out.parts else set()
        assert {*found[0]} == columns


def as_rows(found: Any) -> list[Row]:
    """What any of the tools gives → its rows."""
    if isinstance(found, pandas.DataFrame):
        rows: list[Row] = found.to_dict("records")
    elif isinstance(found, pyarrow.dataset.Dataset):
        rows = found.to_table().to_pylist()
    elif isinstance(found, polars.LazyFrame):
        rows = found.collect().to_dicts()
    elif isinstance(found, Dataset):
        rows = found.to_list()
    else:
        rows = [dict(zip(found.columns, values, strict=True)) for values in found.fetchall()]
    return rows


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[[str], Case]:
    """Cases by the real command, each with rejects, a report and an attempt that came to nothing beside its labels."""
    folder = tmp_path_factory.mktemp("table")
    model = tiny.checkpoint(folder / "model", labels=LABELS)
    sizes = {"broken": 0, "monday": 60, "tuesday": 80, "wednesday": 50, "thursday": 40, "hopeless": 10}
    labelled = {
        name: plain_labels(model, corpus(folder / f"{name}.jsonl", rows, seed))
        for seed, (name, rows) in enumerate(sizes.items())
    }

    def run(out: Path, night: str | None, names: list[str], *flags: str) -> int:
        inputs = [f"{folder}/{name}.jsonl" for name in names]
        dated = [f"--run_date={night}"] if night else []
        flags = (f"--model={model}", f"--output={out}", "--id_column=id", "--threads=1", "--unit_bytes=2000", *flags)
        return classify.main([*flags, *dated, "--input", *inputs])

    @functools.cache
    def made(name: str) -> Case:
        out, there = folder / name / "out", dict[str | None, list[str]]()
        for night, names in RUNS[name]:
            assert run(out, night, names, *(["--overwrite"] if night in there else [])) == 0
            there[night] = names
        # More rows are rejected than may be: nothing is published, and the attempt stays.
        last = None if None in there else "2026-11-30"
        assert run(out, last, ["hopeless"], "--max_rejected=0", "--overwrite") == 1
        for other in ("_attempts", "_rejects"):
            assert list((out / other).rglob("*.parquet"))
        # By hand: the command writes no report yet.
        (out / "_report").mkdir(exist_ok=True)
        (out / "_report" / "report.html").write_text("<p>a report</p>")
        rows = [(id, label, night) for night, names in there.items() for name in names for id, label in labelled[name]]
        parts = [pq.ParquetFile(path) for path in sorted((out / "labels").rglob("*.parquet"))]
        assert 0 in {part.metadata.num_rows for part in parts}  # some readers stumble over a part without rows
        return Case(out, sorted(rows, key=str), {*parts[0].schema_arrow.names})

    return made


def corpus(path: Path, rows: int, seed: int) -> list[Row]:
    """Write rows as JSON lines, some that are none before, between and after them, and read the file back plainly."""
    lines = [json.dumps({"id": f"{path.stem}{i}", "text": text}) for i, text in enumerate(texts(rows, seed))]
    for at in range(0, rows + 1, 4 if path.stem == "hopeless" else 60):
        lines.insert(at, '{"id": ')
    path.write_text("\n".join(lines) + "\n")
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def plain_labels(model: Path, rows: list[Row]) -> list[tuple[str, str]]:
    """Rows → their ids, and the labels that transformers gives without this project."""
    best = plain_scores(model, [row["text"] for row in rows]).argmax(1) if rows else []
    return [(row["id"], LABELS[label]) for row, label in zip(rows, best, strict=True)]


@pytest.fixture
def own_datasets(tmp_path, monkeypatch):
    """`datasets` keeps what it read; here in a folder of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


@pytest.mark.usefixtures("own_datasets")
@pytest.mark.parametrize("tool", LINES)
@pytest.mark.parametrize("case", RUNS)
def test_a_tool_reads_the_labelled_rows_and_their_partition(make, case, tool):
    made = make(case)
    found = as_rows(eval(made.line(LINES[tool]), NAMES))
    # load_dataset makes no columns of folders' names, DuckDB of all on the way.
    made.check(found, partitions=tool != "datasets", above=tool == "DuckDB")


@pytest.mark.parametrize("tool", OUT_ITSELF)
@pytest.mark.parametrize("case", RUNS)
def test_the_folder_itself_is_the_same_table(make, case, tool):
    made = make(case)
    made.check(as_rows(eval(made.line(OUT_ITSELF[tool]), NAMES)))


@pytest.fixture(scope="module")
def spark_rows(make) -> dict[str, list[Row]]:
    """What Spark reads by every line that it is tried with, in one go: it takes seconds to start."""
    assert SPARK_PYTHON.exists(), "make .venv-spark/.test makes the environment that Spark runs in"
    lines = [make(case).line(SPARK) for case in RUNS] + [make(case).line(SPARK_ON_OUT) for case in NIGHTS]
    done = subprocess.run(
        [SPARK_PYTHON, ROOT / "tests" / "spark_rows.py"],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(lines, json.loads(done.stdout), strict=True))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("case", "line"), [*((case, SPARK) for case in RUNS), *((case, SPARK_ON_OUT) for case in NIGHTS)]
)
def test_spark_reads_the_labelled_rows_and_their_partition(make, spark_rows, case, line):
    made = make(case)
    made.check(spark_rows[made.line(line)])


@pytest.mark.parametrize("line", [*LINES.values(), SPARK])
def test_the_page_of_outputs_gives_these_lines(line):
    assert f"`{line}`" in (ROOT / "docs" / "output.md").read_text()
