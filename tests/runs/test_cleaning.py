"""What no version names is found and removed, and who is at work, or wakes late, comes to no harm."""

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from pipelines import clean
from seqcls_beam import open_labels, storage
from seqcls_beam.runs import claims, cleaning, lease
from seqcls_beam.runs.covered import Covered
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, RunError, finished_units, open_attempt, verified_record
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import read_manifest
from seqcls_beam.runs.versions import newest
from tests.runs.attempts import write_run

MODEL = "0" * 64
DAY, LATER = "run_date=2026-11-20", "run_date=2026-11-21"


def make(out: Path, run_id: str, units: int = 1, partition: str = "", overwrite: bool = False) -> Run:
    """A run with its units written, not published."""
    run = follow(Run(str(out), run_id * 32, overwrite, partition=partition))
    write_run(run, units)
    return run


def published(out: Path, run_id: str, units: int = 1, partition: str = "", overwrite: bool = False) -> Run:
    run = make(out, run_id, units, partition, overwrite)
    publish(run, [verified_record(run, unit) for unit in range(units)])
    return run


def let_pass(folder: str, seconds: float = lease.EXPIRES + 60) -> None:
    """Let everything in a folder look as if nothing had changed for a while."""
    then = time.time() - seconds
    for path in [Path(folder), *Path(folder).rglob("*")]:
        os.utime(path, (then, then))


def removed(out: Path, before: str | None = None) -> dict[str, str | None]:
    found = cleaning.look(str(out), before)
    return {each.name: why for each, why in cleaning.remove(str(out), found)}


def test_nothing_is_found_where_all_is_quiet(tmp_path):
    published(tmp_path, "a")
    published(tmp_path, "b", overwrite=True)
    assert cleaning.look(str(tmp_path)) == []


def test_an_attempt_of_a_job_that_nobody_waits_for_is_left_alone_for_longer(tmp_path):
    run = make(tmp_path, "a")
    storage.put(run.facts, b"{}")
    with lease.alive(run, elsewhere=True):
        pass
    let_pass(run.attempt)
    assert [each.why for each in cleaning.look(str(tmp_path))] == ["a run at work: left alone"]
    let_pass(run.attempt, lease.ELSEWHERE_EXPIRES + 60)
    assert [each.why for each in cleaning.look(str(tmp_path))] == ["a run that is dead"]


def test_an_attempt_that_changes_is_left_alone_and_one_that_does_not_is_removed(tmp_path):
    published(tmp_path, "a")
    dead, busy = (make(tmp_path, each, overwrite=True) for each in "bc")
    let_pass(dead.attempt)
    found = {each.name: each for each in cleaning.look(str(tmp_path))}
    assert found[dead.work].why == "a run that is dead: left alone until the one at work ends"
    assert found[busy.work].why == "a run at work: left alone"
    stale = [replace(found[dead.work], removable=True)]  # as it was seen before the other one began
    assert dict(cleaning.remove(str(tmp_path), stale)) == {stale[0]: "a run is at work there, and would be shut out"}
    publish(busy, [verified_record(busy, 0)])
    found = {each.name: each for each in cleaning.look(str(tmp_path))}
    assert {name: each.removable for name, each in found.items()} == {dead.work: True}
    assert found[dead.work].files == len([path for path in Path(dead.attempt).rglob("*") if path.is_file()])
    assert found[dead.work].bytes > 500
    assert (found[dead.work].idle or 0) > lease.EXPIRES
    assert removed(tmp_path) == {dead.work: None}
    assert not Path(dead.attempt).exists()
    assert open_labels(str(tmp_path)).count_rows() == 10


def test_a_run_that_was_removed_and_wakes_is_told_and_publishes_nothing(tmp_path):
    """It had looked at its parts, and was halted before it decided."""
    published(tmp_path, "a")
    halted = make(tmp_path, "b", 2, overwrite=True)
    records = [verified_record(halted, unit) for unit in range(2)]
    let_pass(halted.attempt)
    removed(tmp_path)
    with pytest.raises(RunError, match="was taken for dead"):
        publish(halted, records)
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None and manifest["run_id"] == "a" * 32
    assert open_labels(str(tmp_path)).count_rows() == 10
    assert not (tmp_path / "_attempts").exists()
    again = published(tmp_path, "b", 2, overwrite=True)
    assert again.follows == 2 and open_labels(str(tmp_path)).count_rows() == 20


