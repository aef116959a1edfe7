"""Attention on packed sequences, against softmax attention written out for one sequence and one head in float64."""

import itertools
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.model.engine import attention
from seqcls_beam.model.engine.attention import Layout, by_equal_lengths, varlen

SHORT, LONG = 47, 48  # the last length of batched products, the first of products of its own


@pytest.fixture(scope="module", autouse=True)
def inference() -> Iterator[None]:
    """As the engine runs it; the memory for scores is shared with what other tests run so."""
    with torch.inference_mode():
        yield


def layout(lengths):
    """Where sequences of these lengths lie."""
    ends = [0, *itertools.accumulate(lengths)]
    runs, start = [], 0
    for length, run in itertools.groupby(lengths):
        runs.append((start, count := len(list(run)), length))
        start += count * length
    return Layout(
        offsets_N1=torch.tensor(ends, dtype=torch.int32),
        first_N=torch.tensor(ends[:-1]),
        query_offsets_N1=torch.arange(len(ends), dtype=torch.int32),
        longest=max(lengths),
        runs=runs,
    )


def inputs(lengths, heads=4, size=8, seed=0, first_only=False, dtype=torch.float32):
    """Random query, key and value: strided views of one tensor, as the joined projection of a layer gives them."""
    made = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(sum(lengths), 3, heads, size, generator=made).to(dtype).unbind(1)
    return (query[layout(lengths).first_N] if first_only else query), key, value


def reference(query, key, value, lengths, scale, window=None):
    """The definition: per sequence, per head, in float64."""
    query, key, value = (each.double().cpu().numpy() for each in (query, key, value))
    out = np.empty_like(query)
    first_only = len(query) < len(key)
    for number, (low, high) in enumerate(itertools.pairwise([0, *itertools.accumulate(lengths)])):
        rows = slice(number, number + 1) if first_only else slice(low, high)
        for head in range(query.shape[1]):
            scores = query[rows, head] @ key[low:high, head].T * scale
            for i, j in np.ndindex(scores.shape):
                if window is not None and abs(i - j) > window:
                    scores[i, j] = -np.inf
            powers = np.exp(scores - scores.max(1, keepdims=True))
            out[rows, head] = powers / powers.sum(1, keepdims=True) @ value[low:high, head]
    return out


def agree(lengths, heads=4, size=8, window=None, first_only=False, seed=0):
    query, key, value = inputs(lengths, heads, size, seed, first_only)
    found = by_equal_lengths(query, key, value, layout(lengths), 0.3, window)
    assert found.dtype == torch.float32 and found.shape == query.shape
    assert np.abs(found.numpy() - reference(query, key, value, lengths, 0.3, window)).max() < 1e-5


@pytest.fixture(params=[None, 60, 20_000], ids=["scores-fit", "one-head-at-a-time", "heads-are-split"])
def limit(request, monkeypatch) -> ModuleType:
    """Room for fewer scores at once, as a long sequence has it."""
    if request.param:
        monkeypatch.setattr(attention, "_SCORES", request.param)
    return attention


@pytest.mark.parametrize("first_only", [False, True], ids=["every-query", "first-query"])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    "lengths",
    [[1], [1, 1, 1], [5] * 30, [LONG] * 3, [100, 100, LONG, SHORT, SHORT, 9, 9, 9, 1], [1, 70, 1, 3, 70]],
    ids=["one-token", "ones", "many-equal", "equal-and-long", "sorted", "mixed"],
)
@pytest.mark.usefixtures("limit")
def test_attention_is_softmax_within_each_sequence(lengths, window, first_only):
    agree(lengths, window=window, first_only=first_only)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.one_of(st.integers(1, 60), st.sampled_from([1, SHORT, LONG])), min_size=1, max_size=8),
    heads=st.sampled_from([1, 2, 3, 12]),
    window=st.one_of(st.none(), st.integers(0, 60)),
    first_only=st.booleans(),
)
def test_attention_is_softmax_for_any_lengths(lengths, heads, window, first_only):
    agree(lengths, heads, window=window, first_only=first_only)


def test_more_scores_than_are_held_at_once_change_nothing():
    agree([1100], heads=2)  # one head above the limit
    agree([40] * 200, heads=4)  # one run above the limit


