"""What opens the files of a dataset: Arrow those of a disk, a handler of ours those of a store."""

import atexit
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

from seqcls_beam import open_labels, storage
from seqcls_beam.storage import arrow
from seqcls_beam.storage.arrow import arrow_files
from tests.evaluation.nights import night
from tests.runs.attempts import write_version

ROWS = pa.table({"label": ["a", "b"], "score": pa.array([0.5, 1.0], pa.float32())})


def labelled(out: Path, parts: int = 1) -> Path:
    """A table of some parts, as a run would publish it."""
    said = []
    (out / "labels").mkdir(parents=True)
    for unit in range(parts):
        name = f"labels/part-{unit:05d}-of-{parts:05d}-v1-00000000.parquet"
        with open(out / name, "wb") as file:  # Arrow opens no name that is no UTF-8
            pq.write_table(ROWS, file, row_group_size=1)
        said.append({"path": name, "rows": 2, "bytes": (out / name).stat().st_size})
    write_version(out, {**night({"a": parts, "b": parts}), "parts": said})
    return out


def test_files_of_a_disk_are_opened_by_arrow_itself(tmp_path):
    assert type(arrow_files(storage.connect(str(tmp_path))[0])) is LocalFileSystem
    assert type(open_labels(str(labelled(tmp_path / "out"))).filesystem) is LocalFileSystem


@pytest.mark.parametrize("uri", ["memory://corpus", "s3://corpus"])
def test_files_of_a_store_are_opened_by_the_handler_that_reads_nothing_ahead(uri, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    fs = storage.connect(uri)[0]
    files = arrow_files(fs)
    assert isinstance(files, PyFileSystem) and isinstance(files.handler, FSSpecHandler)
    assert files.handler.fs is fs and type(files.handler) is not FSSpecHandler


def test_the_handler_asks_for_nothing_that_is_not_read():
    asked = []
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/ahead/a", bytes(range(256)))

    class Noting(DirFileSystem):
        def open(self, path: str, *more: object, **how: object) -> object:
            asked.append(how)
            return super().open(path, *more, **how)

    with arrow_files(Noting("/ahead", fs)).open_input_file("a") as file:
        assert file.read_at(3, 5) == b"\5\6\7"
    assert asked == [{"cache_type": "none"}]


def test_a_table_in_a_folder_whose_name_is_no_utf8(tmp_path):
    out = labelled(tmp_path / os.fsdecode(b"caf\xe9"))
    dataset = open_labels(storage.named(str(out)))
    assert isinstance(dataset, ds.FileSystemDataset) and dataset.to_table().equals(ROWS)
    assert dataset.scanner(columns=["label"], filter=ds.field("label") == "b").to_table().to_pydict() == {
        "label": ["b"]
    }


_BY_PYTHON = "import seqcls_beam.storage.arrow as arrow; arrow.LocalFileSystem = type(None)"
"""Has the files of a disk opened as those of a store are."""


@pytest.mark.parametrize("before", ["pass", _BY_PYTHON])
@pytest.mark.parametrize("read", ["rows = dataset.head(3)", "batches = dataset.to_batches(); rows = next(batches)"])
def test_a_script_that_reads_the_first_rows_of_a_table_comes_to_its_end(tmp_path, before, read):
    """Without an abort: threads of Arrow still read ahead when Python ends."""
    out = labelled(tmp_path / "out", parts=60)
    script = f"{before}\nfrom seqcls_beam import open_labels\ndataset = open_labels({str(out)!r})\n{read}\n"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")


def test_nothing_more_is_read_of_a_slow_store_when_a_script_ends(tmp_path):
    """60 parts, half a second a read: what Arrow reads ahead of the first rows would take 15 seconds."""
    out = labelled(tmp_path / "out", parts=60)
    slow = (
        f"{_BY_PYTHON}\nimport time\nfrom fsspec.implementations.local import LocalFileOpener as Opener\n"
        "def late(self, *size):\n    time.sleep(0.5)\n    return self.f.read(*size)\nOpener.read = late\n"
    )
    script = (
        f"{slow}from seqcls_beam import open_labels\nbatches = open_labels({str(out)!r}).to_batches()\n"
        "print(len(next(batches)), time.monotonic(), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    rows, read = done.stdout.split()
    assert (done.returncode, done.stderr, rows) == (0, "", "1")
    assert time.monotonic() - float(read) < 5


def test_what_ends_waits_for_a_call_that_is_under_way():
    calls = arrow._Calls()
    times = []

    def slow() -> None:
        with calls:
            time.sleep(0.5)
        times.append(time.monotonic())

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.1)
    calls.rest()
    assert times, "it was waited for"
    thread.join()
    with pytest.raises(OSError, match="at its end"), calls:
        pass
    atexit.unregister(calls.rest)
    began = time.monotonic()
    arrow._Calls().rest()
    assert time.monotonic() - began < 0.4, "where nothing was read there is nothing to wait for"
