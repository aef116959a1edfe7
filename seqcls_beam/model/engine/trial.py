"""The self-test of a way to run a model: a few sequences, and how far its answers may be from plain ones.

Two faults are told apart. A precision has a price whatever runs it, which the plain padded model shows against itself
in float32. A way of running has none: in the same precision it may differ from the plain model by rounding alone.

Axes in names as in `seqcls_beam.model.engine`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.devices import PASS
from seqcls_beam.model.engine.packing import Ints, packs, take
from seqcls_beam.model.engine.padded import Padded
from seqcls_beam.model.tokens import Sequences

_BREATH = 0.005  # seconds between passes, in which another thread, whose texts wait, may begin one of its own
_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 3, 2, 1)
_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""Of an answer: what two ways may differ by in one precision, be their rounding ever so small."""
_PRICE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Of an answer: what a precision that nobody asked for may differ by from float32."""

Pass = tuple[Ints, Ints | None, Ints]
"""Ids [T], types [T] or None, lengths [N] of sequences, one after the other."""

Forward = Callable[[Ints, Ints | None, Ints], Tensor]
"""The three of a `Pass` → logits float32 [N, L]."""


class Distance(NamedTuple):
    """How far two models are apart, at most."""

    answer: float = 0.0  # a probability's difference; of a regression that of the value x, in parts of 1 + |x|
    logit: float = 0.0  # a logit's, in parts of 1 + |x|

    def within(self, tolerance: float, own: "Distance") -> bool:
        """Whether it is at most `tolerance`, or at most twice `own`: two roundings of that size.

        Of logits, at most ten times as much: a sure classifier's probabilities hide what goes wrong.
        """
        return self.answer <= max(tolerance, 2 * own.answer) and self.logit <= max(10 * tolerance, 2 * own.logit)


class Trial:
    """Synthetic sequences of 1 to 144 tokens, and the plain padded model's answers to them, for each precision."""

    def __init__(
        self, model: Any, vocabulary: int, longest: int, types: bool, problem: str, texts: Sequence[Pass] = ()
    ) -> None:
        """`model` is in float32 and as it was loaded; it is not changed. `problem` is that of a `Checkpoint`.

        `texts` are tried, too.
        """
        self._problem = problem
        self._lengths_N = np.minimum(_LENGTHS, longest)
        self._ids_T = np.random.default_rng(0).integers(0, vocabulary, self._lengths_N.sum())
        self._types_T = (self._ids_T % 2).astype(np.int8) if types else None
        self._passes = [(self._ids_T, self._types_T, self._lengths_N), *texts]
        self._plain = {torch.float32: self.logits(Padded(model).forward)}

    def logits(self, forward: Forward) -> Tensor:
        """Float32 [N, L], on the CPU."""
        return torch.cat([self._pass(forward, each) for each in self._passes])

    def seconds(self, forward: Forward) -> float:
        """What a pass takes that is not the first one."""
        took = []
        for _ in range(3):
            began = time.perf_counter()
            self._pass(forward, self._passes[0])
            took.append(time.perf_counter() - began)
        return min(took)

    def _pass(self, forward: Forward, each: Pass) -> Tensor:
        if len(self._passes) > 1:
            time.sleep(_BREATH)
        with PASS, torch.inference_mode():
            return forward(*each).cpu()

    def learn(self, dtype: torch.dtype, load: Callable[[], Any]) -> None:
        """See what the plain model, which is loaded in a precision where that is new, gives in it."""
        if dtype not in self._plain:
            self._plain[dtype] = self.logits(Padded(load(), dtype).forward)

    def price(self, dtype: torch.dtype) -> Distance:
        """How far the plain model in a precision that was learnt is from itself in float32."""
        return self._distance(self._plain[dtype], self._plain[torch.float32])

    def fault(self, found_NL: Tensor, dtype: torch.dtype, asked: bool) -> str:
        """What is wrong with logits in a precision that was learnt; nothing, if empty.

        `asked`: the user named the precision, and takes what it costs.
        """
        # A checkpoint may have a broken embedding: no way of running it mends that.
        sound_N = self._plain[torch.float32].isfinite().all(1)
        if not found_NL[sound_N].isfinite().all():
            return "its logits are not finite"
        if not self._plain[dtype][sound_N].isfinite().all():
            return f"in {_name(dtype)} the plain model's logits are not finite"
        price = self.price(dtype)
        if not asked and not price.within(_PRICE[dtype], Distance()):
            return f"in {_name(dtype)} the plain model differs from itself in float32 by {self._said(price)}"
        distance = self._distance(found_NL, self._plain[dtype])
        if not distance.within(_ROUNDING[dtype], price):
            return f"it differs from the plain model in {_name(dtype)} by {self._said(distance)}"
        return ""

    def _distance(self, found_NL: Tensor, expected_NL: Tensor) -> Distance:
        """Over the sequences to which float32 gives numbers."""
        sound_N = self._plain[torch.float32].isfinite().all(1)
        if not sound_N.any():
            return Distance()
        found, expected = found_NL[sound_N], expected_NL[sound_N]
        logit = ((found - expected).abs() / (1 + expected.abs())).max().item()
        if self._problem == "regression":
            return Distance(logit, logit)
        p, q = (x.sigmoid() if self._problem == "multi_label" else x.softmax(1) for x in (found, expected))
        return Distance((p - q).abs().max().item(), logit)

    def _said(self, distance: Distance) -> str:
        if self._problem == "regression":
            return f"{distance.answer:.2g} of a value"
        return f"{distance.answer:.2g} in a probability, by {distance.logit:.2g} of a logit"


def passes(sequences: Sequences, vocabulary: int, longest: int, tokens: int) -> list[Pass]:
    """Sequences, those that the model can read, in passes of at most so many tokens or of one sequence."""
    ids_T, offsets_N1, types_T = sequences
    lengths_N = np.diff(offsets_N1)
    read = [
        number
        for number, (start, length) in enumerate(zip(offsets_N1, lengths_N, strict=False))
        if 1 <= length <= longest and ids_T[start : start + length].max() < vocabulary
    ]
    made: list[Pass] = []
    for group in packs(lengths_N, np.asarray(read, np.int64), tokens):
        where, offsets_R1 = take(offsets_N1, group)
        made.append((ids_T[where], None if types_T is None else types_T[where], np.diff(offsets_R1)))
    return made


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