def test_of_a_run_that_never_published_the_attempt_is_removed_and_the_next_one_publishes(tmp_path):
    run = make(tmp_path, "a", partition=DAY)
    let_pass(run.attempt)
    assert removed(tmp_path) == {run.work: None}
    assert read_manifest(str(tmp_path), DAY) is None
    with pytest.raises(FileNotFoundError, match="no published run"):
        open_labels(str(tmp_path))
    published(tmp_path, "a", partition=DAY)  # without --overwrite: nothing was there
    assert open_labels(str(tmp_path)).count_rows() == 10


def test_an_attempt_for_a_number_that_is_taken_needs_nobody_to_be_shut_out(tmp_path):
    late = make(tmp_path, "b")
    published(tmp_path, "a")
    assert removed(tmp_path) == {}, "its process may live, and its next start takes it up"
    let_pass(late.attempt)
    assert removed(tmp_path) == {late.work: None}
    assert newest(store_of(str(tmp_path)), "") == 1


def test_a_partition_that_a_run_is_at_work_for_is_not_taken_away(tmp_path):
    published(tmp_path, "a", partition=DAY)
    busy = make(tmp_path, "b", 2, partition=DAY, overwrite=True)
    assert removed(tmp_path, "2026-11-21") == {f"labels/{DAY}": "a run is at work there, and would be shut out"}
    publish(busy, [verified_record(busy, unit) for unit in range(2)])
    assert open_labels(str(tmp_path)).count_rows() == 20


def test_parts_that_no_version_names_go_and_files_of_others_stay(tmp_path):
    run = published(tmp_path, "a", partition=DAY)
    labels = tmp_path / "labels" / DAY
    part = next(labels.iterdir())
    shutil.copy(part, labels / "part-00000-of-00001-v1-01234567.parquet")
    shutil.copy(part, labels / "mine.parquet")
    shutil.copy(part, labels / "part-00000-of-00001-v7-01234567.parquet")
    (tmp_path / "_attempts" / "notes").mkdir(parents=True)
    told = {each.name: each.why for each in cleaning.look(str(tmp_path)) if not each.removable}
    assert told == {
        "_attempts/notes": "not of this program: left alone",
        f"labels/{DAY}/mine.parquet": "not of this program: left alone",
        f"labels/{DAY}/part-00000-of-00001-v7-01234567.parquet": "not of this program: left alone",
    }
    assert removed(tmp_path) == {f"labels/{DAY}/part-00000-of-00001-v1-01234567.parquet": None}
    assert {path.name for path in labels.iterdir()} == {part.name, *(Path(name).name for name in told if DAY in name)}
    assert run.partition == DAY and (tmp_path / "_attempts" / "notes").is_dir()


def test_partitions_before_a_date_go_whole_and_their_input_stays_covered(tmp_path):
    for partition in (DAY, LATER):
        run = make(tmp_path, "a", partition=partition)
        storage.put(run.facts, orjson.dumps({"model": {"digest": MODEL}}))
        publish(run, [verified_record(run, 0)])
    store = store_of(str(tmp_path))
    assert removed(tmp_path, "2026-11-21") == {f"labels/{DAY}": None}
    table = open_labels(str(tmp_path)).to_table()
    assert set(table["run_date"].to_pylist()) == {"2026-11-21"} and table.num_rows == 10
    assert not list((tmp_path / "labels" / DAY).iterdir())
    assert Covered(store, {}, leave_out=LATER).files == {("corpus.jsonl", 9, "1"): True}
    assert cleaning.look(str(tmp_path), "2026-11-21") == []
    published(tmp_path, "c", 2, partition=DAY)  # nothing is there to be overwritten
    assert open_labels(str(tmp_path)).count_rows() == 30


