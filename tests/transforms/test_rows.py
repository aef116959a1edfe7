"""Rows of a user's own pipeline: in by FromRows, labelled as the reader's are, and out again by ToRows."""

import datetime
import enum
import json
import pathlib
import subprocess
import sys
import time
import uuid
from array import array
from collections import deque, namedtuple
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import apache_beam as beam
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import torch
from apache_beam.coders import typecoders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.pvalue import Row
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.evaluate import (
    AnswerOptions,
    EvaluateConfig,
    GateOptions,
    GoldOptions,
    MeasureOptions,
    ReportOptions,
)
from seqcls_beam.evaluation.evidence import Evidence
from seqcls_beam.evaluation.sources import rows as gold_rows
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.reading.rows import Held, row_layout
from seqcls_beam.runs.run import Run
from seqcls_beam.schema import Mark
from seqcls_beam.transforms import Classify, FromRows, ReadRecords, Tokenize, ToRows, WriteLabeled
from seqcls_beam.transforms.evaluate import Score
from seqcls_beam.transforms.overlap import Gathered
from tests import tiny
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1)
TEXTS = texts(60)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return resolve(str(tiny.checkpoint(tmp_path_factory.mktemp("model"))))


COLLECTED: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_collected():
    COLLECTED.clear()


def collect(row: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam) -> None:
    COLLECTED.append((row, timestamp, window))


class Review(NamedTuple):
    id: int
    text: str
    stars: float


@dataclass
class Shop:
    id: int
    text: str
    stars: float


def make_row(row: dict[str, Any]) -> Row:
    return Row(id=int(row["id"]), text=str(row["text"]), stars=float(row["stars"]))


ROWS: list[dict[str, Any]] = [{"id": i, "text": text, "stars": i / 4} for i, text in enumerate(TEXTS)]
PLAIN = namedtuple("PLAIN", ["id", "text", "stars"])
TYPED = {"id": "id:int64", "keep": ("stars:float64",)}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dicts": (beam.Create(ROWS), TYPED),
    "named tuples without types": (beam.Create([PLAIN(**row) for row in ROWS]), TYPED),
    "named tuples": (beam.Create([Review(**row) for row in ROWS]), {"id": "id", "keep": ("stars",)}),
    "dataclasses": (beam.Create([Shop(**row) for row in ROWS]), {"id": "id", "keep": ("stars",)}),
    "Beam Rows": (beam.Create([make_row(row) for row in ROWS]), {"id": "id", "keep": ("stars",)}),
    "batches": (
        beam.Create([pa.RecordBatch.from_pylist(ROWS).slice(at, 25) for at in (0, 25, 50)]),
        {"id": "id", "keep": ("stars",)},
    ),
}


def labelled(source: Any, checkpoint: Any, runner: Any = None, **how: Any) -> list[dict[str, Any]]:
    with beam.Pipeline(runner=runner or FnApiRunner()) as pipeline:
        records = pipeline | source | FromRows(**how)
        assert records.element_type is pa.RecordBatch
        predictions = records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        predictions | ToRows() | beam.Map(collect)
    return [row for row, _, _ in COLLECTED]


@pytest.fixture(scope="module")
def read_from_a_file(tmp_path_factory, checkpoint):
    path = write_jsonl(tmp_path_factory.mktemp("corpus") / "c.jsonl", ROWS)
    COLLECTED.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | ReadRecords(ReadOptions(input=(str(path),), id_column="id", keep_columns=("id", "stars")))
        records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS) | ToRows() | beam.Map(collect)
    rows = [row for row, _, _ in COLLECTED]
    assert len(rows) == len(ROWS) and all(row["label"] and row["reject"] is None for row in rows)
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind_are_labelled_as_those_of_a_file(kind, checkpoint, read_from_a_file):
    source, how = KINDS[kind]
    assert labelled(source, checkpoint, batch_rows=7, **how) == read_from_a_file


def test_strings_are_texts(checkpoint, read_from_a_file):
    rows = labelled(beam.Create(TEXTS), checkpoint)
    assert rows == [{k: v for k, v in row.items() if k not in ("id", "stars")} for row in read_from_a_file]


def shorten(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "text": row["text"].split()[0]}


def test_a_step_of_the_users_own_may_stand_on_both_sides(checkpoint):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | beam.Create(ROWS) | beam.Map(shorten) | FromRows(id="id:int64")
        predictions = records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        keyed = predictions | ToRows() | beam.Map(by_label) | beam.CombinePerKey(sum)
        keyed | beam.Map(collect)
    assert sum(count for (_, count), _, _ in COLLECTED) == len(ROWS)
    assert {label for (label, _), _, _ in COLLECTED} <= set(checkpoint.labels)


def by_label(row: dict[str, Any]) -> tuple[str, int]:
    return row["label"], 1


