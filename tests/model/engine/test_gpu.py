"""The engine on a GPU: half precision, packed, is near plain float32; what goes wrong there is named."""

import itertools
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.model.engine.attention import varlen
from tests import tiny
from tests.model.engine.test_attention import inputs, layout, reference

pytestmark = [pytest.mark.gpu, pytest.mark.engine]

OPTIONS = ModelOptions(device="cuda", batch_tokens=1024)
# Weights as small as trained ones: a softmax that is saturated turns the rounding of bfloat16 into something else.
SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "initializer_range": 0.05
}  # fmt: skip
NEAR = {"bfloat16": 3e-2, "float16": 1e-2}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "electra": SIZES,
    "albert": SIZES,
    "distilbert": {"dim": 64, "n_heads": 2, "hidden_dim": 128, "initializer_range": 0.05},
    "heads of 26": SIZES | {"hidden_size": 52},
    "modernbert": SIZES | {"global_attn_every_n_layers": 1},
    "modernbert-local": SIZES | {"global_attn_every_n_layers": 2},
    "modernbert-mean": SIZES | {"classifier_pooling": "mean"},
    "deberta-v2": SIZES,
}
MAY_RUN_PADDED = ("deberta-v2", "modernbert-local")


def checkpoint(name):
    family = "bert" if name.startswith("heads") else name.partition("-")[0] if name.startswith("modernbert") else name
    return tiny.resolved(family, **FAMILIES[name])


