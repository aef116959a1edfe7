"""The engine gives what plain transformers gives, and a sequence's logits depend on that sequence alone."""

import shutil
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from seqcls_beam.checkpoints import Checkpoint, CheckpointError, resolve
from seqcls_beam.config import ModelOptions
from seqcls_beam.engine import Classifier
from seqcls_beam.predictions import probabilities
from tests import tiny

pytestmark = pytest.mark.engine

TEXTS = [*tiny.CORPUS, "", "a", "lazy " * 300, *(" ".join(tiny.CORPUS)[start:] for start in range(0, 330, 17))]
PAIRS = TEXTS[::-1]
OPTIONS = ModelOptions(device="cpu", threads=2, batch_tokens=256)
LOADED: dict[Any, tuple[Checkpoint, Classifier]] = {}


def loaded(family, **how):
    """A checkpoint of a family and its classifier, loaded once."""
    key = (family, *sorted(how.items()))
    if key not in LOADED:
        checkpoint = tiny.resolved(family, **how)
        LOADED[key] = checkpoint, Classifier(checkpoint, OPTIONS)
    return LOADED[key]


def plain(folder, texts, pairs=None, activate=lambda logits: logits.softmax(-1)):
    """The plain loop: tokenizer and model of transformers, batches of 7 padded to their longest text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for start in range(0, len(texts), 7):
        part = slice(start, start + 7)
        batch = tokenizer(
            texts[part], pairs and pairs[part], truncation=True, max_length=128 - 2, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found.append(activate(model(**batch).logits))
    return torch.cat(found).numpy()


def sequences(vocabulary, lengths, seed=0):
    """Random ids, special ones among them: (flat ids, offsets)."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(seed).integers(0, vocabulary, offsets[-1], np.int32), offsets


def run(classifier, lengths):
    ids, offsets = sequences(90, lengths)
    return classifier.logits(ids, offsets, None)


def pick(ids, offsets, rows):
    """The sequences `rows`, in that order."""
    parts = [ids[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["single", "pair"])
def test_probabilities_are_those_of_plain_transformers(family, pairs):
    checkpoint, classifier = loaded(family)
    options = replace(OPTIONS, max_length=126)
    found = probabilities(TEXTS, pairs, checkpoint, classifier, options)
    expected = plain(checkpoint.local(), TEXTS, pairs)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(expected[:, 0]) > 0.01, "the model tells these texts apart"


@pytest.mark.parametrize(
    ("how", "activate"),
    [
        ({"labels": ("a", "b", "c"), "problem": "multi_label_classification"}, torch.sigmoid),
        ({"labels": ("score",)}, lambda logits: logits),
        ({"labels": ("score",), "problem": "regression"}, lambda logits: logits),
        ({"labels": tuple(f"{n} star{'s' * (n > 1)}" for n in range(1, 6))}, lambda logits: logits.softmax(-1)),
        ({"max_shard_size": "20KB"}, lambda logits: logits.softmax(-1)),
        ({"stored": "float16"}, lambda logits: logits.softmax(-1)),
        ({"stored": "bfloat16"}, lambda logits: logits.softmax(-1)),
    ],
    ids=["multi-label", "one-label", "regression", "stars", "sharded", "fp16", "bf16"],
)
def test_every_kind_of_checkpoint(how, activate):
    checkpoint, classifier = loaded("bert", **how)
    found = probabilities(TEXTS, None, checkpoint, classifier, replace(OPTIONS, max_length=126))
    assert np.abs(found - plain(checkpoint.local(), TEXTS, activate=activate)).max() <= 1e-5
    assert classifier.facts["dtype"] == "float32"


def test_bin_weights_give_what_safetensors_give(tmp_path):
    folder = shutil.copytree(tiny.resolved().local(), tmp_path / "bin")
    checkpoint = resolve(str(tiny.only_bin(folder)))
    assert "pytorch_model.bin" in checkpoint.files
    found = probabilities(TEXTS, None, checkpoint, Classifier(checkpoint, OPTIONS), OPTIONS)
    assert np.array_equal(found, probabilities(TEXTS, None, checkpoint, loaded("bert")[1], OPTIONS))


def test_bin_weights_that_are_code_are_not_run(tmp_path):
    folder = tiny.only_bin(tiny.checkpoint(tmp_path))

    class Payload:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"bert.embeddings.word_embeddings.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not load"):
        Classifier(resolve(str(folder)), OPTIONS)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("types", [False, True], ids=["single", "pair"])
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_logits_depend_on_the_sequence_alone(family, types, data):
    checkpoint, classifier = loaded(family)
    lengths = data.draw(st.lists(st.one_of(st.integers(1, 126), st.sampled_from([8, 126])), min_size=1, max_size=12))
    ids, offsets = sequences(90, lengths, seed=data.draw(st.integers(0, 99)))
    kinds = (ids % 2).astype(np.int8) if types and checkpoint.sentence_ids else None
    whole = classifier.logits(ids, offsets, kinds)
    assert whole.shape == (len(lengths), 2) and whole.dtype == np.float32
    order = data.draw(st.permutations(range(len(lengths))))
    cut = data.draw(st.integers(0, len(lengths)))
    for rows in (order[:cut], order[cut:], [order[0]], order + order):
        if rows:
            some, ends = pick(ids, offsets, rows)
            again = classifier.logits(some, ends, None if kinds is None else (some % 2).astype(np.int8))
            assert np.array_equal(again, whole[rows])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("budget", [256, 1024])
