"""Whatever a pattern finds is read, or told, or refuses."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import Listing, find, list_files
from seqcls_beam.reading.formats import detect, no_data, splittable

ODD = [
    "a::b.jsonl",
    "c%41.jsonl",
    "d#1.jsonl",
    "e?x.jsonl",
    "f[1].jsonl",
    "g h.jsonl",
    "i\nj.jsonl",
    "é.jsonl",
    "~k.jsonl",
]
NOT_UTF8 = os.fsdecode(b"caf\xe9 100%25.jsonl")


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"text": "a"}\n')


def found(*patterns: str, **options: Any) -> Listing:
    return find(ReadOptions(input=patterns, **options))


def names(folder: object, listing: Listing) -> list[str]:
    """Paths of the files below a folder."""
    return [path.removeprefix(f"{folder}/") for path in listing.files["path"].to_pylist()]


def test_patterns_are_read_in_their_order_and_files_once(tmp_path):
    make(tmp_path, "b.jsonl", "a.jsonl", "c.jsonl.gz", "_SUCCESS", ".hidden.jsonl", "deep/d.jsonl")
    (tmp_path / "deep" / "d.jsonl").write_bytes(b"")
    files = list_files(ReadOptions(input=(f"{tmp_path}/c*", f"{tmp_path}/*.jsonl", str(tmp_path))))
    assert files["path"].to_pylist() == [
        f"{tmp_path}/{name}" for name in ("c.jsonl.gz", "a.jsonl", "b.jsonl", "deep/d.jsonl")
    ]
    assert files["compression"].to_pylist() == ["gz", "", "", ""]
    assert files["size"].to_pylist() == [14, 14, 14, 0]
    assert float(files["version"][1].as_py()) == (tmp_path / "a.jsonl").stat().st_mtime


def test_two_stars_go_into_folders_and_a_folder_that_matches_is_read(tmp_path):
    make(tmp_path, "x/y/z.txt", "x/z.txt", "z.txt", "x.parquet/part-0.parquet", "w/v.jsonl")
    assert names(tmp_path, found(f"{tmp_path}/**/*.txt")) == ["x/y/z.txt", "x/z.txt", "z.txt"]
    assert names(tmp_path, found(f"{tmp_path}/*/z.txt")) == ["x/z.txt"]
    assert names(tmp_path, found(f"{tmp_path}/[w-x]")) == ["w/v.jsonl", "x/y/z.txt", "x/z.txt"]
    assert names(tmp_path, found(f"{tmp_path}/*.parquet")) == ["x.parquet/part-0.parquet"]
    with pytest.raises(ValueError, match=r"stands alone between slashes"):
        found(f"{tmp_path}/a**/z.txt")


@pytest.mark.parametrize("name", [*ODD, NOT_UTF8])
def test_any_name_is_found_and_opened_and_named_in_utf8(name, tmp_path, monkeypatch):
    make(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    for pattern in (str(tmp_path), f"{tmp_path}/*.jsonl", name, f"file://{tmp_path}/{name}"):
        (uri,) = pa.array(found(pattern).files["path"].to_pylist(), pa.string()).to_pylist()
        assert storage.read(uri) == b'{"text": "a"}\n'
        assert os.path.samefile(storage.local_path(uri), name)
        assert found(uri).files["path"].to_pylist() == [uri]
    assert found(str(tmp_path / "*"), exclude=("none",)).excluded == 0
    with pytest.raises(FileNotFoundError, match="exclude leaves files out"):
        found(str(tmp_path), exclude=(storage.named(name).replace("[", "[[]"),))


@pytest.mark.parametrize("name", ODD)
def test_any_name_is_found_in_a_store(name):
    if "\n" in name:
        pytest.skip("no store has it")
    uri = f"memory://reading/odd/{name}"
    storage.put(uri, b"{}\n")
    try:
        for pattern in ("memory://reading/odd", "memory://reading/odd/*", uri):
            (path,) = found(pattern).files["path"].to_pylist()
            assert path.endswith(f"/odd/{name}") and storage.read(path) == b"{}\n"
    finally:
        storage.remove("memory://reading/odd")


def test_a_name_that_is_a_pattern_of_others_too_is_refused(tmp_path):
    make(tmp_path, "a[1].txt", "b*.txt", "b1.txt")
    assert names(tmp_path, found(f"{tmp_path}/a[1].txt")) == ["a[1].txt"]
    with pytest.raises(
        ValueError, match=r"b\*.txt is the name of a file .* finds others .*b1.txt.* alone write .*b\[\*\].txt"
    ):
        found(f"{tmp_path}/b*.txt")
    assert names(tmp_path, found(f"{tmp_path}/b[*].txt")) == ["b*.txt"]
    with pytest.raises(FileNotFoundError, match=r"written \[\[\]"):
        found(f"{tmp_path}/a[1]/*.txt")


def test_what_is_no_data_is_skipped_and_told_unless_it_is_named(tmp_path):
    make(tmp_path, "a.jsonl", "README", "readme.txt", "notes.md", "_SUCCESS", ".part.crc", "SHA256SUMS", "a.jsonl.md5")
    make(tmp_path, ".git/config.jsonl", ".git/b.jsonl", "deep/Thumbs.db", "readme_reviews.csv", "checksums.jsonl")
    listing = found(str(tmp_path))
    assert names(tmp_path, listing) == ["a.jsonl", "checksums.jsonl", "readme_reviews.csv"]
    assert sorted(listing.skipped) == sorted(
        [
            ".git/",
            ".part.crc",
            "README",
            "SHA256SUMS",
            "_SUCCESS",
            "a.jsonl.md5",
            "deep/Thumbs.db",
            "notes.md",
            "readme.txt",
        ]
    )
    assert found(f"{tmp_path}/*.csv").skipped == ()  # the pattern does not find them
    for asked in ("*.md", "notes.md", "n*.md"):
        assert names(tmp_path, found(f"{tmp_path}/{asked}", input_format="text")) == ["notes.md"]
    assert names(tmp_path, found(f"{tmp_path}/_*", input_format="text")) == ["_SUCCESS"]
    assert names(tmp_path, found(f"{tmp_path}/.git")) == [".git/b.jsonl", ".git/config.jsonl"]
    assert names(tmp_path, found(f"{tmp_path}/.*/b*")) == [".git/b.jsonl"]
    with pytest.raises(FileNotFoundError, match=r"matches no file \(1 known to be no data, such as deep/Thumbs.db"):
        found(f"{tmp_path}/de*")


def test_a_store_skips_what_a_disk_skips():
    for name in ("a.jsonl", "_SUCCESS", "x/.tmp/1.jsonl", "x/.tmp/2.jsonl", "x/b.jsonl", "x/README.md"):
        storage.put(f"memory://reading/skip/{name}", b"{}\n")
    try:
        for pattern in ("memory://reading/skip", "memory://reading/skip/*"):
            listing = found(pattern)
            assert names("memory:///reading/skip", listing) == ["a.jsonl", "x/b.jsonl"]
            assert sorted(listing.skipped) == ["_SUCCESS", "x/.tmp/", "x/README.md"]
        assert names("memory:///reading/skip", found("memory://reading/skip/_*", input_format="text")) == ["_SUCCESS"]
    finally:
        storage.remove("memory://reading/skip")


def test_excluded_files_are_left_out_and_counted(tmp_path):
    make(tmp_path, "in/a.jsonl", "in/b.jsonl", "in/old/a.jsonl", "in/old/deep/c.jsonl", "in/notes.docx")
    listing = found(f"{tmp_path}/in", exclude=("a.*", "old/**", "*.docx", "in/b.jsonl", "/none/*"))
    assert names(tmp_path, listing) == ["in/b.jsonl"]
    assert (listing.excluded, listing.unused) == (4, ("in/b.jsonl", "/none/*"))
    listing = found(f"{tmp_path}/*/*.jsonl", exclude=("in/b.jsonl",))  # below what is named outright
    assert names(tmp_path, listing) == ["in/a.jsonl"]


def test_foreign_files_refuse_by_name_and_number_with_both_cures(tmp_path):
    make(tmp_path, "a.jsonl", "b.log", "c.log", "deep/d.bin")
    with pytest.raises(
        ValueError, match=r"b\.log: no format .*--input_format; --exclude='\*\.log' .*\(2 more files are"
    ):
        found(str(tmp_path))
    assert names(tmp_path, found(str(tmp_path), exclude=("*.log", "*.bin"))) == ["a.jsonl"]
    assert len(found(str(tmp_path), input_format="jsonl").files) == 4
    with pytest.raises(ValueError, match=r"b\.log: no format") as error:
        found(f"{tmp_path}/b.log")
    assert "--exclude" not in str(error.value)  # it was asked for by name


@pytest.mark.parametrize("pattern", ["", " ", "\t\n"])
def test_an_empty_name_is_not_the_working_folder(pattern, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "a.jsonl")
    for patterns in ((pattern,), ("a.jsonl", pattern)):
        with pytest.raises(ValueError, match=r"(?s)--input_train=.* names nothing"):
            list_files(ReadOptions(input=patterns), "input_train")
    assert names(tmp_path, found(".")) == ["a.jsonl"]
    with pytest.raises(ValueError, match="--input is empty"):
        list_files(ReadOptions(input=()))


def test_links_to_files_and_folders_are_followed_and_each_file_is_read_once(tmp_path):
    make(tmp_path, "in/a.jsonl", "elsewhere/b.jsonl", "elsewhere/deep/c.jsonl")
    (tmp_path / "blob").write_bytes(b"{}\n{}\n")
    (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "blob")
    (tmp_path / "in" / "0-again.jsonl").symlink_to("a.jsonl")
    (tmp_path / "in" / "day").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "deep" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "self").symlink_to(".")
    listing = found(f"{tmp_path}/in")
    assert names(tmp_path, listing) == ["in/a.jsonl", "in/day/b.jsonl", "in/day/deep/c.jsonl", "in/link.jsonl"]
    assert listing.files["size"].to_pylist()[-1] == 6
    assert {"0-again.jsonl", "day/self/"} <= {*listing.repeated, *listing.skipped}
    assert names(tmp_path, found(f"{tmp_path}/in/d*/*.jsonl")) == ["in/day/b.jsonl"]
    assert names(tmp_path, found(f"{tmp_path}/in/*")) == names(tmp_path, listing)
    both = found(f"{tmp_path}/elsewhere/b.jsonl", f"{tmp_path}/in")
    assert names(tmp_path, both)[0] == "elsewhere/b.jsonl" and len(both.files) == 4


def test_links_in_a_circle_end(tmp_path):
    for i in range(6):
        make(tmp_path, f"{i}/{i}.jsonl")
        for j in range(6):
            (tmp_path / str(i) / f"to{j}").symlink_to(f"../{j}")
    assert names(tmp_path, found(str(tmp_path))) == [f"{i}/{i}.jsonl" for i in range(6)]
    assert len(found(f"{tmp_path}/*/*/*/*/*.jsonl").files) == 6


@pytest.mark.parametrize("target", ["gone.jsonl", "link.jsonl"])
def test_a_link_to_nothing_is_named_with_its_target(target, tmp_path):
    make(tmp_path, "a.jsonl")
    (tmp_path / "link.jsonl").symlink_to(target)
    for pattern in (str(tmp_path), f"{tmp_path}/*.jsonl", f"{tmp_path}/**/b.jsonl"):
        with pytest.raises(FileNotFoundError, match=rf"link.jsonl is a link to {target}, which .*--exclude=link.jsonl"):
            found(pattern)
    assert names(tmp_path, found(str(tmp_path), exclude=("link*",))) == ["a.jsonl"]
    with pytest.raises(FileNotFoundError, match=r"link.jsonl (is a link to|cannot be opened)"):
        found(f"{tmp_path}/link.jsonl")
    (tmp_path / ".#lock").symlink_to("somebody@somewhere")  # as editors leave them
    assert ".#lock" in found(str(tmp_path), exclude=("link*",)).skipped


def test_a_pipe_or_a_socket_is_no_file(tmp_path, monkeypatch):
    make(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(FileNotFoundError, match=r"pipe\.jsonl is a pipe, .*the standard input, -$"):
        found(f"{tmp_path}/pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        listening.bind("socket.jsonl")
        (tmp_path / "link.jsonl").symlink_to("pipe.jsonl")
        for name in ("pipe", "socket", "link"):
            rest = tuple(f"{each}.jsonl" for each in ("pipe", "socket", "link") if each != name)
            with pytest.raises(FileNotFoundError, match=rf"{name}\.jsonl is a pipe, .*--exclude={name}\.jsonl leaves"):
                found(str(tmp_path), exclude=rest)
        assert names(tmp_path, found(str(tmp_path), exclude=("pipe*", "socket*", "link*"))) == ["a.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_cannot_be_entered_is_named(tmp_path):
    make(tmp_path, "a.jsonl", "closed/b.jsonl")
    (tmp_path / "closed").chmod(0)
    with pytest.raises(FileNotFoundError, match=r"closed/ cannot be opened: Permission denied"):
        found(str(tmp_path))
    assert names(tmp_path, found(str(tmp_path), exclude=("closed/**",))) == ["a.jsonl"]
    (tmp_path / "closed").chmod(0o700)


def test_a_pattern_without_files_is_named(tmp_path):
    for pattern in ("none*.txt", "none.txt", "none/*"):
        with pytest.raises(FileNotFoundError, match=r"--input=.*none.* matches no file"):
            found(f"{tmp_path}/{pattern}")


def test_a_store_that_cannot_be_asked_is_one_sentence():
    with pytest.raises(ValueError, match=r"nowhere://x cannot be listed: Protocol not known"):
        found("nowhere://x")
    code = "import sys; sys.modules['aiohttp'] = None\n" + (
        "from seqcls_beam.config import ReadOptions\nfrom seqcls_beam.reading.files import find\n"
        "try: find(ReadOptions(input=('http://me:secret@127.0.0.1/a.jsonl',)))\n"
        "except ValueError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100).stdout
    assert said == "http://127.0.0.1/a.jsonl: the package aiohttp is not installed (pip install aiohttp)\n"


def test_the_hub_that_cannot_be_reached_is_one_sentence():
    code = (
        "from seqcls_beam.config import ReadOptions\nfrom seqcls_beam.reading.files import find\n"
        "try: find(ReadOptions(input=('hf://datasets/nobody/nothing/*.jsonl',)))\nexcept OSError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100, env=environment).stdout
    assert said.startswith("hf://datasets/nobody/nothing/*.jsonl cannot be listed: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "cures"),
    [
        ("a.json", ["jq -c '.[]'", "--input_format=jsonl"]),
        ("a.json.gz", ["jq -c '.[]'", "--input_format=jsonl"]),
        ("a.tar.gz", ["unpack"]),
        ("a.ZIP", ["unpack"]),
        ("a.xlsx", ["CSV", "--input_format"]),
        ("a.orc", ["pyarrow.orc", "--input_format"]),
        ("a.log", ["--input_format"]),
        ("https://host/a?file=b.csv", ["--input_format"]),
    ],
)
def test_other_formats_are_told_what_to_do(name, cures):
    with pytest.raises(ValueError) as error:
        detect(name, "auto")
    assert str(error.value).startswith(name) and all(cure in str(error.value) for cure in cures)


def test_formats_by_extension_and_option():
    assert detect("a.parq", "auto") == detect("a.pq", "auto") == ("parquet", "")
    assert detect("a.json", "jsonl") == ("jsonl", "")
    assert detect("https://host/a.csv.gz?token=x.txt#y", "auto") == ("csv", "gz")
    assert detect("a.txt.gz", "auto", "files") == ("textfile", "gz")
    assert detect("a", "text", "files") == ("textfile", "")
    assert detect("a.jsonl", "auto", "files") == ("jsonl", "")
    with pytest.raises(ValueError, match="unpack"):
        detect("a.tar", "csv")


def test_what_is_no_data_by_name():
    ours = [
        "README",
        "ReadMe.md",
        "LICENSE-MIT",
        "COPYING",
        "a.md",
        "_x",
        ".x",
        "a.crc",
        "MD5SUMS",
        "sha256sum.txt",
        "icon\r",
    ]
    data = [
        "a.jsonl",
        "readme_reviews.csv",
        "license.parquet",
        "shakespeare_summary.csv",
        "checks.txt",
        "readmes.2020.txt",
    ]
    assert [no_data(name) for name in ours] == [True] * len(ours)
    assert [no_data(name) for name in data] == [False] * len(data)


def test_lines_that_cannot_be_found_from_the_middle_are_not_cut():
    assert splittable("text", "", "latin-1") and splittable("jsonl", "")
    assert not splittable("text", "", "utf-16") and not splittable("textfile", "")
    assert splittable("parquet", "", "utf-16") and not splittable("jsonl", "gz")


def test_advice_that_is_given_works(tmp_path):
    """What is said of ORC and Arrow files, and of JSON arrays, is run as it stands."""
    orc = pytest.importorskip("pyarrow.orc")
    table = pa.table({"text": ["a", "b"]})
    orc.write_table(table, str(tmp_path / "a.orc"))
    feather.write_feather(table, str(tmp_path / "a.arrow"))
    for name in ("a.orc", "a.arrow"):
        with pytest.raises(ValueError) as error:
            detect(name, "auto")
        code = str(error.value).split('python -c "')[1].split('"')[0]
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=100)
        assert pq.read_table(tmp_path / "a.parquet").equals(table)
        (tmp_path / "a.parquet").unlink()
    if shutil.which("jq"):
        (tmp_path / "a.json").write_bytes(b'[{"text": "a"}, {"text": "b"}]')
        with pytest.raises(ValueError) as error:
            detect("a.json", "auto")
        command = str(error.value).split(" with ")[1].split(";")[0]
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=100)
        assert (tmp_path / "a.jsonl").read_bytes() == b'{"text":"a"}\n{"text":"b"}\n'


@pytest.mark.parametrize("pattern", ["sub", "sub/", "sub/**", "x/sub", "*ub"])
def test_a_folder_that_is_excluded_is_left_out_with_what_is_in_it(tmp_path, pattern):
    make(tmp_path, "a.jsonl", "x/sub/b.jsonl", "x/sub/deep/c.jsonl", "x/d.jsonl")
    excluded = pattern if pattern != "sub/**" else "x/sub/**"
    listing = found(str(tmp_path), exclude=(excluded,))
    assert names(tmp_path, listing) == ["a.jsonl", "x/d.jsonl"]
    assert (listing.excluded, listing.unused) == (2, ())
