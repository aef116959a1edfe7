"""Columns from the names of folders."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import folders
from seqcls_beam.reading.files import list_files


def listed(folder: Path, *patterns: str) -> tuple[pa.RecordBatch, ReadOptions]:
    options = ReadOptions(input=tuple(f"{folder}/{pattern}" if pattern else str(folder) for pattern in patterns))
    return list_files(options), options


@pytest.fixture
def folder(tmp_path):
    for name in ("lang=en/year=2024/a.jsonl", "lang=fr/year=2025/b.jsonl", "lang=de/c.jsonl"):
        (tmp_path / "run=7" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run=7" / name).write_bytes(b"{}\n")
    return tmp_path / "run=7"


@pytest.mark.parametrize(
    ("patterns", "names", "missing"),
    [
        ([""], ["lang"], ["year"]),
        (["lang=*/*"], ["lang"], ["year"]),
        (["*/*/*.jsonl"], ["lang", "year"], []),
        (["lang=en"], ["year"], []),
        (["lang=en/**"], ["year"], []),
        (["lang=en", "lang=fr"], ["lang", "year"], []),  # as a shell writes lang=*
        (["lang=en/year=2024/a.jsonl"], [], []),
        (["lang=en/year=2024/a.jsonl", "lang=de/c.jsonl"], ["lang"], ["year"]),
    ],
)
def test_columns_are_the_folders_below_what_is_named_that_all_files_have(patterns, names, missing, folder):
    files, options = listed(folder, *patterns)
    assert folders.names(files, options) == [*names, *missing]
    for name in missing:
        assert all((folders.value(path, name) is None) == ("lang=de" in path) for path in files["path"].to_pylist())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/x/lang=en/a.jsonl", "en"),
        ("gs://b/lang=en/deep/a.jsonl", "en"),
        ("/lang=fr/x/lang=en/a.jsonl", "en"),
        ("/lang=d%20e%2F%3D=f/a.jsonl", "d e/==f"),
        ("/lang=%E9/a.jsonl", "%E9"),
        ("/lang=/a.jsonl", ""),
        ("/lang=__HIVE_DEFAULT_PARTITION__/a.jsonl", None),
        ("/x/lang=en.jsonl", None),
        ("/=en/lang/a.jsonl", None),
        ("http://host/lang=en/a.jsonl", None),
    ],
)
def test_values_are_decoded(path, value):
    assert folders.value(path, "lang") == value


def test_values_that_are_not_utf8_can_be_written(tmp_path):
    path = tmp_path / os.fsdecode(b"lang=\xe9%41") / "a.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"{}\n")
    files, options = listed(tmp_path, "")
    assert folders.names(files, options) == ["lang"]
    value = pa.array([folders.value(files["path"][0].as_py(), "lang")], pa.string())[0].as_py()
    assert value == storage.named("\udce9A") == "bytes://%E9A"


def test_a_store_has_the_same_columns():
    for name in ("lang=en/a.jsonl", "lang=fr/b.jsonl"):
        storage.put(f"memory://hive/{name}", b"{}\n")
    try:
        options = ReadOptions(input=("memory://hive",))
        files = list_files(options)
        assert folders.names(files, options) == ["lang"]
        assert [folders.value(path, "lang") for path in files["path"].to_pylist()] == ["en", "fr"]
    finally:
        storage.remove("memory://hive")