def test_pairs(tmp_path_factory):
    pairs = resolve(str(tiny.checkpoint(tmp_path_factory.mktemp("pairs"))))
    rows = [{"a": one, "b": other} for one, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    found = labelled(beam.Create([*rows, {"a": "only one"}]), pairs, text="a", text_pair="b")
    path = write_jsonl(tmp_path_factory.mktemp("corpus") / "c.jsonl", rows)
    COLLECTED.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        options = ReadOptions(input=(str(path),), text_column="a", text_pair_column="b", keep_columns=())
        records = pipeline | ReadRecords(options)
        records | Tokenize(pairs, OPTIONS) | Classify(pairs, OPTIONS) | ToRows() | beam.Map(collect)
    assert found[:-1] == [row for row, _, _ in COLLECTED]
    assert found[-1]["reject"]["reason"] == "missing_text"


def test_rows_of_text_files_say_where_they_came_from(tmp_path, checkpoint):
    (tmp_path / "a.txt").write_text("a film\n\nno film\n")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        records = pipeline | ReadRecords(ReadOptions(input=(f"{tmp_path}/*.txt",)))
        records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS) | ToRows() | beam.Map(collect)
    found = [(row["source_file"], row["source_position"], bool(row["label"])) for row, _, _ in COLLECTED]
    assert found == [(f"{tmp_path}/a.txt", 0, True), (f"{tmp_path}/a.txt", 7, False), (f"{tmp_path}/a.txt", 8, True)]
    (bad,) = [row["reject"] for row, _, _ in COLLECTED if row["reject"]]
    assert (bad["source"], bad["position"], bad["reason"]) == (f"{tmp_path}/a.txt", 7, "empty_text")


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


CYCLE: dict[str, Any] = {"id": "cycle"}
CYCLE["self"] = CYCLE
BAD: list[tuple[Any, str]] = [
    ({"id": "a"}, "missing_text"),
    ({"id": "b", "text": None}, "missing_text"),
    ({"id": "c", "text": ""}, "empty_text"),
    ({"id": "d", "text": " \n\t"}, "empty_text"),
    ({"id": "e", "text": "nul\0"}, "nul_byte"),
    ({"id": "f", "text": "half \ud800"}, "lone_surrogate"),
    ({"id": "g", "text": 5}, "wrong_type"),
    ({"id": "h", "text": b"bytes"}, "wrong_type"),
    ({"id": "i", "text": float("nan")}, "missing_text"),
    ({"id": "j", "text": ["a list"]}, "wrong_type"),
    ({"id": "k", "text": "x" * (16 * 2**20 + 1)}, "record_too_large"),
    ({"id": "l", "text": "é" * (9 * 2**20)}, "record_too_large"),
    ({"id": "half \udfff", "text": "good"}, "lone_surrogate"),
    ({"id": "m", "text": "good", "n": "no number"}, "wrong_type"),
    ({"id": "n", "text": "good", "n": 2**63}, "wrong_type"),
    ({"id": "o", "text": "good", "n": 1.5}, "wrong_type"),
    ({"id": "p", "text": "good", "n": True}, "wrong_type"),
    (CYCLE, "missing_text"),
    ({("a", "key"): 1}, "missing_text"),
    ({"id": "q", "when": datetime.date(2026, 1, 1), "of": {1, 2}}, "missing_text"),
    (7, "wrong_type"),
    (None, "wrong_type"),
    (b"\xff raw", "wrong_type"),
    (("a", "plain tuple"), "wrong_type"),
    (Broken(), "wrong_type"),
    (Review, "wrong_type"),
    ("", "empty_text"),
    ("\ud800", "lone_surrogate"),
]


GOOD = {"id": "good", "text": "a good film", "n": 3}
# What Beam itself cannot carry from step to step: half a character, a row that holds itself, an object of one's own.
UNCODED = (5, 12, 17, 24, 25, 27)


def bad_and_good(_: Any) -> Iterator[Any]:
    for number, (row, _) in enumerate(BAD):
        if number not in UNCODED:
            yield row
            yield GOOD


def check_bad(found: dict[str, Any], given: Any, reason: str) -> None:
    """A row of `ToRows`, or of RECORD."""
    reject = found["reject"]
    assert (reject["stage"], reject["reason"]) == ("read", reason) and reject["detail"]
    if isinstance(given, bytes):
        assert reject["raw"] == given
    elif isinstance(given, str) or (
        isinstance(given, dict) and all(type(each) in (str, int) for each in given.values())
    ):
        if all(isinstance(key, str) for key in given):
            assert json.loads(reject["raw"]) == given
    else:
        assert reject["raw"]


def test_a_bad_row_costs_itself_and_is_never_lost(checkpoint):
    found = labelled(_BadAndGood(), checkpoint, id="id", keep=("n:int64",), batch_rows=10)
    good, bad = found[1::2], found[::2]
    assert len(good) == len(bad) == len(BAD) - len(UNCODED)
    assert all(row == good[0] and row["id"] == "good" and row["n"] == 3 and row["label"] for row in good)
    for row, (given, reason) in zip(bad, [each for n, each in enumerate(BAD) if n not in UNCODED], strict=True):
        check_bad(row, given, reason)
        assert row["reject"]["source"] == "rows"
        assert row["label"] is row["score"] is row["scores"] is row["tokens"] is row["id"] is None


