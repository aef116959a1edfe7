"""Padded execution, for every family: stock models on rectangles of nearly equal lengths."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.engine.packing import Ints, packs

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

    def packs(self, lengths: Ints, rows: Ints, budget: int) -> Iterator[Ints]:
        """`rows` in the groups that run together."""
        widths = -(-lengths // self._step) * self._step
        for group in packs(widths, rows, budget):
            edges = np.flatnonzero(np.diff(widths[group])) + 1
            yield from np.split(group, edges)

    def forward(self, ids: Ints, types: Ints | None, lengths: Ints) -> Tensor:
        """Ids of sequences of these lengths, all flat → logits float32 [sequences, labels], on the model's device."""
        if len(lengths) == 1 and len(ids) < _FEW:
            twice = np.tile(ids, 2), None if types is None else np.tile(types, 2)
            return self.forward(*twice, lengths.repeat(2))[:1]
        inside = np.arange(lengths.max()) < lengths[:, None]
        inputs = {"input_ids": np.full(inside.shape, self._pad, np.int64)}
        inputs["input_ids"][inside] = ids
        if not inside.all():
            inputs["attention_mask"] = inside.astype(np.int64)
        if types is not None:
            inputs["token_type_ids"] = np.zeros(inside.shape, np.int64)
            inputs["token_type_ids"][inside] = types
        device = self.model.device
        logits: Tensor = self.model(**{name: torch.from_numpy(each).to(device) for name, each in inputs.items()}).logits
        return logits.float()
