"""What is written down of judgements: it only moves forward, in whatever order they come."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.runs.approval import NAME, Approval, approval, record
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.versions import Version, read_version
from tests.runs.attempts import write_version


def version(out: Path, day: int, number: int = 1) -> Version:
    partition = f"run_date=2026-11-{day}"
    written = write_version(out / "made", {"run_id": f"r{day}-{number}"}, partition=partition, version=number)
    target = out / "_versions" / partition / f"{number:08d}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    written.rename(target)
    return read_version(store_of(str(out)), partition, number)[0]


def said(out: Path) -> dict:
    return json.loads((out / NAME).read_bytes())


def test_the_last_night_that_passed_and_each_other_one(tmp_path):
    store = store_of(str(tmp_path))
    assert approval(store) == Approval()
    first, second, third = (version(tmp_path, day) for day in (19, 20, 21))
    record(store, first, [])
    record(store, second, ["too many", "too few"])
    record(store, third, [])
    assert said(tmp_path) == {
        "format_version": 1,
        "kind": "approval",
        "partition": "run_date=2026-11-21",
        "version": "_versions/run_date=2026-11-21/00000001.json",
        "labels": "labels/run_date=2026-11-21",
        "run_id": "r21-1",
        "passed": {"run_date=2026-11-19": 1, "run_date=2026-11-21": 1},
        "failed": {"run_date=2026-11-20": {"version": 1, "why": ["too many", "too few"]}},
    }
    record(store, second, [])
    assert said(tmp_path)["partition"] == "run_date=2026-11-21" and not said(tmp_path)["failed"]
    assert said(tmp_path)["passed"]["run_date=2026-11-20"] == 1
    record(store, third, ["a second thought"])
    assert said(tmp_path)["partition"] == "run_date=2026-11-21", "what consumers read is not taken from them"
    assert not said(tmp_path)["failed"]


def test_who_judged_a_version_that_was_replaced_meanwhile_writes_nothing(tmp_path):
    store = store_of(str(tmp_path))
    old = version(tmp_path, 19)
    new = version(tmp_path, 19, number=2)
    assert record(store, old, []) == Approval() and not (tmp_path / NAME).exists()
    assert record(store, new, ["bad"]).refuses("run_date=2026-11-19", 2)
    assert record(store, old, []).passed == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans()), max_size=12))
def test_in_any_order_it_only_moves_forward(judgements):
    known = Approval()
    for partition, number, passes in judgements:
        after = known.judged(partition, number, [] if passes else ["why"])
        assert after.passed.keys() >= known.passed.keys()
        assert all(after.passed[name] >= known.passed[name] for name in known.passed)
        assert after.last == max(after.passed, default=None)
        assert all(after.passed.get(name, 0) < failed for name, (failed, _) in after.failed.items())
        known = after
    passed = {name: max(n for p, n, passes in judgements if p == name and passes) for name in known.passed}
    assert known.passed == passed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format_version": 2, "kind": "approval", "passed": {}, "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {"run_date=2026-11-19": "1"}, "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {"run_date=2026-11-19": true}, "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {}, "failed": {"a": {"version": 1}}}',
        b'{"format_version": 1, "kind": "approval", "passed": [], "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {"../other": 1}, "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {"run_date=../../other": 1}, "failed": {}}',
        b'{"format_version": 1, "kind": "approval", "passed": {}, "failed": {"labels": {"version": 1, "why": []}}}',
    ],
)
def test_a_file_of_somebody_else_is_refused(tmp_path, data):
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(RunError, match=f"{NAME} is none of this program's; move it away, and judge the nights again"):
        approval(store_of(str(tmp_path)))
    with pytest.raises(RunError, match="is none of this program's"):
        record(store_of(str(tmp_path)), version(tmp_path, 19), [])
    assert (tmp_path / NAME).read_bytes() == data
