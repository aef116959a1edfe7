"""--dtype=fastest takes, of the precisions that keep float32's labels, the fastest; and what bfloat16 would give."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.engine import Classifier, fastest, linear, memory
from tests import tiny
from tests.model.engine.test_int8 import task, trained  # noqa: F401

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not linear.available(), reason="this processor or this torch lacks oneDNN's products"),
]

EXACT = ModelOptions(device="cpu", threads=1, batch_tokens=256, dtype="float32")
INT8 = replace(EXACT, dtype="int8")


def first(count):
    ids, offsets, _ = task(count, seed=5)
    return ids, offsets, np.zeros(len(ids), np.int8)


@pytest.mark.parametrize(
    ("bfloat16", "int8", "taken"),
    [
        ((1.5, 1.0, 0.001), (2.0, 0.995, 0.01), "int8"),
        ((1.5, 1.0, 0.001), (2.0, 0.9949, 0.01), "bfloat16"),
        ((1.9, 1.0, 0.001), (2.0, 1.0, 0.01), "bfloat16"),
        ((1.9, 1.0, 0.01), (2.0, 1.0, 0.001), "int8"),
        ((1.5, 0.9, 0.1), None, "float32"),
        ((1.05, 1.0, 0.001), (0.9, 1.0, 0.01), "float32"),
    ],
)
def test_of_those_that_keep_the_labels_the_fastest_is_taken_and_of_those_as_fast_the_most_exact(bfloat16, int8, taken):
    tried: list[dict[str, Any]] = [{"dtype": "float32", "times": 1.0, "label_agreement": 1.0, "mean_delta": 0.0}]
    for dtype, figures in (("bfloat16", bfloat16), ("int8", int8)):
        names = ("times", "label_agreement", "mean_delta")
        said: dict[str, Any] = dict(zip(names, figures, strict=True)) if figures else {"refused": "why"}
        tried.append({"dtype": dtype} | said)
    assert fastest._taken(tried) == taken


def test_the_figures_are_those_of_a_recomputation(trained, monkeypatch):  # noqa: F811
    monkeypatch.setattr(fastest, "FIRST", 300)
    monkeypatch.setattr(fastest, "_SECONDS", 0.0)
    ids, offsets, types = first(300)
    said = fastest.fastest(trained, EXACT, first(300))
    found = {each["dtype"]: each for each in said["tried"]}
    assert said["sequences"] == 150 and said["dtype"] in found
    expected = Classifier(trained, EXACT).logits(ids, offsets, types)[1::2]
    int8 = Classifier(trained, INT8, first(300)).logits(ids, offsets, types)[1::2]
    softened = [np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (expected, int8)]
    assert found["int8"]["label_agreement"] == pytest.approx((expected.argmax(1) == int8.argmax(1)).mean(), abs=1e-6)
    assert found["int8"]["mean_delta"] == pytest.approx(np.abs(softened[0] - softened[1]).mean(), abs=1e-5)
    assert all(0 < each["times"] < 100 for each in found.values())


def test_nothing_is_tried_where_it_takes_longer_or_says_nothing(monkeypatch):
    model = tiny.resolved("bert")
    ids, offsets, types = first(20)
    alike = np.tile(ids[: offsets[1]], 1200), np.arange(1201) * offsets[1], None
    none = ids[:0], offsets[:1], None
    numbers = tiny.resolved("bert", labels=("stars",), problem="regression")
    monkeypatch.setattr(fastest, "Classifier", None)
    for checkpoint, some, said in (
        (model, (ids, offsets, types), "to try others takes longer than to label 20 texts"),
        (model, none, "to try others takes longer than to label 0 texts"),
        (model, alike, "of 600 texts to judge others by 1 differ, which is too few"),
        (numbers, alike, "a precision is judged by labels, and the model gives numbers"),
    ):
        assert fastest.fastest(checkpoint, EXACT, some) == {"dtype": "float32", "reason": said}
    monkeypatch.setattr(memory, "free_of_host", lambda: 1)
    monkeypatch.setattr(fastest, "FIRST", 2)
    monkeypatch.setattr(fastest, "LEAST", 2)
    assert "too little memory" in fastest.fastest(model, EXACT, (ids, offsets, types))["reason"]
    assert fastest.bfloat16(model, EXACT) is None


def test_what_bfloat16_would_give_is_told_where_it_is_worth_it(monkeypatch):
    monkeypatch.setattr(linear, "multiplies_bfloat16", lambda: True)
    options, model = replace(EXACT, dtype="auto"), tiny.resolved("bert")
    monkeypatch.setattr(fastest, "_WORTH", 0.0)
    found = fastest.bfloat16(model, options)
    assert found is not None and found[0] > 0
    assert found[1] == Classifier(model, replace(options, dtype="bfloat16")).facts["self_test_cost"] > 0
    monkeypatch.setattr(fastest, "_WORTH", 1e9)
    assert fastest.bfloat16(model, options) is None


def test_an_engine_is_of_a_precision_that_has_a_name():
    with pytest.raises(ValueError, match=r"--dtype=fastest: pipelines\.classify finds which that is"):
        Classifier(tiny.resolved("bert"), replace(EXACT, dtype="fastest"))
