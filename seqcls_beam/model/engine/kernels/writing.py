"""Writing a kernel: LLVM's builder with what the kernels here are made of.

All numbers are computed in float32, 16 at once, the width of a register of AVX-512. Sums over many are kept in 16
parts and added up in one fixed order, so a result depends on what is added alone. Offsets are in bytes.
"""

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

LANES = 16
BYTE, SHORT, INT, LONG, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
POINTER, NOTHING = ir.PointerType(), ir.VoidType()
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)
BYTES, SHORTS, TWICE_SHORTS = ir.VectorType(BYTE, LANES), ir.VectorType(SHORT, LANES), ir.VectorType(SHORT, 2 * LANES)
Value = Any
"""What LLVM computes: of llvmlite, which has no types for mypy."""

_AT_ONCE = 16  # rows that a thread takes
_LEAST = -125.0  # the power of two of the smallest numbers that processors do not take hundreds of cycles for


@functools.cache
def _powers(degree: int) -> list[float]:
    """Factors of the polynomial for 2 to the power of a fraction in [0, 1), the highest first.

    Of the one whose largest error, relative to the power, is smallest, a least-squares fit on Chebyshev's points comes
    close: 8e-5 for degree 3, a fiftieth of what rounding to bfloat16 costs; 8e-8 for degree 5, which is float32's own.
    """
    points = (np.cos(np.pi * (np.arange(2000) + 0.5) / 2000) + 1) / 2
    fitted = np.linalg.lstsq(np.vander(points, degree + 1) * 2 ** -points[:, None], np.ones(2000), rcond=None)
    return [float(each) for each in fitted[0]]