class Lazy(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise OSError("the store is gone")

    values = get


def test_a_row_that_raises_when_it_is_read_costs_itself():
    held = Held(row_layout("text", None, ["k"], "rows", {}), 10)
    made = [batch for row in ({"text": "a"}, Lazy(text="b"), {"text": "c"}) for batch in held.put(row, 0)]
    found = [row for batch in (*made, *held.take()) for row in batch.to_pylist()]
    assert [row["text"] for row in found] == ["a", None, "c"]
    assert found[1]["reject"]["detail"] == "reading it raised OSError: the store is gone"
    assert json.loads(found[1]["reject"]["raw"]) == {"text": "b"}


def test_rows_that_beam_cannot_carry_are_rejected_too():
    held = Held(row_layout("text", None, ("id", "n:int64"), "rows", {}), 10)
    rows = [each for given, _ in BAD for each in (given, GOOD)]
    batches = [batch for row in rows for batch in held.put(row, 0)] + list(held.take())
    found = [row for batch in batches for row in batch.to_pylist()]
    assert all(row["reject"] is None and row["text"] == "a good film" for row in found[1::2])
    assert len(found) == 2 * len(BAD)
    for row, (given, reason) in zip(found[::2], BAD, strict=True):
        check_bad(row, given, reason)
    assert json.loads(found[38]["reject"]["raw"]) == {"id": "q", "when": "2026-01-01", "of": [1, 2]}


class _BadAndGood(beam.PTransform):
    """Made in the worker: Create would have to encode them."""

    def expand(self, root: Any) -> Any:
        return root | beam.Create([0]) | beam.FlatMap(bad_and_good).with_output_types(Any)


def test_bad_rows_of_batches(checkpoint):
    invalid = pa.StringArray.from_buffers(2, pa.array([0, 1, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xffok!"))
    ids = pa.array([1, 2])
    batches = [
        pa.record_batch({"id": ids, "text": invalid}),
        pa.record_batch({"id": ids, "text": pa.array([5, None])}),
        pa.record_batch({"id": ids, "other": ["a", "b"]}),
        pa.RecordBatch.from_arrays([ids, pa.array(["a", "b"]), pa.array(["c", "d"])], ["id", "text", "text"]),
        pa.record_batch({"id": ids, "text": pa.array(["fine", ""]).dictionary_encode()}),
        pa.record_batch({"id": ids, "text": pa.array(["fine", "nul\0"], pa.large_string())}),
        pa.record_batch({"id": ids, "text": pa.array(["fine", None], pa.string_view())}),
        pa.record_batch({"id": pa.array([1.5, 2.0]), "text": ["fine", "fine"]}),
        pa.record_batch({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}),
    ]
    found = labelled(beam.Create(batches), checkpoint, id="id:int64")
    assert [(row["id"], row["reject"] and row["reject"]["reason"]) for row in found] == [
        (None, "invalid_utf8"), (2, None),
        (None, "wrong_type"), (None, "missing_text"),
        (None, "missing_text"), (None, "missing_text"),
        (None, "wrong_type"), (None, "wrong_type"),
        (1, None), (None, "empty_text"),
        (1, None), (None, "nul_byte"),
        (1, None), (None, "missing_text"),
        (None, "wrong_type"), (2, None),
    ]  # fmt: skip
    assert json.loads(found[2]["reject"]["raw"]) == {"id": 1, "text": 5}
    assert json.loads(found[4]["reject"]["raw"]) == {"id": 1, "other": "a"}


def test_kept_values_without_a_type_are_strings_of_all_they_were(checkpoint):
    values = [5, "5", 1.5, True, None, [1, "a"], {"a": None}, Decimal("0.10"), 2**70, datetime.date(2026, 1, 2), b"b"]
    rows = [{"text": "a good film", "label": value} for value in values]
    found = labelled(beam.Create(rows), checkpoint, keep=("label", "absent"), batch_rows=3)
    kept = ["5", "5", "1.5", "true", None, '[1, "a"]', '{"a": null}', "0.10", str(2**70), "2026-01-02", "b"]
    assert [row["input_label"] for row in found] == kept, "and a column is never hidden by the model's"
    assert all(row["absent"] is None and row["label"] in checkpoint.labels for row in found)


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@dataclass
class Part:
    n: Any
    of: Any


class Model(pydantic.BaseModel):
    n: int
    when: datetime.date


NS = "2026-01-01T00:00:00.000000001"
WHOLE: list[tuple[Any, Any]] = [
    (np.bool_(True), "true"),
    (np.int64(3), "3"),
    (np.float32(0.5), "0.5"),
    (np.str_("a"), "a"),
    (np.array([1, 2]), "[1, 2]"),
    (np.array([[1.5], [np.nan]]), "[[1.5], [NaN]]"),
    (np.array(7), "7"),
    (np.array([(1, "a")], dtype=[("n", "i4"), ("s", "U1")]), '[{"n": 1, "s": "a"}]'),
    (np.ma.array([1, 2], mask=[False, True]), "[1, null]"),
    (np.datetime64(NS), NS),
    (np.array([NS, "NaT"], "M8[ns]"), f'["{NS}", null]'),
    (np.timedelta64(3, "s"), "3 seconds"),
    ({"a": {"b": np.array([np.int8(1)]), "c": pd.NA}}, '{"a": {"b": [1], "c": null}}'),
    ([pd.NaT, np.float64(1.5)], "[null, 1.5]"),
    (pd.NA, None),
    (pd.NaT, None),
    (np.datetime64("NaT"), None),
    (float("nan"), "NaN"),
    (pd.Timestamp(NS), NS.replace("T", " ")),
    (pd.Series({"a": 1, "b": 2}), '{"a": 1, "b": 2}'),
    (pd.DataFrame({"a": ["x"]}, index=["r"]), '{"a": {"r": "x"}}'),
    (pd.Categorical(["x", "y"]), '["x", "y"]'),
    (pl.Series([1, None]), "[1, null]"),
    (pl.DataFrame({"a": [1]}), '{"a": [1]}'),
    (torch.tensor([1.5], dtype=torch.bfloat16, requires_grad=True), "[1.5]"),
    (torch.tensor(3), "3"),
    (pa.scalar(5), "5"),
    (pa.scalar(None, pa.string()), None),
    (pa.scalar({"a": [1, None]}), '{"a": [1, null]}'),
    (pa.scalar(1, pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    (pa.array(["a", None]), '["a", null]'),
    (Decimal("1.50"), "1.50"),
    ([Decimal("1.50")], '["1.50"]'),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour.RED, "red"),
    (Colour.TWO, "2"),
    (datetime.datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), "2026-07-01 00:00:00+02:00"),
    (datetime.timedelta(1, 2, 3), "1 day, 0:00:02.000003"),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    ("é".encode(), "é"),
    (bytearray(b"b"), "b"),
    (memoryview(b"b"), "b"),
    (memoryview(array("d", [1.5])), "[1.5]"),
    (array("i", [1, 2]), "[1, 2]"),
    ({3, 1, 2}, "[1, 2, 3]"),
    (frozenset("ba"), '["a", "b"]'),
    (deque([1]), "[1]"),
    (Part(1, PLAIN(1, "a", np.float16(2))), '{"n": 1, "of": {"id": 1, "text": "a", "stars": 2.0}}'),
    (Row(a=1), '{"a": 1}'),
    (Model(n=1, when=datetime.date(2026, 1, 1)), '{"n": 1, "when": "2026-01-01"}'),
    ({1: "a", None: "b", datetime.date(2026, 1, 1): "c"}, '{"1": "a", "null": "b", "2026-01-01": "c"}'),
]
LOSING: list[Any] = [
    b"\xff",
    object(),
    len,
    range(3),
    iter([1]),
    {"a": object()},
    {1: "a", "1": "b"},
    {(1, 2): "a"},
    datetime.time(1, 2, tzinfo=ZoneInfo("Europe/Berlin")),  # of which `str` leaves out the zone
    pd.Period("2026-01"),
    Broken(),
    CYCLE,
    pd.Series([1, 2], index=["a", "a"]),
    pa.table([[1], [2]], names=["a", "a"]),
    10**5000,
]


def recorded(rows: list[Any], *keep: str, **types: pa.DataType) -> list[dict[str, Any]]:
    """Rows → those of RECORD, without Beam, which cannot carry all of them."""
    held = Held(row_layout("text", None, keep, "rows", types), 1000)
    batches = [batch for row in rows for batch in held.put(row, 0)] + list(held.take())
    return [row for batch in batches for row in batch.to_pylist()]


def kept(values: list[Any], column: str = "x") -> list[dict[str, Any]]:
    return recorded([{"text": "a film", "x": value} for value in values], column)


def test_kept_values_of_every_library_are_strings_of_all_they_were():
    found = kept([value for value, _ in WHOLE])
    assert [row["keep"]["x"] for row in found] == [expected for _, expected in WHOLE]
    assert all(row["reject"] is None for row in found)
    (long,) = kept([np.arange(5000)])
    assert json.loads(long["keep"]["x"]) == list(range(5000))


def test_a_kept_value_that_no_string_holds_rejects_its_row():
    for value, row in zip(LOSING, kept(LOSING), strict=True):
        assert (row["reject"]["reason"], row["keep"]["x"]) == ("wrong_type", None), type(value)
        assert "'x' cannot be kept as a string" in row["reject"]["detail"] and b"a film" in row["reject"]["raw"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int64", [np.int8(1), pa.scalar(2), torch.tensor(3), np.array(4), Colour.TWO], [1, 2, 3, 4, 2]),
        ("int64", [pd.NA, pd.NaT, None, float("nan"), np.float32("nan"), pa.scalar(None, pa.int64())], [None] * 6),
        ("float64", [np.float32(0.5), 1, np.int64(2), pd.NA], [0.5, 1, 2, None]),
        ("bool", [np.bool_(True), torch.tensor(False), pd.NA], [True, False, None]),
        ("string", [np.str_("a"), pa.scalar("b"), Colour.RED, pd.NA, float("nan")], ["a", "b", "red", None, None]),
    ],
)
def test_values_of_every_library_have_a_type(kind, values, expected):
    found = kept(values, f"x:{kind}")
    assert [row["keep"]["x"] for row in found] == expected and all(row["reject"] is None for row in found)


def test_not_a_number_is_a_number_where_numbers_are_kept():
    (row,) = kept([np.float32("nan")], "x:float64")
    assert row["keep"]["x"] != row["keep"]["x"] and row["reject"] is None


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int64", [1.0, np.float64(1), np.bool_(True), "1", Decimal(1), np.array([1]), np.datetime64(5, "ns")]),
        ("float64", [True, "1", Decimal(1), torch.tensor([1.0])]),
        ("bool", [1, np.int64(1), "true"]),
        ("string", [5, b"b", uuid.UUID(int=1), Colour.TWO]),
    ],
)
def test_no_type_is_guessed_from_what_a_library_wraps(kind, values):
    assert [row["reject"]["reason"] for row in kept(values, f"x:{kind}")] == ["wrong_type"] * len(values)


DAY = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (pa.float32(), [0.5, 3, float("inf"), np.float32(2)], [1e300, -1e300, 10**400, np.float64(1e39)]),
        (pa.float16(), [0.5, float("-inf")], [1e5]),
        (pa.date32(), [DAY.date()], [DAY, 5, "2024-02-29"]),
        (pa.timestamp("s"), [DAY.replace(microsecond=0)], [DAY, DAY.astimezone(), 5, 5.0, DAY.date()]),
        (pa.timestamp("us", "UTC"), [DAY.replace(tzinfo=ZoneInfo("Asia/Tokyo"))], [DAY]),
        (pa.time64("us"), [DAY.time()], [DAY.time().replace(tzinfo=ZoneInfo("UTC")), 5]),
        (pa.duration("ms"), [datetime.timedelta(milliseconds=1)], [datetime.timedelta(microseconds=1), 5]),
        (pa.decimal128(4, 1), [Decimal("1.5"), 2], [Decimal("1.55"), 1.5, "1.5"]),
        (pa.binary(), [b"a", bytearray(b"b")], ["a", 5]),
        (pa.binary(1), [b"a"], ["a", b"ab"]),
        (pa.large_string(), ["a"], [b"a", 5]),
    ],
    ids=str,
)
def test_no_value_becomes_another_under_a_type(kind, good, bad):
    for shape, wrap in ((kind, lambda value: value), (pa.list_(kind), lambda value: [value])):
        found = recorded([{"text": "a", "x": wrap(value)} for value in [*good, *bad]], "x", x=shape)
        assert [row["keep"]["x"] for row in found] == [*map(wrap, good), *[None] * len(bad)]
        assert [row["reject"] and row["reject"]["reason"] for row in found[len(good) :]] == ["wrong_type"] * len(bad)


