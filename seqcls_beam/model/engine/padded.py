"""Padded execution, for every family: stock models on rectangles of nearly equal lengths."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.packing import Ints, packs

_SMALL = 16  # tokens a sequence; the differences told of below were seen up to 11
_FEW = 32  # tokens: a single sequence of under 10 was seen to have other last bits than the same one among others


class Padded:
    """A model on `[sequences, width]` rectangles.

    On a CPU a rectangle holds sequences of one length, which needs neither padding nor a mask, and whose result does
    not depend on what else is in the batch. On a GPU, where a small rectangle costs as much as a large one, widths are
    multiples of 16.
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

    def packs(self, lengths: Ints, rows: Ints, budget: int) -> Iterator[Ints]:
        """`rows` in the groups that run together."""
        widths = -(-lengths // self._step) * self._step
        for group in packs(widths, rows, budget):
            edges = np.flatnonzero(np.diff(widths[group])) + 1
            yield from np.split(group, edges)

    def forward(self, ids: Ints, types: Ints | None, lengths: Ints) -> Tensor:
        """Ids of sequences of these lengths, all flat → logits float32 [sequences, labels], on the model's device."""
        times = self._times if lengths.max() < _SMALL else 1
        if len(lengths) == 1 and len(ids) < _FEW:
            times = max(times, 2)
        inside = np.arange(lengths.max()) < lengths[:, None]
        inputs = {"input_ids": np.full(inside.shape, self._pad, np.int64)}
        inputs["input_ids"][inside] = ids
        if not inside.all():
            inputs["attention_mask"] = inside.astype(np.int64)
        if types is not None:
            inputs["token_type_ids"] = np.zeros(inside.shape, np.int64)
            inputs["token_type_ids"][inside] = types
        device = self.model.device
        tensors = {name: torch.from_numpy(each.repeat(times, 0)).to(device) for name, each in inputs.items()}
        logits: Tensor = self.model(**tensors).logits[::times]
        return logits.float()
