"""Passes of fixed shape give what packed passes give, and compile once for each width."""

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from seqcls_beam.model.engine.attention import varlen
from seqcls_beam.model.engine.loading import load
from seqcls_beam.model.engine.packed import Packed
from seqcls_beam.model.engine.padded import Padded
from seqcls_beam.model.engine.static import Static
from tests import tiny

pytestmark = pytest.mark.engine

TOKENS, LONGEST = 300, 120
COMPILED: list[Any] = []
BATCHES = {
    "one": [7],
    "one token": [1],
    "full": [TOKENS // 3] * 3,
    "longest": [LONGEST, LONGEST, 60],
    "no room": [64, 64, 64, 64, 44],
    "one spare": [64, 64, 64, 64, 43],
    "narrow": [64, 3, 3, 1],
    "wide": [65, 3, 3, 1],
    "mixed": [1, 120, 5, 31, 64, 2],
}


def dense(query, key, value, layout, scale, window=None):
    """`Attention` by a mask over all pairs of tokens, of a shape that does not depend on the lengths."""
    tokens = torch.arange(len(key), device=key.device)
    of = torch.searchsorted(layout.offsets_N1[1:].contiguous(), tokens, right=True)
    if len(query) == len(key):
        asked, at = of, tokens
    else:
        asked, at = torch.arange(len(query)), layout.first_N
    mask = asked[:, None] == of
    if window is not None:
        mask = mask & ((at[:, None] - tokens).abs() <= window)
    q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[0].transpose(0, 1)


def counted(graph, _):
    """A backend of `torch.compile` that runs a graph as it is."""
    COMPILED.append(graph)
    return graph.forward


def static(family, backend=counted, tokens=TOKENS, longest=LONGEST, **config):
    """A model in fixed shapes."""
    model = load(tiny.resolved(family, **config), torch.device("cpu"))
    return Static(Packed(model, dense), tokens, longest, backend)


def sequences(lengths, typed=False, seed=0):
    ids = np.random.default_rng(seed).integers(0, 90, sum(lengths), np.int32)
    return ids, (ids % 2).astype(np.int8) if typed else None, np.array(lengths)


def expected(family, batch, **config):
    """Logits of the plain model."""
    with torch.inference_mode():
        return Padded(load(tiny.resolved(family, **config), torch.device("cpu"))).forward(*batch)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("bert", {}),
        ("roberta", {}),
        ("distilbert", {}),
        ("electra", {}),
        ("albert", {}),
        ("modernbert", {}),
        ("modernbert", {"classifier_pooling": "mean"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_logits_are_those_of_the_plain_model(family, config):
    executor = static(family, **config)
    COMPILED.clear()
    for typed in (False, True) if family == "bert" else (False,):
        for name, lengths in BATCHES.items():
            batch = sequences(lengths, typed)
            found, plain = executor.forward(*batch), expected(family, batch, **config)
            assert found.dtype == torch.float32 and (found - plain).abs().max() < 1e-4, name
    assert len(COMPILED) == (4 if family == "bert" else 2), "once for each width, with and without types"


@pytest.mark.parametrize("longest", [4, 16, 120])
def test_no_pass_has_more_sequences_than_the_kernel_takes_however_many_tokens_were_asked_for(longest):
    executor = static("bert", tokens=1 << 23, longest=longest)
    lengths = np.ones(200_000, np.int64)
    for group in executor.packs(lengths, np.arange(len(lengths)), 1 << 23):
        tokens, width = executor._tokens, executor._width(1)
        numbers = executor._numbers(np.ones(len(group), np.int32), None, lengths[group], tokens, width)
        assert len(numbers) - 3 * tokens - 1 <= 65_535


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param("inductor", marks=pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")),
    ],
)
def test_backends(backend):
    executor = static("bert", backend)
    for name in ("mixed", "full"):
        batch = sequences(BATCHES[name])
        assert (executor.forward(*batch) - expected("bert", batch)).abs().max() < 1e-4


def test_packs_hold_what_a_pass_has_places_for():
    executor = static("bert")
    rng = np.random.default_rng(0)
    for lengths in (rng.integers(1, LONGEST + 1, 500), np.ones(500, np.int64), np.full(5, LONGEST)):
        groups = list(executor.packs(lengths, np.arange(len(lengths)), TOKENS))
        assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
        for group in groups:
            width = executor._width(int(lengths[group].max()))
            assert lengths[group].sum() <= TOKENS and len(group) <= TOKENS * 8 // width
    assert max(len(group) for group in groups) == 2
    lengths = np.array([LONGEST] + [1] * 400)
    groups = list(executor.packs(lengths, np.arange(401), TOKENS))
    assert [len(group) for group in groups] == [20, *[37] * 10, 11]
    for group in groups:
        batch = sequences(lengths[group])
        assert (executor.forward(*batch) - expected("bert", batch)).abs().max() < 1e-4


def test_a_result_does_not_depend_on_how_full_the_pass_is():
    executor = static("roberta", "aot_eager")
    ids, _, _ = sequences([50] * 6)
    whole = executor.forward(ids, None, np.full(6, 50))
    assert torch.equal(executor.forward(ids[:50], None, np.array([50])), whole[:1])


def test_a_smaller_budget_is_a_smaller_pass():
    executor = static("bert")
    large, small = sequences([60] * 5), sequences([60, 60])
    executor.forward(*large)
    assert [len(group) for group in executor.packs(np.full(5, 60), np.arange(5), 150)] == [2, 2, 1]
    assert (executor.forward(*small) - expected("bert", small)).abs().max() < 1e-4
    assert {key[0] for key in executor._shapes} == {150}
    assert (executor.forward(*large) - expected("bert", large)).abs().max() < 1e-4, "packed before, runs as it is"
    list(executor.packs(np.full(5, 60), np.arange(5), 1))
    assert (executor.forward(*sequences([LONGEST]))).shape == (1, 2), "one sequence fits whatever the budget"


@pytest.mark.parametrize("longest", [4, 9])
def test_short_sequences_in_small_passes(longest):
    executor = static("bert", tokens=1, longest=longest)
    for budget in (1, 90):
        lengths = np.array([longest, 1, 2, 3, longest])
        for group in executor.packs(lengths, np.arange(5), budget):
            batch = sequences(lengths[group])
            assert (executor.forward(*batch) - expected("bert", batch)).abs().max() < 1e-4


def test_many_models_in_a_process():
    for seed in range(10):
        batch = sequences([5, 70], seed=seed)
        assert (static("distilbert").forward(*batch) - expected("distilbert", batch)).abs().max() < 1e-4


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_kernel_of_a_gpu_can_be_traced(family):
    """Its own attention cannot run here: what is traced is not run."""
    graphs: list[Any] = []

    def backend(graph, _):
        graphs.append(graph)
        return lambda *_: (torch.zeros(1000, 2),)

    packed = Packed(load(tiny.resolved(family), torch.device("cpu")), varlen, torch.bfloat16)
    Static(packed, TOKENS, LONGEST, backend).forward(*sequences([5, 70]))
    calls = [node for graph in graphs for node in graph.graph.nodes if "varlen_attn" in str(node.target)]
    assert len(graphs) == 1 and len(calls) == 2
    assert all(isinstance(longest, int) for node in calls for longest in node.args[5:7])


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "modernbert"])
def test_a_captured_graph_gives_what_eager_passes_give(family):
    device = torch.device("cuda")
    sizes = {"dim": 64, "n_heads": 2} if family == "distilbert" else {"hidden_size": 64, "num_attention_heads": 2}
    checkpoint = tiny.resolved(family, **sizes)
    executor = Static(Packed(load(checkpoint, device), varlen, torch.float16), 4096, LONGEST)
    eager = Packed(load(checkpoint, device), varlen, torch.float16)
    plain = Padded(load(checkpoint, torch.device("cpu")))
    batches = [sequences(lengths, seed=seed) for seed, lengths in enumerate([*BATCHES.values()] * 3)]
    batches.append(sequences([1] * 512, seed=99))
    found = [executor.forward(*batch) for batch in batches]  # no pass may write over the logits of another
    assert len(executor._shapes) == 2
    with torch.inference_mode():
        for logits, batch in zip(found, batches, strict=True):
            assert torch.equal(executor.forward(*batch), logits)
            assert (logits - eager.forward(*batch)).abs().max() < 0.1
            assert (logits.cpu() - plain.forward(*batch)).abs().max() < 0.1
        for key, shape in executor._shapes.items():
            assert shape.graph is not None and shape.logits_PL is not None
            shape.graph.replay()
            # Up to rounding: launched one by one, the same products may take kernels with other last bits.
            assert (executor._compiled(shape.numbers_X, *key)[:1] - shape.logits_PL[:1]).abs().max() < 0.01
