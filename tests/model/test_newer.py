"""What stands at a name now: seen without fetching it, fetched whole or not at all, compared with what was before."""

import os
import shutil

import fsspec
import numpy as np
import pytest

from seqcls_beam.model import newer
from seqcls_beam.model.checkpoints import CheckpointError, checkpoint, resolve_copy
from seqcls_beam.model.newer import AtHand, agreement, ensure_alike, ensure_answers, find, look, told
from tests import tiny

NAN = np.nan


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(newer, "_known", {})
    checkpoint._local.cache_clear()
    shutil.copytree(tiny.resolved().local(), tmp_path / "models" / "v1")
    shutil.copytree(tiny.resolved(labels=("no", "yes")).local(), tmp_path / "models" / "v2")
    (tmp_path / "models" / "LATEST").write_text("v1\n")
    yield tmp_path / "models"
    checkpoint._local.cache_clear()


@pytest.mark.parametrize("where", ["disk", "store"])
def test_a_look_sees_what_a_checkpoint_is_of_and_no_more(where, models):
    store = fsspec.filesystem("memory")
    store.put(f"{models}/", "/newer/", recursive=True)
    name = str(models) if where == "disk" else "memory://newer"

    def write(path, data):
        if where == "disk":
            (models / path).write_bytes(data)
        else:
            store.pipe_file(f"/newer/{path}", data)

    try:
        seen = [look(name)]
        write("v1/README.md", b"not read")
        write("v2/config.json", b"of another version")
        assert look(name) == seen[0]
        for path, data in (
            ("v1/config.json", b"{}"),
            ("v1/config.json", b"[]"),
            ("v1/vocab.txt", b""),
            ("LATEST", b"v2"),
        ):
            write(path, data)
            assert look(name) not in seen
            seen.append(look(name))
        write("LATEST", b"gone\n")
        assert look(name) == ("gone",)
    finally:
        store.rm("/newer", recursive=True)


def test_what_stands_there_is_fetched_once(models, monkeypatch):
    fetched = []

    def counted(*how):
        fetched.append(how)
        return resolve_copy(*how)

    monkeypatch.setattr(newer, "resolve_copy", counted)
    first = find(str(models), None)
    assert find(str(models), None) is first and len(fetched) == 1
    (models / "LATEST").write_text("v2\n")
    assert find(str(models), None).labels == ("no", "yes") and len(fetched) == 2
    assert (first.local() / "model.safetensors").exists()


@pytest.mark.parametrize("spoils", [False, True])
def test_files_that_change_while_they_are_fetched_are_no_version(models, monkeypatch, spoils):

    def torn(*how):
        config = models / "v1" / "config.json"
        data = config.read_bytes()
        if spoils:
            config.unlink()
        else:
            config.write_bytes(data + b"\n")
        return resolve_copy(*how)

    monkeypatch.setattr(newer, "resolve_copy", torn)
    with pytest.raises(CheckpointError, match="changed while they were fetched") as failure:
        find(str(models), None)
    assert failure.value.passing
    if spoils:  # and stays so
        with pytest.raises(FileNotFoundError):
            find(str(models), None)
        monkeypatch.undo()
        with pytest.raises(CheckpointError, match=r"no config\.json") as failure:
            find(str(models), None)
        assert not failure.value.passing


def test_a_file_that_is_replaced_by_one_of_its_size_and_time_is_seen(models):
    seen = look(str(models))
    path = models / "v1" / "config.json"
    facts = path.stat()
    other = models / "v1" / "other"
    other.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    assert path.stat().st_size == facts.st_size and look(str(models)) != seen


def test_a_web_server_is_refused():
    with pytest.raises(CheckpointError, match="does not tell what has changed"):
        find("https://somebody:secret@example.com/model", None)


