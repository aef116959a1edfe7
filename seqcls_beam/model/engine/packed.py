"""Packed execution: sequences one after the other in one row of tokens, without padding.

transformers lets an attention function be registered by name and hands it the keyword arguments of a model's forward:
so stock models run packed, given where each sequence begins, explicit positions, and a hook that picks what the head
reads. Layers whose inside is known are replaced by `blocks`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from seqcls_beam.model.engine.attention import Attention, Layout
from seqcls_beam.model.engine.blocks import BERT, DISTILBERT, Block, LastModernBertLayer
from seqcls_beam.model.engine.packing import Ints, equal_runs, packs

# Families that run packed (model_type), and the module after which only the head is left.
FAMILIES = {
    "bert": "encoder",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
    "xlm-roberta-xl": "encoder",
    "camembert": "encoder",
    "electra": "encoder",
    "ernie": "encoder",
    "distilbert": "transformer",
    "albert": "encoder",
    "modernbert": "final_norm",
}
_BERT_SHAPED = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")


class Packed:
    """A model that runs packed. Takes the model over: its layers are replaced.

    `dtype` is that of the layers; the head stays in float32, which costs nothing for one row per sequence.
    """

    def __init__(self, model: Any, attention: Attention, dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self._layout: Layout | None = None
        self.positions = _Positions(model).of
        name = f"seqcls_beam_{type(attention).__name__}_{id(attention)}"
        AttentionInterface.register(name, _Interface(attention))
        family, base, config = model.config.model_type, model.base_model, model.config
        site = base.get_submodule(FAMILIES[family])
        base.to(dtype)
        if getattr(base, "pooler", None) is not None:
            base.pooler.float()
        if family in _BERT_SHAPED or family == "distilbert":
            layers = site.layer
            names = DISTILBERT if family == "distilbert" else BERT
            for i, layer in enumerate(layers):
                layers[i] = Block(layer, names, config.num_attention_heads, attention, layer is layers[-1])
            self._pick: Callable[[Tensor], Tensor] = lambda x: x
        else:
            model.set_attn_implementation(name)
            if family == "modernbert" and config.classifier_pooling == "mean":
                self._pick = self._means
            elif family == "modernbert" and base.layers[-1].attn.sliding_window is None:
                base.layers[-1] = LastModernBertLayer(base.layers[-1], attention)
                self._pick = lambda x: x[0, :, None]
            else:
                self._pick = self._first
        site.register_forward_hook(self._to_head)

    def packs(self, lengths: Ints, rows: Ints, budget: int) -> Iterator[Ints]:
        """`rows` in the groups that run together."""
        return packs(lengths, rows, budget)

    def forward(self, ids: Ints, types: Ints | None, lengths: Ints) -> Tensor:
        """Ids of sequences of these lengths, all flat → logits float32 [sequences, labels], on the model's device."""
        if len(ids) == 1:  # kernels for a vector have other last bits than those for a matrix
            return self.forward(ids.repeat(2), None if types is None else types.repeat(2), lengths.repeat(2))[:1]
        device = self.model.device
        ends = np.concatenate([[0], np.cumsum(lengths)])
        layout = Layout(
            ends=_on(device, ends.astype(np.int32)),
            first=_on(device, ends[:-1]),
            each=_on(device, np.arange(len(ends), dtype=np.int32)),
            longest=int(lengths.max()),
            runs=equal_runs(lengths),
        )
        kinds = None if types is None else _on(device, types.astype(np.int64))
        return self.run(_on(device, ids.astype(np.int64)), _on(device, self.positions(ids, lengths)), kinds, layout)

    def run(self, ids: Tensor, positions: Tensor, types: Tensor | None, layout: Layout) -> Tensor:
        """int64 [T] each, on the model's device → logits float32 [N, labels]. Can be traced: reads no values."""
        inputs = {"input_ids": ids, "position_ids": positions} | ({} if types is None else {"token_type_ids": types})
        self._layout = layout
        logits: Tensor = self.model(**{name: each[None] for name, each in inputs.items()}, layout=layout).logits
        self._layout = None
        return logits

    def _to_head(self, _: nn.Module, __: Any, out: Any) -> Any:
        """What leaves the last layer → what the head reads, float32 [sequences, 1, hidden]."""
        if isinstance(out, Tensor):
            return self._pick(out).float()
        out.last_hidden_state = self._pick(out.last_hidden_state).float()
        return out

    def _first(self, x: Tensor) -> Tensor:
        assert self._layout is not None
        return x[0, self._layout.first, None]

    def _means(self, x: Tensor) -> Tensor:
        assert self._layout is not None
        return torch.segment_reduce(x[0].float(), "mean", offsets=self._layout.ends.long(), axis=0)[:, None]


class _Interface:
    """An `Attention` as transformers calls one."""

    def __init__(self, attention: Attention) -> None:
        self._attention = attention

    def __call__(
        self, _: nn.Module, query: Tensor, key: Tensor, value: Tensor, __: None, scaling: float, **how: Any
    ) -> tuple[Tensor, None]:
        """[1, heads, T, size] each → [1, T, heads, size]."""
        window = how.get("sliding_window")
        query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
        # transformers counts a window as one token more on either side.
        mixed = self._attention(query, key, value, how["layout"], scaling, None if window is None else window - 1)
        return mixed[None], None


class _Positions:
    """Position ids as the family counts them: from 0, or, in RoBERTa's kin, from behind the padding id."""

    def __init__(self, model: Any) -> None:
        self._padding: int | None = None
        for module in model.modules():
            padding = getattr(module, "padding_idx", None)
            if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
                self._padding = padding

    def of(self, ids: Ints, lengths: Ints) -> Ints:
        """int64 [T]."""
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        if self._padding is None:
            return np.arange(len(ids)) - starts
        # A text may hold the padding token's name: such a token keeps the padding's position and is not counted.
        real = ids != self._padding
        counted = np.concatenate([[0], np.cumsum(real)])
        return (counted[1:] - counted[starts]) * real + self._padding


def _on(device: torch.device, values: Ints) -> Tensor:
    """A copy on a device that does not wait for what the device is doing."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
