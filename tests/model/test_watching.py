"""A stream's model is replaced between two batches by a newer one, and stays where that one will not do."""

import errno
import gc
import json
import logging
import shutil
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from seqcls_beam import storage
from seqcls_beam.config import ModelOptions
from seqcls_beam.model import newer, watching
from seqcls_beam.model.answers import answers
from seqcls_beam.model.checkpoints import checkpoint as checkpoints
from seqcls_beam.model.newer import find
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.watching import Watch
from tests import tiny

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1)
TEXTS = ["a wonderful film", "utterly boring", "Words words", "Größe", "lazy dog and 12 other foxes"]
SECONDS = 30


class Engine:
    """The value of a sequence is the sum of its ids and a number of the model's own."""

    short = False  # of memory for the sequences of models that are called so

    def __init__(self, checkpoint):
        folder = checkpoint.local()
        said = json.loads((folder / "config.json").read_text())
        if said.get("broken") == "load":
            raise RuntimeError("does not load")
        self.own, self.broken = said.get("own", 0), said.get("broken")
        self.digest = checkpoint.digest
        self.facts = {"checkpoint": checkpoint.digest, "labels": list(checkpoint.labels)}

    def logits(self, ids, offsets, types, advance=None):
        if self.broken == "nan":
            raise FloatingPointError("the logits are not finite")
        if self.broken == "short" and Engine.short:
            raise MemoryError("one sequence does not fit")
        return np.add.reduceat(ids, offsets[:-1]).astype(np.float32)[:, None] + self.own


class Engines:
    """As a device with so much room."""

    def __init__(self):
        self.space: tuple[int, int] | None = None
        self.loads: list[str] = []
        self.living: Any = weakref.WeakSet()
        self.most = 0  # engines at once
        self.fails: set[str] = set()  # digests
        self.short: set[str] = set()

    def load(self, checkpoint, options, at_hand):
        self.loads.append(checkpoint.digest)
        self.at_hand = at_hand
        if checkpoint.digest in self.fails:
            raise RuntimeError("no memory")
        if checkpoint.digest in self.short:
            raise MemoryError("v2: no room for its weights")
        made = Engine(checkpoint)
        self.living.add(made)
        self.most = max(self.most, len(self.living))
        return made

    def room(self, checkpoint, beside):
        return self.space

    def let_go(self):
        pass


