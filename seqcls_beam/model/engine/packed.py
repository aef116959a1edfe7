"""Packed execution: sequences one after the other in one row of tokens, without padding.

transformers lets an attention function be registered by name and hands it the keyword arguments of a model's forward:
so stock models run packed, given where each sequence begins, explicit positions, and a hook that picks what the head
reads. Layers whose inside is known are replaced by `blocks`.

Axes in names as in `seqcls_beam.model.engine`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from seqcls_beam.model.engine.attention import Attention, Layout
from seqcls_beam.model.engine.blocks import BERT, DISTILBERT, Block, LastModernBertLayer
from seqcls_beam.model.engine.packing import MOST_SEQUENCES, Ints, equal_runs, packs
from seqcls_beam.model.engine.transfer import on

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
_TOKENS, _SEQUENCES = 32, 8
"""A pass on a CPU has multiples of these: oneDNN keeps a program for each number of rows that it has seen, up to a
thousand, and a process that labels batches of all sizes would grow by hundreds of MB."""
_BERT_SHAPED = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")


class Packed:
    """A model that runs packed. Takes the model over: its layers are replaced.

    `dtype` is that of the layers; the head stays in float32, which costs nothing for one row per sequence.
    """

    def __init__(self, model: Any, attention: Attention, dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self.fills = True  # on a CPU, so that passes have few different sizes
        self._layout: Layout | None = None
        self.positions = Positions(model).of
        name = f"seqcls_beam_{type(attention).__name__}_{id(attention)}"
        AttentionInterface.register(name, Interface(attention))
        family, base, config = model.config.model_type, model.base_model, model.config
        site = base.get_submodule(FAMILIES[family])
        self.become(dtype)
        if family in _BERT_SHAPED or family == "distilbert":
            layers = site.layer
            names = DISTILBERT if family == "distilbert" else BERT
            for i, layer in enumerate(layers):
                layers[i] = Block(layer, names, config.num_attention_heads, attention, layer is layers[-1])
            self._pick: Callable[[Tensor, Layout], Tensor] = lambda x_ND, _: x_ND
        else:
            model.set_attn_implementation(name)
            self._pick = pooling(config)
            if self._pick is _first and family == "modernbert" and base.layers[-1].attn.sliding_window is None:
                base.layers[-1] = LastModernBertLayer(base.layers[-1], attention)
                self._pick = lambda x_1ND, _: x_1ND[0, :, None]
        site.register_forward_hook(self._to_head)

    def become(self, dtype: torch.dtype) -> None:
        """Have the layers in a precision."""
        base = self.model.base_model
        for each in base.parameters():  # and not what angles of positions are computed from
            each.data = each.data.to(dtype)
        if getattr(base, "pooler", None) is not None:
            base.pooler.float()

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together."""
        return packs(lengths_N, rows_R, budget, lambda _: MOST_SEQUENCES)

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""
        device, asked = self.model.device, len(lengths_N)
        if self.fills and device.type == "cpu":
            ids_T, types_T, lengths_N = _filled(ids_T, types_T, lengths_N)
        elif len(ids_T) == 1:  # kernels for a vector have other last bits than those for a matrix
            ids_T, lengths_N = ids_T.repeat(2), lengths_N.repeat(2)
            types_T = None if types_T is None else types_T.repeat(2)
        offsets_N1 = np.concatenate([[0], np.cumsum(lengths_N)])
        layout = Layout(
            offsets_N1=on(device, offsets_N1.astype(np.int32)),
            first_N=on(device, offsets_N1[:-1]),
            query_offsets_N1=on(device, np.arange(len(offsets_N1), dtype=np.int32)),
            longest=int(lengths_N.max()),
            runs=equal_runs(lengths_N) if device.type == "cpu" else [],
        )
        ids, positions = on(device, ids_T.astype(np.int64)), on(device, self.positions(ids_T, lengths_N))
        types = None if types_T is None else on(device, types_T.astype(np.int64))
        return self.run(ids, positions, types, layout)[:asked]

    def run(self, ids_T: Tensor, positions_T: Tensor, types_T: Tensor | None, layout: Layout) -> Tensor:
        """int64, on the model's device → logits float32 [N, L]. Can be traced: reads no values."""
        inputs = {"input_ids": ids_T, "position_ids": positions_T}
        if types_T is not None:
            inputs["token_type_ids"] = types_T
        self._layout = layout
        logits: Tensor = self.model(**{name: each_T[None] for name, each_T in inputs.items()}, layout=layout).logits
        self._layout = None
        return logits

    def _to_head(self, _: nn.Module, __: Any, out: Any) -> Any:
        """What leaves the last layer → what the head reads, float32 [N, 1, D]."""
        return replaced(out, self._read)

    def _read(self, x: Tensor) -> Tensor:
        assert self._layout is not None
        return self._pick(x, self._layout).float()


