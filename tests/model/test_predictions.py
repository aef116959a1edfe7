"""Probabilities, labels and pooling against plain formulas; rows on which the model raises are rejected alone."""

import itertools
import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, pipeline

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import CheckpointError, resolve
from seqcls_beam.model.predictions import classify, probabilities
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.schema import PREDICTION, PREDICTION_MULTI_LABEL, Mark
from tests import tiny
from tests.model.bits import same_bits

OPTIONS = ModelOptions(device="cpu", threads=2, batch_tokens=256)
TEXTS = [*tiny.CORPUS, "a", "", "lazy " * 200, "a good film", "no"]


class Arithmetic:
    """Logits by arithmetic on the ids: label k of a sequence is the mean of its ids times (k + 1), over 100."""

    def __init__(self, labels: int, fails=lambda ids: False):
        self.facts = {"engine": "arithmetic", "labels": [str(k) for k in range(labels)]}
        self.labels, self.fails, self.calls = labels, fails, 0

    def logits(self, ids, offsets, token_type_ids, advance=None):
        self.calls += 1
        assert ids.dtype == np.int32 and offsets.dtype == np.int64 and offsets[0] == 0 and offsets[-1] == len(ids)
        parts = [ids[low:high] for low, high in itertools.pairwise(offsets)]
        for part in parts:
            if self.fails(part):
                raise KeyError("a token that the model does not like")
        return np.array([self.one(part) for part in parts], np.float32).reshape(-1, self.labels)

    def one(self, part):
        return [part.mean() * (k + 1) / 100 for k in range(self.labels)]


def softmax(x):
    powers = np.exp(np.asarray(x, np.float64) - np.max(x))
    return powers / powers.sum()


def checkpoint(labels=("negative", "positive"), problem="single_label"):
    return replace(tiny.resolved(), labels=labels, problem=problem)


def predict(texts=TEXTS, rejected=(), engine=None, options=OPTIONS, **kind):
    found = checkpoint(**kind)
    engine = engine or Arithmetic(len(found.labels))
    tokens = tokenize(tiny.records(list(texts), rejected=rejected), found, options)
    return tokens, classify([tokens], engine, found, options)[0]


def test_single_label():
    tokens, batch = predict(labels=("1 star", "2 stars", "3 stars"))
    expected = [softmax(Arithmetic(3).one(np.array(row[0]))) for row in tokens["input_ids"].to_pylist()]
    assert np.allclose(batch["scores"].to_pylist(), expected, atol=1e-7)
    assert batch["label"].to_pylist() == ["3 stars"] * len(TEXTS)
    assert batch["score"].to_pylist() == [max(row) for row in batch["scores"].to_pylist()]
    assert batch.schema.names == [
        *("source", "position", "keep", "reject", "tokens", "truncated", "label", "score", "scores"),
    ]
    for field in PREDICTION:
        assert batch.schema.field(field.name).equals(field)
    assert batch["tokens"].equals(tokens["tokens"]) and batch["keep"].equals(tokens["keep"])
    mark = Mark.of(batch)
    assert (mark.unit, mark.units, mark.engine["engine"]) == (3, 7, "arithmetic")
    assert mark.seconds["classify"] > 0 and mark.seconds["tokenize"] > 0 and "threshold" not in mark.engine
    batch.validate(full=True)


