"""A file that another process changes while it is read: no rows of two versions, whenever that is, in any format.

The writer is a process of its own that is told what to do before the n-th read of the file, for every n. What may come
of it is known from the texts that were written, the old ones and the new ones, and from nothing that the readers say.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.implementations.local import LocalFileOpener

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import parquet, pieces
from seqcls_beam.reading.formats.pieces import InputChanged
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.runs.accounting import by_file
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import Mark
from tests.reading.reader import cut, files

OLD = [f"old text {i:04d}" for i in range(2000)]
NEW = [f"new text {i:04d}" for i in range(2000)]  # as long, each

WRITER = """
import json, os, sys
for line in sys.stdin:
    what, path, new = json.loads(line)
    facts = os.stat(path)
    same = lambda to: os.utime(to, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    if what == "append":
        with open(path, "ab") as file:
            file.write(open(new, "rb").read())
    elif what == "truncate":
        os.truncate(path, facts.st_size // 2)
    elif what in ("rewrite", "rewrite and set back"):
        with open(path, "r+b") as file:
            file.write(open(new, "rb").read())
        if what != "rewrite":
            same(path)
    elif what == "replace and set back":
        with open(path + ".aside", "wb") as file:
            file.write(open(new, "rb").read())
        same(path + ".aside")
        os.replace(path + ".aside", path)
    elif what == "remove":
        os.unlink(path)
    elif what == "leave as it is":
        os.chmod(path, 0o600 if facts.st_mode & 0o044 else 0o644)
        if os.path.exists(path + ".link"):
            os.unlink(path + ".link")
        else:
            os.link(path, path + ".link")
        os.utime(path, ns=(facts.st_atime_ns + 10**9, facts.st_mtime_ns))
    print("done", flush=True)
"""

CHANGES = ["append", "truncate", "rewrite", "rewrite and set back", "replace and set back", "remove"]


def lines(rows: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in rows).encode()


def json_lines(rows: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in rows).encode()


def table(rows: list[str], delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([["text"], *([text] for text in rows)])
    return out.getvalue().encode()


def columns(rows: list[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(
        pa.table({"text": rows}), out, row_group_size=250, use_dictionary=False, compression="none",
        write_statistics=False,
    )  # fmt: skip
    return out.getvalue()


FORMATS = {
    "a.txt": lines,
    "a.jsonl": json_lines,
    "a.csv": lambda rows: table(rows, ","),
    "a.tsv": lambda rows: table(rows, "\t"),
    "a.parquet": columns,
    "a.jsonl.gz": lambda rows: gzip.compress(json_lines(rows), 0),
    "a.jsonl.bz2": lambda rows: bz2.compress(json_lines(rows)),
    "a.txt.xz": lambda rows: lzma.compress(lines(rows)),
    "a.csv.zst": lambda rows: zstandard.compress(table(rows, ",")),
}


@pytest.fixture(scope="module")
def writer() -> Iterator[Any]:
    with subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


class Reading:
    """A file of a format in its old version, in one unit or more, and what is made of it."""

    def __init__(self, folder: Path, name: str, writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        old, new = FORMATS[name](OLD), FORMATS[name](NEW)
        size = max(len(old), len(new))
        padding = [b"\0" * (size - len(each)) for each in (old, new)]  # which tapes put behind an archive
        assert name.count(".") == 2 or not any(padding)
        self.old, self.path, self.new = old + padding[0], folder / name, folder / "new"
        self.new.write_bytes(new + padding[1])
        # Files of some kilobytes are read in many steps, and what is compressed is decoded twice.
        monkeypatch.setattr(pieces, "CHUNK", size // 6)
        monkeypatch.setattr(pieces, "BEHIND", size // 20)
        monkeypatch.setattr(pieces, "KEPT", 0)
        monkeypatch.setattr(parquet, "CHUNK", size // 6)
        self.writer = writer
        self.restore()
        self.whole = files(self.path)
        self.layout = plan_layout(self.whole, ReadOptions(input=(str(self.path),), batch_rows=100))
        self.calls = 0
        self.when: int | None = None
        self.what = ""
        self.also: int | None = None
        read = LocalFileOpener.read

        def watched(file: Any, size: int = -1) -> Any:
            if self.calls in (self.when, self.also):
                self.write()
            self.calls += 1
            return read(file, size)

        monkeypatch.setattr(LocalFileOpener, "read", watched)

    def restore(self) -> None:
        """The old version, with a time that is nobody else's."""
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(self.old)
        os.utime(self.path, (1_600_000_000, 1_600_000_000))

    def write(self) -> None:
        """Have the writer do what is to be done."""
        self.writer.stdin.write(json.dumps([self.what, str(self.path), str(self.new)]).encode() + b"\n")
        self.writer.stdin.flush()
        assert self.writer.stdout.readline() == b"done\n"

    def texts(self, bounds: list[int] | None = None, what: str = "", when: int | None = None) -> list[Any]:
        """What is read; `what` happens before the read number `when`, from 0."""
        self.restore()
        self.calls, self.when, self.what = 0, when, what
        found, inputs = [], []
        for pair in pairwise(bounds) if bounds else [None]:
            unit = cut(self.whole, list(pair)) if pair else self.whole
            for batch in read_unit(Mark(unit=0, units=1).on(unit), self.layout):
                found += batch["text"].to_pylist()
                inputs += Mark.of(batch).inputs
        (file,) = by_file(inputs)
        assert file["rows"] == len(found)
        return found


def bounds_of(name: str, size: int) -> list[list[int] | None]:
    """How a file is cut: not at all, and where it can be in three units."""
    if name == "a.parquet":
        return [None, [0, 3, 4, 8]]
    return [None, [0, size // 3, size // 2, size]] if name in ("a.txt", "a.jsonl") else [None]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("what", CHANGES)
def test_rows_are_those_of_one_version_or_the_run_fails(name, what, tmp_path, writer, monkeypatch):
    reading = Reading(tmp_path, name, writer, monkeypatch)
    for bounds in bounds_of(name, len(reading.old)):
        assert reading.texts(bounds) == OLD
        reads, ends = reading.calls, set()
        assert reads > 4
        for when in range(reads):
            try:
                found = reading.texts(bounds, what, when)
            except (InputChanged, RunError) as error:
                assert f"{reading.path} " in str(error)
                ends.add("failed")
            else:
                # What has the size and the time of before may be taken for it, as a whole.
                assert found in (OLD, NEW), (bounds, when)
                assert what.endswith("back"), (bounds, when)
                ends.add("old" if found == OLD else "new")
        assert "failed" in ends
    assert reading.texts() == OLD


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_whose_bytes_stay_never_fails(name, tmp_path, writer, monkeypatch):
    reading = Reading(tmp_path, name, writer, monkeypatch)
    for bounds in bounds_of(name, len(reading.old)):
        assert reading.texts(bounds) == OLD
        for when in range(reading.calls):
            assert reading.texts(bounds, "leave as it is", when) == OLD


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.jsonl.gz"])
def test_a_file_that_was_another_one_for_a_while_is_read_whole_or_not_at_all(name, tmp_path, writer, monkeypatch):
    reading = Reading(tmp_path, name, writer, monkeypatch)
    reading.texts()
    reads = reading.calls
    new, old = reading.new.read_bytes(), reading.old
    write = reading.write

    def back_and_forth() -> None:
        reading.new.write_bytes(new if reading.calls == reading.when else old)
        write()

    monkeypatch.setattr(reading, "write", back_and_forth)
    for when in range(reads - 1):
        for reading.also in range(when + 1, reads):
            try:
                assert reading.texts(None, "rewrite and set back", when) in (OLD, NEW), (when, reading.also)
            except InputChanged as error:
                assert f"{reading.path} " in str(error)


def test_units_that_read_two_versions_of_a_file_are_told_apart(tmp_path, writer, monkeypatch):
    reading = Reading(tmp_path, "a.jsonl", writer, monkeypatch)
    half = len(reading.old) // 2
    reading.texts([0, half])
    with pytest.raises(RunError, match=r"a\.jsonl was changed between the units that read it.*touch it and"):
        reading.texts([0, half, len(reading.old)], "rewrite and set back", reading.calls)


def test_what_was_read_is_read_a_second_time_and_not_a_third(tmp_path, writer, monkeypatch):
    reading = Reading(tmp_path, "a.jsonl", writer, monkeypatch)
    sizes: list[int] = []
    read = LocalFileOpener.read

    def counting(file: Any, size: int = -1) -> Any:
        data = read(file, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(LocalFileOpener, "read", counting)
    reading.texts()
    assert sum(sizes) == 2 * len(reading.old)
