"""Linear layers for CPUs: oneDNN with the weights laid out once, in float32 or int8.

torch's own `F.linear` calls MKL, which takes its AVX2 kernels on processors that are not Intel's: 225 against 530
GFLOP/s on two cores of an AMD EPYC with AVX-512. oneDNN also adds the bias and applies GELU while a result is in a
register, and gives a row the same bits whatever the number of rows (but one, which takes another kernel: see below; not
so in bfloat16 with AMX: docs/engine.md).

The operators are those that torch's own compiler emits for CPUs; they are reached by name, without a compiler.

Axes in names as in `seqcls_beam.model.engine`.
"""

import functools
import platform

import torch
from torch import Tensor, nn

from seqcls_beam.model.engine.kernels import machine, trial

_FEW_ROWS = 16
"""With fewer a product of bytes may take another kernel, with other last bits, on processors with AMX: up to 4 did."""

_ROWS = 512
"""On processors with AMX a product of bfloat16 adds in another order for some numbers of rows: it is given this one."""


def available() -> bool:
    """Whether torch was built with these kernels for this processor."""
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16; without, they are slower than float32."""
    return has_tiles() or (available() and torch.cpu._is_avx512_bf16_supported())


def has_tiles() -> bool:
    """Whether this processor has AMX: products of tiles of 16 rows."""
    return available() and torch.cpu._is_amx_tile_supported()


@functools.cache
def largest_weight() -> int:
    """The largest weight in a product of bytes: 127, or 63 where the processor has no VNNI.

    Without, it adds two products in 16 bits, where 2 x 255 x 127 is too much and is silently cut. The kernel itself is
    asked, for which one runs is oneDNN's choice.
    """
    inputs, outputs = 64, 16
    found = _product_of_bytes(
        torch.full((2, inputs), 255, dtype=torch.uint8),
        (1.0, 0),
        torch.ops.onednn.qlinear_prepack(torch.full((outputs, inputs), 127, dtype=torch.int8), None),
        (torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)),
        None,
        False,
    )
    return 127 if bool((found == inputs * 255 * 127).all()) else 63


class Linear(nn.Module):
    """`nn.Linear`, followed by GELU where asked for, in the precision of its weights."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool = False) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach(), None)
        self.bias = None if bias_O is None else bias_O.detach()
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] → [..., O]."""
        single = x.numel() == x.shape[-1]
        if single:  # a product with one vector takes another kernel, with other last bits
            x = x.expand(2, *x.shape).contiguous()
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "gelu" if self.gelu else "none", [], "none"
        )
        return out[0] if single else out


class Bfloat16Linear(nn.Module):
    """A float32 `Linear` computed in bfloat16, for CPUs that have such products; in and out, either."""

    def __init__(self, product: Linear) -> None:
        super().__init__()
        bias = None if product.bias is None else product.bias.bfloat16()
        self._product = Linear(product.weight.to_dense().bfloat16(), bias, product.gelu)

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] → [..., O]."""
        rows = x.shape[:-1].numel()
        if not has_tiles() or rows == _ROWS:
            out: Tensor = self._product(x.bfloat16()).to(x.dtype)
            return out
        filled = torch.nn.functional.pad(x.reshape(rows, -1).bfloat16(), (0, 0, 0, -rows % _ROWS))
        parts = [self._product(each) for each in filled.split(_ROWS)]
        return torch.cat(parts)[:rows].view(*x.shape[:-1], -1).to(x.dtype)


class Int8Linear(nn.Module):
    """A float32 `Linear` with weights in int8, a scale for each output, and inputs in uint8.

    In and out are float32 or bfloat16, both the same.

    `low_I` and `high_I` (float32) are the range of each input; what lies outside is clipped. Scales are fixed: were
    they those of the batch, a text's result would depend on its neighbours. Inputs with a wide range hand a part of
    it to their weights (SmoothQuant, Xiao et al. 2022, with `exponent`). Inputs are unsigned because the processor
    multiplies unsigned by signed bytes; where it adds these products in 16 bits, weights have seven of their bits.
    """

    def __init__(self, product: Linear, low_I: Tensor, high_I: Tensor, exponent: float = 0.5) -> None:
        super().__init__()
        weight_OI = product.weight.to_dense()
        widest_I, heaviest_I = torch.maximum(high_I, -low_I), weight_OI.abs().amax(0)
        ease_I = widest_I.clamp(min=1e-5) ** exponent / heaviest_I.clamp(min=1e-5) ** (1 - exponent)
        bottom, top = min((low_I / ease_I).min().item(), 0.0), max((high_I / ease_I).max().item(), 0.0)
        self._step = (top - bottom) / 255 or 1.0
        self._zero = round(-bottom / self._step)
        self._inverse_I = 1 / (ease_I * self._step)
        self._zero_I = torch.full_like(low_I, self._zero + 0.5)  # half a step more, since the conversion cuts off
        self._by_kernel = low_I.numel() % machine.WIDTHS == 0 and trial.available()
        weight_OI = weight_OI * ease_I
        # Seven bits cost the weights less, each output having a scale of its own, than they would cost the inputs.
        self._steps_O = weight_OI.abs().amax(1).clamp(min=1e-12) / largest_weight()
        self._zeros_O = torch.zeros(len(weight_OI), dtype=torch.int32)
        bytes_OI = (weight_OI / self._steps_O[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(bytes_OI, None)
        self._bias_O, self._gelu = product.bias, product.gelu

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] → [..., O]: one product of bytes."""
        rows = x.shape[:-1].numel()
        if rows < _FEW_ROWS:
            repeated = x.reshape(rows, -1).repeat(-(-_FEW_ROWS // rows), 1)
            return self.forward(repeated)[:rows].view(*x.shape[:-1], -1)
        return _product_of_bytes(
            self._bytes(x),
            (self._step, self._zero),
            self._weight,
            (self._steps_O, self._zeros_O),
            self._bias_O,
            self._gelu,
            x.dtype,
        )

    def _bytes(self, x: Tensor) -> Tensor:
        """[..., I] → uint8 [..., I]."""
        if not self._by_kernel:
            return torch.addcmul(self._zero_I, x, self._inverse_I).clamp_(0, 255.5).to(torch.uint8)
        # Of llvmlite, which need not be installed.
        from seqcls_beam.model.engine.kernels.bytes import in_bytes

        return in_bytes(x.flatten(0, -2), self._inverse_I, self._zero_I).view(x.shape)


def _product_of_bytes(
    x: Tensor,
    step_and_zero: tuple[float, int],
    weight: Tensor,
    steps_and_zeros_O: tuple[Tensor, Tensor],
    bias_O: Tensor | None,
    gelu: bool,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """uint8 [..., I] and the int8 weights as `qlinear_prepack` lays them out → [..., O] in `dtype`."""
    out: Tensor = torch.ops.onednn.qlinear_pointwise(
        x,
        *step_and_zero,
        weight,
        *steps_and_zeros_O,
        bias_O,
        1.0,
        0,
        dtype,
        "gelu" if gelu else "none",
        [],
        "none",
    )
    return out
