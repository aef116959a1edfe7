"""Attention by kernels: in float32 and in bfloat16.

Axes in names as in `seqcls_beam.model.engine`.
"""

import functools
import math

import torch
from torch import Tensor

from seqcls_beam.model.engine.attention import Layout, by_equal_lengths
from seqcls_beam.model.engine.kernels import machine
from seqcls_beam.model.engine.kernels.attending import PAIR, Arguments, Attending
from seqcls_beam.model.engine.kernels.pairs import Pairs
from seqcls_beam.model.engine.kernels.plain import Plain
from seqcls_beam.model.engine.kernels.tiles import Tiles

_KINDS = {each.name: each for each in (Plain, Pairs, Tiles)}


def by_kernels(
    q_QHK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, scale: float, window: int | None = None
) -> Tensor:
    """As `Attention` has it, for heads of `machine.HEADS`; in another precision `by_equal_lengths`."""
    kind = kind_of(q_QHK.dtype)
    if kind is None:
        return by_equal_lengths(q_QHK, k_THK, v_THK, layout, scale, window)
    return by_kernel(kind, q_QHK, k_THK, v_THK, layout, scale, window)


def by_kernel(
    kind: type[Attending],
    q_QHK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    layout: Layout,
    scale: float,
    window: int | None = None,
) -> Tensor:
    """The same by one of the kernels, which has to be for the precision."""
    assert q_QHK.dtype == k_THK.dtype == v_THK.dtype and q_QHK.shape[2] in machine.HEADS
    assert q_QHK.element_size() == kind.bytes_each, "it would write beyond the end"
    q_QHK, k_THK, v_THK = (each if each.stride(2) == 1 else each.contiguous() for each in (q_QHK, k_THK, v_THK))
    mixed_QHK = torch.empty(q_QHK.shape, dtype=q_QHK.dtype)
    heads, size = q_QHK.shape[1:]
    query_offsets = layout.offsets_N1 if len(q_QHK) == len(k_THK) else layout.query_offsets_N1
    arguments = Arguments(
        items=(len(layout.offsets_N1) - 1) * heads,
        heads=heads,
        window=0 if window is None else window,
        query_offsets=query_offsets.data_ptr(),
        key_offsets=layout.offsets_N1.data_ptr(),
        scale=scale * math.log2(math.e),
    )
    for name, each in zip("qkvo", (q_QHK, k_THK, v_THK, mixed_QHK), strict=True):
        setattr(arguments, name, each.data_ptr())
        setattr(arguments, f"{name}_token", each.stride(0) * each.element_size())
        setattr(arguments, f"{name}_head", each.stride(1) * each.element_size())
    needed = kind.needed(size, -(-layout.longest // PAIR) * PAIR)
    _kernel(kind.name, size, window is not None)(arguments, needed)
    return mixed_QHK


@functools.cache
def kind_of(dtype: torch.dtype) -> type[Attending] | None:
    """The kernel for numbers of a precision on this processor; None where there is none."""
    if dtype == torch.bfloat16:
        return Tiles if machine.has_tiles() else Pairs
    return Plain if dtype == torch.float32 else None


@functools.cache
def _kernel(name: str, size: int, windowed: bool) -> machine.Kernel:
    return machine.Kernel(_KINDS[name](size, windowed).module)