def sequences(lengths, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(seed).integers(0, 90, offsets[-1]).astype(np.int32), offsets


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def plain(name, ids, offsets):
    """Probabilities of plain transformers in float32 on the GPU, every sequence alone."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint(name).local(), dtype=torch.float32)
    model = model.eval().cuda()
    with torch.inference_mode():
        parts = [model(torch.from_numpy(ids[None, a:b]).long().cuda()).logits for a, b in itertools.pairwise(offsets)]
    return torch.cat(parts).softmax(-1).cpu().numpy()


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_near_plain_transformers_in_float32(name, dtype):
    classifier = Classifier(checkpoint(name), replace(OPTIONS, dtype=dtype))
    ids, offsets = sequences([126, 126, 100, 64, 64, 33, 17, 9, 9, 2, 1])
    found = softmax(classifier.logits(ids, offsets, None))
    assert np.abs(found - plain(name, ids, offsets)).max() <= NEAR[classifier.facts["dtype"]]
    if name not in MAY_RUN_PADDED:
        assert classifier.facts["engine"] == "packed" and "refused" not in classifier.facts
    assert classifier.facts["dtype"] == {"auto": "float16"}.get(dtype, dtype)
    assert classifier.facts["device"] == "cuda:0"


@pytest.mark.parametrize("name", FAMILIES)
def test_float32_runs_padded_and_equals_plain_transformers(name):
    classifier = Classifier(checkpoint(name), replace(OPTIONS, dtype="float32"))
    assert classifier.facts["engine"] == "padded" and classifier.facts["dtype"] == "float32"
    ids, offsets = sequences([126, 100, 64, 64, 17, 9, 2, 1])
    assert np.abs(softmax(classifier.logits(ids, offsets, None)) - plain(name, ids, offsets)).max() <= 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [26, 32, 64])
@pytest.mark.parametrize("window", [None, 0, 8, 64])
@pytest.mark.parametrize("seed", range(3))
def test_attention_on_a_gpu_is_softmax_within_each_sequence(seed, window, size, dtype):
    lengths = [*np.random.default_rng(seed).integers(1, 300, 12).tolist(), 1, 128, 128]
    query, key, value = inputs(lengths, heads=4, size=size, seed=seed)
    # Strided views of one tensor, as a joined projection gives them.
    query, key, value = torch.stack([query, key, value], 1).to("cuda", dtype).unbind(1)
    assert not query.is_contiguous()
    found = varlen(query, key, value, on_device(lengths), 0.2, window)
    assert found.dtype == dtype and found.shape == query.shape
    expected = reference(query, key, value, lengths, 0.2, window)
    assert np.abs(found.double().cpu().numpy() - expected).max() < 0.02


@pytest.mark.parametrize("size", [26, 32, 64])
def test_one_query_per_sequence_is_its_first_tokens(size):
    lengths = [*np.random.default_rng(0).integers(1, 300, 12).tolist(), 1, 128, 5]
    query, key, value = inputs(lengths, heads=4, size=size, first_only=True)
    key, value = torch.stack([key, value], 1).to("cuda", torch.bfloat16).unbind(1)
    query = query.to("cuda", torch.bfloat16)
    found = varlen(query, key, value, on_device(lengths), 0.2)
    expected = reference(query, key, value, lengths, 0.2, None)
    assert np.abs(found.double().cpu().numpy() - expected).max() < 0.02


def on_device(lengths):
    made = layout(lengths)
    return replace(
        made,
        offsets_N1=made.offsets_N1.cuda(),
        first_N=made.first_N.cuda(),
        query_offsets_N1=made.query_offsets_N1.cuda(),
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_order_cut_and_duplicates_change_a_text_by_rounding_only(name):
    classifier = Classifier(checkpoint(name), OPTIONS)
    ids, offsets = sequences([126, 100, 64, 64, 33, 17, 9, 9, 2, 1])
    whole = softmax(classifier.logits(ids, offsets, None))
    for rows in ([*range(10)][::-1], [3], [7, 0, 0, 7, 1], [9, 9, 9]):
        some = np.concatenate([ids[offsets[row] : offsets[row + 1]] for row in rows])
        ends = np.concatenate([[0], np.cumsum(np.diff(offsets)[rows])])
        found = softmax(classifier.logits(some, ends, None))
        assert np.abs(found - whole[rows]).max() <= NEAR[classifier.facts["dtype"]]
        for i, j in itertools.combinations(range(len(rows)), 2):
            assert rows[i] != rows[j] or np.array_equal(found[i], found[j]), "equal texts have equal scores"


@pytest.fixture
def little_memory():
    """A GPU of which this process may use so many bytes more than a model does; all of it again afterwards."""

    def allow(classifier, more):
        # Weights lie in blocks that the self-test left half empty, and those cannot be given back.
        model = classifier._executor.model.cpu()
        torch.cuda.empty_cache()
        model.cuda()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + more) / total))

    yield allow
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_real_lack_of_memory_halves_the_budget_until_it_fits(little_memory):
    sizes = SIZES | {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 4096}
    options = replace(OPTIONS, batch_tokens=1 << 20, dtype="bfloat16")
    classifier = Classifier(tiny.resolved("bert", **sizes), options)
    ids, offsets = sequences(np.random.default_rng(0).integers(60, 127, 4000))
    expected = softmax(classifier.logits(ids, offsets, None))
    assert classifier.facts["batch_tokens"] == 1 << 20
    little_memory(classifier, 256 << 20)  # a product of 400,000 tokens alone takes 3 GiB
    found = softmax(classifier.logits(ids, offsets, None))
    budget = classifier.facts["batch_tokens"]
    assert 1000 < budget < 1 << 18
    assert np.abs(found - expected).max() <= 3e-2
    classifier.logits(ids, offsets, None)
    assert classifier.facts["batch_tokens"] == budget, "it is remembered"


def test_a_sequence_that_does_not_fit_alone_is_a_memory_error(little_memory):
    sizes = SIZES | {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1 << 16}
    classifier = Classifier(tiny.resolved("bert", **sizes), replace(OPTIONS, dtype="bfloat16"))
    ids, offsets = sequences([128])
    little_memory(classifier, 4 << 20)  # what one product of this sequence takes is 16 MiB
    with pytest.raises(MemoryError, match="one sequence of 128 tokens does not fit into the memory of this device"):
        classifier.logits(ids, offsets, None)


def test_a_real_assertion_in_a_kernel_ends_the_process_with_a_message():
    script = (
        "import sys, numpy as np, torch; from seqcls_beam import config\n"
        "from seqcls_beam.model import checkpoints, engine\n"
        "classifier = engine.Classifier(checkpoints.resolve(sys.argv[1]), config.ModelOptions(device='cuda'))\n"
        "classifier.vocabulary = 10**6\n"
        "classifier.logits(np.array([2, 10**5, 3], np.int32), np.array([0, 3]), None)\n"
        "print('went on')\n"
    )
    command = [sys.executable, "-c", script, str(checkpoint("bert").local())]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1 and "went on" not in ended.stdout
    assert "seqcls_beam: the GPU stopped at a fault in one of its kernels" in ended.stderr


def test_a_gpu_that_is_not_there_is_named_with_how_many_are():
    there = torch.cuda.device_count()
    with pytest.raises(ValueError, match=rf"--device=cuda:{there}: there is no such CUDA device here .*sees {there}\)"):
        Classifier(checkpoint("bert"), replace(OPTIONS, device=f"cuda:{there}"))


def test_int8_is_refused_on_a_gpu():
    first = (*sequences([9] * 20), None)
    with pytest.raises(ValueError, match="--dtype=int8: is for CPUs; on a GPU take float16 or bfloat16"):
        Classifier(checkpoint("bert"), replace(OPTIONS, dtype="int8"), first)


def test_a_text_that_overflows_in_float16_is_read_in_bfloat16(tmp_path):
    folder, token = tiny.overflowing(tmp_path, **SIZES)
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    assert classifier.facts["dtype"] == "float16"
    ids, offsets = np.array([2, token, 3, 2, 40, 3], np.int32), np.array([0, 3, 6])
    found = classifier.logits(ids, offsets, None)
    exact = Classifier(resolve(str(folder)), replace(OPTIONS, dtype="float32")).logits(ids, offsets, None)
    assert np.abs(softmax(found) - softmax(exact)).max() <= 3e-2


def test_the_bundled_checkpoint_runs_packed_in_float16_and_far_nearer_than_it_must():
    checkpoint = resolve(str(files("seqcls_beam") / "sentiment"))
    classifier = Classifier(checkpoint, replace(OPTIONS, dtype="auto"))
    facts = classifier.facts
    assert (facts["engine"], facts["dtype"]) == ("packed", "float16") and facts["self_test_cost"] < 3e-3


def test_a_gpu_is_taken_where_there_is_one():
    assert Classifier(checkpoint("bert"), replace(OPTIONS, device="auto")).facts["device"] == "cuda:0"