@pytest.mark.parametrize("asked", [None, "regression"])
def test_one_output_is_what_its_config_says_it_is(tmp_path, asked):
    from seqcls_beam.model.engine import Classifier

    folder = shutil.copytree(tiny.resolved("bert", labels=("one",)).local(), tmp_path / "cross")
    config = json.loads((folder / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    (folder / "config.json").write_text(json.dumps(config))
    found = resolve(str(folder), problem_type=asked)
    scores = probabilities(tiny.CORPUS, None, found, Classifier(found, OPTIONS), OPTIONS)
    peer = pipeline("text-classification", model=str(folder), device="cpu")
    applied = "none" if asked == "regression" else "sigmoid"
    expected = [each["score"] for each in peer(tiny.CORPUS, function_to_apply=applied)]
    assert np.allclose(scores[:, 0], expected, atol=1e-5)
    if asked is None:
        assert [each["score"] for each in peer(tiny.CORPUS)] == expected, "and that is what it does unasked"


def test_multi_label_names_what_reaches_the_threshold_most_probable_first():
    class Fixed(Arithmetic):
        def one(self, part):
            return [[0.0, 2.0, -800.0, 1.0], [-1.0, -2.0, 0.0, 0.0]][part.size % 2]

    tokens, batch = predict(
        ["a", "a a"],
        labels=("a", "b", "c", "d"),
        problem="multi_label",
        engine=Fixed(4),
    )
    by_size = {0: ["b", "d", "a"], 1: ["c", "d"]}
    assert batch["labels"].to_pylist() == [by_size[n % 2] for n in tokens["tokens"].to_pylist()]
    even = tokens["tokens"].to_pylist().index(4)
    assert np.allclose(batch["scores"].to_pylist()[even], [0.5, 1 / (1 + np.exp(-2)), 0, 1 / (1 + np.exp(-1))])
    for field in PREDICTION_MULTI_LABEL:
        assert batch.schema.field(field.name).equals(field)
    _, none = predict(
        ["a", "b"],
        labels=("a", "b", "c", "d"),
        problem="multi_label",
        engine=Fixed(4),
        options=replace(OPTIONS, threshold=0.99),
    )
    assert none["labels"].to_pylist() == [[], []]
    assert [Mark.of(each).engine["threshold"] for each in (batch, none)] == [OPTIONS.threshold, 0.99]


def test_regression_is_the_value_itself():
    tokens, batch = predict(labels=("stars",), problem="regression")
    expected = [np.mean(row[0]) / 100 for row in tokens["input_ids"].to_pylist()]
    assert np.allclose(batch["score"].to_pylist(), expected)
    assert batch["scores"].to_pylist() == [[value] for value in batch["score"].to_pylist()]
    assert set(batch["label"].to_pylist()) == {"stars"}


@pytest.mark.parametrize("problem", ["single_label", "multi_label"])
@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max)])
def test_windows_are_pooled_by_probability(problem, pooling, pool):
    options = replace(OPTIONS, overflow="window", max_length=10, stride=2, pooling=pooling)
    tokens, batch = predict(options=options, rejected=[1, 9], labels=("x", "y", "z"), problem=problem)
    windows = tokens["input_ids"].to_pylist()
    assert max(map(len, windows)) > 5
    activate = softmax if problem == "single_label" else lambda x: 1 / (1 + np.exp(-np.array(x)))
    for row, scores in zip(windows, batch["scores"].to_pylist(), strict=True):
        if row:
            each = [activate(Arithmetic(3).one(np.array(window))) for window in row]
            assert np.allclose(scores, pool(each, axis=0), atol=1e-7)
        else:
            assert scores is None


def test_equal_scores_give_the_first_label():
    class Level(Arithmetic):
        def one(self, part):
            return [1.0, 1.0 + 1e-12, 1.0]

    _, batch = predict(["a"], engine=Level(3), labels=("first", "second", "third"))
    assert batch["label"].to_pylist() == ["first"]


def test_rejected_rows_are_null_and_keep_their_place():
    _, whole = predict()
    tokens, batch = predict(rejected=[0, 4, len(TEXTS) - 1])
    for row, (got, good) in enumerate(zip(batch.to_pylist(), whole.to_pylist(), strict=True)):
        if row in (0, 4, len(TEXTS) - 1):
            assert got["reject"] == tokens["reject"][row].as_py() and got["reject"]["stage"] == "read"
            assert [got[name] for name in ("label", "score", "scores", "tokens", "truncated")] == [None] * 5
        else:
            assert got == good


@pytest.mark.parametrize("problem", ["single_label", "multi_label"])
@pytest.mark.parametrize("texts", [[], ["a", "b"]])
def test_batches_with_nothing_to_classify(problem, texts):
    engine = Arithmetic(2)
    _, batch = predict(texts, rejected=range(len(texts)), problem=problem, engine=engine)
    assert batch.num_rows == len(texts) and batch["scores"].null_count == len(texts)
    assert engine.calls == 0 and Mark.of(batch).engine["labels"] == engine.facts["labels"]
    batch.validate(full=True)


@pytest.mark.parametrize("rejected", [{0}, {1, 2}, {len(TEXTS) - 1}, set(range(len(TEXTS)))])
def test_windows_of_a_row_that_a_step_between_rejected_are_nobodys(rejected):
    options = replace(OPTIONS, overflow="window", max_length=12, stride=3)
    tokens, whole = predict(options=options)
    said = {"stage": "mine", "reason": "model_error", "detail": "", "raw": b""}
    column = pa.array([said if row in rejected else None for row in range(len(TEXTS))], tokens["reject"].type)
    at = tokens.schema.get_field_index("reject")
    (found,) = classify([tokens.set_column(at, tokens.schema.field(at), column)], Arithmetic(2), checkpoint(), options)
    for row, (one, other) in enumerate(zip(found.to_pylist(), whole.to_pylist(), strict=True)):
        if row in rejected:
            assert one["reject"] == said and {one[name] for name in ("label", "score", "tokens", "truncated")} == {None}
        else:
            assert one == other


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, len(TEXTS)), max_size=4), rejected=st.sets(st.integers(0, len(TEXTS) - 1)))
def test_the_cut_into_batches_does_not_show(cuts, rejected):
    options = replace(OPTIONS, overflow="window", max_length=12, stride=3)
    tokens, whole = predict(rejected=rejected, options=options)
    edges = [0, *sorted(cuts), len(TEXTS)]
    parts = [tokens.slice(low, high - low) for low, high in itertools.pairwise(edges)]
    found = [classify([part], Arithmetic(2), checkpoint(), options)[0] for part in parts]
    assert [row for part in found for row in part.to_pylist()] == whole.to_pylist()


