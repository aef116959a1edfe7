"""Packed training against padded training: the same rows, the same loss, the same gradients, the same weights."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification, TrainingArguments

from seqcls_beam.finetuning.batches import Batches, Rows, as_it_is
from seqcls_beam.finetuning.packed import PackedRows, Packing, check
from seqcls_beam.finetuning.shards import Split
from seqcls_beam.finetuning.trainer import BatchTrainer
from seqcls_beam.model.engine.attention import varlen
from seqcls_beam.model.engine.packed import FAMILIES
from seqcls_beam.runs.run import RunError
from tests import tiny
from tests.finetuning.attention import attend

pytestmark = pytest.mark.engine

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TYPED = ("bert", "electra", "albert", "ernie")  # with two types of tokens
CASES: list[tuple[str, dict[str, Any], bool]] = [
    *((family, {}, False) for family in FAMILIES),
    *((family, {}, True) for family in TYPED),
    ("modernbert", {"classifier_pooling": "mean"}, False),
    ("modernbert", {"num_hidden_layers": 3, "global_attn_every_n_layers": 3}, False),  # the last sees a window
]
LENGTHS = [40, 3, 17, 17, 5, 2, 29, 9, 33, 4]
ROWS = [6, 0, 3, 9, 1, 2, 8, 5]


@pytest.fixture(autouse=True)
def one_thread():
    """Of models so small several threads make nothing but work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def split_of(model, lengths, typed=False):
    """Rows of these lengths with random ids, the padding's among them, and labels that follow from the second id."""
    chance = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = chance.integers(5, model.config.vocab_size, offsets[-1]).astype(np.int32)
    ids[offsets[:-1]] = model.config.cls_token_id
    ids[offsets[:-1:3] + 1] = model.config.pad_token_id
    types = chance.integers(0, 2, offsets[-1]).astype(np.int8) if typed else None
    return Split(ids, offsets, types, (ids[offsets[:-1] + 1] % 2).astype(np.int64))


def stock(base, **dropouts) -> Any:
    """transformers' model, which drops out nothing but what is asked for."""
    config = AutoConfig.from_pretrained(base)
    for name, value in config.to_dict().items():
        if "dropout" in name and (value is None or isinstance(value, float)):
            setattr(config, name, dropouts.get(name, 0.0))
    return AutoModelForSequenceClassification.from_pretrained(base, config=config)


def loss(outputs, labels, num_items_in_batch):
    return functional.cross_entropy(outputs["logits"].float(), labels, reduction="sum") / num_items_in_batch


def trainer(model, split, folder, attention=None, device=CPU, **arguments) -> BatchTrainer:
    """The real trainer: packed by an attention, or padded."""
    padded = Rows(split, model.config.pad_token_id)
    made = BatchTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder), use_cpu=device == CPU, report_to="none", disable_tqdm=True, save_strategy="no",
            remove_unused_columns=False, dataloader_pin_memory=False, seed=0, **arguments,
        ),
        data_collator=as_it_is,
        train_dataset=PackedRows(split, model) if attention else padded,
        eval_dataset=padded,
        compute_loss_func=loss,
    )  # fmt: skip
    made.batches = Batches(split.lengths, 16, seed=0)
    made.packing = Packing(model, attention) if attention else None
    return made


def step(made, rows=ROWS):
    """Loss and gradients of a step of a trainer on these rows."""
    torch.manual_seed(0)
    model = made.accelerator.prepare_model(made.model)  # as `train` does: under autocast
    batch = made.train_dataset.__getitems__(rows)
    found = made.training_step(model, batch, made._get_num_items_in_batch([batch], made.args.device))
    return found.item(), {name: each.grad for name, each in made.model.named_parameters()}


