"""A night looks at every partition once, and at one that is replaced meanwhile once more."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from seqcls_beam import storage
from seqcls_beam.runs import covered, table
from seqcls_beam.runs.covered import Covered
from seqcls_beam.runs.nights import new_files
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, verified_record
from seqcls_beam.runs.store import Disk, store_of
from seqcls_beam.schema import UNIT
from tests.runs.attempts import write_run

DAYS = [f"run_date=2026-11-{day:02}" for day in range(1, 13)]


def night(out: Path, partition: str, letter: str = "a") -> None:
    run = follow(Run(str(out), letter * 32, True, partition=partition))
    write_run(run, 1)
    publish(run, [verified_record(run, 0)])


@pytest.fixture
def asked(monkeypatch) -> Counter[str]:
    """How often a store is asked what."""
    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def ask(self: Disk, of: str) -> Any:
            counts[f"{name} {of}"] += 1
            return function(self, of)

        return ask

    for name in ("exists", "read", "names"):
        monkeypatch.setattr(Disk, name, counted(name, getattr(Disk, name)))
    return counts


def test_each_version_is_read_once_for_what_is_covered_and_for_columns(tmp_path, asked):
    for day in DAYS:
        night(tmp_path, day)
    run = follow(Run(str(tmp_path), "", partition="run_date=2026-12-01"))
    asked.clear()
    files = pa.RecordBatch.from_pylist([{"path": "x", "size": 1, "version": "1"}], UNIT)
    found = new_files(run, files, {})
    before = Counter(asked)
    assert {each: before[f"read _versions/{each}/00000001.json"] for each in DAYS} == dict.fromkeys(DAYS, 1)
    of_partitions = sum(count for what, count in before.items() if "run_date=2026-11" in what)
    assert of_partitions <= 5 * len(DAYS), before  # two names of versions, one read, the stage, one listing
    assert found.there == table.shapes(store_of(str(tmp_path))) and list(found.there) == DAYS


def test_a_partition_that_is_replaced_during_the_look_is_not_told_to_be_gone(tmp_path, monkeypatch):
    night(tmp_path, DAYS[0])
    missing = covered.missing
    replaced = iter("bc")

    def late(*of: Any) -> Any:
        if letter := next(replaced, None):  # between the look at the version and the one at its parts
            night(tmp_path, DAYS[0], letter)
        return missing(*of)

    monkeypatch.setattr(covered, "missing", late)
    found = Covered(store_of(str(tmp_path)), {})
    assert found.gone == {} and found.files == {("corpus.jsonl", 9, "1"): True}
    assert next(replaced, None) is None


def test_a_part_that_is_gone_is_told_and_one_that_a_listing_lacks_is_not(tmp_path, monkeypatch):
    night(tmp_path, DAYS[0])
    names = Disk.names
    with monkeypatch.context() as lagging:
        lagging.setattr(Disk, "names", lambda self, of: [] if of.startswith("labels/") else names(self, of))
        assert Covered(store_of(str(tmp_path)), {}).gone == {}
    (part,) = (tmp_path / "labels" / DAYS[0]).iterdir()
    storage.remove(str(part))
    assert Covered(store_of(str(tmp_path)), {}).gone == {DAYS[0]: f"labels/{DAYS[0]}/{part.name}"}
