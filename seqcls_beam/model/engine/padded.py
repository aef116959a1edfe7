"""Padded execution, for every family: stock models on rectangles of nearly equal lengths.

Axes in names as in `seqcls_beam.model.engine`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.packing import MOST_SEQUENCES, Ints, packs
from seqcls_beam.model.engine.transfer import on

_SMALL = 16  # tokens; where the longest sequence has fewer, each is computed `_times`. It matters up to 11
_FEW = 32  # tokens; a lone sequence of fewer is computed twice. It matters under 10: alone it has other last bits


class Padded:
    """A model on rectangles, [N, W].

    On a CPU a rectangle holds sequences of one length, which needs neither padding nor a mask, and whose result does
    not depend on what else is in the batch. On a GPU, where a small rectangle costs as much as a large one, its lengths
    are equal when rounded up to a multiple of 16.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        self.model = model.to(dtype)
        self._step = 16 if model.device.type == "cuda" else 1
        pad = model.config.pad_token_id
        self._pad = 0 if pad is None else pad
        # MKL's products of odd lengths under 12 have other last bits where a matrix does not begin at a multiple of 16
        # bytes. All do if 4 divides the number of heads, those of repeated sequences counted. ConvBERT has fewer heads.
        heads = getattr(model.config, "num_attention_heads", 4) // getattr(model.config, "head_ratio", 1)
        self._times = 4 // math.gcd(4, heads) if model.device.type == "cpu" else 1

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together."""
        widths_N = -(-lengths_N // self._step) * self._step
        for group in packs(widths_N, rows_R, budget, lambda _: MOST_SEQUENCES):
            edges = np.flatnonzero(np.diff(widths_N[group])) + 1
            yield from np.split(group, edges)

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""
        times = self._times if lengths_N.max() < _SMALL else 1
        if len(lengths_N) == 1 and len(ids_T) < _FEW:
            times = max(times, 2)
        real_NW = np.arange(lengths_N.max()) < lengths_N[:, None]
        inputs = {"input_ids": np.full(real_NW.shape, self._pad, np.int64)}
        inputs["input_ids"][real_NW] = ids_T
        if not real_NW.all():
            inputs["attention_mask"] = real_NW.astype(np.int64)
        if types_T is not None:
            inputs["token_type_ids"] = np.zeros(real_NW.shape, np.int64)
            inputs["token_type_ids"][real_NW] = types_T
        device = self.model.device
        tensors = {name: on(device, each_NW.repeat(times, 0)) for name, each_NW in inputs.items()}
        logits: Tensor = self.model(**tensors).logits[::times]
        return logits.float()
