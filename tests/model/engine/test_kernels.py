"""The engine's own kernels, against what they compute written out in float64."""

import ctypes
import itertools
import mmap
import os
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from seqcls_beam.model.engine import choosing
from seqcls_beam.model.engine.attention import by_equal_lengths
from seqcls_beam.model.engine.kernels import machine, trial
from seqcls_beam.model.engine.linear import Linear
from tests.model.engine.test_attention import inputs, layout, reference

if not trial.available():
    pytest.skip("a processor with products of bfloat16 is needed", allow_module_level=True)

from seqcls_beam.model.engine.kernels import sums
from seqcls_beam.model.engine.kernels.attention import by_kernel, by_kernels
from seqcls_beam.model.engine.kernels.bytes import in_bytes
from seqcls_beam.model.engine.kernels.pairs import Pairs
from seqcls_beam.model.engine.kernels.plain import Plain
from seqcls_beam.model.engine.kernels.sums import normed
from seqcls_beam.model.engine.kernels.tiles import Tiles

KINDS = {Plain: torch.float32, Pairs: torch.bfloat16} | ({Tiles: torch.bfloat16} if machine.has_tiles() else {})
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
# Weights are rounded before they meet the values, and what comes out is; each to 8 bits, of numbers up to 4.
FURTHEST = {torch.float32: 1e-5, torch.bfloat16: 3 * 2**-9 * 5}
# One below and above a block of queries (6, 16) and of keys (32), and so many blocks that loops go round.
LENGTHS = st.one_of(st.integers(1, 70), st.sampled_from([1, 6, 16, 17, 31, 32, 33, 64, 100]))


@given(
    lengths=st.lists(LENGTHS, min_size=1, max_size=6),
    heads=st.sampled_from([1, 2, 3, 12]),
    size=st.sampled_from(machine.HEADS),
    window=st.one_of(st.none(), st.integers(0, 70)),
    first_only=st.booleans(),
    kind=st.sampled_from([*KINDS]),
)
@settings(max_examples=40)
def test_attention_is_softmax(lengths, heads, size, window, first_only, kind):
    query, key, value = inputs(lengths, heads, size, first_only=first_only, dtype=KINDS[kind])
    found = by_kernel(kind, query, key, value, layout(lengths), 0.3, window)
    assert found.dtype == KINDS[kind] and found.shape == query.shape
    assert (
        np.abs(found.double().numpy() - reference(query, key, value, lengths, 0.3, window)).max()
        < FURTHEST[KINDS[kind]]
    )


@EACH
@pytest.mark.parametrize("window", [None, 64, 700])
def test_attention_of_long_texts(kind, window):
    lengths = [1500, 1100, 513]
    query, key, value = inputs(lengths, 2, 64, dtype=KINDS[kind])
    found = by_kernel(kind, query, key, value, layout(lengths), 0.125, window).double()
    query, key, value = (each.float() for each in (query, key, value))
    expected = by_equal_lengths(query, key, value, layout(lengths), 0.125, window).double()
    assert (found - expected).abs().max() < FURTHEST[KINDS[kind]]


@EACH
@pytest.mark.parametrize("window", [None, 5])
def test_what_lies_beside_a_sequence_does_not_matter(kind, window):
    """Not even where it is no number: it is not read."""
    for length in (1, 5, 6, 7, 15, 16, 17, 31, 32, 33, 50, 64, 65):
        lengths = [length, 3, length, 70, length]
        query, key, value = inputs(lengths, 3, 32, dtype=KINDS[kind])
        ends = [0, *itertools.accumulate(lengths)]
        for each in (query, key, value):
            each[ends[2] : ends[3]] = each[: ends[1]]
            each[ends[4] :] = each[: ends[1]]
            each[ends[1] : ends[2]] = torch.nan
            each[ends[3] : ends[4]] = torch.inf
        found = by_kernel(kind, query, key, value, layout(lengths), 0.3, window)
        alone = by_kernel(kind, query[:length], key[:length], value[:length], layout([length]), 0.3, window)
        assert alone.isfinite().all() and found[ends[1] : ends[2]].isnan().all()
        for first in (0, 2, 4):
            assert torch.equal(found[ends[first] : ends[first + 1]], alone), length


