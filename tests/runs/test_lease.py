"""The clock of a store, and signs of life, whatever its file system calls the time of a change."""

import datetime
import os
import secrets
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from seqcls_beam import storage
from seqcls_beam.runs import lease
from seqcls_beam.runs.run import Run, begin
from seqcls_beam.runs.store import store_of

WHEN = datetime.datetime(2026, 11, 20, 10, 0, 0, tzinfo=datetime.UTC)
SECONDS = 1795168800.0  # of date -ud '2026-11-20 10:00' +%s


@pytest.fixture
def memory():
    name = f"memory://{secrets.token_hex(4)}/out"
    yield name
    fsspec.filesystem("memory").rm(name.rpartition("/")[0], recursive=True)


def test_the_clock_of_files_in_memory(memory):
    storage.put(f"{memory}/a", b"a")
    before = time.time()
    now = lease.clock(store_of(memory))
    assert before - 1 <= now <= time.time() + 1
    assert storage.names(memory) == ["a"], "no probe is left"


def test_a_file_in_memory_that_is_written_again_has_changed(memory, monkeypatch):
    attempt = f"{memory}/_attempts/run-v1"
    storage.put(f"{attempt}/lease", b"")
    files, size, first = lease.usage(attempt)
    assert (files, size) == (1, 0) and first is not None and abs(first - time.time()) < 5
    time.sleep(0.01)
    storage.put(f"{attempt}/lease", b"xy")
    files, size, again = lease.usage(f"{attempt}/lease")  # of the file itself
    assert (files, size) == (1, 2) and again is not None and again > first


@pytest.mark.parametrize(
    "told",
    [
        {"mtime": SECONDS},  # a disk
        {"updated": "2026-11-20T10:00:00.000Z"},  # Google Cloud Storage
        {"LastModified": WHEN},  # S3
        {"last_modified": WHEN, "creation_time": WHEN - datetime.timedelta(days=1)},  # Azure
        {"created": WHEN},  # memory
        {"mtime": WHEN.replace(tzinfo=None)},  # in UTC
    ],
)
def test_the_last_change_whatever_it_is_called(memory, monkeypatch, told):
    storage.put(f"{memory}/a", b"abc")
    ways: list[dict[str, Any]] = [{"name": "/a", "type": "file", "size": 3, **told}]
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {each["name"]: each for each in ways})
    assert lease.usage(f"{memory}/a") == (1, 3, SECONDS)


@pytest.mark.parametrize("fails", ["usage", "put", "told nothing"])
def test_a_clock_that_cannot_be_asked_is_ours_and_leaves_no_probe(tmp_path, monkeypatch, fails):
    def failing(uri: str, *_: Any) -> Any:
        if fails == "told nothing":
            return (1, 0, None)
        raise PermissionError(13, "no", uri)

    monkeypatch.setattr(*((storage, "put") if fails == "put" else (lease, "usage")), failing)
    monkeypatch.setattr(time, "time", lambda: 7.0)
    assert lease.clock(store_of(str(tmp_path))) == 7.0
    assert list(tmp_path.rglob("*")) == []


def test_of_two_starts_that_share_a_lease_the_one_that_goes_on_renews_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    run = Run(str(tmp_path), "a" * 32)
    begin(run, [], {})
    with lease.alive(run):
        with lease.alive(run):
            pass
        deadline = time.monotonic() + 10
        while lease.renewed(run.attempt) is None:
            assert time.monotonic() < deadline, "nobody renews the lease"
            time.sleep(0.01)
    assert lease.renewed(run.attempt) is None
    monkeypatch.setattr(lease, "RENEWED", 0.5)
    with lease.alive(run):
        storage.remove(run.attempt)  # as it is when the run is published
        time.sleep(0.8)
    assert not Path(run.attempt).exists()


def test_a_probe_that_a_run_tidied_away_is_written_again(tmp_path, monkeypatch):
    put, written = storage.put, list[str]()

    def tidied(uri: str, data: bytes) -> None:
        put(uri, data)
        written.append(uri)
        if len(written) == 1:
            Path(uri).unlink()

    monkeypatch.setattr(storage, "put", tidied)
    assert abs(lease.clock(store_of(str(tmp_path))) - time.time()) < 5
    assert len(written) == 2 and list(tmp_path.rglob("*")) == []


def test_a_run_whose_job_works_elsewhere_may_be_silent_for_longer(tmp_path):
    run = Run(str(tmp_path), "a" * 32)
    begin(run, [], {})
    with lease.alive(run):
        assert lease.is_living(run.attempt, lease.EXPIRES - 1) and not lease.is_living(run.attempt, lease.EXPIRES + 1)
    assert lease.renewed(run.attempt) is None
    longest = lease.ELSEWHERE_EXPIRES
    with lease.alive(run, elsewhere=True):  # as it is from the beginning: whoever waits may be killed
        assert lease.is_living(run.attempt, longest - 1) and not lease.is_living(run.attempt, longest)
    assert lease.is_living(run.attempt, longest - 1)
    assert not lease.is_living(None, lease.EXPIRES + 1), "a run that has not begun"
    then = time.time() - 3000
    os.utime(run.lease, (then, then))
    record = Path(run.record(0))
    record.parent.mkdir(parents=True)
    record.write_bytes(b"{}")
    assert abs((lease.renewed(run.attempt) or 0) - time.time()) < 60, "a unit that is finished is a sign of life"
    lease.end(run)
    assert lease.renewed(run.attempt) is None and not lease.is_living(run.attempt, lease.EXPIRES + 1)
