"""The self-test of a way to run a model: a few sequences, and how far its answers may be from plain ones.

The plain model reads one sequence at a time, as transformers' pipeline does, and is as it was loaded each time. Two
faults are told apart. A precision has a price whatever runs it, which the plain model shows against itself in float32.
A way of running has none: in the same precision it may differ from the plain model by rounding alone.

Axes in names as in `seqcls_beam.model.engine`.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.devices import PASS
from seqcls_beam.model.engine.faults import end_if_dead
from seqcls_beam.model.engine.fresh import Fresh, OverwrittenError
from seqcls_beam.model.engine.packing import Ints, of_rows, packs, take
from seqcls_beam.model.engine.padded import Alone
from seqcls_beam.model.tokens import Sequences

_BREATH = 0.005  # seconds between passes, in which another thread, whose texts wait, may begin one of its own
_AGAIN = 2  # sequences that the plain model reads twice
_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 1e-2}
"""Of an answer: what two ways may differ by in one precision, be their rounding ever so small."""
_PRICE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Of an answer: what a precision that nobody asked for may differ by from float32."""

Pass = tuple[Ints, Ints | None, Ints]
"""Ids [T], types [T] or None, lengths [N] of sequences, one after the other."""


class TwoAnswersError(RuntimeError):
    """A model's answer to a text follows from something else than the text."""


class Distance(NamedTuple):
    """How far two models are apart, at most."""

    answer: float = 0.0  # a probability's difference; of a regression that of the value x, in parts of 1 + |x|
    logit: float = 0.0  # a logit's, in parts of 1 + |x|

    def within(self, tolerance: float, own: "Distance") -> bool:
        """Whether it is at most `tolerance`, or at most twice `own`: two roundings of that size.

        Of logits, at most ten times as much: a sure classifier's probabilities hide what goes wrong.
        """
        return self.answer <= max(tolerance, 2 * own.answer) and self.logit <= max(10 * tolerance, 2 * own.logit)


class Executor(Protocol):
    """A model and a way to run it."""

    model: Any

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together, of at most `budget` tokens or of one row."""

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""


class Trial:
    """Sequences, and the plain model's answers to them, for each precision."""

    def __init__(self, model: Any, problem: str, tried: Sequence[Pass], tokens: int, waits: bool = False) -> None:
        """`model` is in float32 and as it was loaded, and is so afterwards; `problem` is that of a `Checkpoint`.

        `tried` run in passes of at most so many `tokens`; `waits`: others have texts for this device. Those on which
        the model raises, as Canine does on three characters, are left out. Raises `TwoAnswersError` for a model that
        gives a sequence two answers, and what the model raises on all.
        """
        self._problem, self._passes, self._tokens = problem, tried, tokens
        self._breath = _BREATH if waits else 0.0
        self.leaves_something = False
        """Whether a pass leaves something behind in the model."""
        try:
            self._plain = {torch.float32: self._alone(model, torch.float32)}
        except OverwrittenError:
            raise
        except Exception as error:
            if isinstance(error, RuntimeError):
                end_if_dead(error)
            self._passes = [each for one in tried if (each := self._readable(model, one))]
            if not self._passes:
                raise
            self._plain = {torch.float32: self._alone(model, torch.float32)}
        first = self._plain[torch.float32]
        distance = self._distance(torch.cat([self._again, first[len(self._again) :]]), first)
        if not distance.within(_ROUNDING[torch.float32], Distance()):
            raise TwoAnswersError(f"it gives a text two answers, which differ by {self._said(distance)}")

    def _alone(self, model: Any, dtype: torch.dtype) -> Tensor:
        """What the plain model gives: float32 [N, L]; then `_again` has the first few once more, after all others."""
        plain = Alone(model, dtype)
        fresh = Fresh(model)  # after the other, which may name a token for padding
        singles = [single for each in self._passes for single in _singles(each)]
        made = [self._read(plain, fresh, single) for single in singles]
        self._again = torch.cat([self._read(plain, fresh, single) for single in singles[:_AGAIN]])
        return torch.cat(made)

    def _read(self, plain: Alone, fresh: Fresh, single: Pass) -> Tensor:
        time.sleep(self._breath)
        try:
            with PASS, torch.inference_mode():
                return plain.forward(*single).cpu()
        finally:
            self.leaves_something |= fresh.put_back()

    def _readable(self, model: Any, each: Pass) -> Pass | None:
        """A pass without the sequences on which the plain model raises."""
        plain, fresh, kept = Alone(model), Fresh(model), []
        for single in _singles(each):
            with contextlib.suppress(Exception):
                self._read(plain, fresh, single)
                kept.append(single)
        if not kept:
            return None
        ids, types, lengths = zip(*kept, strict=True)
        return np.concatenate(ids), None if each[1] is None else np.concatenate(types), np.concatenate(lengths)

    def logits(self, executor: Executor) -> Tensor:
        """Float32 [N, L], on the CPU."""
        return torch.cat([self._run(executor, each) for each in self._passes])

    def _run(self, executor: Executor, each: Pass) -> Tensor:
        ids_T, types_T, lengths_N = each
        offsets_N1 = np.concatenate([[0], np.cumsum(lengths_N)])
        groups, found = [], []
        for group in executor.packs(lengths_N, np.arange(len(lengths_N)), self._tokens):
            where, _ = take(offsets_N1, group)
            time.sleep(self._breath)
            with PASS, torch.inference_mode():
                types = None if types_T is None else types_T[where]
                found.append(executor.forward(ids_T[where], types, lengths_N[group]).cpu())
            groups.append(group)
        return torch.cat(found)[torch.from_numpy(np.argsort(np.concatenate(groups)))]

    def learn(self, dtype: torch.dtype, load: Callable[[], Any]) -> None:
        """See what the plain model, which is loaded in a precision where that is new, gives in it."""
        if dtype not in self._plain:
            self._plain[dtype] = self._alone(load(), dtype)

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


def _singles(each: Pass) -> Iterator[Pass]:
    """A pass of each of its sequences."""
    ids_T, types_T, lengths_N = each
    for start, end in itertools.pairwise(np.concatenate([[0], np.cumsum(lengths_N)])):
        yield ids_T[start:end], None if types_T is None else types_T[start:end], np.array([end - start])


def passes(sequences: Sequences, vocabulary: int, longest: int, tokens: int) -> list[Pass]:
    """Sequences, those that the model can read, in passes of at most so many tokens or of one sequence."""
    ids_T, offsets_N1, _ = sequences
    lengths_N = np.diff(offsets_N1)
    read = [
        number
        for number, (start, length) in enumerate(zip(offsets_N1, lengths_N, strict=False))
        if 1 <= length <= longest and ids_T[start : start + length].max() < vocabulary
    ]
    made: list[Pass] = []
    for group in packs(lengths_N, np.asarray(read, np.int64), tokens):
        some_T, offsets_R1, types_of_T = of_rows(sequences, group)
        made.append((some_T, types_of_T, np.diff(offsets_R1)))
    return made


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
