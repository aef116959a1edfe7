"""An inbox that files come into day by day, and what was ever whole in it."""

import csv
import gzip
import io
import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tests.corpora import texts

BLANK = ""
"""A text that is rejected: there is nothing to label."""


@dataclass(frozen=True)
class Content:
    """What a file holds from one moment to the next change. An id says which content a row is of."""

    path: str  # below the inbox
    number: int  # how many were there before under that path
    texts: tuple[str, ...]

    def id(self, row: int) -> str:
        """The id of a row."""
        return f"{self.path}~{self.number}~{row}"

    @property
    def name(self) -> str:
        """What the ids of its rows begin with."""
        return f"{self.path}~{self.number}"

    @property
    def labelled(self) -> dict[str, str]:
        """id → text of the rows that get a label."""
        return {self.id(row): text for row, text in enumerate(self.texts) if text != BLANK}


@dataclass
class Inbox:
    """Files below a folder of a disk or store."""

    fs: fsspec.AbstractFileSystem
    folder: str
    contents: list[Content] = field(default_factory=list)

    def put(self, path: str, rows: Sequence[str]) -> Content:
        """A whole file comes, or takes the place of another one, at once."""
        content = self._content(path, rows)
        self._upload(path, encoded(content))
        self.contents.append(content)
        return content

    def put_half(self, path: str, rows: Sequence[str]) -> None:
        """A file comes whose upload broke off in the middle: it is no content, and has none of the rows to come."""
        data = encoded(Content(path, -1, tuple(rows)))
        self._upload(path, data[: len(data) // 2])

    def day(self, prefix: str, rows: int, seed: int) -> list[Content]:
        """The files of a day, one of each format, of which the first has most of the rows."""
        found = reviews(rows, seed)
        small = rows // 8
        first = rows - 3 * small
        return [
            self.put(f"{prefix}reviews.jsonl", [*found[:first], BLANK]),
            self.put(f"{prefix}archive.jsonl.gz", found[first : first + small]),
            self.put(f"{prefix}table.csv", found[first + small : first + 2 * small]),
            self.put(f"{prefix}columns.parquet", found[first + 2 * small :]),
        ]

    @contextmanager
    def growing(self, path: str, seed: int) -> Iterator[Callable[[], None]]:
        """A file on a disk that has one row, and more and more once the function is called; whole when the block ends.

        Whoever takes it before has rows that are of no content.
        """
        found, rows, over = reviews(5_000, seed), 1, threading.Event()

        def grow() -> None:
            nonlocal rows
            with Path(self.folder, path).open("a") as file:
                while not over.wait(0.02):
                    file.write(_line(self._content(path, found), rows))
                    file.flush()
                    rows += 1

        self._upload(path, encoded(self._content(path, found[:rows])))
        thread = threading.Thread(target=grow, daemon=True)
        try:
            yield thread.start
        finally:
            over.set()
            if thread.is_alive():
                thread.join()
            self.contents.append(self._content(path, found[:rows]))

    def _content(self, path: str, rows: Sequence[str]) -> Content:
        return Content(path, sum(each.path == path for each in self.contents), tuple(rows))

    def _upload(self, path: str, data: bytes) -> None:
        target = f"{self.folder}/{path}"
        if isinstance(self.fs, fsspec.get_filesystem_class("file")):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(f"{self.folder}.upload").write_bytes(data)
            os.replace(f"{self.folder}.upload", target)
        else:
            self.fs.pipe_file(target, data)


def encoded(content: Content) -> bytes:
    """The bytes of a file, in the format that its name says."""
    rows, name = range(len(content.texts)), content.path
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        table = pa.table({"id": [content.id(row) for row in rows], "text": list(content.texts)})
        pq.write_table(table, buffer, row_group_size=200)
        return buffer.getvalue()
    if name.endswith(".csv"):
        written = io.StringIO()
        csv.writer(written).writerows([("id", "text"), *((content.id(row), content.texts[row]) for row in rows)])
        return written.getvalue().encode()
    lines = "".join(_line(content, row) for row in rows).encode()
    return gzip.compress(lines, mtime=0) if name.endswith(".gz") else lines


def reviews(rows: int, seed: int) -> list[str]:
    """Texts of a day, by turns made up and, where the public datasets are, of SST-2."""
    made, real = texts(rows, seed), _real()
    if not real:
        return made
    found = random.Random(seed).choices(real, k=rows)
    return [found[row] if row % 2 else made[row] for row in range(rows)]


_REAL: list[str] = []


def _real() -> list[str]:
    folder = os.environ.get("SEQCLS_BEAM_SHARED")
    if folder and not _REAL:
        options: dict[str, Any] = {"parse_options": pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False)}
        found = pyarrow.csv.read_csv(Path(folder, "sst2", "train_full.tsv"), **options)["sentence"].to_pylist()
        _REAL.extend(each for each in map(str.strip, found[:20_000]) if each)
    return _REAL


def _line(content: Content, row: int) -> str:
    return json.dumps({"id": content.id(row), "text": content.texts[row]}) + "\n"