class Narrow(NamedTuple):
    text: str
    x: np.float32


def test_a_number_too_large_for_the_type_of_a_row_rejects_it():
    COLLECTED.clear()
    typecoders.registry.register_coder(Narrow, beam.coders.FastPrimitivesCoder)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        rows = [Narrow("a", 1e300), Narrow("b", 0.5)]  # type: ignore[arg-type]
        pipeline | beam.Create(rows).with_output_types(Narrow) | FromRows(keep=("x",)) | beam.Map(collect)
    found = [row for batch, _, _ in COLLECTED for row in batch.to_pylist()]
    assert sorted((row["keep"]["x"], row["text"]) for row in found if row["reject"] is None) == [(0.5, "b")]
    assert [row["reject"]["reason"] for row in found if row["reject"]] == ["wrong_type"]


def test_numbers_of_sets_are_in_the_order_of_numbers():
    found = kept([{10, 9, 1}, frozenset({2.5, -1, 10**30}), {"b", 10, "a", 9}])
    assert [row["keep"]["x"] for row in found] == [
        "[1, 9, 10]", "[-1, 2.5, 1000000000000000000000000000000]", '[9, 10, "a", "b"]',
    ]  # fmt: skip


class Nested(NamedTuple):
    text: str
    ints: Sequence[int]


