"""Models whose passes leave something behind: a text's answer is that of plain transformers to this text alone."""

import itertools

import numpy as np
import pytest
import torch
import transformers

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier, linear
from seqcls_beam.model.engine.linear import Int8Linear
from tests import tiny

pytestmark = pytest.mark.engine

OPTIONS = ModelOptions(device="cpu", threads=1, batch_tokens=256)
LABELS = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
NAMES = ("pad", "cls", "sep")


@pytest.fixture(scope="module")
def bigbird(tmp_path_factory):
    """BigBird: a text of at most 28 tokens has it read all later ones in another way, in which its weights answer far
    otherwise."""
    words = tiny.tokenizer("bert")
    words.model_max_length = 128
    config = transformers.BigBirdConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        block_size=4,
        num_random_blocks=1,
        initializer_range=0.3,
        **{f"{name}_token_id": getattr(words, f"{name}_token_id") for name in NAMES},
        **LABELS,
    )
    return saved(tmp_path_factory.mktemp("bigbird"), words, config)


def saved(folder, words, config):
    words.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def sequences():
    """Long and short ones in turn: (ids, offsets, no types)."""
    drawn = np.random.default_rng(1)
    lengths = np.where(np.arange(10) % 2, drawn.integers(8, 20, 10), drawn.integers(40, 60, 10))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return drawn.integers(10, 80, offsets[-1]).astype(np.int32), offsets, None


def plain(folder):
    """Logits of `sequences`, each of a model that has read nothing before."""
    ids, offsets, _ = sequences()
    found = []
    for start, end in itertools.pairwise(offsets):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            found.append(model(torch.from_numpy(ids[start:end]).long()[None]).logits[0].numpy())
    return np.array(found)


def test_what_a_pass_leaves_behind_is_put_back(bigbird):
    classifier = Classifier(resolve(str(bigbird)), OPTIONS)
    assert "put_back" in classifier.facts
    expected = plain(bigbird)
    for _ in range(2):
        np.testing.assert_allclose(classifier.logits(*sequences()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not linear.available(), reason="this processor or this torch lacks oneDNN's products")
def test_what_was_made_int8_stays_so(bigbird):
    some = sequences()
    classifier = Classifier(resolve(str(bigbird)), OPTIONS)
    exact = classifier.logits(*some)
    quantized = Classifier(resolve(str(bigbird)), ModelOptions(device="cpu", threads=1, dtype="int8"), some)
    found = [quantized.logits(*some) for _ in range(2)]
    products = [type(each) for each in quantized._executor.model.base_model.modules()]
    assert "put_back" in quantized.facts and products.count(Int8Linear) >= 8
    assert (found[0] == found[1]).all()
    assert 0 < np.abs(found[0] - exact).max() < 0.5
    assert quantized.facts["parity"]["mean_delta"] > 0


def test_a_padding_that_is_named_here_is_nothing_that_a_pass_leaves_behind(tmp_path):
    words = tiny.tokenizer("modernbert")
    words.pad_token, words.model_max_length = None, 128
    config = transformers.GPT2Config(vocab_size=len(words), n_embd=32, n_layer=2, n_head=4, n_positions=128, **LABELS)
    config.bos_token_id = config.eos_token_id = 1
    folder = saved(tmp_path, words, config)
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    assert "put_back" not in classifier.facts
    np.testing.assert_allclose(classifier.logits(*sequences()), plain(folder), rtol=1e-4, atol=1e-5)