class _Bfloat(ir.types.Type):
    """LLVM's `bfloat`, for which llvmlite has no name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


HALF_BFLOATS, BFLOATS = (ir.VectorType(_Bfloat(), many * LANES) for many in (1, 2))


class Loop:
    """A loop that is being written: its index, what it carries, and, behind it, what came out."""

    def __init__(self, index: Value, carried: list[Value]) -> None:
        self.index = index
        self.carried = carried
        """At the start of a round; to be set to what the next one starts with."""
        self.out: list[Value] = []


class Writing:
    """A kernel that is being written. `arguments` are a structure of 8-byte fields, which are read by name."""

    def __init__(self, name: str, arguments: type[ctypes.Structure]) -> None:
        self.module = ir.Module(name)
        self._function = ir.Function(self.module, ir.FunctionType(NOTHING, [POINTER]), name)
        self.build = ir.IRBuilder(self._function.append_basic_block())
        self._arguments = {field: getattr(arguments, field).offset for field, *_ in arguments._fields_}

    def argument(self, name: str, kind: Value = LONG) -> Value:
        """The value of a field."""
        return self.load(self.field(name), kind)

    def field(self, name: str) -> Value:
        """Where a field is."""
        return self.at(self._function.args[0], self._arguments[name])

    def call(self, name: str, kind: Value, *values: Value) -> Value:
        """What one of LLVM's own functions gives."""
        known = self.module.globals.get(name)
        if known is None:
            known = ir.Function(self.module, ir.FunctionType(kind, [value.type for value in values]), name)
        return self.build.call(known, values)

    def at(self, pointer: Value, *offsets: Value | int) -> Value:
        """The pointer so many bytes further."""
        for offset in offsets:
            pointer = self.build.gep(pointer, [whole(offset)], source_etype=BYTE)
        return pointer

    def times(self, value: Value, factor: Value | int) -> Value:
        """The product of whole numbers."""
        return self.build.mul(value, whole(factor))

    def least(self, x: Value | int, y: Value | int) -> Value:
        """The smaller one of two whole numbers."""
        return self.build.select(self.build.icmp_signed("<", whole(x), whole(y)), whole(x), whole(y))

    def parts(self, number: Value, size: int) -> Value:
        """How many parts of so many there are, the last of which may have fewer."""
        return self.build.sdiv(self.build.add(number, whole(size - 1)), whole(size))

    def load(self, pointer: Value, kind: Value) -> Value:
        """What lies there, aligned or not."""
        return self.build.load(pointer, typ=kind, align=1)

    def store(self, value: Value, pointer: Value) -> None:
        """Put it there, aligned or not."""
        self.build.store(value, pointer, align=1)

    def bytes(self, name: str, content: bytes) -> Value:
        """A constant, and where it is."""
        kind = ir.ArrayType(BYTE, len(content))
        known = ir.GlobalVariable(self.module, kind, name)
        known.global_constant, known.align, known.initializer = True, 64, ir.Constant(kind, bytearray(content))
        return known

    def spread(self, value: Value) -> Value:
        """The same number 16 times."""
        kind = ir.VectorType(value.type, LANES)
        first = self.build.insert_element(ir.Constant(kind, ir.Undefined), value, whole(0, INT))
        return self.build.shuffle_vector(first, first, ir.Constant(INTS, [0] * LANES))

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x y + z, rounded once."""
        return self.call("llvm.fma.v16f32", FLOATS, x, y, z)

    def two_products(self, x: Value, y: Value, z: Value) -> Value:
        """z and, of each two numbers of x and y in bfloat16, both products, added up in float32."""
        return self.call("llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, z, x, y)

    def larger(self, x: Value, y: Value) -> Value:
        """Of each two numbers the larger one; the second where one is none."""
        return self.build.select(self.build.fcmp_ordered(">", x, y), x, y)

    def over(self, several: list[Value], two: Callable[[Value, Value], Value]) -> list[Value]:
        """What `two` gives over all 16 numbers of each, 16 times."""
        for step in (8, 4, 2, 1):
            turned = ir.Constant(INTS, [lane ^ step for lane in range(LANES)])
            several = [two(x, self.build.shuffle_vector(x, x, turned)) for x in several]
        return several

    def power_of_two(self, x: Value, degree: int) -> Value:
        """2 to the power of x, as `_powers` has it; 2e-38 for less than -125, and no number for what is none."""
        x = self.larger(floats(_LEAST), x)
        every, nearest = whole(-1, SHORT), whole(4, INT)
        down = whole(1 | 8, INT)  # x less the whole number below it, and no exceptions
        rest = self.call("llvm.x86.avx512.mask.reduce.ps.512", FLOATS, x, down, x, every, nearest)
        first, *others = _powers(degree)
        found = floats(first)
        for factor in others:
            found = self.fma(found, rest, floats(factor))
        return self.call("llvm.x86.avx512.mask.scalef.ps.512", FLOATS, found, x, found, every, nearest)

    def rounded(self, low: Value, high: Value) -> Value:
        """32 numbers in bfloat16, of two times 16."""
        return self.call("llvm.x86.avx512bf16.cvtne2ps2bf16.512", BFLOATS, high, low)

    def rounded_one(self, x: Value) -> Value:
        """16 numbers in bfloat16."""
        return self.call("llvm.x86.avx512bf16.cvtneps2bf16.512", HALF_BFLOATS, x)

    def widened(self, pointer: Value) -> Value:
        """16 numbers that lie there in bfloat16."""
        found = self.build.zext(self.load(pointer, SHORTS), INTS)
        return self.build.bitcast(self.build.shl(found, ir.Constant(INTS, [16] * LANES)), FLOATS)

    def turned(self, rows: list[Value]) -> list[Value]:
        """16 rows of 16 → their columns: halves of rows are exchanged, then quarters …"""
        step = LANES // 2
        while step:
            lower = [lane if not lane & step else LANES + (lane ^ step) for lane in range(LANES)]
            upper = [lane | step if not lane & step else LANES + lane for lane in range(LANES)]
            for number in range(LANES):
                if not number & step:
                    x, y = rows[number], rows[number | step]
                    rows[number], rows[number | step] = (
                        self.build.shuffle_vector(x, y, ir.Constant(INTS, lanes)) for lanes in (lower, upper)
                    )
            step //= 2
        return rows

    def load_tile(self, tile: int, at: Value, step: Value | int) -> None:
        """16 rows of 64 bytes, `step` bytes from one to the next."""
        self.call("llvm.x86.tileloadd64", NOTHING, whole(tile, BYTE), at, whole(step))

    def store_tile(self, tile: int, at: Value, step: Value | int) -> None:
        """As `load_tile`."""
        self.call("llvm.x86.tilestored64", NOTHING, whole(tile, BYTE), at, whole(step))

    def clear_tile(self, tile: int) -> None:
        """Make it zeros."""
        self.call("llvm.x86.tilezero", NOTHING, whole(tile, BYTE))

    def multiply_tiles(self, to: int, x: int, y: int) -> None:
        """Add the product of two tiles to one: of rows in bfloat16 and of columns, with two numbers in each place."""
        self.call("llvm.x86.tdpbf16ps", NOTHING, *(whole(each, BYTE) for each in (to, x, y)))

    @contextmanager
    def loop(
        self, end: Value | int, carried: Sequence[Value] = (), start: Value | int = 0, step: int = 1
    ) -> Iterator[Loop]:
        """Rounds for `start`, `start` + `step` … below `end`."""
        build, before = self.build, self.build.block
        head, body, behind = (self._function.append_basic_block() for _ in range(3))
        build.branch(head)
        build.position_at_end(head)
        index = build.phi(LONG)
        index.add_incoming(whole(start), before)
        phis = [build.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        build.cbranch(build.icmp_signed("<", index, whole(end)), body, behind)
        build.position_at_end(body)
        made = Loop(index, list(phis))
        yield made
        index.add_incoming(build.add(index, whole(step)), build.block)
        for phi, value in zip(phis, made.carried, strict=True):
            phi.add_incoming(value, build.block)
        build.branch(head)
        build.position_at_end(behind)
        made.out = phis

    @contextmanager
    def claims(self, items: Value) -> Iterator[Value]:
        """Rounds for numbers below `items`, each in one of the threads: the fields `next` and `slot` count them."""
        build = self.build
        head, body, behind = (self._function.append_basic_block() for _ in range(3))
        build.branch(head)
        build.position_at_end(head)
        item = build.atomic_rmw("add", self.field("next"), whole(1), "monotonic")
        build.cbranch(build.icmp_signed("<", item, items), body, behind)
        build.position_at_end(body)
        yield item
        build.branch(head)
        build.position_at_end(behind)

    @contextmanager
    def claimed(self, rows: Value) -> Iterator[Value]:
        """Rounds for numbers below `rows`, some after each other in one thread."""
        with self.claims(self.parts(rows, _AT_ONCE)) as block:
            first = self.times(block, _AT_ONCE)
            with self.loop(self.least(self.build.add(first, whole(_AT_ONCE)), rows), start=first) as row:
                yield row.index

    def own(self, memory: str, size: str) -> Value:
        """This thread's part of the memory for all: the fields with its address and with the bytes of one part."""
        number = self.build.atomic_rmw("add", self.field("slot"), whole(1), "monotonic")
        return self.at(self.argument(memory, POINTER), self.build.mul(number, self.argument(size)))


def whole(number: Value | int, kind: Value = LONG) -> Value:
    """A whole number as a constant; a value as it is."""
    return ir.Constant(kind, number) if isinstance(number, int) else number


def floats(number: float) -> Value:
    """The same number 16 times."""
    return ir.Constant(FLOATS, [float(np.float32(number))] * LANES)
