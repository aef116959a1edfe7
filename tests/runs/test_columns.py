"""One table of many nights: which columns go together, what a further night writes, and what readers find."""

import datetime
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from seqcls_beam import open_labels
from seqcls_beam.config.classify import ClassifyConfig, ModelOptions, ReadOptions, RunOptions
from seqcls_beam.runs import columns, publication, table, versions
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.parts import UnitWriter
from seqcls_beam.runs.plan import plan
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, RunError, save_record, verified_record
from seqcls_beam.schema import Mark, classes_of, with_classes
from tests import tiny
from tests.batches import predictions

FIRST, SECOND, THIRD = (f"run_date=2026-11-{day}" for day in (20, 21, 22))
ROWS = 2


def write(run: Run, keep: pa.Schema, values: dict[str, list[Any]], problem: str = "single_label") -> int:
    """Publish a run of one unit of two rows with these kept columns; the number of the version."""
    run = run if run.follows is not None else follow(run)
    record(run, keep, values, 0, 1, problem)
    return publish(run, [verified_record(run, 0)])


def record(
    run: Run,
    keep: pa.Schema,
    values: dict[str, list[Any]],
    unit: int,
    units: int,
    problem: str = "single_label",
    count: int = ROWS,
) -> None:
    """Write and record a unit of rows with these kept columns."""
    batch = predictions(unit, units, range(count), last=True, rows=count)
    kept = [pa.array(values.get(each.name, [None] * count), each.type) for each in keep]
    struct = pa.StructArray.from_arrays(kept, fields=list(keep))
    mark = Mark.of(batch)
    at = batch.schema.get_field_index("keep")
    batch = mark.on(batch.set_column(at, pa.field("keep", struct.type), struct))
    mark.engine["problem"] = problem
    if problem == "multi_label":
        labels = pa.array([["negative"], []], pa.list_(pa.string()))
        batch = mark.on(batch.drop_columns(["label", "score"]).append_column("labels", labels))
    writer = UnitWriter(run.attempt, mark.on(batch))
    made = writer.write(mark.on(batch))
    assert made is not None
    save_record(run, made)


def night(out: Path, day: str, field: pa.Field | None = None, values: Any = (1, 2), **kind: str) -> int:
    """Publish a night with an `id` and perhaps one more column."""
    keep = pa.schema([("id", pa.int64()), *([field] if field else [])])
    run_id = hashlib.blake2b(f"{day} {field}".encode(), digest_size=16).hexdigest()
    return write(Run(str(out), run_id, True, partition=day), keep, {"id": [1, 2], "x": list(values)}, **kind)


