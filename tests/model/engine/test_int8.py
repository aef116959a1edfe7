"""int8 keeps the labels of a trained model, says how well, and is refused where it does not."""

import atexit
import itertools
import json
import logging
import math
import shutil
import tempfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier, int8, linear
from seqcls_beam.model.engine.int8 import quantize
from seqcls_beam.model.engine.kernels import trial
from seqcls_beam.model.engine.linear import Bfloat16Linear, Int8Linear, Linear
from seqcls_beam.model.tokens import encode
from tests import tiny
from tests.model.bits import same_bits

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not linear.available(), reason="this processor or this torch lacks oneDNN's products"),
]

OPTIONS = ModelOptions(device="cpu", threads=2, batch_tokens=256)
EXACT, INT8 = OPTIONS, replace(OPTIONS, dtype="int8")


def task(count, seed):
    """Sequences whose tokens are mostly of the lower or of the upper half of a vocabulary: (ids, offsets, which)."""
    drawn = np.random.default_rng(seed)
    lengths, upper = drawn.integers(6, 40, count), drawn.integers(0, 2, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    halves = np.repeat(upper, lengths) ^ (drawn.random(offsets[-1]) < 0.1)
    return (drawn.integers(10, 40, offsets[-1]) + 40 * halves).astype(np.int32), offsets, upper


@pytest.fixture(scope="module")
def trained():
    """A checkpoint that was trained, within a second or two, until it is sure."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-trained-"))
    atexit.register(shutil.rmtree, folder)
    tiny.checkpoint(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    for each in model.parameters():
        if each.ndim > 1:
            each.data *= 0.3
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    torch.set_num_threads(1)  # as fast for a model so small, and the same numbers on every machine
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(40):
            ids, offsets, upper = task(32, step + 100)
            parts = [torch.from_numpy(ids[a:b]).long() for a, b in itertools.pairwise(offsets)]
            batch = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
            logits = model.train()(input_ids=batch, attention_mask=(batch > 0).long()).logits
            # Smoothed, so that it is sure, and yet its probabilities are not 0 and 1.
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(upper), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.save_pretrained(folder)
    return resolve(str(folder))


def first(count=400, seed=1):
    ids, offsets, _ = task(count, seed)
    return ids, offsets, np.zeros(len(ids), np.int8)


def probabilities(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def test_a_trained_model_keeps_its_labels(trained):
    classifier = Classifier(trained, INT8, first())
    ids, offsets, upper = task(300, seed=2)
    logits = classifier.logits(ids, offsets, np.zeros(len(ids), np.int8))
    expected = Classifier(trained, EXACT).logits(ids, offsets, np.zeros(len(ids), np.int8))
    assert (expected.argmax(1) == upper).mean() > 0.98, "the model learned its task"
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= 0.995
    assert 0 < np.abs(probabilities(logits) - probabilities(expected)).mean() < 0.01
    assert classifier.facts["dtype"] == "int8" and classifier.facts["engine"] == "packed"
    kinds = [type(each) for each in classifier._executor.model.base_model.modules()]
    wide = classifier.facts["wide"]
    assert kinds.count(Int8Linear) + len(wide["products"]) == 9, "all products of two layers"
    half = linear.multiplies_bfloat16()
    assert wide["dtype"] == ("bfloat16" if half else "float32")
    assert kinds.count(Bfloat16Linear) == len(wide["products"]) * half
    rest = "bfloat16" if trial.available() else "float32"
    assert classifier.facts["rest"] == rest
    embeddings = classifier._executor.model.base_model.embeddings
    assert {str(each.dtype) for each in embeddings.parameters()} == {f"torch.{rest}"}
    assert len(wide["products"]) <= 3, "a third at most"


@pytest.mark.parametrize("positive", [False, True])
def test_what_is_fitted_to_texts_of_one_label_reads_those_of_the_other(positive):
    """A corpus may be sorted by what its texts say."""
    sample = (files("seqcls_beam") / "sample" / "reviews.jsonl").read_bytes().decode(errors="replace").splitlines()
    texts = [
        found["text"]
        for line in sample
        if isinstance(found := _read(line), dict) and isinstance(found.get("text"), str)
    ]
    checkpoint = resolve("sentiment")
    column, _ = encode([pa.array(texts, pa.string())], checkpoint, checkpoint.max_length, 0)
    ids = column.input_ids.values.to_numpy()
    offsets = column.input_ids.offsets.to_numpy().astype(np.int64)
    exact = Classifier(checkpoint, EXACT).logits(ids, offsets, None)
    is_of = (exact[:, 1] > exact[:, 0]) == positive
    of, other = ([ids[low:high] for low, high in itertools.pairwise(offsets)] for _ in range(2))
    fitted = [each for each, taken in zip(of, is_of, strict=True) if taken]
    beyond = [each for each, taken in zip(other, is_of, strict=True) if not taken]

    def joined(some):
        return np.concatenate(some), np.concatenate([[0], np.cumsum([len(each) for each in some])]), None

    found = Classifier(checkpoint, INT8, joined(fitted)).logits(*joined(beyond))
    assert len(found) > 40 and ((found[:, 1] > found[:, 0]) != positive).mean() > 0.97


def _read(line):
    try:
        return json.loads(line)
    except ValueError:
        return None


def test_the_products_that_bytes_cost_most_stay_wide(trained, monkeypatch):
    class Ruined(Int8Linear):
        def __init__(self, product, *how):
            super().__init__(product, *how)
            if product.weight.shape == (32, 64):
                self._steps_O = self._steps_O.flip(0) * 9

    monkeypatch.setattr(int8, "Int8Linear", Ruined)
    facts = Classifier(trained, INT8, first()).facts
    assert {each.rpartition(".")[2] for each in facts["wide"]["products"][:2]} == {"down"}
    assert facts["parity"]["label_agreement"] >= 0.995


def test_where_wide_products_are_slow_there_are_no_more_than_labels_ask_for(trained, monkeypatch):
    monkeypatch.setattr(int8, "multiplies_bfloat16", lambda: False)
    classifier = Classifier(trained, INT8, first())
    assert classifier.facts["wide"] == {"dtype": "float32", "products": []}
    monkeypatch.setattr(int8, "_AGREED", 1.1)
    assert len(Classifier(trained, INT8, first()).facts["wide"]["products"]) == 3


@pytest.mark.skipif(not linear.multiplies_bfloat16(), reason="this processor has no products of bfloat16")
def test_where_they_are_fast_there_are_as_many_as_probabilities_ask_for(trained, monkeypatch):
    def wide():
        return Classifier(trained, INT8, first()).facts["wide"]["products"]

    monkeypatch.setattr(int8, "_NEAR", 1.0)
    assert not wide()
    monkeypatch.setattr(int8, "_NEAR", 0.0)
    assert len(wide()) == 3


def test_the_figures_are_those_of_a_recomputation(trained, caplog):
    caplog.set_level(logging.INFO)
    classifier = Classifier(trained, INT8, first())
    ids, offsets, types = first()
    some = np.arange(1, 400, 2)
    expected, found = (each.logits(ids, offsets, types)[some] for each in (Classifier(trained, EXACT), classifier))
    facts = classifier.facts["parity"]
    assert facts["sequences"] == 200
    assert facts["label_agreement"] == (expected.argmax(1) == found.argmax(1)).mean()
    assert facts["mean_delta"] == pytest.approx(np.abs(probabilities(expected) - probabilities(found)).mean(), rel=1e-2)
    assert f"int8 keeps {facts['label_agreement']:.2%} of the labels of 200 sequences" in caplog.text


def test_int8_is_judged_by_other_rows_than_it_is_fitted_to(trained, monkeypatch):
    runs = []

    def listening(model, checkpoint, some, run, *how):
        def heard(ids, offsets, types):
            runs.append([tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(offsets)])
            return run(ids, offsets, types)

        return quantize(model, checkpoint, some, heard, *how)

    monkeypatch.setattr("seqcls_beam.model.engine.classifier.quantize", listening)
    ids, offsets, types = first(40)
    classifier = Classifier(trained, INT8, (ids, offsets, types))
    before, fitted, *weighed, after = runs
    assert before == after and not set(before) & set(fitted)
    assert weighed and all(set(each) <= set(fitted) for each in weighed)
    assert sorted([*before, *fitted]) == sorted(tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(offsets))
    assert classifier.facts["parity"]["sequences"] == len(before) > 1 and len(fitted) > 1


@same_bits
def test_logits_in_int8_depend_on_the_sequence_alone(trained):
    classifier = Classifier(trained, INT8, first())
    ids, offsets, types = first(30, seed=3)
    ids[-1] = 200  # a token that was not among the first rows
    whole = classifier.logits(ids, offsets, types)
    for rows in ([7], [29, 3], [*range(30)][::-1], [5, 5, 0]):
        some = np.concatenate([ids[offsets[row] : offsets[row + 1]] for row in rows])
        ends = np.concatenate([[0], np.cumsum(np.diff(offsets)[rows])])
        assert np.array_equal(classifier.logits(some, ends, np.zeros(len(some), np.int8)), whole[rows])
    changed = ids.copy()
    changed[offsets[4] : offsets[5]] = 77
    assert np.array_equal(np.delete(classifier.logits(changed, offsets, types), 4, 0), np.delete(whole, 4, 0))
    other = Classifier(trained, replace(INT8, batch_tokens=4000), first())
    assert np.array_equal(other.logits(ids, offsets, types), whole), "nor on the tokens per pass"


@pytest.mark.parametrize("spoiled", ["_step", "_steps_O"])
def test_a_quantisation_that_loses_labels_is_refused_with_its_figures(trained, spoiled, monkeypatch):
    class Spoiled(Int8Linear):
        def __init__(self, *how):
            super().__init__(*how)
            value = getattr(self, spoiled)
            setattr(self, spoiled, value.flip(0) * -90 if spoiled == "_steps_O" else value * -90)

    monkeypatch.setattr(int8, "Int8Linear", Spoiled)
    with pytest.raises(ValueError, match=r"--dtype=int8: .* keeps \d+\.\d\d% of the labels of 200 sequences, mean "):
        Classifier(trained, INT8, first())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"labels": ("score",), "problem": "regression"}, "--dtype=int8: is judged by labels"),
        ({}, "--dtype=int8: there are not two texts"),
    ],
)
def test_what_cannot_be_judged_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        Classifier(tiny.resolved("bert", **how), INT8, first(1 if not how else 20))


@pytest.mark.parametrize(
    ("family", "how"),
    [
        ("albert", {}),
        ("modernbert", {}),
        ("distilbert", {}),
        ("deberta-v2", {}),
        ("bert", {"labels": ("a", "b", "c"), "problem": "multi_label_classification"}),
    ],
)
def test_every_family_runs_in_int8_near_float32(family, how, monkeypatch):
    monkeypatch.setattr(int8, "AGREEMENT", 0.5)  # random weights give labels that are nearly tied
    checkpoint = tiny.resolved(family, **how)
    ids, offsets, types = first(60)
    types = types if checkpoint.sentence_ids else None
    classifier = Classifier(checkpoint, INT8, (ids, offsets, types))
    expected = Classifier(checkpoint, EXACT).logits(ids, offsets, types)
    found = classifier.logits(ids, offsets, types)
    assert any(isinstance(each, Int8Linear) for each in classifier._executor.model.modules())
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).mean() < 0.2 * expected.std()
    assert 0 < classifier.facts["parity"]["mean_delta"] < 0.05
    if how:
        judged = np.arange(60) % 2 == 1
        same = ((found > 0) == (expected > 0)).all(1)[judged]
        assert classifier.facts["parity"]["label_agreement"] == same.mean()


def whole_numbers(most, outputs=24, inputs=32, rows=9):
    """Weights of whole steps, `most` of them in every row and column; inputs of whole steps of a range of [-1, 1]."""
    drawn = np.random.default_rng(0)
    weights = drawn.integers(-most, most + 1, (outputs, inputs))
    weights[np.arange(max(outputs, inputs)) % outputs, np.arange(max(outputs, inputs)) % inputs] = most
    return weights, drawn.integers(0, 256, (rows, inputs)), drawn.normal(size=outputs).astype(np.float32)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_product_of_bytes_is_exact_integer_arithmetic(gelu, rows):
    most = linear.largest_weight()
    weights, bytes_, bias = whole_numbers(most, rows=rows)
    ones = torch.ones(weights.shape[1])
    product = Linear(torch.from_numpy(weights / most).float(), torch.from_numpy(bias), gelu)
    found = Int8Linear(product, -ones, ones)(torch.from_numpy((bytes_ - 128) * (2 / 255)).float()).double().numpy()
    sums = (bytes_ - 128).astype(np.int64) @ weights.T.astype(np.int64)
    expected = sums * (2 / 255) / most + bias
    if gelu:
        expected = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)(expected)
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_of_bytes_are_not_cut(sign):
    """A processor without VNNI adds two products in 16 bits; 2 x 255 x 127 does not fit."""
    weights, ones = torch.full((16, 32), float(sign)), torch.ones(32)
    found = Int8Linear(Linear(weights, None), -ones, ones)(torch.tensor([[0.2], [0.5], [1.0]]) * ones)
    assert torch.allclose(found, sign * torch.tensor([[6.4], [16.0], [32.0]]).expand(3, 16), atol=0.13)  # a half step


def test_inputs_outside_the_range_are_clipped_and_never_wrap_around():
    weights, _, bias = whole_numbers(127)
    ones = torch.ones(weights.shape[1])
    layer = Int8Linear(Linear(torch.from_numpy(weights / 127).float(), torch.from_numpy(bias)), -ones, ones)
    for sign in (-1, 1):
        edge, beyond, far = (layer(sign * scale * ones[None].repeat(3, 1)) for scale in (1.01, 1.5, 1e6))
        assert torch.equal(edge, beyond) and torch.equal(edge, far)


def test_inputs_with_a_wide_range_do_not_cost_the_others_their_precision():
    drawn = torch.Generator().manual_seed(0)
    x, weight = torch.randn(500, 64, generator=drawn), torch.randn(32, 64, generator=drawn)
    x[:, 3] *= 100
    weight[:, 3] /= 100
    low, high = x.aminmax(dim=0)
    product = Linear(weight, None)
    exact = x.double() @ weight.double().T
    error = (Int8Linear(product, low, high)(x) - exact).pow(2).mean() / exact.pow(2).mean()
    assert error.sqrt() < 0.03
    # One scale for all inputs alone: what the layer would be without handing ranges over.
    step = x.abs().max() / 127
    plain = ((x / step).round() * step).double() @ weight.double().T
    assert error < (plain - exact).pow(2).mean() / exact.pow(2).mean() / 4


@same_bits
@pytest.mark.parametrize("kind", ["float32", "gelu", "int8", "bfloat16"])
def test_a_row_of_a_product_has_the_same_bits_beside_any_number_of_others(kind):
    if kind == "bfloat16" and not linear.multiplies_bfloat16():
        pytest.skip("this processor has no products of bfloat16")
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(300, 96, generator=drawn)
    product = Linear(torch.randn(80, 96, generator=drawn), torch.randn(80, generator=drawn), kind == "gelu")
    layer = {"int8": lambda: Int8Linear(product, *x.aminmax(dim=0)), "bfloat16": lambda: Bfloat16Linear(product)}.get(
        kind, lambda: product
    )()
    whole = layer(x)
    for rows in (1, 2, 3, 5, 6, 7, 8, 9, 11, 16, 31, 64, 299):
        assert torch.equal(layer(x[:rows]), whole[:rows]), rows
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


@same_bits
@pytest.mark.skipif(not linear.multiplies_bfloat16(), reason="this processor has no products of bfloat16")
def test_a_row_of_a_wide_product_in_bfloat16_has_the_same_bits_beside_any_number_of_others():
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(1100, 768, generator=drawn)
    layer = Bfloat16Linear(Linear(torch.randn(768, 768, generator=drawn), None))
    whole = layer(x)
    for rows in (1, 64, 300, 512, 700):
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


def test_float32_and_bfloat16_products_are_products():
    drawn = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 7, 96, generator=drawn), torch.randn(80, 96, generator=drawn)
    bias = torch.randn(80, generator=drawn)
    exact = x.double() @ weight.double().T + bias.double()
    assert (Linear(weight, bias)(x) - exact).abs().max() < 1e-4
    assert (Linear(weight, bias, gelu=True)(x) - torch.nn.functional.gelu(exact)).abs().max() < 1e-4
    if linear.multiplies_bfloat16():
        found = Bfloat16Linear(Linear(weight, bias))(x)
        assert found.dtype == torch.float32 and 0 < (found - exact).abs().max() < 0.3


def test_int8_without_onednn_is_refused(trained, monkeypatch):
    monkeypatch.setattr(linear, "available", lambda: False)
    with pytest.raises(ValueError, match=r"--dtype=int8: .* lacks oneDNN's products"):
        Classifier(trained, INT8, first())
