"""Transformer layers over packed sequences, made from the modules of transformers' own.

[1, T, D] in and out, as the layer that is replaced. Only attention looks across tokens, and it is given the layout;
everything else is the same arithmetic on every token. The last layer is asked for each sequence's first token only,
since the heads of these families read no other: its keys and values need all tokens, the rest does not.

Axes in names as in `seqcls_beam.model.engine`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from seqcls_beam.model.engine import linear
from seqcls_beam.model.engine.attention import Attention, Layout
from seqcls_beam.model.engine.kernels import machine
from seqcls_beam.model.engine.kernels.trial import available

# Where a layer keeps its parts, by the shape of its family.
BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "mix_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "activation": "intermediate.intermediate_act_fn",
    "down": "output.dense",
    "down_norm": "output.LayerNorm",
}
DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mix": "attention.out_lin",
    "mix_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "activation": "ffn.activation",
    "down": "ffn.lin2",
    "down_norm": "output_layer_norm",
}


class Block(nn.Module):
    """A layer with its norms after the sums: BERT's (Devlin et al. 2018) and those of its kin.

    `first_only`: the output is that of each sequence's first token, [N, 1, D].
    """

    def __init__(
        self, layer: nn.Module, names: dict[str, str], heads: int, attention: Attention, first_only: bool
    ) -> None:
        super().__init__()
        parts: dict[str, Any] = {part: layer.get_submodule(name) for part, name in names.items()}
        self._heads, self._attention = heads, attention
        query, key, value = parts["query"], parts["key"], parts["value"]
        self.query = query if first_only else None
        self.project = joined([key, value] if first_only else [query, key, value])
        self.mix, self.mix_norm = parts["mix"], NormOfSum(parts["mix_norm"])
        self.up, self.activation = parts["up"], parts["activation"]
        self.down, self.down_norm = parts["down"], NormOfSum(parts["down_norm"])

    def forward(self, hidden_1TD: Tensor, *_: Any, layout: Layout, **__: Any) -> Tensor:
        """→ [1, T, D], or [N, 1, D]."""
        x_TD = hidden_1TD[0]
        if self.query is None:
            q_QHK, k_THK, v_THK = self.project(x_TD).view(len(x_TD), 3, self._heads, -1).unbind(1)
            x_QD = x_TD
        else:
            k_THK, v_THK = self.project(x_TD).view(len(x_TD), 2, self._heads, -1).unbind(1)
            x_QD = x_TD[layout.first_N]
            q_QHK = self.query(x_QD).view(-1, *k_THK.shape[1:])
        mixed_QD = self._attention(q_QHK, k_THK, v_THK, layout, q_QHK.shape[2] ** -0.5).flatten(1)
        x_QD = self.mix_norm(self.mix(mixed_QD), x_QD)
        x_QD = self.down_norm(self.down(self.activation(self.up(x_QD))), x_QD)
        return x_QD[None] if self.query is None else x_QD[:, None]


class NormOfSum(nn.Module):
    """LayerNorm of a sum, which may be written over its first part."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x_TD: Tensor, y_TD: Tensor) -> Tensor:
        """→ [T, D]."""
        out_TD: Tensor = self.norm(x_TD.add_(y_TD))
        return out_TD