def broken_rows(count, of):
    """Texts of which `count` hold the token that Arithmetic is told to fail on, and that failure."""
    texts = ["the dog" for _ in range(of)]
    for row in range(0, of, of // count)[:count] if count else ():
        texts[row] = "the dog 12 foxes"
    probe = tokenize(tiny.records(["12"]), checkpoint(), OPTIONS)["input_ids"].to_pylist()[0][0][1]
    return texts, lambda ids: probe in ids


@pytest.mark.parametrize(("count", "of"), [(1, 1), (1, 100), (2, 64), (16, 160), (3, 3)])
def test_rows_on_which_the_model_raises_are_rejected_alone(count, of):
    texts, fails = broken_rows(count, of)
    engine = Arithmetic(2, fails)
    _, batch = predict(texts, engine=engine)
    failed = [row for row, text in enumerate(texts) if "12" in text]
    assert len(failed) == count
    assert np.flatnonzero(batch["reject"].is_valid().to_numpy(zero_copy_only=False)).tolist() == failed
    _, healthy = predict(texts)
    for row in range(of):
        if row in failed:
            assert batch["reject"][row].as_py() == {
                "stage": "classify",
                "reason": "model_error",
                "detail": "KeyError: 'a token that the model does not like'",
                "raw": texts[row].encode(),
            }
            assert [batch[name][row].as_py() for name in batch.schema.names[4:]] == [None] * 5
        else:
            assert batch.slice(row, 1).to_pylist() == healthy.slice(row, 1).to_pylist()
    assert engine.calls <= 2 * count * (np.ceil(np.log2(of)) + 1) + 1
    batch.validate(full=True)


def test_more_than_sixteen_such_rows_are_the_models_fault():
    texts, fails = broken_rows(17, 170)
    with pytest.raises(RuntimeError, match=r"fails on many rows of 170, .*KeyError") as caught:
        predict(texts, engine=Arithmetic(2, fails))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [CheckpointError("gone"), KeyboardInterrupt()])
def test_what_is_no_rows_fault_is_not_bisected(error):
    class Failing(Arithmetic):
        def logits(self, *_):
            self.calls += 1
            raise error

    engine = Failing(2)
    with pytest.raises(type(error)):
        predict(engine=engine)
    assert engine.calls == 1


@same_bits
@pytest.mark.engine
def test_a_token_behind_the_embedding_table_rejects_its_row(tmp_path):
    from seqcls_beam.model.engine import Classifier

    folder = shutil.copytree(tiny.resolved().local(), tmp_path / "grown")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<grown>"])
    tokenizer.save_pretrained(folder)
    grown = resolve(str(folder))
    texts = ["the dog", "the <grown> dog", *tiny.CORPUS]
    tokens = tokenize(tiny.records(texts), grown, OPTIONS)
    classifier = Classifier(grown, OPTIONS)
    (batch,) = classify([tokens], classifier, grown, OPTIONS)
    assert [row is not None for row in batch["reject"].to_pylist()] == [False, True, *[False] * len(tiny.CORPUS)]
    reject = batch["reject"][1].as_py()
    assert reject["raw"] == texts[1].encode() and "outside the model's embedding table" in reject["detail"]
    others = [texts[0], *tiny.CORPUS]
    (alone,) = classify([tokenize(tiny.records(others), grown, OPTIONS)], classifier, grown, OPTIONS)
    assert alone["scores"].to_pylist() == [row for row in batch["scores"].to_pylist() if row is not None]
    with pytest.raises(ValueError, match="the model fails on text 1: token id"):
        probabilities(texts, None, grown, classifier, OPTIONS)


@pytest.mark.engine
def test_probabilities_are_the_scores():
    from seqcls_beam.model.engine import Classifier

    found = tiny.resolved()
    classifier = Classifier(found, OPTIONS)
    tokens = tokenize(tiny.records(TEXTS, TEXTS[::-1]), found, OPTIONS)
    scores = classify([tokens], classifier, found, OPTIONS)[0]["scores"].to_pylist()
    assert probabilities(TEXTS, TEXTS[::-1], found, classifier, OPTIONS).tolist() == scores


def test_arrow_and_not_python_does_the_rows():
    rows = 8192
    tokens = tokenize(tiny.records(["the lazy dog"] * rows), checkpoint(), OPTIONS)

    class Ready(Arithmetic):
        def logits(self, ids, offsets, token_type_ids, advance=None):
            return np.zeros((len(offsets) - 1, 2), np.float32)

    spent = []
    for _ in range(5):
        started = time.perf_counter()
        classify([tokens], Ready(2), checkpoint(), OPTIONS)
        spent.append(time.perf_counter() - started)
    assert min(spent) < 0.1, "8,192 short rows cost 2 ms on a quiet machine; a loop over rows shows"
