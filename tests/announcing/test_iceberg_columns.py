"""Columns of every type that Iceberg's readers share come back as they were written; of others it is said so."""

import datetime
import decimal
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from seqcls_beam.announcing import iceberg
from seqcls_beam.announcing.iceberg_columns import Unfit, joined, stored
from seqcls_beam.announcing.published import PlatformError
from tests.announcing import tables
from tests.announcing.tables import WHERE, rows_of

NOON = datetime.datetime(2026, 1, 26, 12, 0, 1, 250000)
# Arrow's type → (two values, or a null, and what Iceberg calls it)
KINDS: dict[pa.DataType, tuple[list[Any], str]] = {
    pa.bool_(): ([True, None], "boolean"),
    pa.int8(): ([-128, 127], "int"),
    pa.int16(): ([-32768, None], "int"),
    pa.int32(): ([-(2**31), 2**31 - 1], "int"),
    pa.int64(): ([-(2**63), 2**63 - 1], "long"),
    pa.float32(): ([1.5, None], "float"),
    pa.float64(): ([-1e300, None], "double"),
    pa.string(): (["a", "ü" * 40], "string"),
    pa.large_string(): (["a", None], "string"),
    pa.dictionary(pa.int32(), pa.string()): (["a", "a"], "string"),
    pa.binary(): ([b"\x00\xff", b""], "binary"),
    pa.large_binary(): ([b"\x00\xff", None], "binary"),
    pa.binary(3): ([b"abc", b"\xff\xff\xff"], "fixed[3]"),
    pa.date32(): ([NOON.date(), None], "date"),
    pa.date64(): ([NOON.date(), None], "date"),
    pa.timestamp("s"): ([NOON.replace(microsecond=0), None], "timestamp"),
    pa.timestamp("ms"): ([NOON, None], "timestamp"),
    pa.timestamp("us"): ([NOON, None], "timestamp"),
    pa.timestamp("ms", "UTC"): ([NOON.replace(tzinfo=datetime.UTC), None], "timestamptz"),
    pa.timestamp("us", "UTC"): ([NOON.replace(tzinfo=datetime.UTC), None], "timestamptz"),
    pa.decimal128(9, 2): ([decimal.Decimal("-1.25"), None], "decimal(9, 2)"),
    pa.decimal128(38, 4): ([decimal.Decimal("1.0625"), None], "decimal(38, 4)"),
    pa.list_(pa.int16()): ([[1, None], []], "list<int>"),
    pa.large_list(pa.large_string()): ([["a"], None], "list<string>"),
    pa.list_(pa.float32(), 2): ([[0.5, 1.5], [2.5, 3.5]], "list<float>"),
    pa.list_(pa.list_(pa.int64())): ([[[1], []], None], "list<list<long>>"),
    pa.map_(pa.string(), pa.int32()): ([[("a", 1), ("b", None)], None], "map<string, int>"),
}
STRUCT = pa.struct([("a", pa.int8()), ("inner", pa.struct([("x", pa.float64())]))])
NONE = [
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.time32("ms"), pa.time64("us")),
    *(pa.timestamp("ns"), pa.timestamp("us", "Europe/Berlin"), pa.duration("s"), pa.decimal256(40, 2), pa.null()),
    *(pa.list_(pa.uint8()), pa.struct([("a", pa.time64("us"))]), pa.map_(pa.string(), pa.uint64())),
]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    told = tables.catalog(monkeypatch, tmp_path / "catalog")
    with load_catalog("nights", **told) as opened:
        yield opened


def tell(out, letter: str, columns: dict[str, pa.Array], night: str = "26") -> None:
    iceberg.tell(WHERE, rows_of(out, letter, [pa.table(columns)], f"run_date=2026-01-{night}"))


@pytest.mark.filterwarnings("ignore:.*dictionary type")
def test_all_types_at_once(out, catalog):
    names = {f"c{at}": kind for at, kind in enumerate(KINDS)}
    rows = {name: pa.array(KINDS[kind][0], kind) for name, kind in names.items()}
    rows["s"] = pa.array([{"a": 1, "inner": {"x": 0.5}}, None], STRUCT)
    rows["ls"] = pa.array([[{"a": 1, "inner": None}], []], pa.list_(STRUCT))
    tell(out, "a", rows)
    found = catalog.load_table("sentiment.reviews")
    assert {name: str(found.schema().find_type(name)) for name in names} == {
        name: KINDS[kind][1] for name, kind in names.items()
    }
    back = found.scan().to_arrow()
    for name, array in rows.items():
        assert back[name].to_pylist() == array.to_pylist(), name
    assert back["run_date"].to_pylist() == ["2026-01-26"] * 2


@pytest.mark.parametrize("kind", NONE, ids=str)
def test_types_that_not_every_reader_has(out, catalog, kind):
    tell(out, "a", {"id": pa.array([1])})
    before = catalog.load_table("sentiment.reviews").metadata_location
    with pytest.raises(PlatformError) as error:
        told = rows_of(out, "b", [pa.table({"id": pa.array([2]), "odd": pa.nulls(1, kind)})], "run_date=2026-01-27")
        iceberg.tell(WHERE, told)
    said = str(error.value)
    assert said.startswith(f"--iceberg={WHERE}: column 'odd' has values of ")
    assert said.endswith(", which Iceberg, or a reader of it, has no type for; leave that column out of --keep_columns")
    assert catalog.load_table("sentiment.reviews").metadata_location == before


