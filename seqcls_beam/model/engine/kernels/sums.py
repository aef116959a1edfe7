"""The sum of two tensors and its LayerNorm (Ba et al. 2016) in one pass: each row is read once, and written once.

torch adds them up in one pass over memory, writes the sum in the precision of both, and norms that in another one.

Axes in names as in `seqcls_beam.model.engine`.
"""

import ctypes
import functools

import torch
from torch import Tensor

from seqcls_beam.model.engine.kernels import machine
from seqcls_beam.model.engine.kernels.writing import (
    FLOAT,
    FLOATS,
    LANES,
    POINTER,
    Value,
    Writing,
    floats,
    whole,
)


class _Arguments(ctypes.Structure):
    """Pointers are addresses; `_row` is how many bytes lie between two rows."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("next", "slot", "rows", "width", "memory", "size", "weight", "bias")),
        *((f"{one}{what}", ctypes.c_int64) for one in ("x", "y") for what in ("", "_row")),
        ("epsilon", ctypes.c_float),
        ("share", ctypes.c_float),  # 1 / width
    )


def normed(x_TD: Tensor, y_TD: Tensor, weight_D: Tensor, bias_D: Tensor, epsilon: float) -> Tensor:
    """LayerNorm of x + y, in their precision, bfloat16 or float32, written over x. `weight_D`, `bias_D`: float32.

    D is a multiple of `machine.WIDTHS`. The sum is not rounded before it is normed.
    """
    assert x_TD.dtype == y_TD.dtype in (torch.bfloat16, torch.float32)
    assert x_TD.stride(1) == y_TD.stride(1) == 1
    rows, width = x_TD.shape
    arguments = _Arguments(
        rows=rows,
        width=width,
        weight=weight_D.data_ptr(),
        bias=bias_D.data_ptr(),
        epsilon=epsilon,
        share=1 / width,
    )
    for name, each in zip(("x", "y"), (x_TD, y_TD), strict=True):
        setattr(arguments, name, each.data_ptr())
        setattr(arguments, f"{name}_row", each.stride(0) * each.element_size())
    _kernel(x_TD.dtype == torch.bfloat16)(arguments, 4 * width)
    return x_TD


@functools.cache
def _kernel(half: bool) -> machine.Kernel:
    return machine.Kernel(_Written(half).module)


class _Written(Writing):
    """The kernel for bfloat16 (`half`) or float32."""

    def __init__(self, half: bool) -> None:
        super().__init__("norm_of_sum", _Arguments)
        self._half = half
        self._bytes = 2 if half else 4
        self._vectors = self.build.sdiv(self.argument("width"), whole(machine.WIDTHS))
        self._share, self._epsilon = (self.spread(self.argument(name, FLOAT)) for name in ("share", "epsilon"))
        self._weight, self._bias = (self.argument(name, POINTER) for name in ("weight", "bias"))
        (x, x_row), (y, y_row) = ((self.argument(each, POINTER), self.argument(f"{each}_row")) for each in "xy")
        rows, own = self.argument("rows"), self.own("memory", "size")
        with self.claimed(rows) as row:
            to, other = self.build.mul(row, x_row), self.build.mul(row, y_row)
            self._row(self.at(x, to), self.at(y, other), own)
        self.build.ret_void()

    def _row(self, x: Value, y: Value, own: Value) -> None:
        build = self.build
        zeros = [floats(0.0)] * 2
        with self.loop(self._vectors, zeros) as some:
            at = self.times(some.index, machine.WIDTHS * self._bytes)
            sums = [
                build.fadd(a, b) for a, b in zip(self._read(self.at(x, at)), self._read(self.at(y, at)), strict=True)
            ]
            self._write_floats(sums, own, some.index)
            some.carried = [build.fadd(a, b) for a, b in zip(some.carried, sums, strict=True)]
        mean = build.fmul(*self.over([build.fadd(*some.out)], build.fadd), self._share)
        with self.loop(self._vectors, zeros) as some:
            apart = [build.fsub(each, mean) for each in self._read_floats(own, some.index)]
            some.carried = [self.fma(each, each, sum_) for each, sum_ in zip(apart, some.carried, strict=True)]
        variance = build.fmul(*self.over([build.fadd(*some.out)], build.fadd), self._share)
        root = self.call("llvm.sqrt.v16f32", FLOATS, build.fadd(variance, self._epsilon))
        factor = build.fdiv(floats(1.0), root)
        with self.loop(self._vectors) as some:
            apart = [build.fmul(build.fsub(each, mean), factor) for each in self._read_floats(own, some.index)]
            weights, biases = (self._read_floats(each, some.index) for each in (self._weight, self._bias))
            found = [self.fma(*each) for each in zip(apart, weights, biases, strict=True)]
            at = self.at(x, self.times(some.index, machine.WIDTHS * self._bytes))
            if self._half:
                self.store(self.rounded(*found), at)
            else:
                self._write_floats(found, at, whole(0))

    def _read(self, at: Value) -> list[Value]:
        """Two times 16 numbers of the tensors."""
        if self._half:
            return [self.widened(self.at(at, half * 2 * LANES)) for half in (0, 1)]
        return self._read_floats(at, whole(0))

    def _read_floats(self, first: Value, index: Value) -> list[Value]:
        at = self.at(first, self.times(index, 4 * machine.WIDTHS))
        return [self.load(self.at(at, half * 4 * LANES), FLOATS) for half in (0, 1)]

    def _write_floats(self, values: list[Value], first: Value, index: Value) -> None:
        at = self.at(first, self.times(index, 4 * machine.WIDTHS))
        for half, value in enumerate(values):
            self.store(value, self.at(at, half * 4 * LANES))