def test_a_version_left_half_done_is_not_taken_for_a_leftover(tmp_path, monkeypatch):
    run = make(tmp_path, "a", 3)
    records = [verified_record(run, unit) for unit in range(3)]

    def failing(source: str, target: str) -> None:
        raise OSError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "rename", failing)
        with pytest.raises(OSError, match="no such luck"):
            publish(run, records)
    assert open_labels(str(tmp_path)).count_rows() == 30, "it was decided"
    let_pass(str(tmp_path / "_attempts"))
    found = cleaning.look(str(tmp_path))
    list(cleaning.remove(str(tmp_path), found))
    assert open_labels(str(tmp_path)).count_rows() == 30


def test_a_lease_is_renewed_while_a_run_is_alive_and_not_made_again_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED", 0.01)
    run = make(tmp_path, "a")
    with lease.alive(run):
        let_pass(run.attempt)
        deadline = time.monotonic() + 20
        while cleaning.look(str(tmp_path))[0].removable and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [each.why for each in cleaning.look(str(tmp_path))] == ["a run at work: left alone"]
        publish(run, [verified_record(run, 0)])
        time.sleep(0.1)
        assert not (tmp_path / "_attempts").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_the_command_lists_and_with_remove_removes(tmp_path, capsys):
    published(tmp_path, "a")
    dead = make(tmp_path, "b", overwrite=True)
    let_pass(dead.attempt)
    assert clean.main([str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "a run that is dead" in told.out and "nothing was touched" in told.err and Path(dead.attempt).is_dir()
    assert clean.main([str(tmp_path), "--remove"]) == 0
    assert "removed 1 of 1" in capsys.readouterr().err and not Path(dead.attempt).exists()
    assert clean.main([str(tmp_path)]) == 0
    assert "nothing to clean" in capsys.readouterr().err


def test_what_nights_claimed_that_are_over_is_emptied_and_the_living_keep_theirs(tmp_path, capsys):
    def take(day: int) -> claims.Taken:
        run = follow(Run(str(tmp_path), f"{day:032}", partition=f"run_date=2026-11-{day:02}"))
        return claims.take(run, [(f"in/{day}", 1, "")], lambda: Covered(store_of(str(tmp_path)), {}))

    published(tmp_path, "a", partition=DAY)
    for day in range(1, claims.KEPT + 3):
        take(day)
    folder = tmp_path / claims.FOLDER
    names, size = sorted(folder.iterdir()), sum(path.stat().st_size for path in sorted(folder.iterdir())[:2])
    assert [(each.name, each.files, each.bytes) for each in cleaning.look(str(tmp_path))] == [(claims.FOLDER, 2, size)]
    assert clean.main([str(tmp_path), "--remove"]) == 0
    assert "what nights claimed that are over" in " ".join(capsys.readouterr().out.split())
    assert [path.stat().st_size > 0 for path in sorted(folder.iterdir())] == [False] * 2 + [True] * claims.KEPT
    assert sorted(folder.iterdir()) == names and cleaning.look(str(tmp_path)) == []
    assert take(1).files == [True] and len(list(folder.iterdir())) == len(names)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "which folder"),
        (["nowhere"], "holds nothing that a command published"),
        (["OUT", "--before=yesterday"], "expected a date"),
        (["OUT", "--befor=2026-11-20"], "unknown flag"),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    assert clean.main(flags) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_beaten_goes_on_with_what_it_has(tmp_path):
    first = make(tmp_path, "b", 2)
    published(tmp_path, "a")
    with pytest.raises(RunError, match="was published into"):
        publish(first, [verified_record(first, unit) for unit in range(2)])
    again = follow(replace(first, overwrite=True, follows=None))
    open_attempt(again)
    assert again.attempt != first.attempt and finished_units(again, 2) == 2
    assert publish(again, [verified_record(again, unit) for unit in range(2)]) == 2
    assert open_labels(str(tmp_path)).count_rows() == 20
    assert not (tmp_path / "_attempts").exists()