class Models:
    """A folder of versions, and what LATEST says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, family: str = "bert", labels=("score",), problem="regression", **config: Any) -> str:
        source = tiny.resolved(family, labels=labels, problem=problem).local()
        shutil.copytree(source, self.folder / name)
        path = self.folder / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return self.expect(name)

    def expect(self, name: str) -> str:
        """Digest of a version."""
        return checkpoints.resolve(str(self.folder / name)).digest

    def point(self, name: str) -> None:
        (self.folder / "LATEST").write_text(f"{name}\n")

    @property
    def meant(self) -> str:
        return (self.folder / "LATEST").read_text().strip()

    def value(self, name: str, text: str) -> float:
        """What `Engine` answers, by plain transformers."""
        said = json.loads((self.folder / name / "config.json").read_text())
        return float(sum(AutoTokenizer.from_pretrained(self.folder / name)(text)["input_ids"]) + said.get("own", 0))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def models(tmp_path, monkeypatch, cache):
    monkeypatch.setattr(newer, "_known", {})
    monkeypatch.setattr(watching, "LOOK_SECONDS", 1e9)  # tests look themselves
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0)
    made = Models(tmp_path / "models")
    made.write("v1")
    made.point("v1")
    return made


@pytest.fixture
def started(models):
    """(a stream's model, what loads it)."""
    engines = Engines()
    watch = Watch(find(str(models.folder), None), OPTIONS, engines)
    watch.begin()
    yield watch, engines
    watch.stop()


def look(watch: Watch) -> None:
    """Twice: what one look sees may be half written."""
    watch._look()
    watch._look()


def labelled(watch: Watch, texts: list[str] = TEXTS, between: Any = None) -> tuple[str, list[float]]:
    """A batch through both steps; the digits of its model, and its scores."""
    tokens = watch.tokenized(tiny.records(texts))
    if between:
        between()
    with watch.working() as work:
        made = classify([watch.read_by(tokens, work.checkpoint)], work.engine, work.checkpoint, OPTIONS)
    rows = answers(made[0])
    (model,) = set(rows["model"].to_pylist())
    return model, rows["score"].to_pylist()


def of(models: Models, name: str, texts: list[str] = TEXTS) -> tuple[str, list[float]]:
    return models.expect(name)[:12], [models.value(name, text) for text in texts]


def test_a_newer_model_labels_the_batches_after_it(models, started, caplog):
    watch, engines = started
    assert labelled(watch) == of(models, "v1")
    models.write("v2", "roberta", own=1000)
    models.point("v2")
    assert labelled(watch) == of(models, "v1")  # nobody has looked
    look(watch)
    assert labelled(watch) == of(models, "v2") != of(models, "v1")
    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert models.expect("v2")[:12] in line and f"in place of {models.expect('v1')[:12]}" in line
    assert "of 10 texts at hand values differ by" in line
    with watch.working() as work:
        said = work.engine.facts["replaces"]
    expected = np.abs(np.subtract(of(models, "v1")[1], of(models, "v2")[1]))
    assert said == {
        "model": models.expect("v1")[:12],
        "texts": 10,
        "mean_difference": round(expected.mean(), 6),
        "largest_difference": expected.max(),
    }
    look(watch)
    del work
    gc.collect()
    assert len(engines.loads) == 2 and len(engines.living) == 1
    models.point("v1")
    look(watch)
    assert labelled(watch) == of(models, "v1")


def test_a_batch_that_was_tokenised_before_the_swap_is_tokenised_again(models, started):
    watch, _ = started
    models.write("v2", "roberta", own=1000)

    def swap():
        models.point("v2")
        look(watch)

    assert labelled(watch, between=swap) == of(models, "v2")


def test_a_folder_whose_files_change_is_a_newer_model(models, started, caplog):
    _, engines = started
    name = str(models.folder / "v1")
    watch = Watch(find(name, None), OPTIONS, engines)
    before = of(models, "v1")
    assert labelled(watch) == before
    path = models.folder / "v1" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"own": 7}))
    assert labelled(watch) == before  # its files are a copy
    look(watch)
    assert labelled(watch) == of(models, "v1") and labelled(watch)[1] == [each + 7 for each in before[1]]
    watch.stop()


def refusals(models: Models) -> dict[str, str]:
    """Versions that will not do, and what is said of them."""
    models.write("labels", labels=("value",))
    models.write("problem", labels=("score", "x"), problem="multi_label_classification")
    models.write("loads", broken="load")
    models.write("nan", broken="nan")
    models.write("damaged")
    with (models.folder / "damaged" / "model.safetensors").open("r+b") as file:
        file.truncate(500)
    models.write("untokenised")
    (models.folder / "untokenised" / "tokenizer.json").unlink()
    (models.folder / "empty").mkdir()
    return {
        "labels": "its labels are value, and those of the stream's models score, in this order",
        "problem": "it is multi_label, and the stream's models are regression",
        "loads": "RuntimeError: does not load",
        "nan": "it has no answer to 5 of 5 texts at hand",
        "damaged": "model.safetensors cannot be read",
        "untokenised": "no tokenizer in",
        "empty": "no config.json",
        "missing": "LATEST names missing",
        "../v1": "LATEST holds",
    }


@pytest.mark.parametrize("space", [None, (9, 5)], ids=["beside", "alone"])
def test_what_will_not_do_is_refused_once_and_the_old_one_stays(models, started, caplog, space):
    watch, engines = started
    engines.space = space
    expected = labelled(watch)
    for name, said in refusals(models).items():
        caplog.clear()
        watch._hand = newer.AtHand()
        watch._hand.see(tiny.records(TEXTS))
        models.point(name)
        for _ in range(3):
            look(watch)
        lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        told = [line for line in lines if "refused" in line or "tried again" in line]
        assert len(told) == 1, (name, lines)
        assert said in told[0] and str(models.folder) in told[0]
        assert labelled(watch) == expected and len(engines.living) == 1
    models.write("good", own=3)
    models.point("good")
    look(watch)
    assert labelled(watch) == of(models, "good")


def test_a_model_that_fails_on_the_first_texts_is_not_begun_with(models, caplog):
    launched = find(str(models.folder), None)
    for name in refusals(models):
        models.point(name)
        engines = Engines()
        watch = Watch(launched, OPTIONS, engines)
        assert labelled(watch) == of(models, "v1")
        watch.stop()