@pytest.mark.parametrize("order", [("26", "27"), ("27", "26")])
def test_numbers_grow_and_are_found_in_files_of_both_widths(out, catalog, order):
    nights = {
        "26": {"n": pa.array([1, 5], pa.int16()), "x": pa.array([0.5, 1.5], pa.float32())},
        "27": {"n": pa.array([7, 2**40], pa.int64()), "x": pa.array([2.5, 1e300], pa.float64())},
    }
    nights["26"]["d"] = pa.array([decimal.Decimal("1.25")] * 2, pa.decimal128(5, 2))
    nights["27"]["d"] = pa.array([decimal.Decimal("123456789.25")] * 2, pa.decimal128(12, 2))
    for night in order:
        tell(out, "a" if night == "26" else "b", nights[night], night)
    found = catalog.load_table("sentiment.reviews")
    assert [str(found.schema().find_type(name)) for name in ("n", "x", "d")] == ["long", "double", "decimal(12, 2)"]
    assert sorted(found.scan().to_arrow()["n"].to_pylist()) == [1, 5, 7, 2**40]

    def asked(where: str) -> tuple[int, int]:
        scan = found.scan(row_filter=where)
        return len(list(scan.plan_files())), scan.to_arrow().num_rows

    assert asked("n = 5") == (1, 1) and asked("n > 100") == (1, 1) and asked("n = 6") == (0, 0)
    assert asked("x <= 1.5") == (1, 2) and asked("x > 1.5") == (1, 2)
    assert asked("d > 100") == (1, 2)


def test_columns_that_only_some_versions_have_are_null_in_others(out, catalog):
    tell(out, "a", {"id": pa.array([1]), "old": pa.array(["x"])}, "26")
    tell(out, "b", {"new": pa.array([[{"a": 1}]]), "id": pa.array([2])}, "27")
    rows = catalog.load_table("sentiment.reviews").scan().to_arrow().sort_by("id").to_pylist()
    assert rows == [
        {"id": 1, "old": "x", "run_date": "2026-01-26", "new": None},
        {"id": 2, "old": None, "run_date": "2026-01-27", "new": [{"a": 1}]},
    ]


def test_parts_of_one_version_may_have_several_columns(out, catalog):
    several = [pa.table({"id": pa.array([1], pa.int32())}), pa.table({"id": pa.array([2**40]), "more": ["x"]})]
    iceberg.tell(WHERE, rows_of(out, "a", several, "window=20260126T100000Z"))
    rows = catalog.load_table("sentiment.reviews").scan().to_arrow().sort_by("id").to_pylist()
    assert [(row["id"], row["more"]) for row in rows] == [(1, None), (2**40, "x")]


@pytest.mark.parametrize("name", ["a.b", "two words", "größe", "it's", "a/b", "element"])
def test_names_are_as_they_are(out, catalog, name):
    tell(out, "a", {name: pa.array([1])}, "26")
    tell(out, "b", {"other": pa.array([2]), f"{name}2": pa.array([3])}, "27")
    rows = catalog.load_table("sentiment.reviews").scan().to_arrow().sort_by("run_date").to_pylist()
    assert [(row[name], row[f"{name}2"], row["other"]) for row in rows] == [(1, None, None), (None, 3, 2)]


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"x": pa.array(["a"])}, {"x": pa.array([1])}, "column 'x' is string there, and int64 in the rows"),
        ({"x": pa.array([1])}, {"x": pa.array([1.5])}, "column 'x' is int64 there, and double in the rows"),
        (
            {"x": pa.array([[1]])},
            {"x": pa.array([1])},
            "column 'x' is list<element: int64> there, and int64 in the rows",
        ),
        ({"x": pa.array([1])}, {"X": pa.array([1])}, "it has a column 'x', and the rows one 'X'"),
    ],
)
def test_what_does_not_go_together(out, catalog, first, then, said):
    tell(out, "a", first, "26")
    before = catalog.load_table("sentiment.reviews").metadata_location
    with pytest.raises(PlatformError) as error:
        # As windows of a stream may be, which are not looked at together.
        tell(out, "b", then, "27")
    assert str(error.value) == f"--iceberg={WHERE}: {said}; leave that column out of --keep_columns"
    assert catalog.load_table("sentiment.reviews").metadata_location == before


def test_arithmetic_without_a_table():
    one = pa.schema([("a", pa.int8()), ("b", pa.large_string())])
    other = pa.schema([("b", pa.string()), ("a", pa.int64()), ("c", pa.bool_())])
    assert joined([one, other], {}) == {"a": pa.int64(), "b": pa.string(), "c": pa.bool_()}
    assert joined([one], {"a": pa.int64()}) == {"a": pa.int64(), "b": pa.string()}
    assert joined([], {"a": pa.int64()}) == {"a": pa.int64()}
    with pytest.raises(Unfit):
        joined([one], {"a": pa.string()})
    with pytest.raises(Unfit):
        stored(pa.list_(pa.list_(pa.uint8())))
