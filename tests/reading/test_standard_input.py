"""The standard input is a file: the same content the same one, for as long as somebody reads it."""

import ast
import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify
from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import standard_input
from seqcls_beam.reading.files import find, list_files
from seqcls_beam.reading.records import plan_layout
from seqcls_beam.reading.remarks import remarks
from tests import tiny

LIST = """
import sys, time
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
files = list_files(ReadOptions(input=("-",), input_format="jsonl"))
assert files.equals(list_files(ReadOptions(input=("-",), input_format="jsonl")))
print(files.to_pylist()[0], flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def given(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@contextmanager
def reader(data: bytes, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has read its standard input, and stays for some time; killed in the end."""
    command = [sys.executable, "-c", LIST, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(data)
            process.stdin.close()
            yield process
        finally:
            process.kill()


def row(process: subprocess.Popen[bytes]) -> dict:
    assert process.stdout is not None
    return ast.literal_eval(process.stdout.readline().decode())


def there(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("seqcls_beam-stdin-*"))


def test_the_same_content_is_the_same_file_until_nobody_reads_it(cache):
    with reader(b"{}\n", 100) as first, reader(b"{}\n", 0) as second, reader(b"{ }\n", 0) as other:
        rows = [row(first), row(second)]
        assert rows[0] == rows[1] and rows[0]["size"] == 3
        assert row(other)["path"] != rows[0]["path"]
        assert (second.wait(60), other.wait(60)) == (0, 0)
        assert [f"{cache}/{name}" for name in there(cache)] == [rows[0]["path"]]
    # The first was killed; what it left goes with the next, which finds the same at another time.
    assert len(there(cache)) == 1
    with reader(b"[]\n", 0) as other:
        assert other.wait(60) == 0
    assert there(cache) == []
    with reader(b"{}\n", 0) as again:
        assert row(again) == rows[0]
        assert again.wait(60) == 0
    assert there(cache) == []


@pytest.mark.parametrize(
    ("data", "format", "expected"),
    [
        (b"", "text", ("text", "")),
        (b"BZh is no bzip2\n", "text", ("text", "")),
        (gzip.compress(b"a\n"), "text", ("text", "gz")),
        (bz2.compress(b"a\n"), "csv", ("csv", "bz2")),
        (lzma.compress(b"a\n"), "jsonl", ("jsonl", "xz")),
        (pa.Codec("zstd").compress(b"a\n", asbytes=True), "tsv", ("tsv", "zst")),
    ],
    ids=["empty", "no bzip2", "gz", "bz2", "xz", "zst"],
)
def test_what_comes_in_is_what_is_read(data, format, expected, cache, monkeypatch):
    given(data, monkeypatch)
    (file,) = list_files(ReadOptions(input=("-",), input_format=format)).to_pylist()
    assert storage.read(file["path"]) == data
    assert (file["format"], file["compression"], file["size"]) == (*expected, len(data))


def test_parquet_comes_in_too(cache, monkeypatch, tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    given((tmp_path / "a.parquet").read_bytes(), monkeypatch)
    (file,) = list_files(ReadOptions(input=("-",), input_format="parquet")).to_pylist()
    assert pq.read_table(file["path"]).to_pylist() == [{"text": "a"}]


def test_it_is_told_of_by_its_sign_and_tells_contents_apart(cache, monkeypatch):
    files = []
    for data in (b"{}\n", b"[]\n", b"{}\n"):
        given(data, monkeypatch)
        files += list_files(ReadOptions(input=("-",), input_format="jsonl")).to_pylist()
    assert [storage.without_password(file["path"]) for file in files] == ["-", "-", "-"]
    assert storage.without_password(f"{files[0]['path']} had 3 bytes") == "- had 3 bytes"
    assert files[0] == files[2] and files[0]["version"] != files[1]["version"]
    given(b'[{"text": "a"}]\n', monkeypatch)
    read = ReadOptions(input=("-",), input_format="jsonl")
    with pytest.raises(ValueError, match=r"^-: it seems to be .*make them with: jq -c '\.\[\]'$"):
        plan_layout(list_files(read), read)


@pytest.mark.engine
def test_what_is_labelled_of_it_names_no_file_of_this_machine(cache, monkeypatch, tmp_path, capsys):
    model, out = tiny.checkpoint(tmp_path / "model"), tmp_path / "out"
    flags = [f"--model={model}", "--input=-", "--input_format=jsonl", f"--output={out}", "--keep_source", "--only_new"]
    flags += ["--max_rejected=0.5", "--threads=1"]

    def labelled(data: bytes, date: str) -> int:
        given(data, monkeypatch)
        return classify.main([*flags, f"--run_date={date}"])

    data = b'{"text": "good"}\n{"text": "bad"}\n{"text": 1}\n'
    assert labelled(data, "2026-11-20") == 0
    assert labelled(data, "2026-11-20") == 0
    assert "nothing new" in capsys.readouterr().err
    assert labelled(data.replace(b"good", b"well"), "2026-11-21") == 0
    assert pq.read_table(out / "labels")["source_file"].to_pylist() == ["-"] * 4
    assert pq.read_table(out / "_rejects")["source"].to_pylist() == ["-"] * 2
    for version in out.glob("_versions/*/*.json"):
        manifest = json.loads(version.read_bytes())
        assert [file["path"] for file in manifest["inputs"]] == ["-"] and manifest["rows"]["in"] == 3
        assert "stdin" not in version.read_text()


def test_it_stands_alone_says_its_format_and_is_read_once(cache, monkeypatch):
    given(b"a\n", monkeypatch)
    with pytest.raises(ValueError, match=r"--input=- has no extension .*--input_format"):
        list_files(ReadOptions(input=("-",)))
    with pytest.raises(ValueError, match=r"--input_test=- is the standard input, and stands alone"):
        list_files(ReadOptions(input=("-", "a.txt"), input_format="text"), "input_test")
    list_files(ReadOptions(input=("-",), input_format="text"))
    with pytest.raises(ValueError, match=r"--input_test=-: .* read once, and --input has it"):
        list_files(ReadOptions(input=("-",), input_format="text"), "input_test")
    options = ReadOptions(input=("-",), input_format="text")
    assert standard_input.taken(options).input == tuple(list_files(options)["path"].to_pylist())
    assert standard_input.taken(ReadOptions(input=("./-",))).input == ("./-",)


def test_a_terminal_and_a_closed_one_are_refused(cache, monkeypatch):
    options = ReadOptions(input=("-",), input_format="text")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="that is closed"):
        list_files(options)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(closed=False, isatty=lambda: True))
    with pytest.raises(ValueError, match="that is a terminal"):
        list_files(options)
    assert not cache.exists() or there(cache) == []


def test_an_empty_one_is_told(cache, monkeypatch):
    given(b"", monkeypatch)
    options = ReadOptions(input=("-",), input_format="text")
    assert remarks(find(options), options) == ("the standard input was empty",)


def test_a_folder_is_refused(cache, monkeypatch, tmp_path):
    at = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(closed=False, isatty=lambda: False, fileno=lambda: at))
    with pytest.raises(ValueError, match="that is a folder"):
        list_files(ReadOptions(input=("-",), input_format="text"))
    os.close(at)
    with pytest.raises(ValueError, match="that is closed"):
        list_files(ReadOptions(input=("-",), input_format="text"))


def test_what_breaks_off_leaves_nothing(cache, monkeypatch):
    class Breaking(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, _):
            raise OSError("the pipe broke")

    stream = SimpleNamespace(closed=False, isatty=lambda: False, buffer=io.BufferedReader(Breaking()))
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(OSError, match="the pipe broke"):
        list_files(ReadOptions(input=("-",), input_format="text"))
    assert there(cache) == []
