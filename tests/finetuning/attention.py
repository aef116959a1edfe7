"""An attention within packed rows that gives gradients on a CPU, plain, by which the rest of packed training is run."""

import torch
from torch import Tensor
from torch.nn import functional

from seqcls_beam.model.engine.attention import Layout


def attend(
    q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """The engine's `Attention`, sequence by sequence."""
    assert q_THK.dtype == k_THK.dtype == v_THK.dtype
    mixed = []
    for begin, end in zip(layout.offsets_N1[:-1].tolist(), layout.offsets_N1[1:].tolist(), strict=True):
        q, k, v = (each[begin:end].transpose(0, 1) for each in (q_THK, k_THK, v_THK))
        place = torch.arange(end - begin)
        near = None if window is None else (place[:, None] - place).abs() <= window
        mixed.append(functional.scaled_dot_product_attention(q, k, v, near, scale=scale).transpose(0, 1))
    assert max(len(each) for each in mixed) == layout.longest
    return torch.cat(mixed)