def test_lists_of_a_schema_are_neither_rounded_nor_cut():
    rows: list[Any] = [[1, 2], np.array([1, 2]), [1.5], np.array([1.5]), [True], [None], 5]
    found = recorded([Nested("a", row) for row in rows], "ints", ints=pa.list_(pa.int64()))
    assert [row["keep"]["ints"] for row in found] == [[1, 2], [1, 2], None, None, None, [None], None]
    assert [bool(row["reject"]) for row in found] == [False, False, True, True, True, False, True]
    rows = [{"n": np.int64(1)}, Part(1, 2), {"n": 1.0}, {"n": 1, "more": 2}, PLAIN(1, "a", 1), {}]
    found = recorded([{"text": "a", "of": row} for row in rows], "of", of=pa.struct([("n", pa.int64())]))
    assert [row["keep"]["of"] for row in found] == [{"n": 1}, None, None, None, None, {"n": None}]
    assert "it also has of" in found[1]["reject"]["detail"]


def test_the_bytes_of_a_reject_have_all_of_it():
    row = {"text": 5, "a": np.arange(3000), "n": np.int64(3), "b": np.bool_(False), "s": {"b", "a"}, "o": Broken()}
    rows: list[Any] = [row, pd.Series({"a": "x", "n": 1}), bytearray(b"\xff"), {"text": 5, ("a", 1): b"\xff"}, CYCLE]
    raw = [each["reject"]["raw"] for each in recorded(rows)]
    plain = {"text": 5, "a": list(range(3000)), "n": 3, "b": False, "s": ["a", "b"]}
    assert json.loads(raw[0]) == plain | {"o": "Broken, of which repr raises RuntimeError"}
    assert (json.loads(raw[1]), raw[2]) == ({"a": "x", "n": 1}, b"\xff")
    assert json.loads(raw[3]) == {"text": 5, "('a', 1)": "b'\\xff'"}
    assert b"cycle" in raw[4]