def race(out: Path, *nights: tuple[Any, ...], **kind: str) -> None:
    """Publish nights none of which saw another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publication, "shapes", lambda _: {})
        for at, each in enumerate(nights):
            night(out, *each, **(kind if at else {}))


WIDER = {
    ("int8", "int8"): "int8",
    ("int8", "int32"): "int32",
    ("int64", "int16"): "int64",
    ("uint8", "uint64"): "uint64",
    ("null", "string"): "string",
    ("list<item: int64>", "null"): "list<item: int64>",
    ("string", "large_string"): "large_string",
    ("list<element: string>", "large_list<item: string>"): "large_list<item: string>",
    ("uint8", "int16"): None,  # as they stand: a sign is more than a width
    ("int32", "double"): None,
    ("float", "double"): None,
    ("string", "int64"): None,
    ("timestamp[s]", "timestamp[us]"): None,
    ("timestamp[us]", "timestamp[us, tz=UTC]"): None,
    ("date32[day]", "timestamp[us]"): None,
    ("string", "list<item: string>"): None,
    ("dictionary<values=string, indices=int32, ordered=0>", "string"): None,
    ("list<item: int32>", "list<item: int64>"): None,
    ("decimal128(10, 2)", "decimal128(12, 2)"): None,
    ("bool", "int8"): None,
    ("string", "binary"): None,
}


@pytest.mark.parametrize("pair", WIDER)
def test_types_go_together_either_way_round_or_not(pair):
    assert columns.wider(*pair) == columns.wider(*pair[::-1]) == WIDER[pair]


EMPTY: dict[str, tuple[pa.DataType, list[Any]]] = {
    "integers": (pa.int64(), [1, -2]),
    "truths": (pa.bool_(), [True, False]),
    "times": (pa.timestamp("us", "UTC"), [datetime.datetime(2026, 11, day, tzinfo=datetime.UTC) for day in (1, 2)]),
    "lists": (pa.list_(pa.int64()), [[1], [2, 3]]),
    "structs": (pa.struct([("a", pa.string())]), [{"a": "x"}, {"a": None}]),
}


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("written", [pa.string(), pa.int8()], ids=str)
def test_a_column_without_a_value_goes_with_any_type_whatever_it_was_written_as(tmp_path, case, written, turn):
    """As a night of JSON lines without a value, which is written as strings."""
    kind, values = EMPTY[case]
    days = (FIRST, SECOND, THIRD)[::turn]
    night(tmp_path, days[0], pa.field("x", written), [None, None])
    night(tmp_path, days[1], pa.field("x", kind), values)
    night(tmp_path, days[2], pa.field("x", written), [None, None])
    found = open_labels(str(tmp_path))
    assert found.schema.field("x").type == kind
    nothing = [None, None]
    assert found.to_table()["x"].to_pylist() == [*nothing, *values, *nothing]
    assert found.to_table(filter=pyarrow.dataset.field("x").is_valid())["x"].to_pylist() == values
    assert found.to_table()["id"].to_pylist() == [1, 2] * 3


def test_two_columns_with_values_do_not_go_together_for_one_without(tmp_path):
    night(tmp_path, FIRST, pa.field("x", pa.string()), [None, None])
    night(tmp_path, SECOND, pa.field("x", pa.int64()))
    with pytest.raises(RunError, match=f"column 'x' is int64 in {SECOND}, and double in {THIRD}"):
        night(tmp_path, THIRD, pa.field("x", pa.float64()))


def test_a_table_without_any_value_keeps_the_type_that_was_written(tmp_path):
    for day in (FIRST, SECOND):
        night(tmp_path, day, pa.field("x", pa.string()), [None, None])
    found = open_labels(str(tmp_path))
    assert found.schema.field("x").type == pa.string() and found.to_table()["x"].to_pylist() == [None] * 4


def test_a_column_is_without_a_value_where_no_unit_has_one(tmp_path):
    keep = pa.schema([("id", pa.int64()), ("x", pa.string()), ("y", pa.string())])
    run = follow(Run(str(tmp_path), "a" * 32, partition=FIRST))
    values: list[list[Any]] = [[None, None], [None, "a"]]
    for unit, y in enumerate(values):
        record(run, keep, {"id": [1, 2], "y": y}, unit, 2)
    publish(run, [verified_record(run, unit) for unit in range(2)])
    manifest = table.read_manifest(str(tmp_path), FIRST) or {}
    assert [each["name"] for each in manifest["columns"] if each.get("empty")] == ["x"]
    others: list[Any] = [[7], [{"empty": True}], [None]]
    for odd in others:
        with pytest.raises(RunError, match="which this program did not write"):
            columns.of_all([manifest["columns"], odd])


@pytest.mark.parametrize("other", ["multi_label", "regression"])
def test_a_night_without_rows_decides_neither_columns_nor_the_kind_of_model(tmp_path, other):
    keep = pa.schema([("id", pa.int64()), ("x", pa.int64())])
    for day in (FIRST, THIRD):
        empty = follow(Run(str(tmp_path), hashlib.blake2b(day.encode(), digest_size=16).hexdigest(), partition=day))
        record(empty, keep, {}, 0, 1, count=0)
        publish(empty, [verified_record(empty, 0)])
    assert open_labels(str(tmp_path)).count_rows() == 0
    night(tmp_path, SECOND, pa.field("x", pa.string()), ["a", "b"], problem=other)
    found = open_labels(str(tmp_path))
    assert found.to_table()["x"].to_pylist() == ["a", "b"]
    assert ("labels" in found.schema.names) == (other == "multi_label") != ("label" in found.schema.names)


TYPES: dict[str, tuple[pa.DataType, list[Any], pa.DataType, list[Any]]] = {
    "int32, then int64": (pa.int32(), [1, -(2**31)], pa.int64(), [2**40, 3]),
    "null, then string": (pa.null(), [None, None], pa.string(), ["a", "b"]),
    "null, then a list": (pa.null(), [None, None], pa.list_(pa.int64()), [[1], [2, 3]]),
    "string, then large_string": (pa.string(), ["a", "b"], pa.large_string(), ["c", "d"]),
}


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("case", TYPES)
def test_both_nights_are_read_under_the_wider_type(tmp_path, case, turn):
    one, some, other, more = TYPES[case]
    night(tmp_path, FIRST if turn > 0 else SECOND, pa.field("x", one), some)
    night(tmp_path, SECOND if turn > 0 else FIRST, pa.field("x", other), more)
    found = open_labels(str(tmp_path))
    assert found.schema.field("x").type == other
    assert found.to_table()["x"].to_pylist() == (some + more if turn > 0 else more + some)


def test_a_column_of_one_night_is_null_in_the_others(tmp_path):
    night(tmp_path, FIRST)
    night(tmp_path, SECOND, pa.field("x", pa.string()), ["a", "b"])
    night(tmp_path, THIRD)
    assert open_labels(str(tmp_path)).to_table()["x"].to_pylist() == [None, None, "a", "b", None, None]


REFUSED: dict[str, tuple[pa.Field, pa.Field, str]] = {
    "types": (
        pa.field("x", pa.int64()),
        pa.field("x", pa.float64()),
        f"column 'x' is int64 in {FIRST}, and double in {SECOND}",
    ),
    "names that case tells apart": (
        pa.field("x", pa.int64()),
        pa.field("X", pa.int64()),
        f"column 'x' is int64 in {FIRST}, and 'X', int64, in {SECOND}",
    ),
    "classes": (
        with_classes(pa.field("x", pa.int64()), ["cat", "dog"]),
        with_classes(pa.field("x", pa.int64()), ["dog", "cat", "cow"]),
        f"column 'x' is int64 of the classes 0 'cat', 1 'dog' in {FIRST}, and int64 of the classes 0 'dog', 1 'cat', "
        f"2 'cow' in {SECOND}",
    ),
    "classes and none": (
        with_classes(pa.field("x", pa.int64()), ["cat", "dog"]),
        pa.field("x", pa.int64()),
        f"column 'x' is int64 of the classes 0 'cat', 1 'dog' in {FIRST}, and int64 without names of classes in "
        f"{SECOND}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_not_published(tmp_path, case):
    one, other, said = REFUSED[case]
    night(tmp_path, FIRST, one)
    with pytest.raises(RunError) as error:
        night(tmp_path, SECOND, other)
    assert said in str(error.value)
    assert not (tmp_path / "labels" / SECOND).exists() and not list(tmp_path.glob(f"_versions/{SECOND}/*"))


@pytest.mark.parametrize("case", REFUSED)
def test_readers_are_told_of_two_that_were_published_at_once(tmp_path, case):
    one, other, said = REFUSED[case]
    race(tmp_path, (FIRST, one), (SECOND, other))
    with pytest.raises(RunError) as error:
        open_labels(str(tmp_path))
    assert said in str(error.value)


def test_a_list_of_classes_may_grow(tmp_path):
    for day, names in ((FIRST, ["cat", "dog"]), (SECOND, ["cat", "dog", "cow"]), (THIRD, ["cat"])):
        night(tmp_path, day, with_classes(pa.field("x", pa.int64()), names), [0, len(names) - 1])
    found = open_labels(str(tmp_path))
    assert classes_of(found.schema.field("x")) == ("cat", "dog", "cow")
    assert found.to_table()["x"].to_pylist() == [0, 1, 0, 2, 0, 0]


@pytest.mark.parametrize("other", ["multi_label", "regression"])
def test_models_of_two_kinds_are_two_tables(tmp_path, other):
    said = f"{FIRST} has rows of a single_label model, and {SECOND} of a {other} one"
    night(tmp_path, FIRST)
    with pytest.raises(RunError, match=said):
        night(tmp_path, SECOND, problem=other)
    shutil.rmtree(tmp_path / "_attempts")
    race(tmp_path, (FIRST,), (SECOND,), problem=other)
    with pytest.raises(RunError, match=said):
        open_labels(str(tmp_path))


def test_a_partition_that_is_replaced_does_not_count(tmp_path):
    night(tmp_path, FIRST, pa.field("x", pa.string()), ["a", "b"])
    assert night(tmp_path, FIRST, pa.field("x", pa.int64())) == 2
    assert open_labels(str(tmp_path)).to_table()["x"].to_pylist() == [1, 2]


def test_a_run_that_is_published_stays_so_whatever_others_did(tmp_path):
    race(tmp_path, (FIRST, pa.field("x", pa.string()), ["a", "b"]), (SECOND, pa.field("x", pa.int64())))
    assert night(tmp_path, SECOND, pa.field("x", pa.int64())) == 1


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    several = tiny.checkpoint(folder / "several", labels=("a", "b"), problem="multi_label_classification")
    return {"single": tiny.checkpoint(folder / "single"), "several": several}


@pytest.fixture
def planned(tmp_path, models):
    """Rows → the job that would label them, as parquet or JSON lines."""

    def made(day: str, rows: pa.Table | list[dict[str, Any]], model: str = "single", **options: Any) -> Job:
        path = tmp_path / f"{day}.{'jsonl' if isinstance(rows, list) else 'parquet'}"
        if not path.exists() and isinstance(rows, list):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif not path.exists():
            pq.write_table(rows, path)
        read = ReadOptions(input=(str(path),), keep_columns=options.pop("keep", ("*",)))
        run = RunOptions(output=str(tmp_path / "out"), run_date=day.partition("=")[2], **options)
        return plan(ClassifyConfig(read=read, model=ModelOptions(model=str(models[model])), run=run))

    return made


def rows(**more: pa.Array) -> pa.Table:
    return pa.table({"text": ["one", "two"], **more})


@pytest.mark.parametrize(
    ("there", "here", "written"),
    [
        (pa.int64(), pa.int16(), pa.int64()),
        (pa.int16(), pa.int64(), pa.int64()),
        (pa.uint32(), pa.uint8(), pa.uint32()),
    ],
)
def test_a_narrower_integer_is_written_as_it_is_there(tmp_path, planned, there, here, written):
    night(tmp_path / "out", FIRST, pa.field("x", there))
    job = planned(SECOND, rows(x=pa.array([1, 2], here)))
    assert job.layout.keep.field("x").type == written


@pytest.mark.parametrize("there", [pa.int64(), pa.float64(), pa.bool_(), pa.string()])
def test_what_has_no_value_is_written_as_it_is_there(tmp_path, planned, there):
    night(tmp_path / "out", FIRST, pa.field("x", there), pa.array([1, 0]).cast(there).to_pylist())
    for day, given in ((SECOND, [{"text": "a", "x": None}] * 3), (THIRD, rows(x=pa.nulls(2)))):
        job = planned(day, given)
        assert job.layout.keep.field("x").type == there
        told = [said for said in job.remarks if "'x'" in said]
        said = f"column 'x' has no value in the first rows: written as {there}, as in other partitions"
        assert told == ([] if there == pa.string() else [said])


def test_a_plan_refuses_what_cannot_be_and_says_what_to_do(tmp_path, planned):
    night(tmp_path / "out", FIRST, pa.field("x", pa.int32()))
    given = [{"text": "a", "x": "many"}, {"text": "b", "x": "few"}]
    with pytest.raises(RunError) as error:
        planned(SECOND, given)
    assert str(error.value).endswith(
        f"column 'x' is int32 in {FIRST}, and string in this run; say --keep_columns=x:int64 to keep it so, leave it "
        "out, or name another folder"
    )
    assert planned(SECOND, given, keep=("*", "x:int64")).layout.keep.field("x").type == pa.int64()
    assert "x" not in planned(SECOND, given, keep=("text",)).layout.keep.names
    with pytest.raises(RunError, match=f"{FIRST} has rows of a single_label model, and this run of a multi_label one"):
        planned(SECOND, given, model="several", keep=("text",))
    assert planned(FIRST, given, overwrite=True).layout.keep.field("x").type == pa.string()


@pytest.mark.parametrize("values", [[1, 2], ["a", "b"], [[1.5], []], [True, None]], ids=str)
def test_a_night_after_one_without_a_value_is_planned_as_it_is(tmp_path, planned, values):
    first = planned(FIRST, [{"text": "a", "x": None}] * 3)
    assert first.layout.keep.field("x").type == pa.string()
    write(first.run, first.layout.keep, {"text": ["a", "a"]})
    second = planned(SECOND, [{"text": "a", "x": each} for each in values])
    assert not any("'x'" in said for said in second.remarks)
    write(second.run, second.layout.keep, {"text": ["a", "a"], "x": values})
    assert open_labels(str(tmp_path / "out")).to_table()["x"].to_pylist() == [None, None, *values]
    third = planned(THIRD, [{"text": "a", "x": None}] * 3)
    assert third.layout.keep.field("x").type == second.layout.keep.field("x").type
    write(third.run, third.layout.keep, {"text": ["a", "a"]})
    assert open_labels(str(tmp_path / "out")).count_rows() == 6
    again = planned(FIRST, [{"text": "a", "x": None}] * 3)
    assert again.run.run_id == first.run.run_id, "what is published stays what it is"


def test_a_table_of_many_is_not_made_one_of_another_kind_and_one_partition_may_be(tmp_path, planned, models):
    """They are replaced one by one, and in between it would be of two kinds."""
    job = planned(FIRST, rows())
    write(job.run, job.layout.keep, {"text": ["one", "two"]})
    assert planned(FIRST, rows(), model="several", overwrite=True).layout.keep.names == ["text"]
    other = planned(SECOND, rows())
    write(other.run, other.layout.keep, {"text": ["one", "two"]})
    with pytest.raises(RunError) as error:
        planned(FIRST, rows(), model="several", overwrite=True)
    assert str(error.value).endswith(
        f"{SECOND} has rows of a single_label model, and this run of a multi_label one; a table has rows of one kind, "
        "also while it is labelled again: label all of it into another folder"
    )


def test_columns_that_only_one_side_has_are_told_in_a_line(tmp_path, planned):
    night(tmp_path / "out", FIRST, pa.field("x", pa.int32()))
    job = planned(SECOND, rows(y=pa.array([1, 2]), z=pa.array([1, 2])))
    assert job.remarks[-2:] == (
        "columns that are not in other partitions, and null there: 'text', 'y', 'z'",
        "columns of other partitions that are not here, and null: 'id', 'x'",
    )


def test_the_same_run_again_is_the_same_whatever_others_widened(tmp_path, planned):
    given = rows(x=pa.array([1, 2], pa.int16()))
    job = planned(FIRST, given)
    write(job.run, job.layout.keep, {"x": [1, 2]})
    night(tmp_path / "out", SECOND, pa.field("x", pa.int64()))
    again = planned(FIRST, given)
    assert again.run.run_id == job.run.run_id and again.remarks == job.remarks
    assert planned(THIRD, given).layout.keep.field("x").type == pa.int64()


def test_a_plan_reads_the_version_of_each_partition_once(tmp_path, planned, monkeypatch):
    for day in range(1, 21):
        night(tmp_path / "out", f"run_date=2026-10-{day:02d}", pa.field("x", pa.int64()))
    read = []

    def counted(*at: Any) -> Any:
        read.append(at[1])
        return table_read(*at)

    table_read = versions.read_version
    monkeypatch.setattr(table, "read_version", counted)
    planned(FIRST, rows(x=pa.array([1, 2])))
    assert sorted(read) == [f"run_date=2026-10-{day:02d}" for day in range(1, 21)]


READERS = {
    "pandas": lambda out: pandas.read_parquet(out / "labels", schema=open_labels(str(out)).schema)["x"].tolist(),
    "pyarrow": lambda out: (
        pyarrow.dataset.dataset(out / "labels", schema=open_labels(str(out)).schema, partitioning="hive")
        .to_table()["x"]
        .to_pylist()
    ),
    "DuckDB": lambda out: [
        row[0]
        for row in duckdb.sql(
            f"select x from read_parquet('{out}/labels/**/*.parquet', hive_partitioning=true, union_by_name=true)"
        ).fetchall()
    ],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", ["integers", "lists"])
def test_plain_readers_and_what_was_written_as_a_string_for_want_of_a_value(tmp_path, case, reader):
    """As docs/architecture.md says it."""
    kind, values = EMPTY[case]
    night(tmp_path, FIRST, pa.field("x", pa.string()), [None, None])
    night(tmp_path, SECOND, pa.field("x", kind), values)
    if case == "lists" and reader != "DuckDB":
        with pytest.raises(pa.ArrowNotImplementedError):
            READERS[reader](tmp_path)
        return
    found = [None if isinstance(each, float) and np.isnan(each) else each for each in READERS[reader](tmp_path)]
    as_text = reader == "DuckDB" and case == "integers"
    assert found == [None, None, *(map(str, values) if as_text else values)]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", ["int32, then int64", "null, then string"])
def test_plain_readers_read_what_was_widened(tmp_path, case, reader):
    one, some, other, more = TYPES[case]
    night(tmp_path, FIRST, pa.field("x", one), some)
    night(tmp_path, SECOND, pa.field("x", other), more)
    found = READERS[reader](tmp_path)
    assert [None if each is None or each is np.nan else each for each in found] == some + more
