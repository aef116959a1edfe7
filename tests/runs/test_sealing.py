"""Sealed windows: every message once, the same bytes whatever the pieces, and amendments for what comes later."""

import itertools
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run as started

import fsspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqcls_beam import open_labels
from seqcls_beam.runs import cleaning, gathering, pieces, sealing, windows
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.table import read_manifest
from tests import gcs
from tests.halt import Process, halting
from tests.messages import Message, predictions
from tests.runs.streams import (
    FIRST,
    LENGTH,
    SECOND,
    S,
    append,
    appended,
    content,
    ids,
    left,
    prepared,
    rejected,
    seal,
    sealed,
    several,
    short_rows,
)

NEVER = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def out(tmp_path):
    return prepared(tmp_path / "out")


# A message is what it is however often it is delivered; whether it was labelled then, and by which model, may differ.
UNIVERSE = [
    Message(f"m{number}", time, published, key, text=f"text {number}")
    for number, (time, published, key) in enumerate(
        [
            (0, 5, None),
            (1, 4, "k"),
            (1, 3, "k"),
            (1, 3, "m0"),  # a key that is called like an id is none
            (299 * S, 2, ""),  # an empty key is none
            (299 * S, 1, ""),
            (300 * S, 0, "k"),  # another window
            (-1, 9, "l"),
            (-1, 8, "l"),
        ]
    )
]
DELIVERY = st.tuples(st.sampled_from(UNIVERSE), st.booleans(), st.sampled_from(["a" * 64, "b" * 64]))
DELIVERIES = st.lists(DELIVERY, min_size=1, max_size=25)
Delivery = tuple[Message, bool, str]


def deliver(out: str, deliveries: list[Delivery]) -> None:
    """A batch is of one model."""
    for model in ("a" * 64, "b" * 64):
        batch = [Message(**{**vars(each), "rejected": bad}) for each, bad, of in deliveries if of == model]
        pieces.append(out, predictions(batch, keyed=True, model=model), LENGTH)


def cut(deliveries: list[Delivery], at: list[int]) -> list[list[Delivery]]:
    ends = [0, *sorted(min(each, len(deliveries)) for each in at), len(deliveries)]
    return [deliveries[low:high] for low, high in itertools.pairwise(ends)]


def name_of(message: Message) -> tuple[str, str]:
    return ("key", message.key) if message.key else ("id", message.id)