def test_batches_bring_their_own_types(checkpoint):
    batches = [
        pa.record_batch({"text": ["a"], "x": pa.array([1], pa.int8())}),
        pa.record_batch({"text": ["b"], "x": pa.array([[1.5]])}),
        pa.record_batch({"text": ["c"]}),
        pa.record_batch({"text": ["d"], "reject": ["mine"], "x": pa.array(["s"]).dictionary_encode()}),
    ]
    found = labelled(beam.Create(batches), checkpoint, keep=("x", "reject"))
    assert [row["x"] for row in found] == [1, [1.5], None, "s"]
    assert [row["input_reject"] for row in found] == [None, None, None, "mine"]


def test_an_empty_collection(checkpoint):
    assert labelled(beam.Create([]), checkpoint) == []


SIZES: list[int] = []


def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
    SIZES.append(len(batch))
    return batch


def test_batches_are_as_large_as_was_asked():
    SIZES.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create(ROWS) | FromRows(batch_rows=25) | beam.Map(measure)
    assert SIZES == [25, 25, 10]
    SIZES.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        large = pa.RecordBatch.from_pylist(ROWS)
        (
            pipeline
            | beam.Create([large, large.slice(0, 3), large.slice(0, 30)])
            | FromRows(batch_rows=25)
            | beam.Map(measure)
        )
    assert sum(SIZES) == 93 and max(SIZES) == 25
    SIZES.clear()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create([0]) | beam.FlatMap(megabytes) | FromRows() | beam.Map(measure)
    assert sum(SIZES) == 40 and max(SIZES) <= 8, "32 MiB at most"