@EACH
def test_nothing_behind_the_last_token_is_read(kind):
    """The page behind it cannot be."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)  # the others are not in this process
            code = _read_to_the_end(kind)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def _read_to_the_end(kind):
    page, bytes_each = mmap.PAGESIZE, torch.empty(0, dtype=KINDS[kind]).element_size()
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for length in (1, 6, 17, 33):
        lies_in = mmap.mmap(-1, 9 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(lies_in))
        assert protect(ctypes.c_void_p(address + 8 * page), page, 0) == 0
        numbers = 3 * length * 2 * 32
        qkv = torch.frombuffer(lies_in, dtype=KINDS[kind], count=numbers, offset=8 * page - numbers * bytes_each)
        query, key, value = qkv.view(3, length, 2, 32).fill_(1.0).unbind(0)
        assert by_kernel(kind, query, key, value, layout([length]), 0.3).eq(1.0).all()
    return 0


@EACH
def test_whoever_computes_it_the_bits_are_the_same(kind):
    lengths = [40, 17, 17, 200, 3] * 5
    query, key, value = inputs(lengths, 4, 32, dtype=KINDS[kind])
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5, 40):
            torch.set_num_threads(threads)
            found.append(by_kernel(kind, query, key, value, layout(lengths), 0.3))
    finally:
        torch.set_num_threads(before)

    def beside() -> None:
        for _ in range(20):
            found.append(by_kernel(kind, query, key, value, layout(lengths), 0.3))

    several = [threading.Thread(target=beside) for _ in range(3)]
    for each in several:
        each.start()
    for each in several:
        each.join()
    assert len(found) == 64 and all(torch.equal(each, found[0]) for each in found)


@EACH
def test_scores_of_any_size_and_what_is_no_number(kind):
    lengths = [20, 20, 20]
    query, key, value = inputs(lengths, 2, 32, dtype=KINDS[kind])
    query[:20] *= 1000  # the power of such a score is no float32
    query[20:40] = 0
    key[40, 0, 0], value[41, 1] = torch.nan, torch.inf
    found = by_kernel(kind, query, key, value, layout(lengths), 0.3).double()
    expected = torch.from_numpy(reference(query, key, value, lengths, 0.3))
    assert (found[:40] - expected[:40]).abs().max() < FURTHEST[KINDS[kind]]
    assert torch.equal(found[40:].isfinite(), expected[40:].isfinite()) and not found[40:].isfinite().all()


def test_tiles_leave_those_of_onednn_as_they_were():
    product = Linear(torch.randn(96, 64).bfloat16(), torch.randn(96).bfloat16())
    x = torch.randn(100, 64).bfloat16()
    before = product(x)
    query, key, value = inputs([30, 5], 2, 64, dtype=torch.bfloat16)
    for _ in range(3):
        by_kernels(query, key, value, layout([30, 5]), 0.3)
        assert torch.equal(product(x), before)


@BOTH
@pytest.mark.parametrize(("rows", "width"), [(1, 32), (15, 64), (16, 384), (17, 736), (2100, 768)])
def test_a_sum_is_normed(rows, width, dtype):
    made = torch.Generator().manual_seed(rows)
    x, y = (torch.randn(rows, 2 * width, generator=made).to(dtype) * 3 + 1 for _ in range(2))
    x, y = x[:, :width].contiguous(), y[:, width:]  # the second a view
    weight, bias = torch.randn(width, generator=made), torch.randn(width, generator=made)
    expected = functional.layer_norm(x.double() + y.double(), (width,), weight.double(), bias.double(), 1e-5)
    alone = normed(x[-1:].clone(), y[-1:], weight, bias, 1e-5)
    found = normed(x, y, weight, bias, 1e-5)
    assert found.data_ptr() == x.data_ptr() and found.dtype == dtype
    furthest = 1e-5 if dtype == torch.float32 else 2**-8 * expected.abs().max()
    assert (found.double() - expected).abs().max() < furthest
    assert torch.equal(found[-1:], alone), "its bits are of its row alone"


def test_a_row_without_any_difference_and_what_is_no_number():
    x, y = torch.ones(4, 64), torch.ones(4, 64)
    x[1, 3], x[2, 5] = torch.nan, torch.inf
    found = normed(x, y, torch.ones(64), torch.zeros(64), 1e-12)
    assert found[[0, 3]].eq(0).all() and found[[1, 2]].isnan().all()


@BOTH
@pytest.mark.parametrize(("rows", "width"), [(1, 32), (17, 384), (2100, 736)])
def test_numbers_become_bytes(rows, width, dtype):
    made = torch.Generator().manual_seed(rows)
    x = (torch.randn(rows, 2 * width, generator=made) * 60).to(dtype)[:, width:]  # a view
    factor, shift = torch.rand(width, generator=made) * 3, torch.full((width,), 100.5)
    exact = x.double() * factor.double() + shift.double()
    found = in_bytes(x, factor, shift)
    assert found.dtype == torch.uint8 and found.shape == x.shape
    assert torch.equal(found, exact.float().clamp(0, 255).to(torch.uint8))
    assert (found == 0).any() and (found == 255).any() and ((found > 0) & (found < 255)).sum() > rows * width / 2


def test_what_is_no_number_or_a_huge_one_becomes_a_byte():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1e30, 254.9, 255.6, -0.4] * 4)[None]
    assert in_bytes(x, torch.ones(32), torch.zeros(32))[0, :8].tolist() == [0, 255, 0, 255, 0, 254, 255, 0]


def test_without_llvmlite_the_engine_runs_as_it_does_on_other_processors(monkeypatch):
    assert choosing.on_cpu(32) is choosing.on_cpu(64) is by_kernels and choosing.on_cpu(80) is by_equal_lengths
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setattr(choosing, "available", trial.available.__wrapped__)
    assert choosing.on_cpu(32) is by_equal_lengths


def test_where_nothing_can_be_compiled_it_runs_so_too(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(machine, "Kernel", None)
    monkeypatch.setattr(sums, "_kernel", sums._kernel.__wrapped__)
    monkeypatch.setattr(choosing, "available", trial.available.__wrapped__)
    assert choosing.on_cpu(32) is by_equal_lengths and "kernels do not run: TypeError: 'NoneType'" in caplog.text