def row_of(message: Message, bad: bool) -> tuple[str, bool, tuple[str, str]]:
    """What a row is the only one of: a message in a window; of a reject by its id."""
    return windows.name(message.time // (LENGTH * S) * LENGTH), bad, ("id", message.id) if bad else name_of(message)


def expected(deliveries: list[Delivery]) -> dict[str, list[tuple[str, bool, str]]]:
    """Window → (id, whether it is a reject, model) in order, one row after the other looked at."""
    good = {message.id for message, bad, _ in deliveries if not bad}
    best: dict[tuple[str, bool, tuple[str, str]], Delivery] = {}
    for each in sorted(deliveries, key=lambda each: (each[0].published, each[0].id, each[2])):
        if not each[1] or each[0].id not in good:
            best.setdefault(row_of(*each[:2]), each)
    found: dict[str, list[tuple[str, bool, str]]] = {}
    for (window, *_), (message, bad, model) in sorted(best.items(), key=lambda item: (item[1][0].time, item[1][0].id)):
        found.setdefault(window, []).append((message.id, bad, model[:12]))
    return found


def found(out: str) -> dict[str, list[tuple[str, bool, str]]]:
    """The same, read off the parts."""
    rows: dict[str, list[tuple[int, str, bool, str]]] = {}
    for path, data in content(out).items():
        for row in pq.read_table(pa.BufferReader(data)).to_pylist():
            time = round(row["event_time"].timestamp() * S)
            where = rows.setdefault(path.split("/")[1], [])
            where.append((time, row["message_id"], "label" not in row, row.get("model", "")))
    return {window: [each[1:] for each in sorted(of)] for window, of in rows.items()}


def without_models(rows: dict[str, list[tuple[str, bool, str]]]) -> dict[str, list[tuple[str, bool, str]]]:
    """Rejects do not say which model there was."""
    return {window: [(id, bad, "" if bad else model) for id, bad, model in of] for window, of in rows.items()}


@NEVER
@given(DELIVERIES, st.lists(st.integers(0, 25), max_size=6), st.randoms())
def test_the_same_rows_are_the_same_bytes_whatever_the_pieces(deliveries, at, chance):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    whole, many = prepared("memory://whole"), prepared("memory://many")
    deliver(whole, deliveries)
    shuffled = chance.sample(deliveries, len(deliveries))
    for batch in cut(shuffled, at):
        deliver(many, batch)
    live = ids(many, live=True)
    for each in (whole, many):
        assert all(done.fault is None for done in seal(each).values())
        assert left(each) == []
    assert found(whole) == without_models(expected(deliveries))
    assert content(whole) == content(many)
    assert ids(many) == live == sorted(id for of in expected(deliveries).values() for id, bad, _ in of if not bad)


@NEVER
@given(DELIVERIES, st.lists(st.integers(0, 25), max_size=6), st.lists(st.booleans(), min_size=7, max_size=7))
def test_every_message_is_one_row_whenever_windows_are_sealed(deliveries, at, sealing):
    fsspec.filesystem("memory").store.clear()
    out = prepared("memory://out")
    by_id = {each.id: each for each in UNIVERSE}
    waiting: list[Delivery] = []
    there: list[tuple[str, bool]] = []  # id, whether it is a reject
    batches = [batch for batch in cut(deliveries, at) if batch]
    for number, batch in enumerate(batches):
        deliver(out, batch)
        waiting += batch
        last = number == len(batches) - 1
        assert len(ids(out, live=True)) == len({row_of(by_id[id], False) for id in ids(out, live=True)})
        if last or sealing[number]:
            held = {row_of(by_id[id], bad) for id, bad in there}
            rows = [(id, bad) for of in expected(waiting).values() for id, bad, _ in of]
            new = [(id, bad) for id, bad in rows if row_of(by_id[id], bad) not in held]
            there += [(id, bad) for id, bad in new if not bad or (id, False) not in there]
            waiting, before, live = [], content(out), ids(out, live=True)
            told = seal(out).values()
            assert before.items() <= content(out).items(), "what is sealed is never touched"
            assert sorted((id, bad) for of in found(out).values() for id, bad, _ in of) == sorted(there)
            assert ids(out) == live == ids(out, live=True) and left(out) == []
            manifests = [read_manifest(out, each.window) or {} for each in told]
            assert all(each["messages"]["distinct"] == len({id for id, _, _ in found(out)[window]})
                       for each in manifests for window in [each["commit"]["partition"]])  # fmt: skip
    good = {row_of(message, False) for message, bad, _ in deliveries if not bad}
    assert {row_of(by_id[id], False) for id, bad in there if not bad} == good, "whenever somebody sealed"
    assert {id for id, _ in there} >= {message.id for message, bad, _ in deliveries if bad} - {
        message.id for message, bad, _ in deliveries if not bad
    }, "no payload is lost"


def test_a_message_is_one_whether_a_job_read_its_key_or_not(out):
    append(out, Message("a", 0, 1, "k"), Message("b", 0, 2, "k"), keyed=True)
    append(out, Message("b", 0, 2), Message("c", 0, 3))
    assert ids(out, live=True) == ["a", "c"]
    seal(out)
    assert ids(out) == ["a", "c"]
    append(out, Message("c", 0, 3, "k"), Message("a", 0, 1), Message("d", 0, 4, "d"), keyed=True)
    assert seal(out)[FIRST].labeled == 1
    assert ids(out) == ["a", "c", "d"]


def test_what_is_told_of_a_window(out):
    append(out, Message("a", 0, text="aa"), Message("b", 5, rejected=True), Message("c", 3, text="c"))
    append(out, Message("c", 3, text="c"), Message("d", 299 * S, text="d"), model="f" * 64)
    first = seal(out)[FIRST]
    assert (first.version, first.labeled, first.rejected, first.duplicates, first.amended) == (1, 3, 1, 1, 0)
    append(out, Message("b", 5), Message("e", 7, rejected=True), Message("f", 9, text="ffff"))
    second = seal(out)[FIRST]
    assert (second.version, second.labeled, second.rejected, second.duplicates, second.amended) == (2, 2, 1, 0, 1)
    assert seal(out) == {}
    told = read_manifest(out, FIRST)
    assert told is not None
    assert told["window"] == {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:05:00Z", "amended": 1}
    assert (told["rows"]["in"], told["rows"]["labeled"], told["rows"]["rejected"]) == (7, 5, 2)
    assert told["rows"]["rejected_by_reason"] == {"invalid_json": 2}
    assert told["messages"] == {
        "distinct": 6,
        "duplicates": 1,
        "first": "1970-01-01T00:00:00Z",
        "last": "1970-01-01T00:04:59Z",
    }
    assert list(told["models"]) == ["0123456789ab", "f" * 12]
    assert told["tokens"] == 8 and told["label_counts"] == {"negative": 2, "positive": 3}
    assert [part["rows"] for part in told["parts"]] == [3, 2] and [part["rows"] for part in told["rejects"]] == [1, 1]
    (reject, _) = (pq.read_table(Path(out, part["path"])).to_pylist()[0] for part in told["rejects"])
    assert (reject["source"], reject["position"], reject["reason"], reject["raw"]) == (
        "pubsub",
        5,
        "invalid_json",
        b"{b",
    )
    assert reject["message_id"] == "b"


def test_times_of_any_year_have_windows(out):
    year_1, year_9999 = -62_135_596_800 * S, 253_402_300_799 * S
    times = {"1970": 0, "before": -1, "2099": 4_070_908_800 * S, "first": year_1, "last": year_9999, "beyond": 2**62}
    append(out, *(Message(name, time) for name, time in times.items()))
    assert len(seal(out)) == len(times)
    assert ids(out) == sorted(times) and left(out) == []
    raw = open_labels(out).to_table()
    assert (
        dict(zip(raw["message_id"].to_pylist(), pc.cast(raw["event_time"], pa.int64()).to_pylist(), strict=True))
        == times
    )
    assert {"00010101T000000Z", "99991231T235500Z", "19691231T235500Z"} <= set(raw["window"].to_pylist())


def test_windows_are_sealed_until_a_time(out):
    append(out, *(Message(str(number), number * 300 * S) for number in range(4)))
    assert list(seal(out, until=599_999_999)) == [FIRST]
    assert list(seal(out, until=600 * S)) == [SECOND]
    assert ids(out) == ["0", "1"] and ids(out, live=True) == ["0", "1", "2", "3"]
    assert len(seal(out)) == 2


def test_a_window_of_rejects_only(out):
    append(out, Message("a", 0, rejected=True))
    assert ids(out, live=True) == []
    seal(out)
    assert ids(out) == [] and rejected(out) == ["a"]
    append(out, Message("a", 0), Message("b", 0), Message("a", 0, rejected=True))
    assert ids(out, live=True) == ["a", "b"], "what is rejected keeps no row out"
    assert (done := seal(out)[FIRST]).rejected == 0 and done.duplicates == 1
    assert ids(out) == ["a", "b"] and rejected(out) == ["a"]
    told = read_manifest(out, FIRST)
    assert told is not None and told["rows"]["in"] == 3 and told["messages"]["distinct"] == 2
    append(out, Message("a", 0, rejected=True), Message("b", 0, rejected=True))
    assert seal(out)[FIRST].version is None
    assert ids(out) == ["a", "b"] and rejected(out) == ["a"]


@pytest.mark.parametrize("between", [False, True])
def test_a_mended_publishing_is_there_whenever_somebody_sealed(out, between):
    append(out, Message("a", 0, 1, "k", rejected=True), keyed=True)
    if between:
        seal(out)
    append(out, Message("b", 0, 2, "k", text="mended"), Message("c", 0, 3, "k", rejected=True), keyed=True)
    assert ids(out, live=True) == ["b"]
    seal(out)
    assert ids(out) == ["b"] and rejected(out) == ["a", "c"], "every payload that nobody labelled"


def test_rows_with_other_columns_are_in_parts_of_their_own(out):
    append(out, Message("a", 0, text="one"), Message("b", 2, text="two"))
    append(out, Message("c", 1, text="three"), keep=[("size", pa.int64())], labels=["bad", "good"], model="f" * 64)
    append(out, Message("d", 400 * S, text="four"), keep=[("size", pa.int64())])
    live = open_labels(out, live=True).to_table()
    assert live.num_rows == 4
    seal(out, until=300 * S)
    half = open_labels(out, live=True).to_table()
    seal(out)
    whole = open_labels(out).to_table()
    for table in (live, half, whole):
        rows = {row["message_id"]: (row["text"], row["size"], row["label"], row["model"]) for row in table.to_pylist()}
        assert rows == {
            "a": ("one", None, "negative", "0123456789ab"),
            "b": ("two", None, "negative", "0123456789ab"),
            "c": (None, 5, "good", "f" * 12),
            "d": (None, 4, "negative", "0123456789ab"),
        }
    parts = [pq.read_table(path) for path in sorted(Path(out, "labels", FIRST).iterdir())]
    assert sorted(part["message_id"].to_pylist() for part in parts) == [["a", "b"], ["c"]]
    labels = {
        part["message_id"][0].as_py(): orjson.loads(part.schema.metadata[b"seqcls_beam.labels"]) for part in parts
    }
    assert labels == {"a": ["negative", "positive"], "c": ["bad", "good"]}


def test_columns_of_another_type_are_named_and_nothing_is_lost(out):
    """`append` refuses them; where what it remembers is lost, both are in their files."""
    append(out, Message("a", 0, text="one"))
    shutil.rmtree(Path(out, "_pieces", "columns"))
    append(out, Message("b", 1, text="three"), keep=[("text", pa.int64())])
    assert seal(out)[FIRST].labeled == 2
    with pytest.raises(RunError, match=r"text"):
        open_labels(out)
    tables = [
        pq.read_table(path).select(["message_id", "text"]) for path in sorted(Path(out, "labels", FIRST).iterdir())
    ]
    assert sorted(row["text"] for table in tables for row in table.to_pylist() if row["message_id"] == "a") == ["one"]


def test_parts_are_cut_by_rows_and_bytes_alone(out, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "PART_ROWS", 7)
    monkeypatch.setattr(gathering, "PART_BYTES", 1500)
    messages = [Message(f"m{number:02}", number % 9, text="x" * (number * 37 % 400)) for number in range(60)]
    append(out, *messages)
    seal(out)
    other = prepared(tmp_path / "other")
    monkeypatch.setattr(gathering, "SLICE_ROWS", 5)
    for start in range(0, 60, 4):
        append(other, *messages[start : start + 4])
    seal(other)
    assert content(out) == content(other) and len(content(out)) > 9
    rows = [pq.read_table(Path(out, name)) for name in sorted(content(out))]
    assert max(len(each) for each in rows) <= 7
    order = [(row["event_time"], row["message_id"]) for each in rows for row in each.to_pylist()]
    assert order == sorted(order) and len(order) == 60


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: data[: len(data) // 3], lambda _: b"", None])
def test_a_damaged_piece_is_named_and_its_window_waits(out, damage):
    append(out, Message("a", 0, text="some text"), Message("b", 400 * S))
    append(out, Message("c", 1))
    path = next(path for path in Path(out, "_pieces", FIRST).iterdir() if b"some text" in path.read_bytes())
    data = path.read_bytes()
    # Of a page's data only its checksum tells.
    broken = data.replace(b"some text", b"some test") if damage is None else damage(data)
    path.write_bytes(broken)
    told = seal(out)
    assert path.name in (told[FIRST].fault or "") and told[FIRST].version is None
    assert told[SECOND].version == 1 and ids(out) == ["b"]
    with pytest.raises(RunError, match=path.name):
        open_labels(out, live=True)
    assert not Path(out, "_attempts").exists() and len(list(Path(out, "_pieces", FIRST).iterdir())) == 2
    path.write_bytes(data)
    assert seal(out)[FIRST].labeled == 2 and ids(out) == ["a", "b", "c"]


def test_a_damaged_version_is_named_and_other_windows_are_sealed(out):
    append(out, Message("a", 0), Message("b", 400 * S))
    seal(out)
    append(out, Message("c", 0), Message("d", 400 * S))
    Path(out, "_versions", FIRST, "00000001.json").write_text("{")
    told = seal(out)
    assert "00000001.json is no version" in (told[FIRST].fault or "") and told[SECOND].version == 2


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path, write_page_checksum=True)


def with_column(name: str, kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    """A column is made null, or of another type."""

    def change(table: pa.Table) -> pa.Table:
        values = pa.nulls(len(table), table[name].type) if kind is None else table[name].cast(kind)
        return table.set_column(table.column_names.index(name), name, values)

    return change


WRONG = {
    "event_time is null": (with_column("event_time"), "1 of its rows have no event_time"),
    "event_time is a string": (with_column("event_time", pa.string()), "event_time is string"),
    "event_time is in milliseconds": (
        with_column("event_time", pa.timestamp("ms", "UTC")),
        r"event_time is timestamp\[ms",
    ),
    "message_id is null": (with_column("message_id"), "1 of its rows have no message_id"),
    "message_id is bytes": (with_column("message_id", pa.binary()), "message_id is binary"),
    "publish_time is null": (with_column("publish_time"), "1 of its rows have no publish_time"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_piece_with_wrong_contents_is_named_and_other_windows_are_sealed(out, what):
    change, said = WRONG[what]
    append(out, Message("a", 0), Message("b", 400 * S))
    (path,) = Path(out, "_pieces", FIRST).iterdir()
    rewritten(path, change)
    told = seal(out)
    assert re.search(f"{path.name} is no piece of a stream: {said}", told[FIRST].fault or "")
    assert told[SECOND].version == 1 and ids(out) == ["b"] and path.exists()
    with pytest.raises(RunError, match=path.name):
        open_labels(out, live=True)


def test_whatever_is_wrong_with_the_rows_of_a_window_the_others_are_sealed(out):
    append(out, Message("a", 0), Message("b", 400 * S))
    (path,) = Path(out, "_pieces", FIRST).iterdir()
    rewritten(path, lambda table: table.drop_columns(["truncated"]))
    told = seal(out)
    assert (told[FIRST].fault or "").startswith(f"{FIRST} cannot be sealed: KeyError: ")
    assert told[SECOND].version == 1 and left(out) == [f"_pieces/{FIRST}/{path.name}"]


def test_a_folder_of_a_window_that_may_not_be_written_is_named_and_the_others_are_sealed(out):
    append(out, Message("a", 0), Message("b", 400 * S))
    Path(out, "labels").mkdir()
    Path(out, "labels", FIRST).write_text("not a folder")
    told = seal(out)
    assert FIRST in (told[FIRST].fault or "") and told[SECOND].version == 1
    Path(out, "labels", FIRST).unlink()
    assert seal(out)[FIRST].version == 1 and ids(out) == ["a", "b"]


def test_a_piece_in_the_folder_of_another_window_is_named(out):
    append(out, Message("a", 0), Message("b", 1))
    append(out, Message("c", 400 * S), Message("d", 900 * S))
    (path,) = Path(out, "_pieces", FIRST).iterdir()
    moved = path.rename(Path(out, "_pieces", SECOND, path.name))
    told = seal(out)
    assert re.search(
        f"{path.name} has 2 rows of other windows, such as one of 1970-01-01T00:00:00Z", told[SECOND].fault or ""
    )
    assert ids(out) == ["d"], "nothing is misfiled"
    with pytest.raises(RunError, match=path.name):
        open_labels(out, live=True)
    path.parent.mkdir(exist_ok=True)
    moved.rename(path)
    seal(out)
    assert ids(out) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda _: b"", lambda data: bytes(len(data))])
@pytest.mark.parametrize("folder", ["labels", "_rejects"])
def test_a_damaged_part_is_named_and_other_windows_are_sealed(out, damage, folder):
    append(out, Message("a", 0), Message("x", 1, rejected=True), Message("b", 400 * S))
    seal(out)
    append(out, Message("c", 2), Message("d", 401 * S))
    (part,) = Path(out, folder, FIRST).iterdir()
    data = part.read_bytes()
    part.write_bytes(damage(data))
    told = seal(out)
    assert part.name in (told[FIRST].fault or "") and told[SECOND].version == 2
    if folder == "labels":
        for live in (False, True):
            with pytest.raises(RunError, match=part.name):
                open_labels(out, live)
    part.write_bytes(data)
    assert seal(out)[FIRST].labeled == 1 and ids(out) == ["a", "b", "c", "d"]


def test_late_rows_come_together_where_one_has_patience(out, monkeypatch):
    """A look every 30 s, a late row before each: the window is amended once in its length."""
    now = 1_700_000_000.0
    monkeypatch.setattr(sealing, "_now", lambda: now)
    append(out, Message("m00", 0))
    assert seal(out, patience=LENGTH)[FIRST].version == 1
    for number in range(1, 41):
        now += 30
        append(out, Message(f"m{number:02}", number))
        for each in seal(out, patience=LENGTH).values():
            assert each.version is not None and number % 10 == 0
        assert len(ids(out, live=True)) == number + 1
    assert len(list(Path(out, "_versions", FIRST).iterdir())) == 5
    append(out, Message("n", 1), Message("o", 400 * S))
    assert list(seal(out, patience=LENGTH)) == [SECOND], "one that was never sealed does not wait"
    assert seal(out)[FIRST].labeled == 1 and len(ids(out)) == 43
    append(out, Message("p", 1))
    now -= 10_000
    assert seal(out, patience=LENGTH)[FIRST].labeled == 1, "a clock that is ahead keeps nobody waiting"


def test_a_kept_column_is_not_what_the_model_says(out, tmp_path):
    for name, keep in (("labels", "labels"), ("label", "label")):
        folder = prepared(tmp_path / name)
        batch = predictions([Message("a", 1, text="gold"), Message("b", 2, text="gold")], keep=[(keep, pa.string())])
        pieces.append(folder, batch if name == "labels" else several(batch, 0.5), LENGTH)
        append(folder, Message("c", 400 * S))
        assert [each.fault for each in seal(folder).values()] == [None, None]
        told = read_manifest(folder, FIRST)
        assert told is not None and set(told["label_counts"]) == {"negative", "positive"}


def test_a_piece_whose_kept_column_has_the_name_of_the_other_kind_of_answers_is_sealed(out):
    append(out, Message("a", 1, text="gold"), keep=[("title", pa.string())])
    (path,) = Path(out, "_pieces", FIRST).iterdir()
    rewritten(
        path, lambda table: table.rename_columns({"title": "labels"}).replace_schema_metadata(table.schema.metadata)
    )
    assert seal(out)[FIRST].fault is None
    told = read_manifest(out, FIRST)
    assert told is not None and told["label_counts"] == {"positive": 1}


def test_a_window_says_which_models_made_its_rows(out):
    append(out, Message("a", 0))
    pieces.append(out, several(predictions([Message("b", 1)], model="f" * 64), 0.7), LENGTH)
    pieces.append(out, several(predictions([Message("x", 1, rejected=True)], model="e" * 64), 0.7), LENGTH)
    seal(out)
    append(out, Message("c", 2), model="d" * 64)
    shutil.rmtree(Path(out, "_pieces", "models"))
    seal(out)
    told = read_manifest(out, FIRST)
    assert told is not None
    kinds = {
        name: (each.get("model", {}).get("problem"), each.get("threshold")) for name, each in told["models"].items()
    }
    assert kinds == {
        "0123456789ab": ("single_label", None),
        "ffffffffffff@0.7": ("multi_label", 0.7),
        "dddddddddddd": (None, None),
    }
    made = told["models"]["ffffffffffff@0.7"]
    assert made["model"]["digest"] == "f" * 64 and made["model"]["labels"] == ["negative", "positive"]
    assert [engine["threshold"] for engine in made["engines"]] == [0.7]


def test_a_folder_without_pieces_says_so(tmp_path):
    with pytest.raises(RunError, match="holds no pieces of a stream"):
        seal(tmp_path)


def test_a_table_that_no_stream_wrote_is_left_alone(out):
    Path(out, "_versions").mkdir()
    append(out, Message("a", 0))
    folder = Path(out, "labels", FIRST)
    folder.mkdir(parents=True)
    (folder / "mine.parquet").write_bytes(b"")
    assert "mine.parquet is not of a run" in (seal(out)[FIRST].fault or "")
    assert ids(out, live=True) == ["a"]


def test_cleaning_takes_no_row_that_waits(out):
    append(out, Message("a", 0))
    seal(out)
    append(out, Message("b", 0), Message("c", 400 * S))
    for before in (None, "2999-01-01"):
        assert list(cleaning.remove(out, cleaning.look(out, before))) == []
    seal(out)
    assert ids(out) == ["a", "b", "c"]


EARLY = [Message("a", 0, text="a"), Message("b", 9, rejected=True)]
LATER = [Message("c", 5, text="c"), Message("a", 0, text="a"), Message("d", 400 * S, text="d"), Message("b", 9)]
AFTER = [Message("e", 6, text="e"), Message("c", 5, text="c"), Message("f", 401 * S), Message("g", 900 * S)]


def at_work(folder: Path) -> str:
    """A window that is sealed and gets more, and one that is new."""
    out = prepared(folder / "out")
    append(out, *EARLY)
    seal(out)
    append(out, *LATER[:2])
    append(out, *LATER[2:])
    return out


def halt(folder: Path, step: int) -> bool:
    """Halt a sealer at a step; let another one seal while pieces are written; wake it. Whether there is such a step."""
    out = at_work(folder)
    with halting(sealed, out, step=str(step), output=out, log=folder / "first.log") as woken:
        if not woken.halted():
            assert woken.code() == 0, woken.said()
            return False
        assert ids(out, live=True) == ["a", "b", "c", "d"]
        writer = Process(appended, out, [[each] for each in AFTER], step, log=folder / "writer.log")
        other = Process(sealed, out, log=folder / "other.log")
        assert (writer.code(), other.code()) == (0, 0), (writer.said(), other.said())
        assert ids(out, live=True) == ["a", "b", "c", "d", "e", "f", "g"], step
        assert woken.wake().code() == 0, (step, woken.said())
    assert ids(out, live=True) == ["a", "b", "c", "d", "e", "f", "g"], step
    assert sealed(out) == 0
    assert ids(out) == ["a", "b", "c", "d", "e", "f", "g"] and rejected(out) == ["b"], step
    assert left(out) == [], step
    return True


_EVERY = pytest.param(1, 1, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("step", "stride"), [(3, 23), _EVERY])
def test_a_sealer_halted_at_a_step_while_another_one_seals(tmp_path, step, stride):
    while halt(tmp_path / str(step), step):
        step += stride
    assert step > 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("how", "first", "stride"),
    [
        ("kill", 1, 4),
        ("fail", 3, 4),
        *(pytest.param(how, 1, 1, marks=pytest.mark.slow) for how in ("kill", "fail")),
    ],
)
def test_a_sealer_interrupted_at_its_steps(tmp_path, how, first, stride):
    command = [sys.executable, "-m", "tests.runs.crash_seal", str(tmp_path), how, str(first), str(stride)]
    done = started(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert int(done.stdout.split()[-2]) > 30


@pytest.mark.timeout(300)
def test_many_seal_and_write_at_once(tmp_path):
    out = prepared(tmp_path / "out")
    messages = [Message(f"m{number}", number * 31 % 700 * S, number) for number in range(60)]
    batches = [messages[start : start + 5] for start in range(0, 60, 3)]  # some of each batch are in the next one
    with_others = [
        *(Process(appended, out, batches[which::2], which, log=tmp_path / f"w{which}.log") for which in (0, 1)),
        *(Process(sealed, out, log=tmp_path / f"s{which}.log") for which in range(4)),
    ]
    for each in with_others:
        assert each.code() == 0, each.said()
    assert sealed(out) == 0
    assert ids(out) == sorted(each.id for each in messages) and left(out) == []


def test_in_a_bucket_as_on_a_disk(tmp_path):
    with gcs.bucket("stream") as bucket:
        for out in (f"{bucket}/out", str(tmp_path / "out")):
            prepared(out)
            for batch in (EARLY, LATER, LATER):
                append(out, *batch)
            assert ids(out, live=True) == ["a", "b", "c", "d"]
            assert all(each.fault is None for each in seal(out).values())
            append(out, *AFTER)
            assert ids(out, live=True) == ["a", "b", "c", "d", "e", "f", "g"]
            seal(out)
            assert ids(out) == ["a", "b", "c", "d", "e", "f", "g"] and left(out) == []
        assert content(f"{bucket}/out") == content(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_window_of_three_million_rows_is_sealed_in_bounded_memory(tmp_path, ordered):
    out = prepared(tmp_path / "out")
    chance = np.random.default_rng(0)
    for start in range(0, 3_000_000, 20_000):
        numbers = np.arange(start, start + 20_000)
        pieces.append(
            out, short_rows(numbers, numbers * 99 if ordered else chance.integers(0, 300 * S, 20_000)), LENGTH
        )
    code = (
        "import re, sys, time; from pathlib import Path; from tests.runs.streams import seal\n"
        f"began = time.process_time(); (done,) = seal({out!r}).values(); spent = time.process_time() - began\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "print(done.labeled, int(peak) // 1024, round(done.labeled / spent))"
    )
    done = started([sys.executable, "-c", code], capture_output=True, text=True, timeout=880, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, peak, _ = map(int, done.stdout.split())
    assert rows == open_labels(out).count_rows() == 3_000_000
    assert peak < 1200, "MiB; what is kept of a row until the end are some 100 bytes"
