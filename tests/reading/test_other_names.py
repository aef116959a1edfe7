"""A file is the same file whatever name leads to it, and it is read once."""

import os
import subprocess
from pathlib import Path

import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import Listing, find


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"text": "{name}"}}\n')


def found(folder: Path, *patterns: str) -> tuple[list[str], Listing]:
    """Paths of the files below a folder that patterns in it find, and the listing."""
    listing = find(ReadOptions(input=tuple(f"{folder}/{each}" for each in patterns)))
    return [path.removeprefix(f"{folder}/") for path in listing.files["path"].to_pylist()], listing


@pytest.mark.parametrize("patterns", [("20/*", "19/*"), ("19/*", "20/*"), ("2*/*", "1*")])
def test_a_name_without_a_link_is_taken_whichever_pattern_finds_it(tmp_path, patterns):
    make(tmp_path, "19/a.jsonl", "19/b.jsonl")
    (tmp_path / "20").symlink_to("19")
    names, listing = found(tmp_path, *patterns)
    assert names == ["19/a.jsonl", "19/b.jsonl"]
    assert listing.repeated in (("a.jsonl", "b.jsonl"), ("20/",))


def test_a_folder_that_is_only_found_by_its_link_is_read_by_it(tmp_path):
    make(tmp_path, "19/a.jsonl")
    (tmp_path / "20").symlink_to("19")
    (tmp_path / "21").symlink_to("20")
    assert found(tmp_path, "20")[0] == ["20/a.jsonl"]
    assert found(tmp_path, "21", "20")[0] == ["21/a.jsonl"], "of two links the first"


def test_a_link_above_all_of_them_decides_nothing(tmp_path):
    make(tmp_path, "disk/19/a.jsonl")
    (tmp_path / "disk" / "20").symlink_to("19")
    (tmp_path / "inbox").symlink_to("disk")
    assert found(tmp_path, "inbox/20/*", "inbox/19/*")[0] == ["inbox/19/a.jsonl"]


def test_a_link_to_a_file_in_another_folder(tmp_path):
    make(tmp_path, "19/a.jsonl", "20/b.jsonl")
    (tmp_path / "20" / "a.jsonl").symlink_to("../19/a.jsonl")
    names, listing = found(tmp_path, "20/*", "19/*")
    assert names == ["20/b.jsonl", "19/a.jsonl"] and listing.repeated == ("a.jsonl",)


def test_hard_links_are_one_file(tmp_path):
    make(tmp_path, "19/a.jsonl", "20/b.jsonl")
    os.link(tmp_path / "19/a.jsonl", tmp_path / "20/a.jsonl")
    os.link(tmp_path / "19/a.jsonl", tmp_path / "20/c.jsonl")
    names, listing = found(tmp_path, "20/*")
    assert names == ["20/a.jsonl", "20/b.jsonl"] and listing.repeated == ("c.jsonl",)
    assert found(tmp_path, "20/*", "19/*")[0] == names


def test_files_of_the_same_bytes_and_times_are_two(tmp_path):
    make(tmp_path, "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    for name in ("a", "b"):
        os.utime(tmp_path / f"{name}.jsonl", (10**9, 10**9))
    names, listing = found(tmp_path, "*")
    assert names == ["a.jsonl", "b.jsonl"] and listing.repeated == ()


def test_several_ways_to_write_a_name_are_one(tmp_path, monkeypatch):
    make(tmp_path, "19/a.jsonl")
    monkeypatch.chdir(tmp_path)
    ways = ["19/a.jsonl", "./19/a.jsonl", "19//a.jsonl", "19/../19/a.jsonl", f"/{tmp_path}/19/a.jsonl", "19", "19/."]
    ways += [f"{tmp_path}/19/a.jsonl", f"//{tmp_path}/19/", f"file://{tmp_path}/19/a.jsonl", f"file:///{tmp_path}/19"]
    for way in ways:
        listing = find(ReadOptions(input=(way,)))
        assert listing.files["path"].to_pylist() == [f"{tmp_path}/19/a.jsonl"], way
    listing = find(ReadOptions(input=tuple(ways)))
    assert listing.files["path"].to_pylist() == [f"{tmp_path}/19/a.jsonl"] and listing.repeated == ()


def test_a_folder_that_is_mounted_at_two_places(tmp_path):
    make(tmp_path, "19/a.jsonl")
    (tmp_path / "20").mkdir()
    # In a name space of its own, which any user may make where the machine allows it.
    script = (
        f'mount --bind {tmp_path}/19 {tmp_path}/20 && python -c "from seqcls_beam import storage; '
        f"print(storage.itself('{tmp_path}/19/a.jsonl') == storage.itself('{tmp_path}/20/a.jsonl') != '')\""
    )
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"  # type: ignore[attr-defined]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no folder can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "True\n"


def test_what_is_no_data_by_its_name_is_read_by_a_link_that_says_it_is(tmp_path):
    make(tmp_path, ".kept.jsonl")
    (tmp_path / "a.jsonl").symlink_to(".kept.jsonl")
    names, listing = found(tmp_path, "*")
    assert names == ["a.jsonl"] and listing.skipped == (".kept.jsonl",)


@pytest.mark.parametrize("patterns", [("blobs", "snapshots"), ("snapshots", "blobs"), ("",)])
def test_of_a_link_and_a_name_without_a_format_the_link_is_taken(tmp_path, patterns):
    make(tmp_path, "blobs/3f2a")
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "train.jsonl").symlink_to("../blobs/3f2a")  # as in the cache of the Hugging Face hub
    assert found(tmp_path, *patterns)[0] == ["snapshots/train.jsonl"]


def test_what_names_of_a_file_have_in_common(tmp_path):
    make(tmp_path, "a.jsonl", "b.jsonl")
    (tmp_path / "link").symlink_to("a.jsonl")
    own = storage.itself(f"{tmp_path}/a.jsonl")
    assert own and own == storage.itself(f"{tmp_path}/link") != storage.itself(f"{tmp_path}/b.jsonl")
    assert storage.itself(f"{tmp_path}/none") == storage.itself("memory://a.jsonl") == ""
    with open(tmp_path / "a.jsonl", "a") as file:
        file.write("\n")
    assert storage.itself(f"{tmp_path}/a.jsonl") != own


def test_a_name_without_its_links(tmp_path):
    (tmp_path / "19").mkdir()
    (tmp_path / "20").symlink_to("19")
    odd = os.fsdecode(b"caf\xe9")
    (tmp_path / odd).symlink_to("19")
    for name in ("19/a", "20/a", f"{odd}/a", "20/../19/a"):
        assert storage.resolved(storage.named(f"{tmp_path}/{name}")) == f"{os.path.realpath(tmp_path)}/19/a"
    for name in ("gs://bucket/20/../a", "20/a", "-"):
        assert storage.resolved(name) == name