def _filled(ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> tuple[Ints, Ints | None, Ints]:
    """What a pass on a CPU reads: short sequences behind that nobody asks for, up to what such a pass has."""
    tokens, sequences = -len(ids_T) % _TOKENS, -len(lengths_N) % _SEQUENCES
    if not tokens and not sequences:
        return ids_T, types_T, lengths_N
    sequences += _SEQUENCES
    tokens += _TOKENS * (tokens < sequences)
    shares = np.full(sequences, tokens // sequences)
    shares[: tokens % sequences] += 1
    lengths = np.concatenate([lengths_N, shares]).astype(lengths_N.dtype)
    types = None if types_T is None else np.append(types_T, types_T[:1].repeat(tokens))
    return np.append(ids_T, ids_T[:1].repeat(tokens)), types, lengths


def replaced(out: Any, read: Callable[[Tensor], Tensor]) -> Any:
    """What leaves the last layer, in transformers' form, but what the head is to read of it in its place."""
    if isinstance(out, Tensor):
        return read(out)
    out.last_hidden_state = read(out.last_hidden_state)
    return out


def pooling(config: Any) -> Callable[[Tensor, Layout], Tensor]:
    """What the head of a family reads of the last layer's tokens: [1, T, D] → [N, 1, D]."""
    return _means if getattr(config, "classifier_pooling", "cls") == "mean" else _first


def _first(x_1TD: Tensor, layout: Layout) -> Tensor:
    return x_1TD[0, layout.first_N, None]


def _means(x_1TD: Tensor, layout: Layout) -> Tensor:
    return torch.segment_reduce(x_1TD[0].float(), "mean", offsets=layout.offsets_N1.long(), axis=0)[:, None]


class Interface:
    """An `Attention` as transformers calls one."""

    def __init__(self, attention: Attention) -> None:
        self._attention = attention

    def __call__(
        self, _: nn.Module, q_1HTK: Tensor, k_1HTK: Tensor, v_1HTK: Tensor, __: None, scaling: float, **how: Any
    ) -> tuple[Tensor, None]:
        """→ [1, T, H, K]."""
        q_THK, k_THK, v_THK = (each[0].transpose(0, 1) for each in (q_1HTK, k_1HTK, v_1HTK))
        window = how.get("sliding_window")
        # transformers counts a window as one token more on either side.
        window = None if window is None else window - 1
        return self._attention(q_THK, k_THK, v_THK, how["layout"], scaling, window)[None], None


class Positions:
    """Position ids as the family counts them: from 0, or, in RoBERTa's kin, from behind the padding id."""

    def __init__(self, model: Any) -> None:
        self._padding: int | None = None
        for module in model.modules():
            padding = getattr(module, "padding_idx", None)
            if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
                self._padding = padding

    def of(self, ids_T: Ints, lengths_N: Ints) -> Ints:
        """→ int64 [T]."""
        starts_T = np.repeat(np.cumsum(lengths_N) - lengths_N, lengths_N)
        if self._padding is None:
            return np.arange(len(ids_T)) - starts_T
        # A text may hold the padding token's name: such a token keeps the padding's position and is not counted.
        real_T = ids_T != self._padding
        counted = np.concatenate([[0], np.cumsum(real_T)])
        return (counted[1:] - counted[starts_T]) * real_T + self._padding
