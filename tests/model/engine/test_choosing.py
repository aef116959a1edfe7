"""A model runs the fastest way that gives what plain transformers gives; what cannot be had is an error with a name."""

import gc
import itertools
import logging
import re
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, resolve
from seqcls_beam.model.engine import Classifier, choosing, linear
from seqcls_beam.model.engine.attention import by_equal_lengths
from seqcls_beam.model.engine.loading import load
from seqcls_beam.model.engine.padded import Padded
from tests import tiny

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(device="cpu", threads=2, batch_tokens=256)
LENGTHS = [100, 60, 60, 17, 9, 9, 2, 1]


def sequences(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(3).integers(0, 90, offsets[-1]).astype(np.int32), offsets


def distance(checkpoint: Checkpoint, classifier: Classifier):
    """How far a classifier's logits are from plain transformers', which gets every sequence alone."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint.local(), dtype=torch.float32).eval()
    ids, offsets = sequences(LENGTHS)
    found = classifier.logits(ids, offsets, None)
    with torch.inference_mode():
        expected = [model(torch.from_numpy(ids[None, a:b]).long()).logits[0] for a, b in itertools.pairwise(offsets)]
    return np.abs(found - torch.stack(expected).numpy()).max()


def across_all_tokens(query, key, value, layout, scale, window=None):
    """Attention that forgets where sequences end."""
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), value)


def raising(*_):
    raise RuntimeError("no kernel image is available")


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert"])
@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        (across_all_tokens, r"it differs from the plain model in float32 by \d.* in a probability, by \d.* of a logit"),
        (raising, "RuntimeError: no kernel image is available"),
        (lambda query, *_: torch.full_like(query, torch.nan), "its logits are not finite"),
    ],
    ids=["wrong", "raises", "nan"],
)
def test_a_way_that_goes_wrong_is_refused_once_and_the_logits_are_right(family, attention, reason, monkeypatch, caplog):
    monkeypatch.setattr(choosing, "on_cpu", lambda _: attention)
    checkpoint = tiny.resolved(family)
    classifier = Classifier(checkpoint, OPTIONS)
    assert classifier.facts["engine"] == "padded"
    (refused,) = classifier.facts["refused"]
    assert refused["engine"] == "packed" and refused["products"] == classifier.facts["products"]
    assert re.fullmatch(reason, refused["reason"])
    (line,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert refused["reason"] in line.getMessage() and checkpoint.name in line.getMessage()
    assert distance(checkpoint, classifier) < 1e-4


def test_a_small_leak_between_sequences_is_enough_to_be_refused(monkeypatch):
    def leaking(query, key, value, *how):
        return torch.lerp(by_equal_lengths(query, key, value, *how), across_all_tokens(query, key, value, *how), 0.01)

    monkeypatch.setattr(choosing, "on_cpu", lambda _: leaking)
    assert Classifier(tiny.resolved("bert"), OPTIONS).facts["engine"] == "padded"


def test_nothing_is_refused_where_all_is_well(caplog):
    facts = Classifier(tiny.resolved("bert"), OPTIONS).facts
    assert facts["engine"] == "packed" and "refused" not in facts and not caplog.records


@pytest.mark.parametrize(("family", "engine"), [("bert", "packed"), ("modernbert", "packed"), ("deberta-v2", "padded")])
def test_without_onednn_the_logits_are_the_same_by_torchs_own_products(family, engine, monkeypatch):
    monkeypatch.setattr(linear, "available", lambda: False)
    checkpoint = tiny.resolved(family)
    classifier = Classifier(checkpoint, OPTIONS)
    assert classifier.facts["engine"] == engine and classifier.facts["products"] == "torch"
    assert distance(checkpoint, classifier) < 1e-4
    with pytest.raises(ValueError, match=r"--dtype=bfloat16"):
        Classifier(checkpoint, replace(OPTIONS, dtype="bfloat16"))


def test_compiling_for_a_cpu_is_an_error():
    with pytest.raises(ValueError, match=r"--compile: is for GPUs"):
        Classifier(tiny.resolved("bert"), replace(OPTIONS, compile=True))


@pytest.mark.skipif(not linear.available(), reason="this processor or this torch lacks oneDNN's products")
def test_products_are_by_onednn_where_it_is_there():
    assert Classifier(tiny.resolved("bert"), OPTIONS).facts["products"] == "oneDNN"


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float16", "--dtype=float16: is for GPUs; on a CPU take float32, bfloat16 or int8"),
        ("bfloat16", "--dtype=bfloat16: this processor has no products of that; take float32 or int8"),
        ("int8", "--dtype=int8: it is fitted to the first rows of a corpus, and here is none"),
    ],
)
def test_a_precision_that_cannot_be_had_is_named(dtype, message, monkeypatch):
    monkeypatch.setattr(linear, "multiplies_bfloat16", lambda: False)
    with pytest.raises(ValueError, match=message):
        Classifier(tiny.resolved("bert"), replace(OPTIONS, dtype=dtype))


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_on_a_cpu_the_precision_is_float32_unless_asked_otherwise(dtype):
    assert Classifier(tiny.resolved("bert"), replace(OPTIONS, dtype=dtype)).facts["dtype"] == "float32"


@pytest.mark.parametrize("broken", [slice(20, 60), slice(None)], ids=["some", "all"])
def test_a_checkpoint_with_broken_embeddings_loads_and_runs_packed(broken, tmp_path):
    folder = tiny.checkpoint(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.get_input_embeddings().weight.data[broken] = float("nan")
    model.save_pretrained(folder)
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    assert classifier.facts["engine"] == "packed" and "refused" not in classifier.facts
    with pytest.raises(FloatingPointError, match="sequence 0"):
        classifier.logits(np.array([2, 30, 3], np.int32), np.array([0, 3]), None)


def test_a_model_that_reads_few_tokens_is_tried_on_few():
    checkpoint = tiny.resolved("bert", max_position_embeddings=16)
    assert Classifier(replace(checkpoint, max_length=16), OPTIONS).facts["engine"] == "packed"


# Weights as small as trained ones. What is tested is which way is chosen, with a CPU's attention.
SMALL = {"initializer_range": 0.05, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}


def ways(*those):
    """(engine, dtype) → the ways, for `choosing._ways`."""
    return lambda *_: [choosing._Way(engine, dtype) for engine, dtype in those]


def test_the_ways_of_a_gpu_are_all_packed_ones_then_all_padded_ones_the_finer_half_first(monkeypatch):
    monkeypatch.setattr(choosing, "multiplies_bfloat16", lambda device: True)

    def found(family, **how):
        made = choosing._ways(family, torch.device("cuda"), ModelOptions(**how))
        return [(each.engine, str(each.dtype)[6:]) for each in made]

    packed = [("packed", "float16"), ("packed", "bfloat16")]
    others = ("padded", "equal lengths", "one by one")
    padded = [(engine, dtype) for engine in others for dtype in ("float16", "bfloat16", "float32")]
    assert found("bert") == packed + padded
    assert found("deberta-v2") == padded
    assert found("bert", dtype="bfloat16") == [packed[1], *padded[1::3]]
    assert found("bert", dtype="float32") == padded[2::3]
    assert found("bert", compile=True) == packed + packed + padded
    monkeypatch.setattr(choosing, "multiplies_bfloat16", lambda device: False)
    assert found("bert") == [packed[0], *(each for each in padded if each[1] != "bfloat16")]


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert"])
def test_a_packed_way_does_not_pay_for_what_the_precision_costs_the_plain_model_too(family, monkeypatch, caplog):
    # Large weights: bfloat16 moves probabilities by more than two ways may differ in one precision.
    monkeypatch.setattr(choosing, "_ways", ways(("packed", torch.bfloat16), ("padded", torch.bfloat16)))
    checkpoint = tiny.resolved(family)
    classifier = Classifier(checkpoint, replace(OPTIONS, dtype="bfloat16"))
    facts = classifier.facts
    assert (facts["engine"], facts["dtype"]) == ("packed", "bfloat16") and "refused" not in facts
    assert facts["self_test_cost"] > 1e-3 and not caplog.records
    assert distance(checkpoint, classifier) > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_fault_of_a_packed_way_is_told_from_rounding(dtype, monkeypatch):
    half = getattr(torch, dtype)
    monkeypatch.setattr(choosing, "_ways", ways(("packed", half), ("padded", half)))
    monkeypatch.setattr(choosing, "on_cpu", lambda _: across_all_tokens)
    facts = Classifier(tiny.resolved("bert"), replace(OPTIONS, dtype=dtype)).facts
    assert (facts["engine"], facts["dtype"]) == ("padded", dtype)
    (refused,) = facts["refused"]
    assert re.fullmatch(rf"it differs from the plain model in {dtype} by 0\.\d+ in .*", refused["reason"])


def test_a_precision_that_costs_much_is_taken_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(choosing, "_ways", ways(("packed", torch.bfloat16), ("padded", torch.float32)))
    checkpoint = tiny.resolved("bert", initializer_range=1.0)
    facts = Classifier(checkpoint, OPTIONS).facts
    assert (facts["engine"], facts["dtype"]) == ("padded", "float32")
    (refused,) = facts["refused"]
    assert re.match(r"in bfloat16 the plain model differs from itself in float32 by 0\.\d+ in", refused["reason"])
    asked = Classifier(checkpoint, replace(OPTIONS, dtype="bfloat16")).facts
    assert (asked["engine"], asked["dtype"]) == ("packed", "bfloat16") and asked["self_test_cost"] > 3e-2


def test_a_text_that_overflows_in_float16_is_read_in_a_wider_precision_and_said_once(tmp_path, monkeypatch, caplog):
    folder, token = tiny.overflowing(tmp_path, **SMALL)
    monkeypatch.setattr(choosing, "_ways", ways(("packed", torch.float16)))
    checkpoint = resolve(str(folder))
    classifier = Classifier(checkpoint, OPTIONS)
    assert classifier.facts["dtype"] == "float16"
    monkeypatch.undo()
    texts = [[2, token, 3], [2, 40, 3], [2, 50, 51, 3], [2, token, 3], [2, token, 60, 3]]
    ids, offsets = np.concatenate(texts).astype(np.int32), np.cumsum([0, *map(len, texts)])
    told: list[int] = []
    found = classifier.logits(ids, offsets, None, told.append)
    exact = Classifier(checkpoint, replace(OPTIONS, dtype="float32")).logits(ids, offsets, None)
    assert np.abs(found - exact)[[0, 3, 4]].max() < 1e-5, "in float32, where there is no bfloat16"
    assert 0 < np.abs(found - exact)[[1, 2]].max() < 1e-2
    assert sum(told) == len(texts)
    assert np.array_equal(classifier.logits(ids, offsets, None), found)
    assert caplog.text.count("some texts overflow in float16 and are read in float32") == 1


def test_a_way_that_is_refused_leaves_no_model_behind(monkeypatch):
    held: list[Any] = []
    build = choosing._Way.build

    def watched(way, model, *how):
        assert [each() for each in held] == [None] * len(held)
        held.append(weakref.ref(model))
        return build(way, model, *how)

    monkeypatch.setattr(choosing._Way, "build", watched)
    monkeypatch.setattr(choosing, "on_cpu", lambda _: across_all_tokens)
    gc.disable()  # by itself it may be too late
    try:
        Classifier(tiny.resolved("bert"), OPTIONS)
    finally:
        gc.enable()
    assert len(held) == 2


PROBLEMS: dict[str, dict[str, Any]] = {
    "single_label": {},
    "multi_label": {"labels": ("a", "b", "c")},
    "regression": {"labels": ("stars",)},
}


def judged(problem, spoil, dtype=torch.float16):
    """What the self-test says of answers that are those of the plain model but for `spoil`."""
    name = {"multi_label": "multi_label_classification", "regression": "regression"}.get(problem)
    checkpoint = tiny.resolved("bert", problem=name, **PROBLEMS[problem])
    assert checkpoint.problem == problem
    model = load(checkpoint, torch.device("cpu"))
    trial = choosing._trial(checkpoint, model, 1, 256, 128, None)
    trial.learn(dtype, lambda: load(checkpoint, torch.device("cpu"), dtype))
    plain = trial.logits(Padded(load(checkpoint, torch.device("cpu"), dtype), dtype))
    assert trial.fault(plain, dtype, asked=True) == ""
    return trial.fault(spoil(plain), dtype, asked=True)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_wrong_with_answers_is_seen_for_every_kind_of_them(problem):
    assert "it differs from the plain model in float16" in judged(problem, lambda x: x.flip(0))
    assert "it differs" in judged(problem, lambda x: torch.randn_like(x))
    # As much as no two roundings are apart, and as softmax cannot see.
    shifted = judged(problem, lambda x: x + 0.09)
    assert ("it differs" in shifted) == (problem != "single_label")
    assert judged(problem, lambda x: x.masked_fill(torch.arange(len(x))[:, None] == 3, torch.inf)).startswith(
        "its logits"
    )


def test_a_precision_in_which_the_plain_model_gives_no_numbers_says_nothing_for_another_way(tmp_path):
    folder, _ = tiny.overflowing(tmp_path, **SMALL)
    checkpoint = resolve(str(folder))
    model = load(checkpoint, torch.device("cpu"))
    trial = choosing._trial(checkpoint, model, 1, 256, 128, None)
    model.get_input_embeddings().weight.data *= 1e7
    trial.learn(torch.float16, lambda: model.half())
    noise = torch.randn_like(trial._plain[torch.float16])
    assert trial.fault(noise, torch.float16, asked=True) == "in float16 the plain model's logits are not finite"


def test_where_no_wider_precision_can_be_had_the_run_fails_and_no_row_is_blamed(tmp_path, monkeypatch):
    folder, token = tiny.overflowing(tmp_path, **SMALL)
    monkeypatch.setattr(choosing, "_ways", ways(("packed", torch.float16)))
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    monkeypatch.setattr(choosing, "load", raising)
    with pytest.raises(
        CheckpointError, match=r"some texts overflow in float16, and it cannot be run in float32 \(Runt"
    ):
        classifier.logits(np.array([2, token, 3], np.int32), np.array([0, 3]), None)