@pytest.mark.parametrize(("family", "config", "typed"), CASES)
def test_loss_and_gradients_are_those_of_the_padded_model(family, config, typed, tmp_path):
    base = tiny.checkpoint(tmp_path / "base", family, **config)
    split = split_of(stock(base), LENGTHS, typed)
    expected, gradients = step(trainer(stock(base), split, tmp_path))
    found, packed = step(trainer(stock(base), split, tmp_path, attend))
    assert found == pytest.approx(expected, rel=1e-5)
    largest = max(each.abs().max() for each in gradients.values())
    for name, each in gradients.items():
        assert torch.allclose(packed[name], each, rtol=1e-4, atol=1e-5 * largest), name


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_training_reaches_the_same_weights_and_saves_the_same_model(family, tmp_path):
    base = tiny.checkpoint(tmp_path / "base", family)
    before = stock(base)
    split = split_of(before, np.random.default_rng(1).integers(3, 60, 200))
    models, judged = [stock(base), stock(base)], []
    for model, attention in zip(models, (None, attend), strict=True):
        name = "packed" if attention else "padded"
        made = trainer(
            model, split, tmp_path / "work", attention, max_steps=30, learning_rate=1e-3, eval_strategy="steps",
            eval_steps=10, gradient_accumulation_steps=2,
        )  # fmt: skip
        made.batches = Batches(split.lengths, 16, seed=0, parts=2)
        made.train()
        judged.append([each["eval_loss"] for each in made.state.log_history if "eval_loss" in each])
        model.save_pretrained(tmp_path / name)
    assert len(judged[0]) == 3 and np.allclose(judged[0], judged[1], atol=1e-5) and judged[0][2] < judged[0][0]
    assert (tmp_path / "packed" / "config.json").read_bytes() == (tmp_path / "padded" / "config.json").read_bytes()
    weights, packed, began = (each.state_dict() for each in (*models, before))
    assert list(packed) == list(weights)
    for name, each in weights.items():
        if not name.endswith("key.bias"):  # no answer depends on it: its gradient is what rounding leaves of 0
            assert torch.allclose(packed[name], each, atol=1e-4), name
    assert max((each - began[name]).abs().max() for name, each in weights.items()) > 1e-2


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert", "modernbert"])
def test_autocast_hands_half_precision_to_the_attention(family, tmp_path):
    base = tiny.checkpoint(tmp_path / "base", family)
    split, given = split_of(stock(base), LENGTHS), list[torch.dtype]()

    def watched(q_THK, k_THK, v_THK, *where):
        given.extend(each.dtype for each in (q_THK, k_THK, v_THK))
        return attend(q_THK, k_THK, v_THK, *where)

    found, _ = step(trainer(stock(base), split, tmp_path, watched, bf16=True))
    assert given == [torch.bfloat16] * 6
    assert found == pytest.approx(step(trainer(stock(base), split, tmp_path, attend))[0], abs=0.1)


def test_dropout_is_left_out_of_the_attention_alone(tmp_path):
    base = tiny.checkpoint(tmp_path / "base")
    split = split_of(stock(base), LENGTHS)

    def losses(**dropouts):
        return [step(trainer(stock(base, **dropouts), split, tmp_path, how))[0] for how in (None, attend)]

    padded, packed = losses(attention_probs_dropout_prob=0.5)
    plain, _ = losses()
    assert packed == pytest.approx(plain, rel=1e-5) and padded != pytest.approx(plain, rel=1e-2)
    for name in ("hidden_dropout_prob", "classifier_dropout"):
        assert losses(**{name: 0.5})[1] != pytest.approx(plain, rel=1e-2)


@pytest.mark.parametrize(
    ("family", "device", "dtype", "said"),
    [
        ("deberta-v2", CUDA, torch.bfloat16, "--packed is for bert, .* and the base is of the family deberta-v2"),
        ("bert", CPU, torch.bfloat16, "--packed is for GPUs"),
        ("bert", CUDA, torch.float32, "--packed needs --dtype=bfloat16 or --dtype=float16"),
    ],
)
def test_what_cannot_be_packed_is_said(family, device, dtype, said):
    with pytest.raises(RunError, match=said):
        check(family, device, dtype)


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "config", "typed"), CASES)
def test_gradients_on_a_gpu_are_as_near_as_those_of_the_padded_model(family, config, typed, tmp_path):
    base = tiny.checkpoint(tmp_path / "base", family, initializer_range=0.05, **config)
    split = split_of(stock(base), LENGTHS, typed)

    def gradients(attention, **how):
        _, found = step(trainer(stock(base), split, tmp_path, attention, CUDA, **how))
        return torch.cat([each.double().flatten() for each in found.values()])

    exact, padded, packed = gradients(None), gradients(None, bf16=True), gradients(varlen, bf16=True)
    price = (padded - exact).norm()
    assert 0 < price < 0.1 * exact.norm()
    assert (packed - exact).norm() < 2 * price