def test_a_worker_begins_with_what_stands_there_now(models):
    launched = find(str(models.folder), None)
    models.write("v2", own=5)
    models.point("v2")
    shutil.rmtree(models.folder / "v1")
    engines = Engines()
    watch = Watch(launched, OPTIONS, engines)
    assert labelled(watch) == of(models, "v2") and engines.loads == [models.expect("v2")]
    watch.stop()


def test_a_store_that_fails_is_asked_again_and_told_of_once(models, started, caplog, monkeypatch):
    watch, _ = started
    models.write("v2", own=5)
    models.point("v2")

    def fails(*_):
        raise storage.StoreError("gs://b/LATEST: 503")

    with monkeypatch.context() as patch:
        patch.setattr(watching, "look", fails)
        for _ in range(3):
            look(watch)
    with monkeypatch.context() as patch:
        patch.setattr(newer, "resolve_copy", lambda *_: fails())
        for _ in range(3):
            look(watch)
    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert "tried again: StoreError: gs://b/LATEST: 503" in line
    assert labelled(watch) == of(models, "v1")
    look(watch)
    assert labelled(watch) == of(models, "v2")


def test_files_that_change_while_they_are_fetched_are_looked_at_again(models, started, monkeypatch, caplog):
    watch, _ = started
    models.write("v2", own=5)
    models.write("v3", own=6)
    models.point("v2")

    def moved(*how):
        models.point("v3")
        return checkpoints.resolve_copy(*how)

    with monkeypatch.context() as patch:
        patch.setattr(newer, "resolve_copy", moved)
        look(watch)
    assert labelled(watch) == of(models, "v1") and not [each for each in caplog.records if "refused" in each.message]
    look(watch)
    assert labelled(watch) == of(models, "v3")


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def told(caplog: Any) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("seqcls_beam.model.checkpoints.fetching.tempfile", "mkdtemp"),
        ("fsspec.implementations.local.LocalFileSystem", "get_file"),
        ("pathlib.Path", "rename"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["by LATEST", "replaced"])
def test_a_disk_that_is_full_refuses_no_model(models, started, caplog, monkeypatch, where, name, named):
    _, engines = started
    launched = find(str(models.folder if named else models.folder / "v1"), None)
    watch = Watch(launched, OPTIONS, engines)
    assert labelled(watch) == of(models, "v1")
    models.write("v2", own=len(where) + named)  # which no other test has left in the cache
    if named:
        models.point("v2")
    else:
        shutil.copytree(models.folder / "v2", models.folder / "v1", dirs_exist_ok=True)
    before = len(engines.loads)
    with monkeypatch.context() as patch:
        patch.setattr(f"{where}.{name}", full)
        for _ in range(3):
            look(watch)
    (line,) = told(caplog)
    assert "is tried again: " in line and "No space left on device" in line
    assert len(engines.loads) == before and labelled(watch)[0] == launched.digest[:12]
    look(watch)
    assert labelled(watch) == of(models, "v2")
    watch.stop()


@pytest.mark.parametrize("space", [None, (9, 5)], ids=["beside", "alone"])
@pytest.mark.parametrize("fails", ["it is loaded", "it answers"])
def test_a_lack_of_memory_refuses_no_model_and_is_not_met_at_every_look(
    models, started, caplog, monkeypatch, space, fails
):
    """Each try may hold up batches."""
    watch, engines = started
    engines.space = space
    assert labelled(watch) == of(models, "v1")
    models.write("v2", own=5, broken="short")
    models.point("v2")
    new, now = models.expect("v2"), [1e6]
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: now[0]))
    if fails == "it is loaded":
        engines.short.add(new)
    else:
        monkeypatch.setattr(Engine, "short", True)
    for minutes in (0, 1, 9.9, 10.1, 15):
        now[0] = 1e6 + 60 * minutes
        look(watch)
        assert engines.loads.count(new) == (1 if minutes < 10 else 2)
        assert labelled(watch) == of(models, "v1") and len(engines.living) == 1
    (line,) = [line for line in told(caplog) if "tried again" in line]
    assert "MemoryError" in line and not [line for line in told(caplog) if "refused" in line]
    engines.short.clear()
    monkeypatch.setattr(Engine, "short", False)
    now[0] += 600
    look(watch)
    assert labelled(watch) == of(models, "v2")