def megabytes(_: int) -> Iterator[str]:
    for _ in range(40):
        yield "word " * (2**22 // 5)


class Alive(dict[str, Any]):
    now = most = made = 0

    def __init__(self, **row: Any) -> None:
        super().__init__(**row)
        Alive.now += 1
        Alive.made += 1
        Alive.most = max(Alive.most, Alive.now)

    def __del__(self) -> None:
        Alive.now -= 1


def generate(_: int) -> Iterator[Any]:
    for i in range(100_000):
        yield Alive(id=i, text="a film")


def test_a_hundred_thousand_rows_in_flat_memory():
    SIZES.clear()
    Alive.now = Alive.most = Alive.made = 0
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = pipeline | beam.Create([0]) | beam.FlatMap(generate).with_output_types(Any)
        source | FromRows(batch_rows=1000) | beam.Map(measure)
    assert (Alive.made, sum(SIZES)) == (100_000, 100_000)
    assert Alive.most <= 2100, "those of the batch that is made, and of the one that fills"


def test_windows_are_not_mixed_and_rows_keep_their_times(checkpoint):
    stamped = [TimestampedValue({"id": i, "text": text}, i) for i, text in enumerate(TEXTS)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = pipeline | beam.Create(stamped[::2] + stamped[1::2]) | beam.WindowInto(FixedWindows(20))
        predictions = source | FromRows(id="id:int64") | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        predictions | ToRows() | beam.Map(collect)
    assert sorted(row["id"] for row, _, _ in COLLECTED) == list(range(60))
    for row, timestamp, window in COLLECTED:
        assert timestamp == row["id"] and window.start <= row["id"] < window.end


def test_a_batch_has_the_time_of_its_earliest_row():
    stamped = [TimestampedValue({"text": "a"}, at) for at in (17.25, 11, 13, 25, 21)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create(stamped) | beam.WindowInto(FixedWindows(10)) | FromRows() | beam.Map(collect)
    found = {batch["position"].to_pylist()[0]: (batch, at, window) for batch, at, window in COLLECTED}
    assert [len(batch) for batch, _, _ in found.values()] == [3, 2]
    assert found[17_250_000][0]["position"].to_pylist() == [17_250_000, 11_000_000, 13_000_000]
    assert found[17_250_000][1:] == (11, FixedWindows(10).assign(FixedWindows.AssignContext(11))[0])
    assert found[25_000_000][1] == 21


def test_windows_that_overlap_have_the_row_each(checkpoint):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = pipeline | beam.Create([TimestampedValue("a film", 15)]) | beam.WindowInto(SlidingWindows(20, 10))
        predictions = source | FromRows() | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        predictions | ToRows() | beam.Map(collect)
    assert sorted((timestamp, window.start) for _, timestamp, window in COLLECTED) == [(15, 0), (15, 10)]


def stream(*bundles: list[int]) -> test_stream.TestStream:
    events = test_stream.TestStream()
    for bundle in bundles:
        rows = [TimestampedValue({"id": i, "text": TEXTS[i]}, i) for i in bundle]
        events = events.add_elements(rows).advance_watermark_to(bundle[-1])
    return events.advance_watermark_to_infinity()


@pytest.mark.parametrize("max_latency", [None, 0.2])
def test_a_stream(max_latency, checkpoint, read_from_a_file):
    options = PipelineOptions(["--streaming", "--allow_unsafe_triggers"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        rows = pipeline | stream([0, 1, 2], [3], list(range(4, 25)), [25, 26]) | beam.WindowInto(FixedWindows(10))
        records = rows | FromRows(id="id:int64", max_latency=max_latency)
        assert not records.is_bounded
        predictions = records | beam.Map(measure) | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
        predictions | ToRows() | beam.Map(collect)
    expected = {row["id"]: row for row in read_from_a_file}
    assert sorted(row["id"] for row, _, _ in COLLECTED) == list(range(27))
    for row, timestamp, window in COLLECTED:
        assert row["scores"] == expected[row["id"]]["scores"]
        assert window.start <= row["id"] < window.end
        assert row["id"] <= timestamp < window.end
        assert max_latency or timestamp == row["id"]


def test_max_latency_joins_the_rows_of_many_bundles():
    options = PipelineOptions(["--streaming", "--allow_unsafe_triggers"])
    for max_latency, sizes in ((None, [1] * 20), (60, [8, 8, 4])):
        SIZES.clear()
        with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
            rows = pipeline | stream(*[[i] for i in range(20)])
            rows | FromRows(batch_rows=8, max_latency=max_latency) | beam.Map(measure)
        assert sizes == SIZES


def test_max_latency_keeps_the_time_of_every_row():
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        stamped = pipeline | beam.Create([TimestampedValue("a", at) for at in range(25)])
        stamped | FromRows(batch_rows=10, max_latency=0.1) | beam.Map(collect)
    positions = [each for batch, _, _ in COLLECTED for each in batch["position"].to_pylist()]
    assert sorted(positions) == [at * 1_000_000 for at in range(25)]


def tick(_: Any) -> dict[str, Any]:
    return {"text": "a film", "at": time.time()}


def late(batch: pa.RecordBatch) -> None:
    COLLECTED.extend(time.time() - float(each["at"]) for each in batch["keep"].to_pylist())


@pytest.mark.parametrize("max_latency", [None, 0.1])
def test_a_splittable_source_on_the_local_runner_does_not_wait(max_latency):
    begin = time.time()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = PeriodicImpulse(start_timestamp=begin, stop_timestamp=begin + 5, fire_interval=0.2)
        rows = pipeline | source | beam.Map(tick) | FromRows(keep=("at",), max_latency=max_latency)
        rows | beam.Map(late)
    assert len(COLLECTED) == 25
    assert max(COLLECTED) < 3, "the first do not wait for the last, which are made 5 seconds later"


def test_positions_without_times(checkpoint):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create(["a", "b"]) | FromRows(source="mine") | beam.Map(collect)
    ((batch, _, _),) = COLLECTED
    assert batch["position"].to_pylist() == [MIN_TIMESTAMP.micros] * 2
    assert batch["source"].to_pylist() == ["mine", "mine"]
    assert Mark.of(batch).units == 0


def test_rows_without_a_unit_are_not_written_as_a_run(tmp_path, checkpoint):
    with pytest.raises(RuntimeError, match=r"belong to no unit"), beam.Pipeline(runner=FnApiRunner()) as pipeline:
        predictions = pipeline | beam.Create(TEXTS) | FromRows() | Tokenize(checkpoint, OPTIONS)
        predictions | Classify(checkpoint, OPTIONS) | WriteLabeled(Run(str(tmp_path / "out"), "run"))
    assert not (tmp_path / "out" / "labels").exists()


def test_rows_are_scored_as_those_of_a_file(tmp_path, checkpoint):
    gold = [{**row, "gold": checkpoint.labels[row["id"] % 2]} for row in ROWS]
    path = write_jsonl(tmp_path / "gold.jsonl", gold)
    config = EvaluateConfig(
        read=ReadOptions(input=(str(path),)),
        model=ModelOptions(model=checkpoint.name, threads=1),
        answers=AnswerOptions(),
        gold=GoldOptions(label_column="gold"),
        measure=MeasureOptions(),
        gates=GateOptions(),
        report=ReportOptions(),
    )
    job = gold_rows.plan(config)
    found: list[Evidence] = []
    for source in (ReadRecords(config.read, layout=job.layout), _Given(gold)):
        COLLECTED.clear()
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            records = pipeline | source
            predictions = records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS)
            predictions | Score(job.sheet) | beam.Map(collect)
        found.append(COLLECTED[0][0])
    one, other = found
    assert one.account.scored == other.account.scored == len(gold)
    assert one.tally.pairs == other.tally.pairs


@dataclass
class _Given(beam.PTransform):
    rows: list[dict[str, Any]]

    def expand(self, root: Any) -> Any:
        return root | beam.Create(self.rows) | FromRows(keep=("gold", "text"), batch_rows=20)


class _Types(PipelineVisitor):
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def visit_value(self, value: Any, producer_node: Any) -> None:
        self.found[producer_node.full_label] = value.element_type


@pytest.mark.parametrize("max_latency", [None, 1.0])
def test_batches_travel_by_the_arrow_coder(max_latency, checkpoint):
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | beam.Create(ROWS) | FromRows(max_latency=max_latency)
    predictions = records | Tokenize(checkpoint) | Classify(checkpoint)
    rows = predictions | ToRows()
    types = _Types()
    pipeline.visit(types)
    ours = [kind for name, kind in types.found.items() if name.startswith(("FromRows/Batch", "Tokenize"))]
    assert len(ours) >= 2 and set(ours) == {pa.RecordBatch}
    assert types.found["Classify/Gather"] is Gathered
    assert rows.element_type == beam.typehints.Dict[str, Any]
    assert predictions.element_type is pa.RecordBatch


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"keep": "name"}, r"keep=\('name',\)"),
        ({"keep": ("*",)}, "NAME:TYPE"),
        ({"keep": ("n:int32",)}, "int64"),
        ({"keep": ("text:int64",)}, "'text' is the text"),
        ({"keep": None}, "keep=None is a NoneType"),
        ({"keep": 5}, "keep=5 is a int"),
        ({"keep": b"name"}, "keep=b'name' is a bytes"),
        ({"keep": {"n": "int64"}}, "keep={'n': 'int64'} is a dict"),
        ({"keep": ("a", 5)}, "a name of keep=5 is a int"),
        ({"text": None}, "text=None"),
        ({"id": ["id"]}, r"id=\['id'\] is a list: expected str or None"),
        ({"source": 5}, "source=5"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"batch_rows": 1.5}, "batch_rows=1.5 is a float: expected int"),
        ({"batch_rows": True}, "batch_rows=True is a bool"),
        ({"batch_rows": None}, "batch_rows=None"),
        ({"max_latency": 0}, "max_latency=0"),
        ({"max_latency": -1}, "max_latency=-1"),
        ({"max_latency": float("nan")}, "max_latency=nan"),
        ({"max_latency": float("inf")}, "max_latency=inf"),
        ({"max_latency": "1"}, "max_latency='1' is a str: expected float or None"),
        ({"max_latency": True}, "max_latency=True"),
    ],
)
def test_options_that_cannot_be(how, said):
    with pytest.raises((TypeError, ValueError), match=said):
        FromRows(**how)


