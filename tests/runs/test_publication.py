"""What ends a run before it works: that its version is decided, and what a disk says against writing."""

import errno
import os
from typing import Any

import pyarrow as pa
import pytest

from seqcls_beam import storage
from seqcls_beam.runs import claims, lease, publication
from seqcls_beam.runs.covered import Covered
from seqcls_beam.runs.nights import new_files
from seqcls_beam.runs.publication import ensure_open, follow, publish, publish_empty
from seqcls_beam.runs.run import Run, RunError, begin, verified_record
from seqcls_beam.runs.store import store_of
from seqcls_beam.schema import UNIT
from tests.runs.attempts import write_run

FILES = pa.RecordBatch.from_pylist([{"path": "in/a", "size": 1, "version": "1"}], UNIT)


def night(out: Any, day: int = 20, letter: str = "a") -> Run:
    return follow(Run(str(out), letter * 32, partition=f"run_date=2026-11-{day}"))


def test_a_night_that_was_taken_for_dead_while_it_was_planned_learns_it_before_it_works(tmp_path, monkeypatch):
    def take(run: Run) -> claims.Taken:
        return claims.take(run, [("in/a", 1, "1")], lambda: Covered(store_of(run.output), {}))

    first = night(tmp_path)
    take(first)
    ensure_open(first)
    clock = lease.clock
    monkeypatch.setattr(lease, "clock", lambda store: clock(store) + lease.EXPIRES + 60)
    assert take(night(tmp_path, 21)).files == [True]
    begin(first, [], {})
    with pytest.raises(RunError, match=r"was taken for dead, and .* \(version 1 of run_date=2026-11-20\) was closed"):
        ensure_open(first)
    ensure_open(night(tmp_path))  # which follows that


def test_a_run_learns_before_it_works_that_another_one_was_published(tmp_path):
    same, other = night(tmp_path), night(tmp_path, letter="b")
    done = night(tmp_path)
    write_run(done, 1)
    publish(done, [verified_record(done, 0)])
    with pytest.raises(RunError, match="another run, aaaaaaaa, was published into"):
        ensure_open(other)
    begin(same, [], {})
    with pytest.raises(RunError, match="another start of this same run is published"):
        ensure_open(same)
    assert not os.path.exists(same.attempt) and publication.outcome(same) is not None


SAID = {
    errno.ENOSPC: r"No space left on device.*\. Make room there, and start again",
    errno.EROFS: r"Read-only file system.*\. Name a folder that can be written to",
    errno.EACCES: r"Permission denied.*\. Name a folder that this user may write to",
    errno.EIO: r"Input/output error: '[^']*'$",
}


@pytest.mark.parametrize("number", SAID)
@pytest.mark.parametrize("operation", ["make_folder", "put_if_absent"])
def test_a_disk_that_takes_no_claim_is_told_in_a_sentence(tmp_path, monkeypatch, number, operation):
    run = night(tmp_path)

    def failing(uri: str, *_: Any) -> Any:
        raise OSError(number, os.strerror(number), uri)

    monkeypatch.setattr(storage, operation, failing)
    with pytest.raises(RunError, match=f"--output={tmp_path} cannot be written: .*{SAID[number]}"):
        new_files(run, FILES, {})
    with pytest.raises(RunError, match=f"--output={tmp_path} cannot be written: .*{SAID[number]}"):
        publish_empty(run, {})


def test_a_disk_on_which_nothing_can_be_carried_out_is_told_in_a_sentence(tmp_path, monkeypatch):
    run = night(tmp_path)
    write_run(run, 1)

    def failing(source: str, target: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), source)

    monkeypatch.setattr(storage, "rename", failing)
    with pytest.raises(OSError):
        publish(run, [verified_record(run, 0)])  # is decided, and gets no further
    with pytest.raises(RunError, match=f"--output={tmp_path} cannot be written: .*{SAID[errno.EROFS]}"):
        night(tmp_path)


def test_what_a_store_says_is_left_as_it_is():
    with pytest.raises(storage.StoreError, match=r"^no$"), publication.writing("gs://b/out"):
        raise storage.StoreError("no")
