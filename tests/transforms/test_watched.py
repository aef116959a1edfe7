"""Batches that wait ahead of a model that is replaced: each is labelled by one model, with that model's own tokens."""

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import torch
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from seqcls_beam.config import ModelOptions
from seqcls_beam.model import newer, watching
from seqcls_beam.model.answers import answers
from seqcls_beam.model.checkpoints import CheckpointError, promote, resolve
from seqcls_beam.model.checkpoints import checkpoint as checkpoints
from seqcls_beam.model.engine import Classifier, choosing, watched
from seqcls_beam.model.engine.attention import by_equal_lengths
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.loading import weight_bytes
from seqcls_beam.model.newer import find
from seqcls_beam.transforms import ClassifierHandler, Classify, Tokenize, overlap
from seqcls_beam.transforms.overlap import Gather, TokenizeAhead
from tests import tiny
from tests.corpora import plain_scores, texts

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1, device="cpu")
BATCHES = [texts(5, seed=number, longest=12) for number in range(6)]
SECONDS = 60


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Of families with tokenizers of their own, one of which tells sentences apart, and of other weights alone."""
    folder = tmp_path_factory.mktemp("versions")
    made = [
        tiny.checkpoint(folder / "v0"),
        tiny.checkpoint(folder / "v1", "roberta"),
        tiny.checkpoint(folder / "v2", initializer_range=0.2),
    ]
    return {resolve(str(each)).digest[:12]: each for each in made}


@pytest.fixture
def models(versions, tmp_path, monkeypatch):
    """A folder whose LATEST says v0."""
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(newer, "_known", {})
    monkeypatch.setattr(watching, "LOOK_SECONDS", 1e9)
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(overlap, "overlaps", lambda options: True)  # as where there is a GPU
    checkpoints._local.cache_clear()
    folder = Path(shutil.copytree(next(iter(versions.values())).parent, tmp_path / "models"))
    promote(str(folder / "v0"))
    yield folder
    for key in [*watched._watches]:
        watched.forget(*key)
    checkpoints._local.cache_clear()


class Expected:
    """What plain transformers answers, by model and text."""

    def __init__(self, versions: dict[str, Path]) -> None:
        self.versions, self.known = versions, dict[tuple[str, int, bool], np.ndarray]()

    def check(self, predictions: pa.RecordBatch, number: int, paired: bool) -> str:
        """One batch, labelled by one model; which that was."""
        rows = answers(predictions)
        (model,) = set(rows["model"].to_pylist())
        if (model, number, paired) not in self.known:
            self.known[model, number, paired] = plain_scores(self.versions[model], *given(number, paired))
        expected = self.known[model, number, paired]
        np.testing.assert_allclose(np.array(rows["scores"].to_pylist()), expected, atol=1e-5)
        return self.versions[model].name


def given(number: int, paired: bool) -> tuple[list[str], list[str] | None]:
    return BATCHES[number], BATCHES[number][::-1] if paired else None


@pytest.fixture(scope="module")
def expected(versions):
    return Expected(versions)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("gathered", [1, 100, 10**6])
def test_a_swap_at_any_moment_leaves_each_batch_to_one_model(models, expected, monkeypatch, paired, gathered):
    monkeypatch.setattr(overlap, "GATHERED_TOKENS", gathered)
    monkeypatch.setattr(overlap, "AHEAD_BATCHES", 2)
    # Finding and loading them are tested elsewhere.
    found = {name: replace(find(str(models / name), None), name=str(models)) for name in ("v0", "v1", "v2")}
    monkeypatch.setattr(watching, "find", lambda *_: found[(models / "LATEST").read_text().strip()])
    checkpoint = found["v0"]
    watch = watched.watch_of(checkpoint, OPTIONS)
    monkeypatch.setattr(watch, "_tried", one_load_each(watch._tried))
    monkeypatch.setattr(watching, "gc", SimpleNamespace(collect=int))  # which takes most of the time here
    ahead, gather = TokenizeAhead(checkpoint, OPTIONS, True), Gather(OPTIONS)
    handler = ClassifierHandler(checkpoint, OPTIONS, watched=True)
    model = handler.load_model()
    ahead.setup()
    gather.setup()
    seen = set()
    for first in range(12):
        moves = {first: "v1", first + 2: "v2", first + 3: "v0"}
        ahead.start_bundle()
        gather.start_bundle()
        done: list[pa.RecordBatch] = []

        def pushed(stream: Any, done=done) -> None:
            for each in stream:
                done.extend(handler.run_inference(each.value, model))

        steps = itertools.count()
        for number in range(6):
            move(models, watch, moves.get(next(steps)))
            for tokens in ahead.process(tiny.records(*given(number, paired)), 0, None, None):
                move(models, watch, moves.get(next(steps)))
                pushed(gather.process(tokens.value, 0, None, None))
        for tokens in ahead.finish_bundle():
            move(models, watch, moves.get(next(steps)))
            pushed(gather.process(tokens.value, 0, None, None))
        pushed(gather.finish_bundle())
        labelled_by = [expected.check(batch, number, paired) for number, batch in enumerate(done)]
        assert len(labelled_by) == 6
        seen.add(tuple(labelled_by))
        move(models, watch, "v0")
    ahead.teardown()
    assert len(seen) > 1


def one_load_each(tried):
    made: dict[str, Any] = {}

    def found(checkpoint, *how):
        if checkpoint.digest not in made:
            made[checkpoint.digest] = tried(checkpoint, *how)
        return made[checkpoint.digest]

    return found


def move(models: Path, watch: Any, version: str | None) -> None:
    if version:
        promote(str(models / version))
        watch._look()
        watch._look()  # what one look sees may be half written


FOUND: list[tuple[str, list[Any]]] = []


def batches(folder: str) -> Iterator[pa.RecordBatch]:
    """After the third one another model is meant, and after the fifth one it is at work."""
    for number in range(6):
        if number == 3:
            promote(f"{folder}/v1")
        if number == 5:
            (watch,) = watched._watches.values()
            deadline = time.monotonic() + SECONDS
            while not watch._at_work or not watch._at_work.checkpoint.location.endswith("/v1"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield tiny.records(BATCHES[number])


def labelled(batch: pa.RecordBatch) -> None:
    rows = answers(batch)
    (model,) = set(rows["model"].to_pylist())
    FOUND.append((model, rows["scores"].to_pylist()))


def test_a_pipeline_goes_on_with_what_is_new(models, versions, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(overlap, "AHEAD_BATCHES", 2)
    monkeypatch.setattr(overlap, "GATHERED_TOKENS", 1)
    FOUND.clear()
    checkpoint = find(str(models), None)
    for _ in range(2):  # what was taken outlives the pipeline
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            records = pipeline | beam.Create([str(models)]) | beam.FlatMap(batches).with_output_types(pa.RecordBatch)
            tokens = records | Tokenize(checkpoint, OPTIONS, watched=True)
            _ = tokens | Classify(checkpoint, OPTIONS, watched=True) | beam.Map(labelled)
    names = [versions[model].name for model, _ in FOUND]
    assert len(names) == 12 and names[0] == "v0" and names[-6:] == ["v1"] * 6 and names == sorted(names)
    for (model, scores), number in zip(FOUND, [*range(6), *range(6)], strict=True):
        np.testing.assert_allclose(np.array(scores), plain_scores(versions[model], BATCHES[number]), atol=1e-5)


def test_a_way_to_run_it_that_goes_wrong_on_the_texts_at_hand_alone_is_not_taken(models, monkeypatch):
    """Attention that is right for all lengths but one, which the synthetic sequences have not."""

    def wrong(query, key, value, layout, *how):
        out = by_equal_lengths(query, key, value, layout, *how)
        return out * 2 if 11 in np.diff(layout.offsets_N1).tolist() else out

    monkeypatch.setattr(choosing, "on_cpu", lambda _: wrong)
    checkpoint = find(str(models), None)
    watch = watched.watch_of(checkpoint, OPTIONS)
    for words, version, engine in ((8, "v2", "packed"), (9, "v0", "padded")):
        watch._hand = newer.AtHand()
        tokens = watch.tokenized(tiny.records([" ".join(["the"] * words)]))
        assert tokens["tokens"].to_pylist() == [words + 2]
        move(models, watch, version)
        with watch.working() as work:
            assert work.checkpoint.location.endswith(version) and work.engine.facts["engine"] == engine


@pytest.mark.parametrize(
    ("raised", "memory"),
    [
        (lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (lambda: behind(CheckpointError("m: does not load"), torch.OutOfMemoryError("CUDA out of memory")), True),
        (lambda: behind(CheckpointError("m: does not load"), RuntimeError("DefaultCPUAllocator: out of memory")), True),
        (lambda: behind(CheckpointError("m: cannot be run in bfloat16"), MemoryError("one sequence")), True),
        (lambda: EngineError("no way to run m passes: packed OutOfMemoryError: CUDA out of memory"), True),
        (lambda: CheckpointError("m: the weights lack classifier.weight"), False),
        (lambda: RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_a_model_that_memory_does_not_do_for_is_told_from_one_that_will_not_do(models, monkeypatch, raised, memory):
    checkpoint = find(str(models), None)

    def fails(*_, **__):
        raise raised()

    monkeypatch.setattr(watched, "Classifier", fails)
    with pytest.raises(Exception) as caught:
        watched.Loading().load(checkpoint, OPTIONS, None)
    assert isinstance(caught.value, MemoryError) == memory == newer.lacks_memory(caught.value)
    assert newer.passes(caught.value) == memory


def behind(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_what_a_model_takes_of_memory_is_measured(models):
    checkpoint = find(str(models), None)
    watch = watched.watch_of(checkpoint, OPTIONS)
    loading = watch._engines
    assert isinstance(loading, watched.Loading)
    assert loading.room(checkpoint, checkpoint) is None
    watch.begin()
    room = loading.room(checkpoint, checkpoint)
    assert room is not None
    weights = (models / "v0" / "model.safetensors").stat().st_size
    assert weight_bytes(checkpoint) == weights
    for other, need in ((weights - 1000, 5_002_000), (weights + 1000, 5_000_000)):
        loading._took = (other, 5_000_000)
        room = loading.room(checkpoint, checkpoint)
        assert room is not None and room[0] == need


def test_a_stream_that_is_over_lets_its_model_go(models):
    checkpoint = find(str(models), None)
    watch = watched.watch_of(checkpoint, OPTIONS)
    assert watched.watch_of(checkpoint, OPTIONS) is watch
    watch.begin()
    watched.forget(checkpoint, OPTIONS)
    watched.forget(checkpoint, OPTIONS)
    assert watch._thread is not None and not watch._thread.is_alive()
    assert watched.watch_of(checkpoint, OPTIONS) is not watch


@pytest.mark.parametrize("room", [(6, 5), (5, 6)], ids=["alone", "beside"])
def test_a_model_that_is_replaced_is_really_gone(models, monkeypatch, room):
    """Where there is no room for both it is gone before the other is made; else as soon as no batch is in it."""
    living: WeakSet[Any] = WeakSet()
    beside: list[int] = []
    made = Classifier.__init__

    def load(self: Any, *how: Any, **more: Any) -> None:
        beside.append(len(living))
        made(self, *how, **more)
        living.add(self._executor.model)

    monkeypatch.setattr(Classifier, "__init__", load)
    monkeypatch.setattr(watched.Loading, "room", lambda *_: room)
    checkpoint = find(str(models), None)
    watch = watched.watch_of(checkpoint, OPTIONS)
    handler = ClassifierHandler(checkpoint, OPTIONS, watched=True)
    for version in ("v0", "v1", "v2", "v0"):
        move(models, watch, version)
        handler.run_inference(watch.tokenized(tiny.records(BATCHES[0])), watch)
        assert len(living) == 1
    assert beside == [0, *[int(room == (5, 6))] * 3]


def test_texts_of_anybodys_pipeline_are_labelled_by_what_is_at_work(models, versions):
    checkpoint = find(str(models), None)
    handler = ClassifierHandler(checkpoint, OPTIONS, watched=True)
    watch = handler.load_model()
    for version in ("v0", "v1"):
        move(models, watch, version)
        found = handler.run_inference(BATCHES[0], watch)
        (model,) = {each.model_id for each in found}
        assert versions[model].name == version
        scores = np.array([each.inference["scores"] for each in found])
        np.testing.assert_allclose(scores, plain_scores(versions[model], BATCHES[0]), atol=1e-5)
    with pytest.raises(ValueError, match="watched and large_model"):
        ClassifierHandler(checkpoint, OPTIONS, watched=True, large_model=True)
