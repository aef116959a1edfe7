"""Files of a store or a server that are replaced while they are read: told by their versions, or by their bytes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.formats import pieces
from seqcls_beam.reading.formats.pieces import InputChanged
from seqcls_beam.reading.formats.witness import Witness
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.units import plan_units
from tests import gcs, web
from tests.reading.reader import stored

OLD = [f"old text {i:04d}" for i in range(2000)]
NEW = [f"new text {i:04d}" for i in range(2000)]


def json_lines(rows: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in rows).encode()


class Reading:
    """A file of JSON lines, and what happens before one of its reads."""

    def __init__(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options = ReadOptions(input=(uri,))
        self.calls = self.bytes = 0
        monkeypatch.setattr(pieces, "CHUNK", 8192)
        read = Witness.read

        def watched(file: Any, size: int = -1) -> bytes:
            if self.calls == self.when:
                self.do()
            self.calls += 1
            data = read(file, size)
            self.bytes += len(data)
            return data

        self.when: int | None = None
        monkeypatch.setattr(Witness, "read", watched)

    def texts(self, when: int | None = None, do: Callable[[], None] = lambda: None) -> list[str]:
        """What is read; something is done before a read."""
        self.when = None
        files = list_files(self.options)
        (unit,), layout = plan_units(files, 0), plan_layout(files, self.options)
        self.calls, self.bytes, self.when, self.do = 0, 0, when, do
        return [text for batch in read_unit(unit, layout) for text in batch["text"].to_pylist()]


@pytest.mark.engine
def test_an_object_that_is_replaced_fails_the_run_by_its_generation(monkeypatch):
    with gcs.bucket("changing") as bucket:
        uri = f"{bucket}/a.jsonl"
        reading = Reading(uri, monkeypatch)

        def put(rows: list[str]) -> None:
            storage.put(uri, json_lines(rows))

        def put_and_put_back() -> None:
            put(NEW)
            put(OLD)

        put(OLD)
        assert reading.texts() == OLD
        reads = reading.calls
        assert reads > 4 and reading.bytes == len(json_lines(OLD))  # and none of it twice
        for when in range(reads):
            for do in (lambda: put(NEW), put_and_put_back):
                put(OLD)
                with pytest.raises(InputChanged, match=rf"{uri} had {len(json_lines(OLD))} bytes \(version \d+\)"):
                    reading.texts(when, do)
            put(OLD)
            with pytest.raises(InputChanged, match=rf"{uri} had .* and has none: it is gone"):
                reading.texts(when, lambda: storage.remove(uri))


def test_an_object_whose_bytes_were_put_back_is_another_one(monkeypatch):
    """As S3 tells it, where an etag is that of the bytes."""
    uri = stored(json_lines(OLD), "put_back.jsonl")
    told = {"name": uri, "type": "file", "size": len(json_lines(OLD)), "ETag": '"same"', "LastModified": "early"}
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: dict(told))
    piece = pieces.Piece(uri, "jsonl", "", 0, -1, len(json_lines(OLD)), '"same"')
    with piece.open() as file:
        assert file.read() == json_lines(OLD)
    piece.verify(file)
    told["LastModified"] = "late"
    with pytest.raises(InputChanged, match=r'had the version "same" early when .* and has the version "same" late'):
        piece.verify(file)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("version", ["", 'W/"1"'])
def test_a_page_without_a_version_is_asked_for_twice(ranges, version, monkeypatch):
    with web.server() as pages:
        pages.ranges, pages.version = ranges, version
        uri = f"{pages.url}/a.jsonl"
        reading = Reading(uri, monkeypatch)

        def put(rows: list[str]) -> None:
            pages.files["/a.jsonl"] = json_lines(rows)

        put(OLD)
        assert reading.texts() == OLD
        reads = reading.calls
        ends: set[str] = set()
        assert reads > 4
        for when in range(reads):
            put(OLD)
            try:
                ends.add("new" if reading.texts(when, lambda: put(NEW)) == NEW else "old")
            except InputChanged as error:
                assert f"{uri} had " in str(error)
                ends.add("failed")
        # Before the first read all that is read in parts is new.
        assert ends == ({"new", "failed"} if ranges else {"failed"})


def test_a_page_with_a_version_is_asked_for_once(monkeypatch):
    with web.server() as pages:
        pages.files["/a.jsonl"] = json_lines(OLD)
        reading = Reading(f"{pages.url}/a.jsonl", monkeypatch)
        pages.asked.clear()
        assert reading.texts() == OLD
        wanted = [each for _, each in pages.asked if each and each != "bytes=0-0"]
        assert sum(each.startswith("bytes=8192-") for each in wanted) == 2  # to plan, and to read

        def replaced() -> None:
            pages.version = '"2"'

        with pytest.raises(InputChanged, match=r'\(version "1"\) .* and has .* \(version "2"\)'):
            reading.texts(3, replaced)
