"""A model runs the fastest way that gives what plain transformers gives; what cannot be had is an error with a name."""

import itertools
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.engine import Classifier, choosing, linear
from seqcls_beam.model.engine.attention import by_equal_lengths
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
        (across_all_tokens, r"it differs from the plain model by \d.* in a probability, by \d.* of a logit"),
        (raising, "RuntimeError: no kernel image is available"),
        (lambda query, *_: torch.full_like(query, torch.nan), "its logits are not finite"),
    ],
    ids=["wrong", "raises", "nan"],
)
def test_a_way_that_goes_wrong_is_refused_once_and_the_logits_are_right(family, attention, reason, monkeypatch, caplog):
    monkeypatch.setattr(choosing, "by_equal_lengths", attention)
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

    monkeypatch.setattr(choosing, "by_equal_lengths", leaking)
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
