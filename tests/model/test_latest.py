"""A folder's LATEST says which checkpoint in it is meant, everywhere a model is named; what cannot be is refused."""

import os
import shutil
import tracemalloc
from itertools import cycle
from pathlib import Path

import fsspec
import pytest

from seqcls_beam.model.checkpoints import (
    CheckpointError,
    checkpoint,
    files,
    latest,
    promote,
    resolve,
    resolve_base,
    resolve_copy,
    resolve_tokenizer,
)
from tests import tiny


def saved(folder: Path, labels: tuple[str, ...] = ("negative", "positive")) -> Path:
    return Path(shutil.copytree(tiny.resolved(labels=labels).local(), folder))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two versions, the first of which is meant."""
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    checkpoint._local.cache_clear()
    saved(tmp_path / "models" / "v1")
    saved(tmp_path / "models" / "v2", ("no", "yes"))
    (tmp_path / "models" / "LATEST").write_text("v1\n")
    yield tmp_path / "models"
    checkpoint._local.cache_clear()


@pytest.fixture
def uri(models):
    store = fsspec.filesystem("memory")
    store.put(f"{models}/", "/latest/", recursive=True)
    yield "memory://latest"
    store.rm("/latest", recursive=True)


def test_a_folder_means_the_version_that_its_latest_names(models):
    first, plain = resolve(str(models)), resolve(str(models / "v1"))
    assert (first.name, first.location) == (str(models), str(models / "v1"))
    assert first.digest == plain.digest and first.local() == models / "v1"
    assert resolve(models).location == first.location
    (models / "LATEST").write_bytes(b"v2")
    assert resolve(str(models)).labels == ("no", "yes")
    assert resolve_base(str(models)).labels == ("no", "yes")
    assert resolve_tokenizer(str(models)).location == str(models / "v2")
    (models / "LATEST").write_bytes(b"v1\r\n")
    assert resolve(str(models)).digest == first.digest


def test_a_uri_means_the_version_that_its_latest_names(uri, models):
    found = resolve(uri)
    assert (found.name, found.location) == (uri, f"{uri}/v1")
    shutil.rmtree(models)
    assert found.local().name == found.digest
    assert promote(f"{uri}/v2/") == f"{uri}/LATEST"
    assert resolve(uri).labels == ("no", "yes")
    assert resolve(f"{uri}/v1").labels == ("negative", "positive")


def test_names_may_lie_deeper(models):
    (models / "2026" / "11").mkdir(parents=True)
    (models / "v2").rename(models / "2026" / "11" / "20")
    (models / "LATEST").write_text("2026/11/20\n")
    assert resolve(str(models)).labels == ("no", "yes")


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"\n", b"v1\nv2\n", b"../models/v1", b"v1/../v2", b"./v1", b"/etc", b"v1//x", b"v1/", b" ", b"\xff"),
        *(b"v1 \n", b" v1", b"v1\t\n", b"a /v1", b"\xef\xbb\xbfv1", "v1\u3000".encode()),
        *(b"v1\x00", b"gs://bucket/v1", b"C:\\v1", b"a\\b", b"v" * 2000, b"<!doctype html>\n<p>404"),
    ],
)
@pytest.mark.parametrize("where", ["disk", "store"])
def test_what_is_no_name_below_is_refused(said, where, models, uri):
    if where == "disk":
        (models / "LATEST").write_bytes(said)
    else:
        fsspec.filesystem("memory").pipe_file("/latest/LATEST", said)
    with pytest.raises(CheckpointError, match=r"LATEST holds .*: (expected|a blank at an end)") as failure:
        resolve(str(models) if where == "disk" else uri)
    assert not failure.value.passing and "\n" not in str(failure.value)


def test_a_latest_in_a_checkpoint_could_mean_two_things(models):
    (models / "v1" / "LATEST").write_text("v2\n")
    with pytest.raises(CheckpointError, match="is a checkpoint itself"):
        resolve(str(models / "v1"))
    saved(models / "v1" / "v2")
    with pytest.raises(CheckpointError, match="the folder it lies in is a checkpoint itself"):
        promote(str(models / "v1" / "v2"))


def test_a_latest_that_names_nothing_says_what_it_names(models, uri):
    (models / "LATEST").write_text("v3\n")
    with pytest.raises(CheckpointError, match=r"v3 is no folder here \(.*LATEST names v3\)"):
        resolve(str(models))
    (models / "v3").mkdir()
    with pytest.raises(CheckpointError, match=r"no config.json in .*v3.*LATEST names v3\)"):
        resolve(str(models))
    fsspec.filesystem("memory").pipe_file("/latest/LATEST", b"v3\n")
    with pytest.raises(CheckpointError, match=r"cannot be fetched .*LATEST names v3\)"):
        resolve(uri)


def test_a_latest_that_is_no_file_is_refused(models):
    (models / "LATEST").unlink()
    os.mkfifo(models / "LATEST")
    with pytest.raises(CheckpointError, match="LATEST is a pipe"):
        resolve(str(models))
    (models / "LATEST").unlink()
    (models / "LATEST").mkdir()
    with pytest.raises(CheckpointError, match="LATEST is a folder"):
        resolve(str(models))


def test_a_latest_with_a_blank_behind_its_name_says_so(models):
    (models / "LATEST").write_text("v1 \n")
    with pytest.raises(CheckpointError, match=r"LATEST holds 'v1 ': a blank at an end"):
        resolve(str(models))
    (models / "v2").rename(models / "v2 ")
    with pytest.raises(CheckpointError, match=r"LATEST holds 'v2 ': a blank at an end"):
        promote(str(models / "v2 "))


def test_of_a_huge_latest_the_beginning_is_read(models, uri, monkeypatch):
    os.truncate(models / "LATEST", 3 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="expected one line"):
            resolve(str(models))
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()
    came: list[int] = []
    store = fsspec.filesystem("memory")
    store.pipe_file("/latest/LATEST", b"v1" * 100_000)
    plain = store.cat_file

    def counted(*how, **more):
        found = plain(*how, **more)
        came.append(len(found))
        return found

    monkeypatch.setattr(type(store), "cat_file", staticmethod(counted))
    with pytest.raises(CheckpointError, match="expected one line"):
        resolve(uri)
    assert came == [1025]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("copied", [False, True])
def test_a_pipe_is_no_file_of_a_checkpoint(models, name, copied):
    (models / "v1" / name).unlink()
    os.mkfifo(models / "v1" / name)
    with pytest.raises(CheckpointError, match=rf"{name}.* is (no file|a pipe)"):
        (resolve_copy if copied else resolve)(str(models))


def test_a_latest_that_may_not_be_read_now_may_be_later(models, monkeypatch):
    """Root may read anything."""
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", denied)
        with pytest.raises(CheckpointError, match=r"cannot be fetched \(PermissionError") as failure:
            latest.version_in(str(models))
    assert failure.value.passing
    assert resolve(str(models)).location == str(models / "v1")


def denied(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_what_is_wrong_is_said_of_the_folder_that_was_named(models, uri):
    (models / "LATEST").unlink()
    with pytest.raises(CheckpointError, match=rf"no config.json and no LATEST in {models}; ") as plain:
        resolve(str(models))
    with pytest.raises(CheckpointError, match=rf"no config.json and no LATEST in {models}; ") as copied:
        resolve_copy(str(models))
    fsspec.filesystem("memory").rm("/latest/v1/config.json")
    with pytest.raises(CheckpointError, match=rf"no config.json in {uri}/v1; ") as fetched:
        resolve(uri)
    (models / "v1" / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="its tokenizer does not load") as broken:
        resolve_copy(str(models / "v1"))
    for each in (plain, copied, fetched, broken):
        assert "fetching-" not in str(each.value) and "\n" not in str(each.value)


def test_a_version_that_is_renamed_meanwhile_is_looked_for_again(models, monkeypatch):
    """The pointer is read, then the folder goes and the pointer moves: before the files are looked at, and after."""
    for step in ("check_folder", "digests"):
        (models / "LATEST").write_text("v1\n")
        done: list[Path] = []
        plain = getattr(checkpoint, step)

        def renamed(folder, *how, done=done, plain=plain):
            if not done:
                done.append(folder)
                (models / "v1").rename(models / "gone")
                (models / "LATEST").write_text("v2\n")
            return plain(folder, *how)

        monkeypatch.setattr(checkpoint, step, renamed)
        assert resolve(str(models)).labels == ("no", "yes") and done == [models / "v1"]
        (models / "gone").rename(models / "v1")
        monkeypatch.undo()


def test_a_version_that_is_removed_meanwhile_is_told(models, monkeypatch):
    plain = files.digests

    def removed(folder, names):
        shutil.rmtree(folder)
        return plain(folder, names)

    monkeypatch.setattr(checkpoint, "digests", removed)
    with pytest.raises(CheckpointError, match=r"No such file .*LATEST names v1\)"):
        resolve(str(models))


def test_a_pointer_that_never_rests_is_given_up(models, monkeypatch):
    names = cycle(["v3", "v4"])
    monkeypatch.setattr(checkpoint, "version_in", lambda folder: next(names))
    with pytest.raises(CheckpointError, match="another version at every look") as failure:
        resolve(str(models))
    assert failure.value.passing


def test_a_promoted_version_is_the_latest(models):
    assert promote(str(models / "v2")) == str(models / "LATEST")
    assert (models / "LATEST").read_bytes() == b"v2\n" and resolve(str(models)).labels == ("no", "yes")
    assert sorted(each.name for each in models.iterdir()) == ["LATEST", "v1", "v2"]  # nothing is left of the writing


def test_what_cannot_be_promoted_is_told(models):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        promote(str(models))
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        promote("org/a-model-of-the-hub")
    with pytest.raises(CheckpointError, match="lies in no folder"):
        promote("memory://bucket")
    (models / "v2").rename(models / "v\n2")
    with pytest.raises(CheckpointError, match="expected one line"):
        promote(str(models / "v\n2"))
    assert (models / "LATEST").read_text() == "v1\n"


def test_a_copy_outlives_its_folder(models):
    copied = resolve_copy(str(models))
    assert copied.name == str(models) and copied.location == f"file://{models}/v1"
    saved_bytes = (models / "v1" / "model.safetensors").read_bytes()
    (models / "v1" / "model.safetensors").write_bytes(b"overwritten")
    assert (copied.local() / "model.safetensors").read_bytes() == saved_bytes
    for name in ("sentiment", "org/model"):
        with pytest.raises(CheckpointError, match=r"no folder here .* and no URI"):
            resolve_copy(name)
