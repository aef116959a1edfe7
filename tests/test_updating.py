"""A small file that several processes change at once: no change is lost, and who does not come to his turn is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from seqcls_beam import storage
from seqcls_beam.storage import updating
from tests import gcs, s3

COUNT = """
import sys
from seqcls_beam import storage

def more(there):
    return b"%d" % (int(there or b"0") + 1)

for _ in range(int(sys.argv[2])):
    storage.update(sys.argv[1], more)
"""
HOLD = """
import sys, time
from seqcls_beam import storage

def slow(there):
    open(sys.argv[2], "w").close()
    time.sleep(0.5)
    return (there or b"") + b" and I"

storage.update(sys.argv[1], slow)
"""


def started(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1])


def holding(uri: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds a file by now."""
    process = started(HOLD, uri, f"{folder}/held")
    while not (folder / "held").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def count_together(uri: str, processes: int, times: int) -> None:
    """Several processes count in one file; no count is lost."""
    counting = [started(COUNT, uri, str(times)) for _ in range(processes)]
    assert [each.wait() for each in counting] == [0] * processes
    assert storage.read(uri) == b"%d" % (processes * times)


def test_no_count_of_many_processes_is_lost(tmp_path):
    count_together(f"{tmp_path}/folder/count", 6, 60)
    assert os.listdir(tmp_path / "folder") == ["count"]


@pytest.mark.engine
def test_nor_in_google_cloud_storage():
    with gcs.bucket("counts") as bucket:
        count_together(f"{bucket}/folder/count", 4, 10)


@pytest.mark.engine
def test_nor_in_s3():
    with s3.bucket("counts") as bucket:
        count_together(f"{bucket}/folder/count", 4, 10)


def test_nor_of_many_threads_in_memory(tmp_path):
    uri = f"memory://{tmp_path.name}/count"

    def more(there: bytes | None) -> bytes:
        time.sleep(0.001)  # for others to come in between
        return b"%d" % (int(there or b"0") + 1)

    threads = [threading.Thread(target=lambda: [storage.update(uri, more) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read(uri) == b"40"


@pytest.fixture(params=["disk", "memory"])
def uri(request, tmp_path):
    return f"{tmp_path}/a" if request.param == "disk" else f"memory://{tmp_path.name}/a"


def test_what_an_update_sees_leaves_and_returns(uri):
    seen = []

    def change(there: bytes | None) -> bytes | None:
        seen.append(there)
        return answers[len(seen) - 1]

    answers = [None, b"one", None, b"one", b"", b"two"]
    assert [storage.update(uri, change) for _ in answers] == [None, b"one", b"one", b"one", b"", b"two"]
    assert seen == [None, None, b"one", b"one", b"one", b""]
    with pytest.raises(ZeroDivisionError):
        storage.update(uri, lambda there: b"%d" % (1 // 0))
    assert storage.read(uri) == b"two"
    assert storage.update(uri, lambda there: there and there + b"!") == b"two!"  # nobody holds it any more


def test_a_file_that_nothing_changes_is_not_written(tmp_path):
    uri = f"{tmp_path}/a"
    storage.put(uri, b"one")
    before = storage.state(uri)
    assert storage.update(uri, lambda there: there) == b"one" == storage.update(uri, lambda there: None)
    assert storage.state(uri) == before


def test_who_finds_the_file_held_waits_and_then_says_so(tmp_path, monkeypatch):
    uri = f"{tmp_path}/a"
    storage.put(uri, b"he")
    with holding(uri, tmp_path) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        monkeypatch.setattr(updating, "WAIT", 0.5)
        began = time.monotonic()
        with pytest.raises(OSError, match=r"/a cannot be changed: for 0.5 seconds another process has held it"):
            storage.update(uri, lambda there: b"lost")
        assert 0.5 <= time.monotonic() - began < 5
        monkeypatch.setattr(updating, "WAIT", 60)
        os.kill(holder.pid, signal.SIGCONT)
        assert storage.update(uri, lambda there: (there or b"") + b" too") == b"he and I too"
        assert holder.wait() == 0
    assert storage.read(uri) == b"he and I too"


def test_a_process_that_dies_holds_nothing(tmp_path):
    uri = f"{tmp_path}/a"
    storage.put(uri, b"he")
    with holding(uri, tmp_path) as holder:
        holder.kill()
        holder.wait()
        assert storage.update(uri, lambda there: (there or b"") + b" is gone") == b"he is gone"


def test_a_file_that_was_replaced_while_it_was_waited_for_is_looked_at_again(tmp_path):
    """Who has locked a file that is no longer there under its name has locked nothing."""
    uri = f"{tmp_path}/a"
    storage.put(uri, b"old")
    seen = []

    def change(there: bytes | None) -> bytes:
        seen.append(there)
        return b"last"

    real, opened = os.open, list[str]()

    def replaced_behind(path, flags, *more, **options):
        file = real(path, flags, *more, **options)
        if path == uri and not opened:
            opened.append(path)
            storage.put(uri, b"new")  # between the opening and the lock
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", replaced_behind)
        assert storage.update(uri, change) == b"last"
    assert seen == [b"new"]


def test_a_file_system_without_locks_and_conditions_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    uri = f"simplecache::file://{tmp_path}/a"
    with pytest.raises(OSError, match=r"cannot write a file only where nobody else has: put it on a disk"):
        storage.update(uri, lambda there: b"2")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_link_that_leads_nowhere_is_told_at_once(tmp_path):
    (tmp_path / "file").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="file is a link that leads nowhere: remove it"):
        storage.update(str(tmp_path / "file"), lambda _: b"new")
