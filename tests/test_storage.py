"""What must be atomic is atomic, on a local disk and in a store without folders."""

import threading

import pytest

from seqcls_beam import storage


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path)
    else:
        yield f"memory://{tmp_path.name}"
        storage.remove(f"memory://{tmp_path.name}")


def test_put_if_absent_lets_one_of_many_win(folder):
    uri = storage.join(folder, "a", "intent.json")
    won = []

    def race(i: int) -> None:
        if storage.put_if_absent(uri, b"%d" % i):
            won.append(i)

    threads = [threading.Thread(target=race, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if folder.startswith("memory"):
        assert won  # fsspec's memory store does not lock; what is left must be what a winner wrote
    else:
        assert len(won) == 1
    assert int(storage.read(uri)) in won
    assert not storage.put_if_absent(uri, b"late")


def test_put_replaces_and_leaves_nothing_beside(folder):
    uri = storage.join(folder, "manifest.json")
    storage.put(uri, b"old")
    storage.put(uri, b"new")
    assert storage.read(uri) == b"new"
    assert storage.files(folder) == [uri] or [f.rsplit("/", 1)[-1] for f in storage.files(folder)] == ["manifest.json"]


def test_move_replaces_the_target(folder):
    storage.put(storage.join(folder, "from"), b"1")
    storage.put(storage.join(folder, "to", "there"), b"0")
    storage.move(storage.join(folder, "from"), storage.join(folder, "to", "there"))
    assert storage.read(storage.join(folder, "to", "there")) == b"1"
    assert storage.size(storage.join(folder, "from")) is None


def test_files_of_a_missing_folder_and_removing_nothing(folder):
    assert storage.files(storage.join(folder, "none")) == []
    storage.remove(storage.join(folder, "none"))
    assert storage.size(storage.join(folder, "none")) is None


def test_absolute_names_do_not_depend_on_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("out/") == str(tmp_path / "out")
    assert storage.absolute("gs://bucket/out/") == "gs://bucket/out"


def test_an_unwritable_folder_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        storage.ensure_writable(str(tmp_path / "file" / "out"))