@pytest.mark.parametrize("named", [True, False], ids=["by LATEST", "in place"])
def test_what_is_being_copied_is_taken_when_it_is_whole(models, started, caplog, named):
    """File by file, with a look between: each state could be a model, of the new weights and the old tokenizer."""
    _, engines = started
    launched = find(str(models.folder if named else models.folder / "v1"), None)
    watch = Watch(launched, OPTIONS, engines)
    before = labelled(watch)
    models.write("other", "roberta", own=2000 + named)
    target = models.folder / ("v2" if named else "v1")
    target.mkdir(exist_ok=True)
    if named:
        models.point("v2")
    names = ["config.json", "model.safetensors"]
    names += sorted(each.name for each in (models.folder / "other").iterdir() if each.name not in names)
    watch._look()
    for name in names:
        data = (models.folder / "other" / name).read_bytes()
        for part in (data[: len(data) // 2], data):
            (target / name).write_bytes(part)
            watch._look()
            assert labelled(watch) == before and not told(caplog)
    watch._look()
    assert labelled(watch) == of(models, "other") and len(told(caplog)) == 1
    watch.stop()


def test_a_latest_that_is_being_written_is_no_fault(models, started, caplog):
    watch, _ = started
    labelled(watch)
    models.write("v2", own=5)
    for said in ("", "v", "v2", "v2\n"):
        (models.folder / "LATEST").write_text(said)
        watch._look()
    watch._look()
    assert labelled(watch) == of(models, "v2") and len(told(caplog)) == 1
    (models.folder / "LATEST").write_text("")
    look(watch)
    watch._look()
    assert len(told(caplog)) == 2 and "LATEST holds b''" in told(caplog)[1]


def test_a_worker_does_not_begin_with_what_is_being_written(models, caplog, monkeypatch):
    launched = find(str(models.folder), None)
    models.write("v2", own=5)
    models.point("v2")
    for spoilt in (b"{}", None):
        config = models.folder / "v2" / "config.json"
        whole = config.read_bytes()
        if spoilt:
            config.write_bytes(spoilt)
        watch = Watch(launched, OPTIONS, Engines())
        monkeypatch.setattr(watch._over, "wait", lambda _, whole=whole, to=config: to.write_bytes(whole))
        assert labelled(watch) == of(models, "v1") and not told(caplog)
        monkeypatch.undo()
        monkeypatch.setattr(watching, "LOOK_SECONDS", 1e9)
        look(watch)
        assert labelled(watch) == of(models, "v2")
        watch.stop()
        caplog.clear()


def test_what_was_refused_is_not_loaded_for_every_batch_where_the_old_one_is_gone(models, caplog):
    launched = find(str(models.folder), None)
    models.write("broken", broken="load")
    models.point("broken")
    engines = Engines()
    engines.fails.add(launched.digest)
    watch = Watch(launched, OPTIONS, engines)
    for _ in range(4):
        with pytest.raises(RuntimeError, match="no memory"):
            labelled(watch)
    assert engines.loads == [models.expect("broken"), *[launched.digest] * 4]
    assert len(told(caplog)) == 1
    models.write("good", own=4)
    models.point("good")
    assert labelled(watch) == of(models, "good")
    watch.stop()


def test_one_that_was_lost_is_taken_again_and_one_that_was_refused_is_told_of_once(models, started, caplog):
    watch, engines = started
    engines.space = (6, 5)
    models.write("v2", own=5)
    models.write("v3", broken="load")
    for name in ("v2", "v3", "v2", "v3"):
        models.point(name)
        look(watch)
        assert labelled(watch) == of(models, "v2")
    assert len([line for line in told(caplog) if "refused" in line]) == 1
    models.write("v4", broken="nan")
    models.point("v4")
    engines.fails.add(models.expect("v2"))
    look(watch)
    assert labelled(watch) == of(models, "v1")  # the old one did not come back
    engines.fails.clear()
    models.point("v2")
    look(watch)
    assert labelled(watch) == of(models, "v2")


def test_both_are_held_only_where_memory_allows(models, started, caplog):
    watch, engines = started
    for number, (space, together) in enumerate([((5, 5), 2), ((6, 5), 1), (None, 2)], 2):
        engines.space, engines.most = space, 0
        models.write(f"v{number}", own=number)
        models.point(f"v{number}")
        caplog.clear()
        look(watch)
        lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        assert engines.most == together
        assert ("batches wait" in lines[0]) == (together == 1)
        assert labelled(watch) == of(models, f"v{number}")
        said = "no texts are at hand yet" if number == 2 else f"of {5 * number - 10} texts at hand"
        assert said in lines[-1]


def test_batches_wait_while_there_is_no_room_for_both(models, started, monkeypatch):
    """What is under way is finished by the old one; what comes meanwhile is tokenised, waits, and is the new one's."""
    watch, engines = started
    engines.space = (6, 5)
    models.write("v2", "roberta", own=1000)
    models.point("v2")
    began, go_on = threading.Event(), threading.Event()
    plain = engines.load

    def slowly(*how):
        began.set()
        assert go_on.wait(SECONDS)
        return plain(*how)

    monkeypatch.setattr(engines, "load", slowly)
    tokens = watch.tokenized(tiny.records(TEXTS))
    with watch.working() as work:
        looking = threading.Thread(target=look, args=(watch,))
        looking.start()
        deadline = time.monotonic() + SECONDS
        while not watch._paused:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert not began.wait(0.1) and work.engine is not None  # a batch is under way in it
        watch.tokenized(tiny.records(TEXTS))  # holds up nothing
        watch.begin()
    del work
    assert began.wait(SECONDS) and not engines.living
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(labelled(watch)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    go_on.set()
    waiting.join(SECONDS)
    looking.join(SECONDS)
    assert found == [of(models, "v2")] and engines.most == 1
    with watch.working() as work:
        assert watch.read_by(tokens, work.checkpoint)["tokens"].to_pylist() != tokens["tokens"].to_pylist()


def test_where_the_old_one_does_not_come_back_it_is_loaded_for_the_next_batch(models, started):
    watch, engines = started
    expected = labelled(watch)
    engines.space = (6, 5)
    models.write("v2", broken="nan")
    models.point("v2")
    engines.fails.add(models.expect("v1"))
    look(watch)
    with pytest.raises(RuntimeError, match="no memory"):
        labelled(watch)
    engines.fails.clear()
    assert labelled(watch) == expected


def test_it_looks_by_itself_until_it_is_stopped(models, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    engines = Engines()
    watch = Watch(find(str(models.folder), None), OPTIONS, engines)
    assert labelled(watch) == of(models, "v1")
    models.write("v2", own=9)
    models.point("v2")
    deadline = time.monotonic() + SECONDS
    while labelled(watch) != of(models, "v2"):
        assert time.monotonic() < deadline
    watch.stop()
    assert watch._thread is not None and not watch._thread.is_alive()
    models.point("v1")
    time.sleep(0.05)
    assert labelled(watch) == of(models, "v2")


@pytest.fixture(scope="module")
def three(tmp_path_factory, cache):
    """Versions with tokenizers of their own, and what each answers."""
    made = Models(tmp_path_factory.mktemp("three"))
    for number, family in enumerate(("bert", "roberta", "distilbert")):
        made.write(f"v{number}", family, own=1000 * number)
    found = {name: replace(find(str(made.folder / name), None), name=str(made.folder)) for name in ("v0", "v1", "v2")}
    return made, [of(made, name) for name in found], found


@settings(max_examples=40)
@given(st.lists(st.one_of(st.sampled_from(["tokenize", "classify"]), st.integers(0, 2)), max_size=12), st.booleans())
def test_no_batch_mixes_two_models(three, steps, tight):
    """Batches are tokenised ahead and classified several at a time, and a swap may come at any moment between."""
    models, expected, found = three
    models.point("v0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "LOOK_SECONDS", 1e9)
        patch.setattr(watching, "SETTLED_SECONDS", 0)
        patch.setattr(watching, "find", lambda *_: found[models.meant])
        patch.setattr(watching, "gc", SimpleNamespace(collect=int))  # which takes most of the time here
        engines = Engines()
        engines.space = (2, 1) if tight else None
        watch = Watch(found["v0"], OPTIONS, engines)
        ahead: list[Any] = []
        current = 0
        for step in [*steps, "classify"]:
            if step == "tokenize":
                ahead.append(watch.tokenized(tiny.records(TEXTS)))
            elif step == "classify" and ahead:
                with watch.working() as work:
                    read = [watch.read_by(each, work.checkpoint) for each in ahead]
                    made = classify(read, work.engine, work.checkpoint, OPTIONS)
                for each in map(answers, made):
                    assert (*set(each["model"].to_pylist()), each["score"].to_pylist()) == expected[current]
                ahead = []
            elif isinstance(step, int):
                models.point(f"v{step}")
                look(watch)
                current = step
        watch.stop()
