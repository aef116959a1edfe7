"""What stands where a file is due, and is none; and whether a file could be written."""

import os
import socket
from pathlib import Path

import pytest

from seqcls_beam import storage


@pytest.fixture
def odd(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield tmp_path


@pytest.mark.parametrize("name", ["folder", "pipe", "socket", "link"])
def test_what_is_no_file_is_named_and_waited_for_by_nobody(odd, name):
    what = "a folder" if name == "folder" else "a pipe, a socket or a device"
    said = f"{odd}/{name} is {what}, where a file is due: move it away"
    for do in (
        lambda: storage.read(f"{odd}/{name}"),
        lambda: storage.update(f"{odd}/{name}", lambda data: b"new"),
        lambda: storage.ensure_puts(f"{odd}/{name}"),
    ):
        with pytest.raises(storage.StoreError) as raised:
            do()
        assert str(raised.value) == said
    assert sorted(os.listdir(odd)) == ["folder", "link", "pipe", "socket"]


def test_where_there_is_nothing(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("none", "link", "none/none"):
        with pytest.raises(FileNotFoundError):
            storage.read(f"{tmp_path}/{name}")
    with pytest.raises(storage.StoreError, match=r"link is a link that leads nowhere: remove it$"):
        storage.update(f"{tmp_path}/link", lambda data: b"new")


@pytest.mark.parametrize("folder", ["{disk}/some/where", "memory://puts"])
def test_a_file_that_could_be_written_leaves_nothing(folder, tmp_path):
    folder = folder.format(disk=tmp_path)
    for _ in range(2):
        storage.ensure_puts(f"{folder}/a.json")
        assert storage.files(folder) == []
    storage.put(f"{folder}/a.json", b"old")
    storage.ensure_puts(f"{folder}/a.json")
    assert storage.files(folder) == [f"{folder}/a.json"] and storage.read(f"{folder}/a.json") == b"old"


def test_a_file_that_could_not_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        storage.ensure_puts(f"{tmp_path}/file/a.json")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        storage.ensure_puts(f"{tmp_path}/a.json")
    assert os.listdir(tmp_path) == ["file"]


def test_slashes_at_the_front_of_a_path_are_one(tmp_path):
    Path(tmp_path, "a").write_bytes(b"1")
    for slashes in ("/", "//", "///"):
        assert storage.absolute(f"{slashes}{str(tmp_path)[1:]}/a") == f"{tmp_path}/a"
        assert storage.read(f"file://{slashes}{str(tmp_path)[1:]}/a") == b"1"
    assert storage.local_path("//") == storage.absolute("//") == "/"