class FusedNormOfSum(nn.Module):
    """`NormOfSum` by a kernel of its own, in the precision of the first part."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self._weight_D, self._bias_D = norm.weight.detach().float(), norm.bias.detach().float()
        self._epsilon = norm.eps

    def forward(self, x_TD: Tensor, y_TD: Tensor) -> Tensor:
        """→ [T, D]."""
        # Of llvmlite, which need not be installed.
        from seqcls_beam.model.engine.kernels.sums import normed

        return normed(x_TD, y_TD.to(x_TD.dtype), self._weight_D, self._bias_D, self._epsilon)


class LastModernBertLayer(nn.Module):
    """ModernBERT's layer of global attention for each sequence's first token only: [1, T, D] → [1, N, D]."""

    def __init__(self, layer: Any, attention: Attention) -> None:
        super().__init__()
        self._attention = attention
        self._size = layer.attn.head_dim
        self.attention_type = layer.attention_type
        self.norm, self.mlp_norm, self.mlp = layer.attn_norm, layer.mlp_norm, layer.mlp
        self.mix, self.mix_drop = layer.attn.Wo, layer.attn.out_drop
        self.query, self.project = divided(layer.attn.Wqkv, 3)

    def forward(self, hidden_1TD: Tensor, *_: Any, position_embeddings: Any, layout: Layout, **__: Any) -> Tensor:
        """As the layer, for fewer rows."""
        # The package of this family, which other families must not have to import.
        from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

        first_N = layout.first_N
        x_1TD = self.norm(hidden_1TD)
        k_THK, v_THK = self.project(x_1TD).view(x_1TD.shape[1], 2, -1, self._size).unbind(1)
        q_NHK = self.query(x_1TD[0, first_N]).view(len(first_N), -1, self._size)
        cos_TK, sin_TK = (each[0] for each in position_embeddings)
        _, k_THK = apply_rotary_pos_emb(k_THK, k_THK, cos_TK, sin_TK, unsqueeze_dim=1)
        q_NHK, _ = apply_rotary_pos_emb(q_NHK, q_NHK, cos_TK[first_N], sin_TK[first_N], unsqueeze_dim=1)
        mixed_ND = self._attention(q_NHK, k_THK, v_THK, layout, self._size**-0.5).flatten(1)
        out_1ND = hidden_1TD[:, first_N] + self.mix_drop(self.mix(mixed_ND))
        # GELU of half of a single row is computed by another kernel, with other last bits, than that of several.
        several = out_1ND.expand(1, 2, -1) if len(first_N) == 1 else out_1ND
        return out_1ND + self.mlp(self.mlp_norm(several))[:, : len(first_N)]


def joined(layers: list[nn.Linear]) -> nn.Linear:
    """One linear layer whose outputs are those of several, one after the other."""
    return _linear(torch.cat([each.weight for each in layers]), torch.cat([each.bias for each in layers]))


def divided(layer: nn.Linear, parts: int) -> tuple[nn.Linear, nn.Linear]:
    """(the layer that gives the first of `parts` equal parts of the outputs, the layer that gives the others)."""
    size = layer.out_features // parts
    bias = layer.bias
    return (
        _linear(layer.weight[:size], None if bias is None else bias[:size]),
        _linear(layer.weight[size:], None if bias is None else bias[size:]),
    )


def _linear(weight_OI: Tensor, bias_O: Tensor | None) -> nn.Linear:
    """A layer of these numbers, without drawing others first."""
    out = nn.Linear(weight_OI.shape[1], weight_OI.shape[0], bias=bias_O is not None, device="meta")
    out.weight = nn.Parameter(weight_OI, requires_grad=False)
    if bias_O is not None:
        out.bias = nn.Parameter(bias_O, requires_grad=False)
    return out


def accelerate(model: nn.Module) -> None:
    """Products of a model on the CPU become oneDNN's, with GELU inside where it follows, and norms of sums one pass."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                gelu = isinstance(module, Block) and name == "up" and _is_gelu(module.activation)
                setattr(module, name, linear.Linear(child.weight, child.bias, gelu))
                if gelu:
                    module.activation = nn.Identity()
            elif type(child) is NormOfSum and available() and child.norm.weight.numel() % machine.WIDTHS == 0:
                setattr(module, name, FusedNormOfSum(child.norm))


def _is_gelu(activation: nn.Module) -> bool:
    """Whether it is the exact function, by its values: not one of its approximations."""
    x = torch.linspace(-4, 4, 101)
    return torch.equal(activation(x), nn.functional.gelu(x))
