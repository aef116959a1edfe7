"""Training without padding: the rows of a batch one after the other, in one row of tokens.

The model is transformers' own and stays so, in memory and where it is saved. For the length of a forward pass it
computes its attention by the engine's function, and its head is handed what it reads of each row.

Axes in names as in `seqcls_beam.model.engine`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import AttentionInterface

from seqcls_beam.finetuning.shards import Split
from seqcls_beam.model.engine.attention import Attention, Layout
from seqcls_beam.model.engine.devices import AMPERE
from seqcls_beam.model.engine.packed import FAMILIES, Interface, Positions, pooling, replaced
from seqcls_beam.model.engine.packing import take
from seqcls_beam.runs.run import RunError

SAID = "packed, without dropout of its probabilities"
"""What a receipt says of the attention."""


def check(family: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise `RunError` where a family cannot be trained packed, or not on this device in this dtype."""
    if family not in FAMILIES:
        raise RunError(f"--packed is for {', '.join(FAMILIES)}, and the base is of the family {family}")
    if device.type != "cuda":
        raise RunError("--packed is for GPUs: on a CPU torch has no attention within packed rows that gives gradients")
    if dtype == torch.float32:
        raise RunError("--packed needs --dtype=bfloat16 or --dtype=float16: its attention is a kernel for these")
    if torch.cuda.get_device_capability(device) < AMPERE:
        raise RunError(f"--packed: {torch.cuda.get_device_name(device)} is older than the kernel of its attention")


class PackedRows(Dataset[dict[str, Any]]):
    """The rows of a split, in batches without padding for `model`."""

    def __init__(self, split: Split, model: Any) -> None:
        self._split = split
        self._positions = Positions(model).of

    def __len__(self) -> int:
        return len(self._split)

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Numbers of N rows → a batch, in that order.

        int64 [1, T] `input_ids` and `position_ids`, and `token_type_ids` where there are any; int32 [N + 1] `offsets`;
        `longest`, a number; `labels` as `Rows` gives them.
        """
        split, chosen = self._split, np.asarray(rows, np.int64)
        where_T, offsets_N1 = take(split.offsets, chosen)
        ids_T, lengths_N = split.ids[where_T], np.diff(offsets_N1)
        tokens = {"input_ids": ids_T, "position_ids": self._positions(ids_T, lengths_N)}
        if split.types is not None:
            tokens["token_type_ids"] = split.types[where_T]
        return {
            **{name: torch.from_numpy(each_T.astype(np.int64)[None]) for name, each_T in tokens.items()},
            "offsets": torch.from_numpy(offsets_N1.astype(np.int32)),
            "longest": int(lengths_N.max()),
            "labels": torch.from_numpy(split.labels[chosen]),
        }


class Packing:
    """What a model runs packed by: an `Attention` that gives gradients, which leaves out its dropout."""

    def __init__(self, model: Any, attention: Attention) -> None:
        self._config = model.config
        self._last = model.base_model.get_submodule(FAMILIES[model.config.model_type])
        self._pick = pooling(model.config)
        self._name = f"seqcls_beam_training_{id(attention)}"
        AttentionInterface.register(self._name, Interface(attention))

    @contextmanager
    def on(self, offsets_N1: Tensor, longest: int) -> Iterator[Layout]:
        """Let the model run on a batch packed so, given the layout that is yielded; then as it did before."""
        layout = Layout(
            offsets_N1=offsets_N1,
            first_N=offsets_N1[:-1].long(),
            query_offsets_N1=offsets_N1,  # as every token asks
            longest=longest,
            runs=[],  # of use to the attention of CPUs alone
        )

        def to_head(_: nn.Module, __: Any, out: Any) -> Any:
            return replaced(out, lambda x: self._pick(x, layout))

        before = self._config._attn_implementation
        self._config._attn_implementation = self._name
        try:
            with self._last.register_forward_hook(to_head):
                yield layout
        finally:
            self._config._attn_implementation = before
