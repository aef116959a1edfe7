"""Attention inside each sequence of a packed batch.

A `Layout` says where each sequence begins, and no sequence ever meets another: on a GPU by torch's variable-length
kernel, on a CPU by one call for each run of equally long sequences. None pads.

Axes in names as in `seqcls_beam.model.engine`, and in one batched product:

    B    matrices, one for each of some sequences and each of some heads
    A    tokens of a sequence that ask: all W, or the first, or some
"""

import threading
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

_SCORES = 1 << 20  # attention scores held at once: 4 MiB, so that they stay in the cache between two products
_SHORT = 48  # from this length on, the products of one sequence are worth a call of their own
_scratch = threading.local()


@dataclass(frozen=True)
class Layout:
    """Where the sequences of a packed batch lie."""

    offsets_N1: Tensor  # int32, 0 first: `cu_seqlens`
    first_N: Tensor  # int64: where each sequence's first token is
    query_offsets_N1: Tensor  # int32, 0 to N: as `offsets_N1`, of queries where only first tokens ask
    longest: int  # tokens of the longest sequence
    runs: list[tuple[int, int, int]]  # neighbours of equal length: (first token, sequences, length)


class Attention(Protocol):
    """Softmax attention within sequences."""

    def __call__(
        self, q_QHK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, scale: float, window: int | None = None
    ) -> Tensor:
        """→ [Q, H, K]. `scale` multiplies the scores; `window`: a token sees those at most so many tokens away."""


def varlen(
    q_QHK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """`Attention` on a GPU, in half precision: torch's FlashAttention-2 for variable lengths."""
    from torch.nn.attention.varlen import varlen_attn

    all_ask = len(q_QHK) == len(k_THK)
    # The kernel counts a window from the last key, which is not where a first token stands.
    assert all_ask or window is None
    # … and takes heads of a multiple of 8: numbers of 0 change no score, and are cut off again.
    size = q_QHK.shape[2]
    if size % 8:
        q_QHK, k_THK, v_THK = (functional.pad(each, (0, -size % 8)) for each in (q_QHK, k_THK, v_THK))
    mixed_QHK = varlen_attn(
        q_QHK,
        k_THK,
        v_THK,
        layout.offsets_N1 if all_ask else layout.query_offsets_N1,
        layout.offsets_N1,
        layout.longest if all_ask else 1,
        layout.longest,
        scale=scale,
        window_size=(-1, -1) if window is None else (window, window),
    )
    assert isinstance(mixed_QHK, Tensor)
    return mixed_QHK[..., :size]


def by_equal_lengths(
    q_QHK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """`Attention` on any CPU, computed in float32: batched matrix products over runs of equal length.

    torch's own CPU kernel takes blocks of at least 32 queries, and loses to this on every length of a classifier.
    """
    mixed_QHK = torch.empty_like(q_QHK)
    all_ask = len(q_QHK) == len(k_THK)
    heads = q_QHK.shape[1]
    if heads == 1:  # a call for one small product has other last bits than one for several
        q_QHK, k_THK, v_THK = (each.expand(-1, 2, -1) for each in (q_QHK, k_THK, v_THK))
        return by_equal_lengths(q_QHK, k_THK, v_THK, layout, scale, window)[:, :1]
    done = 0  # rows of the result, of Q
    for start, count, width in layout.runs:
        asking = width if all_ask else 1
        # Which products are one call follows from the width alone, and so do the bits of a sequence's result.
        if width < _SHORT:
            at_once, heads_at_once = max(1, _SCORES // (heads * asking * width)), heads
        else:
            at_once, heads_at_once = 1, max(1, min(heads, _SCORES // (asking * width)))
        for sequence in range(0, count, at_once):
            n = min(at_once, count - sequence)
            queries = slice(done + sequence * asking, done + (sequence + n) * asking)
            tokens = slice(start + sequence * width, start + (sequence + n) * width)
            for head in range(0, heads, heads_at_once):
                some = slice(head, head + heads_at_once)
                q_BAK = _matrices(q_QHK[queries, some], n)
                k_BWK, v_BWK = (_matrices(each[tokens, some], n) for each in (k_THK, v_THK))
                scores_BAW = _buffer(len(q_BAK) * asking * width).view(len(q_BAK), asking, width)
                torch.baddbmm(scores_BAW, q_BAK, k_BWK.transpose(1, 2), beta=0, alpha=scale, out=scores_BAW)
                if window is not None and width > window + 1:
                    scores_BAW.masked_fill_(_beyond(asking, width, window), -torch.inf)
                mixed_BAK = torch.bmm(torch.softmax(scores_BAW, -1), v_BWK)
                size = mixed_BAK.shape[2]
                into = mixed_QHK[queries, some].view(n, asking, -1, size)
                into.copy_(mixed_BAK.view(n, -1, asking, size).transpose(1, 2))
        done += count * asking
    return mixed_QHK


def _matrices(x_THK: Tensor, sequences: int) -> Tensor:
    """Tokens of so many equally long sequences → float32 [B, A or W, K]; a view where that can be."""
    width, heads, size = x_THK.shape[0] // sequences, *x_THK.shape[1:]
    x_NHWK = x_THK.view(sequences, width, heads, size).transpose(1, 2)
    return x_NHWK.float().reshape(sequences * heads, width, size)


def _buffer(size: int) -> Tensor:
    """Room for scores, kept by each thread: fresh memory of this size costs more than the product that fills it."""
    kept = getattr(_scratch, "scores", None)
    if kept is None or len(kept) < size:
        with torch.inference_mode(False):  # what is made in it cannot be written to outside
            kept = _scratch.scores = torch.empty(max(size, _SCORES))
    return kept[:size]


def _beyond(asking: int, width: int, window: int) -> Tensor:
    """bool [A, W]: pairs of tokens further apart than `window`."""
    return (torch.arange(asking)[:, None] - torch.arange(width)).abs() > window
