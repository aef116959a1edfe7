"""Texts are tokenised while the model computes, and given to it many at a time; what is published stays the same."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.coders.typecoders import registry
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.runs.run import Run
from seqcls_beam.schema import Mark
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize, WriteLabeled, overlap
from seqcls_beam.transforms.coder import GatheredCoder
from seqcls_beam.transforms.overlap import Gather, Gathered, TokenizeAhead
from tests import tiny
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(threads=1, device="cpu")
SECONDS = 60  # that a test waits for what should come at once


@pytest.fixture
def gpu(monkeypatch):
    """A worker that overlaps; nothing here runs on a GPU."""
    monkeypatch.setattr(overlap, "overlaps", lambda options: True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rows: list[dict[str, Any]] = [{"id": i, "text": text} for i, text in enumerate(texts(300))]
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "c.jsonl", [*rows, {"id": 300}, *rows[:20]])


def published(corpus: Path, output: Path, *flags: str) -> dict[str, str]:
    """What a run of many units writes: digests of its parts, by unit and kind."""
    checkpoint = tiny.resolved("bert")
    read = ReadOptions(input=(str(corpus),), id_column="id", unit_bytes=3000, batch_rows=7)
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(flags))) as pipeline:
        records = pipeline | ReadRecords(read)
        records | Tokenize(checkpoint, OPTIONS) | Classify(checkpoint, OPTIONS) | WriteLabeled(Run(str(output), "r"))
    found = {}
    for kind in ("labels", "_rejects"):
        for path in sorted((output / kind).iterdir()):
            found[f"{kind} {path.name[:10]}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.parametrize(("tokens", "batches"), [(1, 1), (200, 2), (10**6, 16)])
def test_what_is_published_is_the_same_to_the_byte(tokens, batches, corpus, tmp_path, monkeypatch, gpu):
    monkeypatch.setattr(overlap, "GATHERED_TOKENS", tokens)
    monkeypatch.setattr(overlap, "AHEAD_BATCHES", batches)
    ahead = published(corpus, tmp_path / "ahead")
    monkeypatch.setattr(overlap, "overlaps", lambda options: False)
    assert ahead == published(corpus, tmp_path / "plain") and len(ahead) > 8


def test_several_threads_work_ahead_each_for_itself(corpus, tmp_path, monkeypatch, gpu):
    flags = ("--direct_running_mode=multi_threading", "--direct_num_workers=3")
    monkeypatch.setattr(overlap, "AHEAD_BATCHES", 3)
    ahead = published(corpus, tmp_path / "ahead", *flags)
    monkeypatch.setattr(overlap, "overlaps", lambda options: False)
    assert ahead == published(corpus, tmp_path / "plain")


def test_a_cpu_hands_on_each_batch_as_it_comes(monkeypatch):
    assert not overlap.overlaps(OPTIONS)
    monkeypatch.setattr(overlap, "tokenize", lambda batch, *_: batch)
    step = TokenizeAhead(tiny.resolved("bert"), OPTIONS)
    step.setup()
    step.start_bundle()
    batch = tiny.records(["a"])
    assert list(step.process(batch, 0, None, None)) == [batch] and list(step.finish_bundle()) == []
    gather = Gather(OPTIONS)
    gather.setup()
    gather.start_bundle()
    batch = tokenize(batch, tiny.resolved("bert"), OPTIONS)
    (found,) = gather.process(batch, 0, None, None)
    assert found.value.batches == [batch] and list(gather.finish_bundle()) == []


class Watched:
    """The real `tokenize`, and how many batches it has done."""

    def __init__(self) -> None:
        self.done = 0
        self.changed = threading.Condition()

    def __call__(self, *how: Any) -> pa.RecordBatch:
        made = tokenize(*how)
        with self.changed:
            self.done += 1
            self.changed.notify_all()
        return made

    def wait_for(self, batches: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.done >= batches, SECONDS)


@pytest.fixture
def watched(monkeypatch):
    made = Watched()
    monkeypatch.setattr(overlap, "tokenize", made)
    return made


@pytest.fixture
def step(gpu, watched):
    """`TokenizeAhead`, as a runner uses it."""
    made = TokenizeAhead(tiny.resolved("bert"), OPTIONS)
    made.setup()
    made.start_bundle()
    yield made
    made.teardown()


def numbered(count):
    return [Mark(unit=0, units=1, sequence=i).on(tiny.records([f"text {i}"] * 3)) for i in range(count)]


def test_the_next_batches_are_tokenised_while_the_steps_behind_are_busy_with_one(step, watched, monkeypatch):
    monkeypatch.setattr(overlap, "AHEAD_BATCHES", 3)
    handed = []
    for number, batch in enumerate(numbered(10)):
        for each in step.process(batch, 0, None, None):
            handed.append(Mark.of(each.value).sequence)
            # Here the model would compute.
            assert watched.wait_for(number + 1), "what was read is tokenised meanwhile"
        assert len(handed) == max(0, number + 1 - 3), "and no more is held than may be"
    assert handed == list(range(7))
    assert [Mark.of(each.value).sequence for each in step.finish_bundle()] == [7, 8, 9]


def test_what_is_held_is_bounded_by_its_bytes_but_for_one_batch(step, monkeypatch):
    batches = [tiny.records(["x" * 1000]) for _ in range(5)]
    monkeypatch.setattr(overlap, "HELD_BYTES", 2 * batches[0].nbytes)
    assert [len(list(step.process(batch, 0, None, None))) for batch in batches] == [0, 0, 1, 1, 1]
    assert len(list(step.process(tiny.records(["x" * 9000]), 0, None, None))) == 2
    assert len(list(step.process(tiny.records(["x"]), 0, None, None))) == 1, (
        "a large batch goes as soon as another is there"
    )
    gather = Gather(OPTIONS)
    gather.setup()
    gather.start_bundle()
    wide = [tokenize(batch, tiny.resolved("bert"), OPTIONS) for batch in batches]
    assert [len(list(gather.process(batch, 0, None, None))) for batch in wide] == [0, 1, 0, 1, 0]


def test_an_error_comes_where_its_batch_would_and_the_next_bundle_is_clean(step, watched, monkeypatch):
    def failing(batch, *how):
        if batch["text"][0].as_py() == "text 1":
            raise ValueError("that one")
        return watched(batch, *how)

    monkeypatch.setattr(overlap, "tokenize", failing)
    assert [each for batch in numbered(3) for each in step.process(batch, 0, None, None)] == []
    rest = step.finish_bundle()
    assert Mark.of(next(rest).value).sequence == 0
    with pytest.raises(ValueError, match="that one"):
        next(rest)
    step.start_bundle()
    assert list(step.finish_bundle()) == []


def test_a_failing_tokenizer_fails_the_run_with_its_own_error(corpus, tmp_path, monkeypatch, gpu):
    def failing(*_):
        raise RuntimeError("no vocabulary")

    monkeypatch.setattr(overlap, "tokenize", failing)
    with pytest.raises(RuntimeError, match="no vocabulary"):
        published(corpus, tmp_path / "out")
    assert not (tmp_path / "out" / "labels").exists()
    for thread in threading.enumerate():
        if thread.name.startswith("tokenize"):
            thread.join(SECONDS)
            assert not thread.is_alive()


def times(batch, timestamp=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
    for each in batch.batches if isinstance(batch, Gathered) else [batch]:
        yield Mark.of(each).sequence, float(timestamp), float(window.start)


def test_batches_keep_their_time_and_their_window(gpu):
    checkpoint = tiny.resolved("bert")
    at = [(0, 1.0), (1, 1.0), (2, 8.0), (3, 12.0), (4, 12.0), (5, 31.0)]
    batches = [TimestampedValue(batch, time) for batch, (_, time) in zip(numbered(6), at, strict=True)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        windows = (
            pipeline
            | beam.Create([0])
            | beam.FlatMap(lambda _: batches).with_output_types(pa.RecordBatch)
            | beam.WindowInto(FixedWindows(10))
        )
        tokens = windows | Tokenize(checkpoint, OPTIONS)
        expected = [(number, time, time // 10 * 10) for number, time in at]
        assert_that(tokens | "T" >> beam.FlatMap(times), equal_to(expected), "tokenised")
        gathered = tokens | beam.ParDo(Gather(OPTIONS)).with_output_types(Gathered)
        assert_that(gathered | "G" >> beam.FlatMap(times), equal_to(expected), "gathered")
        sizes = gathered | beam.Map(lambda each: len(each.batches))
        assert_that(sizes, equal_to([2, 1, 2, 1]), "only those of one time")


def test_batches_are_gathered_up_to_a_number_of_tokens(gpu, monkeypatch):
    checkpoint = tiny.resolved("bert")
    batches = [tokenize(batch, checkpoint, OPTIONS) for batch in numbered(7)]
    each = sum(batches[0]["tokens"].to_pylist())
    monkeypatch.setattr(overlap, "GATHERED_TOKENS", 2 * each + 1)
    gather = Gather(OPTIONS)
    gather.setup()
    gather.start_bundle()
    found = [made.value for batch in batches for made in gather.process(batch, 0, None, None)]
    found += [made.value for made in gather.finish_bundle()]
    assert [len(made.batches) for made in found] == [3, 3, 1]
    assert [len(made) for made in found] == [9, 9, 3]
    assert [batch for made in found for batch in made.batches] == batches


def test_batches_of_other_columns_are_not_gathered_with_them(gpu):
    checkpoint = tiny.resolved("bert")
    single, pair = (tokenize(tiny.records(["a b"], pairs), checkpoint, OPTIONS) for pairs in (None, ["c"]))
    gather = Gather(OPTIONS)
    gather.setup()
    gather.start_bundle()
    batches = [single, single, pair, single]
    found = [made.value for batch in batches for made in gather.process(batch, 0, None, None)]
    found += [made.value for made in gather.finish_bundle()]
    assert [made.batches for made in found] == [[single, single], [pair], [single]]


def test_gathered_batches_travel_by_the_arrow_coder():
    sent = Gathered(numbered(3))
    coder = registry.get_coder(Gathered)
    assert isinstance(coder, GatheredCoder)
    got = coder.decode(coder.encode(sent))
    assert all(a.equals(b, check_metadata=True) for a, b in zip(got.batches, sent.batches, strict=True))
    assert b"pickle" not in coder.encode(sent) and len(got) == 9


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
@pytest.mark.parametrize("overflow", ["truncate", "window"])
def test_batches_that_are_classified_together_get_what_each_gets_alone(problem, overflow):
    from seqcls_beam.model.engine import Classifier

    checkpoint = tiny.resolved("bert", problem=problem)
    options = replace(OPTIONS, overflow=overflow, max_length=16, stride=4)
    classifier = Classifier(checkpoint, options)
    kinds = [(texts(9), [2]), ([], []), (["a b c"], [0]), (texts(30)[9:], [0, 20]), (["x " * 60, "y"], [])]
    batches = [tokenize(tiny.records(some, rejected=out), checkpoint, options) for some, out in kinds]
    together = classify(batches, classifier, checkpoint, options)
    alone = [classify([batch], classifier, checkpoint, options)[0] for batch in batches]
    for a, b in zip(together, alone, strict=True):
        a.validate(full=True)
        assert a.schema.remove_metadata() == b.schema.remove_metadata() and a.to_pylist() == b.to_pylist()
        assert replace(Mark.of(a), seconds={}) == replace(Mark.of(b), seconds={})


def test_a_row_that_fails_among_gathered_batches_is_rejected_in_its_own():
    class Failing:
        def __init__(self, inner: Any) -> None:
            self.inner, self.facts = inner, inner.facts

        def logits(self, ids: Any, *how: Any) -> Any:
            if bad in ids:
                raise ValueError("no")
            return self.inner.logits(ids, *how)

    from seqcls_beam.model.engine import Classifier

    checkpoint = tiny.resolved("bert")
    bad = tokenize(tiny.records(["12"]), checkpoint, OPTIONS)["input_ids"].to_pylist()[0][0][1]
    some = [["the dog"] * 3, ["the fox", "12 foxes", "the dog"], ["12", "the fox"]]
    batches = [tokenize(tiny.records(each), checkpoint, OPTIONS) for each in some]
    found = classify(batches, Failing(Classifier(checkpoint, OPTIONS)), checkpoint, OPTIONS)
    many = classify([batches[1]] * 20, Failing(Classifier(checkpoint, OPTIONS)), checkpoint, OPTIONS)
    assert sum(batch.num_rows - batch["reject"].null_count for batch in many) == 20, "one in each of 20 batches"
    bad_rows = [[row["reject"] is not None for row in batch.to_pylist()] for batch in found]
    assert bad_rows == [[False] * 3, [False, True, False], [True, False]]
    assert found[1]["reject"][1].as_py()["raw"] == b"12 foxes" and found[2]["reject"][0].as_py()["raw"] == b"12"