def test_every_place_of_every_rectangle_gives_the_same_bits(threads, budget):
    classifier = Classifier(tiny.resolved("bert"), ModelOptions(device="cpu", threads=threads, batch_tokens=budget))
    for width in range(8, 128, 8):
        length, copies = width - 3, budget // width
        ids = np.random.default_rng(width).integers(5, 90, length).astype(np.int32)
        offsets = np.arange(0, length * copies + 1, length)
        logits = classifier.logits(np.tile(ids, copies), offsets, None)
        assert (logits == logits[0]).all(), width


def test_logits_do_not_change_in_a_real_size_either():
    config = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 2}
    checkpoint = tiny.resolved("bert", **config)
    classifier = Classifier(checkpoint, ModelOptions(device="cpu", threads=2))
    ids, offsets = sequences(90, np.random.default_rng(1).integers(1, 129, 30))
    whole = classifier.logits(ids, offsets, None)
    for rows in (list(range(30))[::-1], [7], [29, 3]):
        some, ends = pick(ids, offsets, rows)
        assert np.array_equal(classifier.logits(some, ends, None), whole[rows])


def test_the_tokens_per_pass_change_the_result_by_rounding_only():
    checkpoint, classifier = loaded("bert")
    expected = probabilities(TEXTS, None, checkpoint, classifier, OPTIONS)
    for budget in (1, 5000):
        options = replace(OPTIONS, batch_tokens=budget)
        other = Classifier(checkpoint, options)
        assert other.facts["batch_tokens"] == budget
        assert np.abs(probabilities(TEXTS, None, checkpoint, other, options) - expected).max() <= 1e-5


def test_no_sequences_give_no_logits():
    _, classifier = loaded("bert")
    nothing = classifier.logits(np.empty(0, np.int32), np.zeros(1, np.int64), None)
    assert nothing.shape == (0, 2) and nothing.dtype == np.float32


def test_sequences_the_model_cannot_take_are_named():
    checkpoint, classifier = loaded("bert")
    for lengths, message in (([3, 0], "a sequence has 0 tokens; the model reads 1 to 128"), ([129], "has 129 tokens")):
        with pytest.raises(ValueError, match=message):
            run(classifier, lengths)
    with pytest.raises(ValueError, match="token id 5000 is outside the model's embedding table"):
        classifier.logits(np.array([2, 5000, 3], np.int32), np.array([0, 3]), None)
    short = Classifier(checkpoint, replace(OPTIONS, max_length=10))
    assert np.isfinite(run(short, [10, 9, 3])).all()
    with pytest.raises(ValueError, match="the model reads 1 to 10"):
        run(short, [11])


def test_logits_that_are_not_numbers_raise(tmp_path):
    folder = tiny.checkpoint(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.get_input_embeddings().weight.data[20] = float("nan")
    model.save_pretrained(folder)
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    assert np.isfinite(classifier.logits(np.array([2, 19, 3], np.int32), np.array([0, 3]), None)).all()
    with pytest.raises(FloatingPointError, match="1 of 2 sequences are not finite, the first those of sequence 1"):
        classifier.logits(np.array([2, 3, 2, 20, 3], np.int32), np.array([0, 2, 5]), None)


def test_a_checkpoint_without_its_head_is_refused(tmp_path):
    folder = tiny.checkpoint(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    state = {name: each for name, each in model.state_dict().items() if not name.startswith("classifier")}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(CheckpointError, match=r"the weights lack classifier\.bias, classifier\.weight"):
        Classifier(resolve(str(folder)), OPTIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_asking_for_a_gpu_where_there_is_none_raises(device):
    with pytest.raises(ValueError, match=f"--device={device}.*no CUDA device here"):
        Classifier(tiny.resolved(), replace(OPTIONS, device=device))


def test_facts_say_what_runs():
    checkpoint, classifier = loaded("bert")
    facts = Classifier(checkpoint, ModelOptions(threads=1, device="cpu")).facts
    assert facts["threads"] == torch.get_num_threads() == 1
    assert Classifier(checkpoint, OPTIONS).facts["threads"] == torch.get_num_threads() == 2
    assert facts | {"threads": 2, "batch_tokens": 256} == classifier.facts
    assert facts["engine"] == "packed" and facts["device"] == "cpu" and facts["batch_tokens"] == 2048
    assert facts["torch"] == torch.__version__ and facts["checkpoint"] == checkpoint.digest
    assert facts["labels"] == ["negative", "positive"]
    assert weakref.ref(classifier)() is classifier


def test_threads_share_one_classifier():
    _, classifier = loaded("bert")
    ids, offsets = sequences(90, [5, 60, 126, 9] * 5)
    expected = classifier.logits(ids, offsets, None)
    found = []
    workers = [threading.Thread(target=lambda: found.append(classifier.logits(ids, offsets, None))) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert len(found) == 4 and all(np.array_equal(each, expected) for each in found)


def test_another_process_gets_the_same_bits():
    checkpoint, classifier = loaded("bert")
    script = (
        "import sys, numpy as np; from seqcls_beam import checkpoints, config, engine\n"
        "checkpoint = checkpoints.resolve(sys.argv[1])\n"
        "classifier = engine.Classifier(checkpoint, config.ModelOptions(device='cpu', threads=2, batch_tokens=256))\n"
        "ids, offsets = np.arange(300, dtype=np.int32) % 90, np.array([0, 10, 100, 200, 300])\n"
        "sys.stdout.write(classifier.logits(ids, offsets, None).tobytes().hex())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint.local())], check=True, capture_output=True, text=True
    )
    ids, offsets = np.arange(300, dtype=np.int32) % 90, np.array([0, 10, 100, 200, 300])
    assert other.stdout == classifier.logits(ids, offsets, None).tobytes().hex()