def test_other_labels_or_another_problem_are_refused_with_both():
    one = tiny.resolved(labels=("a", "b", "c"))
    ensure_alike(tiny.resolved("roberta", labels=("a", "b", "c")), one)
    for labels in (("a", "c", "b"), ("a", "b"), ("a", "b", "c", "d")):
        with pytest.raises(CheckpointError, match=f"labels are {', '.join(labels)}, and .* a, b, c, in this order"):
            ensure_alike(tiny.resolved(labels=labels), one)
    other = tiny.resolved(labels=("a", "b", "c"), problem="multi_label_classification")
    with pytest.raises(CheckpointError, match="it is multi_label, and the stream's models are single_label"):
        ensure_alike(other, one)


def test_the_newest_texts_are_at_hand():
    hand = AtHand()
    assert hand.texts() is None
    hand.see(tiny.records(["a"], rejected=[0]))
    assert hand.texts() is None
    hand.see(tiny.records([f"first {i}" for i in range(70)]))
    hand.see(tiny.records(["x" * 16_385, "x" * 16_384, "gone", "last"], rejected=[2]))
    texts = hand.texts()
    assert texts is not None and texts["text"].to_pylist() == [
        *(f"first {i}" for i in range(8, 70)),
        *("x" * 16_384, "last"),
    ]
    assert texts["reject"].null_count == 64 and texts.schema.names == ["text", "reject"]
    batch = tiny.records([f"second {i}" for i in range(1000)])
    hand.see(batch)
    texts = hand.texts()
    assert texts is not None and texts["text"].to_pylist() == [f"second {i}" for i in range(936, 1000)]
    assert texts.nbytes < 10_000 < batch.nbytes
    hand.see(tiny.records(["one"], ["other"]))
    texts = hand.texts()
    assert texts is not None and texts.to_pylist() == [{"text": "one", "text_pair": "other", "reject": None}]


def test_what_two_models_have_in_common():
    def scores(*rows):
        return np.array(rows, np.float32)

    before = scores([0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [NAN, NAN])
    after = scores([0.6, 0.4], [0.7, 0.3], [0.5, 0.5], [1, 0])
    found = agreement(before, after, "single_label", 0.5)
    assert found == {"texts": 3, "equal": 0.666667, "largest_difference": 0.5}
    assert told(found) == "of 3 texts at hand 66.7% get the same label; the largest difference of a score is 0.5"
    before = scores([0.9, 0.9, 0.1], [0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.9, 0.1, 0.1])
    after = scores([0.9, 0.1, 0.9], [0.1, 0.2, 0.1], [0.1, 0.9, 0.1], [0.5, 0.1, 0.1])
    found = agreement(before, after, "multi_label", 0.5)
    assert found == {"texts": 4, "equal": 0.5, "jaccard": round((1 / 3 + 1 + 0 + 1) / 4, 6), "largest_difference": 0.8}
    assert "50.0% get the same labels, and labels agree to 58.3% on average" in told(found)
    found = agreement(scores([1.0], [2.0]), scores([1.5], [0.0]), "regression", 0.5)
    assert found == {"texts": 2, "mean_difference": 1.25, "largest_difference": 2.0}
    assert "values differ by 1.25 on average" in told(found)
    nothing = agreement(scores([NAN]), scores([1.0]), "regression", 0.5)
    assert nothing == {"texts": 0} and told(nothing) == "no texts are at hand yet to compare the two on"


def test_a_model_that_fails_where_the_one_before_does_not_is_refused():
    ensure_answers(np.array([[1.0], [NAN]]), np.array([[1.0], [NAN]]))
    ensure_answers(np.array([[1.0], [NAN]]), None)
    with pytest.raises(CheckpointError, match="no answer to 1 of 2 texts at hand"):
        ensure_answers(np.array([[1.0], [NAN]]), np.array([[NAN], [1.0]]))
    with pytest.raises(CheckpointError, match="no answer to 2 of 2 texts at hand"):
        ensure_answers(np.array([[NAN], [NAN]]), None)