@settings(max_examples=25)
@given(
    lengths=st.lists(st.one_of(st.integers(1, 60), st.sampled_from([1, 7, LONG])), min_size=1, max_size=10),
    heads=st.sampled_from([2, 4, 12]),
    size=st.sampled_from([8, 32, 64]),
    first_only=st.booleans(),
    data=st.data(),
)
def test_a_sequences_bits_do_not_depend_on_its_neighbours(lengths, heads, size, first_only, data):
    query, key, value = inputs(lengths, heads, size, first_only=first_only)
    whole = by_equal_lengths(query, key, value, layout(lengths), 0.3)
    edges = [0, *itertools.accumulate(lengths)]
    asked = list(range(len(lengths) + 1)) if len(query) < len(key) else edges
    # Another text at one place changes what is computed for that place only.
    row = data.draw(st.integers(0, len(lengths) - 1))
    q, k, v = (each.clone() for each in (query, key, value))
    for each, at in ((q, asked), (k, edges), (v, edges)):
        each[at[row] : at[row + 1]] = 50.0
    changed = by_equal_lengths(q, k, v, layout(lengths), 0.3)
    for i in range(len(lengths)):
        part = slice(asked[i], asked[i + 1])
        assert i == row or torch.equal(changed[part], whole[part])
    # Nor does it matter which texts are there at all.
    rows = sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1)), key=lambda i: -lengths[i])
    q, k, v = (
        torch.cat([each[at[i] : at[i + 1]] for i in rows])
        for each, at in ((query, asked), (key, edges), (value, edges))
    )
    fewer = by_equal_lengths(q, k, v, layout([lengths[i] for i in rows]), 0.3)
    assert torch.equal(fewer, torch.cat([whole[asked[i] : asked[i + 1]] for i in rows]))


@pytest.mark.parametrize("first_only", [False, True], ids=["every-query", "first-query"])
@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("heads", [1, 2, 3, 6, 12, 18])
def test_the_place_in_a_run_does_not_show_in_the_bits(heads, size, first_only):
    for length in range(1, 60):
        query, key, value = inputs([length], heads, size, first_only=first_only)
        alone = by_equal_lengths(query, key, value, layout([length]), 0.3)
        for times in (2, 3, 8):
            q, k, v = (each.repeat(times, 1, 1) for each in (query, key, value))
            found = by_equal_lengths(q, k, v, layout([length] * times), 0.3)
            assert torch.equal(found, alone.repeat(times, 1, 1)), (length, times)


def test_numbers_that_are_none_stay_in_their_sequence():
    lengths = [6, 6, 50, 50, 2]
    query, key, value = inputs(lengths)
    whole = by_equal_lengths(query, key, value, layout(lengths), 0.3)
    for each in (query, key, value):
        each[6:12] = torch.nan
        each[12:62] = torch.inf
    for _ in range(2):  # the second time in memory that held them
        found = by_equal_lengths(query, key, value, layout(lengths), 0.3)
        assert torch.equal(found[:6], whole[:6]) and torch.equal(found[62:], whole[62:])
        assert found[6:62].isnan().all()


@pytest.mark.parametrize("first_only", [False, True], ids=["every-query", "first-query"])
def test_bfloat16_in_gives_bfloat16_out_computed_in_float32(first_only):
    lengths = [60, 60, 9, 9, 1]
    query, key, value = (each.bfloat16() for each in inputs(lengths, first_only=first_only))
    found = by_equal_lengths(query, key, value, layout(lengths), 0.3, 5)
    assert found.dtype == torch.bfloat16
    expected = torch.from_numpy(reference(query, key, value, lengths, 0.3, 5))
    # One rounding to 8 bits at the end, and no more.
    assert ((found.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-6).all()


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("size", [8, 26])
def test_heads_that_the_gpus_kernel_does_not_take_are_filled_up_and_cut(size, first_only, monkeypatch):
    lengths = [5, 1, 7]

    def kernel(query, key, value, query_offsets, key_offsets, most_queries, most_keys, scale, window_size):
        """torch.nn.attention.varlen.varlen_attn's contract, by the definition."""
        assert query.shape[2] % 8 == 0, "the kernel raises"
        assert (most_queries, most_keys) == (1 if first_only else 7, 7) and window_size == (-1, -1)
        assert np.diff(key_offsets).tolist() == lengths
        assert np.diff(query_offsets).tolist() == ([1, 1, 1] if first_only else lengths)
        return torch.from_numpy(reference(query, key, value, lengths, scale))

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    query, key, value = inputs(lengths, size=size, first_only=first_only)
    found = varlen(query, key, value, layout(lengths), 0.2)
    assert found.shape == query.shape
    assert np.abs(found.numpy() - reference(query, key, value, lengths, 0.2)).max() < 1e-6
