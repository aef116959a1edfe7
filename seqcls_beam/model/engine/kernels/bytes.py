"""Numbers as bytes, the inputs of a product in int8: each is read once, and written once.

torch takes three passes over memory, two of them over float32.

Axes in names as in `seqcls_beam.model.engine`.
"""

import ctypes
import functools

import torch
from torch import Tensor

from seqcls_beam.model.engine.kernels import machine
from seqcls_beam.model.engine.kernels.writing import (
    BYTES,
    FLOATS,
    INTS,
    LANES,
    POINTER,
    Value,
    Writing,
    floats,
)


class _Arguments(ctypes.Structure):
    """Pointers are addresses; `x_row` is how many bytes lie between two rows."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("next", "slot", "rows", "width", "memory", "size", "x", "x_row", "out", "factor", "shift")
    )


def in_bytes(x_TI: Tensor, factor_I: Tensor, shift_I: Tensor) -> Tensor:
    """x · factor + shift, cut off to whole numbers from 0 to 255: bfloat16 or float32 → uint8 [T, I].

    `factor_I` and `shift_I` are float32, and I a multiple of `machine.WIDTHS`. What is no number becomes 0.
    """
    assert x_TI.dtype in (torch.bfloat16, torch.float32) and x_TI.stride(1) == 1
    out_TI = torch.empty(x_TI.shape, dtype=torch.uint8)
    rows, width = x_TI.shape
    arguments = _Arguments(
        rows=rows,
        width=width,
        x=x_TI.data_ptr(),
        x_row=x_TI.stride(0) * x_TI.element_size(),
        out=out_TI.data_ptr(),
        factor=factor_I.data_ptr(),
        shift=shift_I.data_ptr(),
    )
    _kernel(x_TI.dtype == torch.bfloat16)(arguments, 0)
    return out_TI


@functools.cache
def _kernel(half: bool) -> machine.Kernel:
    return machine.Kernel(_Written(half).module)


class _Written(Writing):
    """The kernel for bfloat16 (`half`) or float32."""

    def __init__(self, half: bool) -> None:
        super().__init__("in_bytes", _Arguments)
        self._half = half
        width = self.argument("width")
        x, x_row, out = self.argument("x", POINTER), self.argument("x_row"), self.argument("out", POINTER)
        self._factor, self._shift = (self.argument(name, POINTER) for name in ("factor", "shift"))
        with self.claimed(self.argument("rows")) as row:
            one, other = self.build.mul(row, x_row), self.build.mul(row, width)
            with self.loop(width, step=LANES) as some:
                self._some(self.at(x, one), some.index, self.at(out, other))
        self.build.ret_void()

    def _some(self, x: Value, index: Value, out: Value) -> None:
        at = self.at(x, self.times(index, 2 if self._half else 4))
        read = self.widened(at) if self._half else self.load(at, FLOATS)
        factor, shift = (self.load(self.at(each, self.times(index, 4)), FLOATS) for each in (self._factor, self._shift))
        found = self.larger(self.fma(read, factor, shift), floats(0.0))
        found = self.build.select(self.build.fcmp_ordered("<", found, floats(255.0)), found, floats(255.0))
        self.store(self.build.trunc(self.build.fptosi(found, INTS), BYTES), self.at(out, index))
