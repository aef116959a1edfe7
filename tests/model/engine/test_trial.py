"""The plain model of a self-test is asked as transformers' pipeline asks it, and about what it can read."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from seqcls_beam.model.engine.fresh import OverwrittenError
from seqcls_beam.model.engine.padded import Alone, Padded
from seqcls_beam.model.engine.trial import Trial
from tests import families, tiny

pytestmark = pytest.mark.engine

LENGTHS = np.array([3, 5, 4])
IDS = np.arange(40, 40 + LENGTHS.sum(), dtype=np.int32)


@pytest.fixture
def bert():
    folder = tiny.resolved("bert").local()
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


@pytest.mark.parametrize("way", [Alone, Padded])
def test_nothing_is_kept_for_a_next_token(way, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(families.checkpoint(tmp_path, "gpt2")).eval()
    kept = []
    model.register_forward_hook(lambda model, inputs, output: kept.append(output.past_key_values))
    with torch.inference_mode():
        assert model(torch.tensor([[40, 41]])).past_key_values is not None
        way(model).forward(IDS[:3], None, LENGTHS[:1])
    assert kept[1:] == [None]


def test_a_model_that_names_no_token_for_padding_leaves_nothing_behind(tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(families.checkpoint(tmp_path, "gpt2")).eval()
    assert model.config.pad_token_id is None
    assert not Trial(model, "single_label", [(IDS, None, LENGTHS)], 64).leaves_something


def test_sequences_on_which_the_model_raises_are_left_out_of_the_trial(bert):
    def refuse(model, inputs, given):
        if given["input_ids"].shape[1] == 3:
            raise RuntimeError("no three tokens")

    bert.register_forward_pre_hook(refuse, with_kwargs=True)
    trial = Trial(bert, "single_label", [(IDS, None, LENGTHS), (IDS[:3], None, LENGTHS[:1])], 64)
    with torch.inference_mode():
        expected = [bert(input_ids=torch.from_numpy(each[None]).long()).logits[0] for each in (IDS[3:8], IDS[8:])]
    found = trial.logits(Padded(bert))
    assert found.shape == (2, 2) and (found - torch.stack(expected)).abs().max() < 1e-5
    with pytest.raises(RuntimeError, match="no three tokens"):
        Trial(bert, "single_label", [(IDS[:3], None, LENGTHS[:1])], 64)


def test_a_model_whose_numbers_a_pass_overwrites_is_none_that_cannot_read_a_text(bert):
    written: list[torch.Tensor] = []

    def overwrite(*_):
        if not written:  # later passes would read as if nothing had been
            written.append(bert.classifier.bias.zero_())

    bert.register_forward_hook(overwrite)
    with pytest.raises(OverwrittenError, match="overwrites the model's own numbers"):
        Trial(bert, "single_label", [(IDS, None, LENGTHS)], 64)


def test_a_text_that_names_the_padding_token_is_not_read_as_padding(tmp_path):
    """XLM takes the padding token for padding where it gets no mask."""
    model = AutoModelForSequenceClassification.from_pretrained(families.checkpoint(tmp_path, "xlm")).eval()
    ids = np.array([[40, model.config.pad_token_id, 41], [50, 51, 52]], np.int32)
    with torch.inference_mode():
        found = Padded(model).forward(ids.ravel(), None, np.array([3, 3]))
        given = model(torch.from_numpy(ids).long(), attention_mask=torch.ones(2, 3)).logits
        bare = model(torch.from_numpy(ids).long()).logits
    assert (bare[0] - given[0]).abs().max() > 1e-2, "it does"
    assert (found - given).abs().max() < 1e-5
