"""The self-test of a way to run a model: a few synthetic sequences, and how far its answers may be from plain ones.

Two faults are told apart. A precision has a price whatever runs it, which the plain padded model shows against itself
in float32. A way of running has none: in the same precision it may differ from the plain model by rounding alone.

Axes in names as in `seqcls_beam.model.engine`.
"""

import copy
import time
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.packing import Ints
from seqcls_beam.model.engine.padded import Padded

_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 3, 2, 1)
_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""Of a probability: what two ways may differ by in one precision, be their rounding ever so small."""
_PRICE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Of a probability: what a precision that nobody asked for may differ by from float32."""


class Runs(Protocol):
    """What the self-test needs of an executor."""

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L]."""


class Distance(NamedTuple):
    """How far two models' answers are apart."""

    probability: float  # the largest difference of one
    logit: float  # the largest difference of a logit x, in parts of 1 + |x|

    def within(self, tolerance: float, own: "Distance") -> bool:
        """Whether it is at most `tolerance`, or at most twice `own`: two roundings of that size.

        A sure classifier's probabilities hide much, and those of a regression everything: of logits, at most ten times
        as much.
        """
        return self.probability <= max(tolerance, 2 * own.probability) and self.logit <= max(
            10 * tolerance, 2 * own.logit
        )


class Trial:
    """Synthetic sequences of 1 to 144 tokens, and the plain padded model's answers to them, for each precision."""

    def __init__(self, model: Any, vocabulary: int, longest: int, types: bool) -> None:
        """`model` is in float32 and as it was loaded; it is not changed."""
        self._lengths_N = np.minimum(_LENGTHS, longest)
        self._ids_T = np.random.default_rng(0).integers(0, vocabulary, self._lengths_N.sum())
        self._types_T = (self._ids_T % 2).astype(np.int8) if types else None
        self._plain = {torch.float32: self.answers(Padded(model))}

    def answers(self, executor: Runs) -> Tensor:
        """Logits float32 [N, L], on the CPU."""
        with torch.inference_mode():
            return executor.forward(self._ids_T, self._types_T, self._lengths_N).cpu()

    def seconds(self, executor: Runs) -> float:
        """What a pass takes that is not the first one."""
        took = []
        for _ in range(3):
            began = time.perf_counter()
            self.answers(executor)
            took.append(time.perf_counter() - began)
        return min(took)

    def learn(self, model: Any, dtype: torch.dtype) -> None:
        """See what the plain model answers in a precision. `model` as for the constructor."""
        if dtype not in self._plain:
            self._plain[dtype] = self.answers(Padded(copy.deepcopy(model), dtype))

    def price(self, dtype: torch.dtype) -> Distance:
        """How far the plain model in a precision that was learnt is from itself in float32."""
        return _distance(self._plain[dtype], self._plain[torch.float32])

    def fault(self, found_NL: Tensor, dtype: torch.dtype, asked: bool) -> str:
        """What is wrong with answers in a precision that was learnt; nothing, if empty.

        `asked`: the user named the precision, and takes what it costs.
        """
        # A checkpoint may have a broken embedding: no way of running it mends that.
        sound_N = self._plain[torch.float32].isfinite().all(1)
        if not found_NL[sound_N].isfinite().all():
            return "its logits are not finite"
        price = self.price(dtype)
        if not asked and not price.within(_PRICE[dtype], _NONE):
            return f"in {_name(dtype)} the plain model differs from itself in float32 by {_said(price)}"
        distance = _distance(found_NL, self._plain[dtype])
        if not distance.within(_ROUNDING[dtype], price):
            return f"it differs from the plain model in {_name(dtype)} by {_said(distance)}"
        return ""


_NONE = Distance(0.0, 0.0)


def _distance(found_NL: Tensor, expected_NL: Tensor) -> Distance:
    """Over the sequences to which both have answers."""
    both_N = (found_NL.isfinite() & expected_NL.isfinite()).all(1)
    if not both_N.any():
        return _NONE
    found, expected = found_NL[both_N], expected_NL[both_N]
    return Distance(
        (found.softmax(1) - expected.softmax(1)).abs().max().item(),
        ((found - expected).abs() / (1 + expected.abs())).max().item(),
    )


def _said(distance: Distance) -> str:
    return f"{distance.probability:.2g} in a probability, by {distance.logit:.2g} of a logit"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
