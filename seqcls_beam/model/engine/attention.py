"""Attention inside each sequence of a packed batch.

Packed tensors are `[tokens, heads, size]`, all sequences one after the other; a `Layout` says where each begins. No
sequence ever meets another: on a GPU by torch's variable-length kernel, on a CPU by one batched product for each run of
equally long sequences. Neither pads.
"""

import threading
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_SCORES = 1 << 20  # attention scores held at once: 4 MiB, so that they stay in the cache between two products
_SHORT = 48  # from this length on, the products of one sequence are worth a call of their own
_scratch = threading.local()


@dataclass(frozen=True)
class Layout:
    """Where the N sequences of a packed batch of T tokens lie."""

    ends: Tensor  # int32 [N + 1], 0 first: `cu_seqlens`
    first: Tensor  # int64 [N]: each sequence's first token
    each: Tensor  # int32 [N + 1], 0 to N: `ends` of a batch of one token each
    longest: int
    runs: list[tuple[int, int, int]]  # neighbours of equal length: (first token, sequences, length)


class Attention(Protocol):
    """Softmax attention within sequences."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float, window: int | None = None
    ) -> Tensor:
        """[T or N, heads, size] and twice [T, heads, size] → like `query`.

        N queries are one for each sequence, its first token's. `window`: a token sees those at most so far away.
        """


def varlen(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """`Attention` on a GPU, in half precision: torch's FlashAttention-2 for variable lengths."""
    from torch.nn.attention.varlen import varlen_attn

    whole = query.shape[0] == key.shape[0]
    # The kernel counts a window from the last key, which is not where a first token stands.
    assert whole or window is None
    found = varlen_attn(
        query,
        key,
        value,
        layout.ends if whole else layout.each,
        layout.ends,
        layout.longest if whole else 1,
        layout.longest,
        scale=scale,
        window_size=(-1, -1) if window is None else (window, window),
    )
    assert isinstance(found, Tensor)
    return found


def by_equal_lengths(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """`Attention` on a CPU, in float32: batched matrix products over runs of equal length.

    torch's own CPU kernel takes blocks of at least 32 queries, and loses to this on every length of a classifier.
    """
    found = torch.empty_like(query)
    whole = query.shape[0] == key.shape[0]
    heads = query.shape[1]
    if heads == 1:  # a call for one small product has other last bits than one for several
        query, key, value = (each.expand(-1, 2, -1) for each in (query, key, value))
        return by_equal_lengths(query, key, value, layout, scale, window)[:, :1]
    done = 0
    for start, count, length in layout.runs:
        asked = length if whole else 1
        # Which products are one call follows from the length alone, and so do the bits of a sequence's result.
        if length < _SHORT:
            texts, part = max(1, _SCORES // (heads * asked * length)), heads
        else:
            texts, part = 1, max(1, min(heads, _SCORES // (asked * length)))
        for text in range(0, count, texts):
            n = min(texts, count - text)
            rows = slice(done + text * asked, done + (text + n) * asked)
            tokens = slice(start + text * length, start + (text + n) * length)
            for head in range(0, heads, part):
                some = slice(head, head + part)
                q = _matrices(query[rows, some], n)
                k, v = (_matrices(x[tokens, some], n) for x in (key, value))
                scores = _buffer(len(q) * asked * length).view(len(q), asked, length)
                torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=scale, out=scores)
                if window is not None and length > window + 1:
                    scores.masked_fill_(_beyond(asked, length, window), -torch.inf)
                mixed = torch.bmm(torch.softmax(scores, -1), v).view(n, -1, asked, v.shape[2])
                found[rows, some].view(n, asked, -1, v.shape[2]).copy_(mixed.transpose(1, 2))
        done += count * asked
    return found


def _matrices(x: Tensor, texts: int) -> Tensor:
    """[texts * length, heads, size] → float32 [texts * heads, length, size]; a view where that can be."""
    length, heads, size = x.shape[0] // texts, *x.shape[1:]
    return x.view(texts, length, heads, size).transpose(1, 2).float().reshape(texts * heads, length, size)


def _buffer(size: int) -> Tensor:
    """Room for scores, kept by each thread: fresh memory of this size costs more than the product that fills it."""
    kept = getattr(_scratch, "scores", None)
    if kept is None or len(kept) < size:
        with torch.inference_mode(False):  # what is made in it cannot be written to outside
            kept = _scratch.scores = torch.empty(max(size, _SCORES))
    return kept[:size]


def _beyond(asked: int, length: int, window: int) -> Tensor:
    """bool [asked, length]: pairs of tokens further apart than `window`."""
    return (torch.arange(asked)[:, None] - torch.arange(length)).abs() > window
