"""Padded execution, for every family: stock models on rectangles of nearly equal lengths, or of one sequence.

Axes in names as in `seqcls_beam.model.engine`.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.packing import MOST_SEQUENCES, Ints, packs, take
from seqcls_beam.model.engine.transfer import on

_SMALL = 16  # tokens; where the longest sequence has fewer, each is computed `_times`. It matters up to 11
_NO_TOKEN = -1
_FEW = 32  # tokens; a lone sequence of fewer is computed twice. It matters under 10: alone it has other last bits


class Padded:
    """A model on rectangles, [N, W].

    A rectangle holds sequences whose lengths are equal when rounded up to a multiple of `step`, by default 1 on a CPU:
    it needs neither padding nor a mask, and its result does not depend on what else is in the batch. On a GPU, where a
    small rectangle costs as much as a large one, that is 16.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32, step: int | None = None) -> None:
        self.model = model.to(dtype)
        self._step = step or (16 if model.device.type == "cuda" else 1)
        self._pad = _padding(model)
        self._takes = inspect.signature(model.forward).parameters
        # BART's and T5's heads read what stands at the last end token, and want as many of them in each sequence.
        ends = getattr(model.config, "eos_token_id", None) if model.config.is_encoder_decoder else None
        self._ends: Ints = np.array([]) if ends is None else np.atleast_1d(ends)
        # MKL's products of odd lengths under 12 have other last bits where a matrix does not begin at a multiple of 16
        # bytes. All do if 4 divides the number of heads, those of repeated sequences counted. ConvBERT has fewer heads.
        heads = getattr(model.config, "num_attention_heads", None) or 4
        heads = max(1, heads // (getattr(model.config, "head_ratio", None) or 1))
        self._times = 4 // math.gcd(4, heads) if model.device.type == "cpu" else 1

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together."""
        widths_N = -(-lengths_N // self._step) * self._step
        for group in packs(widths_N, rows_R, budget, lambda _: MOST_SEQUENCES):
            edges = np.flatnonzero(np.diff(widths_N[group])) + 1
            yield from np.split(group, edges)

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""
        if len(lengths_N) > 1:
            starts_N = np.cumsum(lengths_N) - lengths_N
            ends_N = np.add.reduceat(np.isin(ids_T, self._ends).astype(np.int64), starts_N)
            kinds_N = 2 * ends_N + np.logical_or.reduceat(ids_T == self._pad, starts_N)
            if kinds_N.min() < kinds_N.max():
                return self._in_groups(ids_T, types_T, lengths_N, kinds_N)
        return self._rectangle(ids_T, types_T, lengths_N)

    def _in_groups(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints, of_N: Ints) -> Tensor:
        """A rectangle for each number in `of_N`."""
        offsets_N1 = np.concatenate([[0], np.cumsum(lengths_N)])
        groups = [np.flatnonzero(of_N == each) for each in np.unique(of_N)]
        found = []
        for rows_R in groups:
            where, _ = take(offsets_N1, rows_R)
            types = None if types_T is None else types_T[where]
            found.append(self._rectangle(ids_T[where], types, lengths_N[rows_R]))
        back_N = torch.from_numpy(np.argsort(np.concatenate(groups)))
        return torch.cat(found)[back_N.to(found[0].device)]

    def _rectangle(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        times = self._times if lengths_N.max() < _SMALL else 1
        if len(lengths_N) == 1 and len(ids_T) < _FEW:
            times = max(times, 2)
        real_NW = np.arange(lengths_N.max()) < lengths_N[:, None]
        inputs = {"input_ids": np.full(real_NW.shape, self._pad, np.int64)}
        inputs["input_ids"][real_NW] = ids_T
        if not real_NW.all() and "attention_mask" not in self._takes:
            raise ValueError("it takes no mask, and so no padding")
        # Without a mask some families make one, in which the padding token's name in a text is padding.
        if "attention_mask" in self._takes and not (real_NW.all() and (ids_T != self._pad).all()):
            inputs["attention_mask"] = real_NW.astype(np.int64)
        if types_T is not None:
            inputs["token_type_ids"] = np.zeros(real_NW.shape, np.int64)
            inputs["token_type_ids"][real_NW] = types_T
        device = self.model.device
        tensors = {name: on(device, each_NW.repeat(times, 0)) for name, each_NW in inputs.items()}
        logits: Tensor = self.model(**tensors, **_uncached(self._takes)).logits[::times]
        return logits.float()


class Alone:
    """A model on one sequence at a time, with a mask of ones: as `pipeline()` runs it."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        self.model = model.to(dtype)
        _padding(model)
        self._takes = inspect.signature(model.forward).parameters

    def packs(self, lengths_N: Ints, rows_R: Ints, _: int) -> Iterator[Ints]:
        """Each row by itself, the longest first."""
        yield from np.split(rows_R[np.argsort(-lengths_N[rows_R], kind="stable")], len(rows_R))

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """A sequence → logits float32 [1, L], on the model's device."""
        inputs = {"input_ids": ids_T} | ({} if types_T is None else {"token_type_ids": types_T})
        if "attention_mask" in self._takes:
            inputs["attention_mask"] = np.ones_like(ids_T)
        tensors = {name: on(self.model.device, each.astype(np.int64)[None]) for name, each in inputs.items()}
        logits: Tensor = self.model(**tensors, **_uncached(self._takes)).logits
        return logits.float()


def _uncached(takes: Mapping[str, Any]) -> dict[str, bool]:
    """Nothing is kept for a next token: of what a forward pass takes, what says so."""
    return {"use_cache": False} if "use_cache" in takes else {}


def _padding(model: Any) -> int:
    """The id that fills a rectangle.

    Heads that read the last token look for it before the padding, and refuse batches where no id is that: then one is
    named that no token has.
    """
    text = model.config.get_text_config()
    if getattr(text, "pad_token_id", None) is None:
        text.pad_token_id = _NO_TOKEN
    return max(0, text.pad_token_id)