def test_names_to_keep_may_come_from_an_iterator(checkpoint):
    step = FromRows(keep=(name for name in ("stars:float64",)), batch_rows=np.int64(5))  # type: ignore[arg-type]
    for number in range(2):  # a step may stand in several places
        COLLECTED.clear()
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | f"Rows{number}" >> beam.Create(ROWS[:3]) | f"Step{number}" >> step | beam.Map(collect)
        assert [batch["keep"].to_pylist() for batch, _, _ in COLLECTED] == [[{"stars": i / 4} for i in range(3)]]


def test_elements_that_are_known_to_be_no_rows():
    pipeline = beam.Pipeline(runner=FnApiRunner())
    with pytest.raises(ValueError, match=r"json\.loads"):
        pipeline | beam.Create([b"{}"]) | FromRows()
    for number, made in enumerate([pa.record_batch({"text": ["a"]}), pa.table({"text": ["a"]})]):
        with pytest.raises(ValueError, match="batches already"):
            pipeline | f"Batches{number}" >> beam.Create([made]) | f"Held{number}" >> FromRows(max_latency=1)


def test_rows_are_made_of_predictions_only(checkpoint):
    with pytest.raises(Exception, match="PREDICTION batches, which Classify gives"):  # noqa: SIM117
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(TEXTS) | FromRows() | ToRows()


def test_a_table_is_its_rows_and_a_frame_is_none():
    table = pa.table({"text": ["a", "b", None], "n": [1, 2, 3]})
    held = Held(row_layout("text", None, ("n",), "rows", {}), 2)
    made = [batch for batch in held.put(table, 0)] + list(held.take())
    assert [row["text"] for batch in made for row in batch.to_pylist()] == ["a", "b", None]
    for frame in (table.to_pandas(), pl.DataFrame(table.to_pydict()), pl.LazyFrame(table.to_pydict())):
        with pytest.raises(TypeError, match="is no row: hand over its tables"):
            list(held.put(frame, 0))


class Frame(pd.DataFrame):
    pass


class Table(NamedTuple):
    text: str


class Wide(NamedTuple):
    text: str
    columns: int


def test_a_table_is_known_by_what_it_is_and_not_by_a_field_of_a_row():
    with pytest.raises(TypeError, match="a Frame is no row"):
        recorded([Frame({"text": ["a"]})])
    assert [row["text"] for row in recorded([Table("a"), Wide("b", 1)])] == ["a", "b"]


def test_importing_beam_here_says_nothing_and_leaves_logging_as_it_was():
    code = (
        "import logging, sys\n"
        "seen = []\n"
        "class Mine(logging.Handler):\n"
        "    def emit(self, record): seen.append(record.getMessage())\n"
        "root = logging.getLogger()\n"
        "if sys.argv[1] == 'mine': root.addHandler(Mine())\n"
        "before = list(root.handlers), list(root.filters), root.level\n"
        "import seqcls_beam.transforms\n"
        "assert (root.handlers, root.filters, root.level) == before, root.handlers\n"
        "logging.warning('apitools not found, as I say'); logging.warning('mine')\n"
        "assert sys.argv[1] != 'mine' or seen == ['apitools not found, as I say', 'mine'], seen\n"
    )
    for argument, said in (("mine", ""), ("none", "WARNING:root:apitools not found, as I say\nWARNING:root:mine\n")):
        command = [sys.executable, "-W", "error", "-c", code, argument]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert (done.stdout, done.stderr, done.returncode) == ("", said, 0)
