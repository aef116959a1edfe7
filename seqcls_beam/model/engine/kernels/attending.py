"""Writing attention: one head of one sequence at a time, some queries of it at once.

The scores of some queries with all keys fit into the nearest cache, are turned into weights there, a register at a
time, and meet the values before they are divided by their sum. How they are multiplied is left to two kinds: `tiles`
and `plain`.

What is not of a sequence is never read: rows that fill up a block are zeros. So a sequence's result depends on nothing
else, in its last bit, whatever lies beside it and whoever computes it.

Axes in names as in `seqcls_beam.model.engine`.
"""

import ctypes
import math
from collections.abc import Callable
from functools import reduce
from itertools import chain

from llvmlite import ir

from seqcls_beam.model.engine.kernels.writing import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LONG,
    POINTER,
    Value,
    Writing,
    floats,
    whole,
)

PAIR = 2 * LANES
"""Keys that are laid out and met at once: two registers of scores."""


class Arguments(ctypes.Structure):
    """Pointers are addresses; `_token` and `_head` are how many bytes lie between two of them."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("next", "slot", "items", "heads", "memory", "size", "window")),
        *((f"{one}{what}", ctypes.c_int64) for one in "qkvo" for what in ("", "_token", "_head")),
        *((name, ctypes.c_int64) for name in ("query_offsets", "key_offsets")),
        ("scale", ctypes.c_float),  # of a score, for a power of two
    )


class Attending(Writing):
    """A kernel for heads of `size` numbers, and for windows or for all keys."""

    name: str

    rows: int
    """Queries that are taken at once."""
    registers = 1
    """Of scores that become weights at once; with 2, weights of all of a `PAIR` are there, also behind the last key."""
    together = 1
    """Queries whose scores become weights at once: `rows`, or a part of them without a rest."""
    bytes_each: int
    """Of a number that is read, and of a weight."""
    degree: int
    """Of the polynomial for powers."""
    scores: Value
    """Where they are: a row for each of the queries, as are `weights` and `factors`, 1 / the sum of the weights."""
    weights: Value
    factors: Value

    def __init__(self, size: int, windowed: bool) -> None:
        super().__init__(self.name, Arguments)
        self.size, self.windowed = size, windowed
        self.zeros = self.bytes("zeros", bytes(self.bytes_each * size))
        self.heads, self.window = self.argument("heads"), self.argument("window")
        self.steps = {name: self.argument(name) for one in "qkvo" for name in (f"{one}_token", f"{one}_head")}
        self.scale = self.spread(self.argument("scale", FLOAT))
        self.begin()
        own = self.own("memory", "size")
        with self.claims(self.argument("items")) as item:
            self._head_of_a_sequence(item, own)
        self.end()
        self.build.ret_void()

    @staticmethod
    def needed(size: int, keys: int) -> int:
        """Bytes of a thread, for so many keys at most, which fill blocks of `PAIR`."""
        raise NotImplementedError

    def begin(self) -> None:
        """What a thread does first."""

    def end(self) -> None:
        """What a thread does last."""

    def lay_out(self, k: Value, v: Value, own: Value) -> None:
        """What lies in a thread's `own` memory, and the keys and values there, in the form in which they are met."""
        raise NotImplementedError

    def score(self, first: Value, rows: Value, low: Value, high: Value) -> None:
        """Some queries, by all keys that they see: → `scores`."""
        raise NotImplementedError

    def keep_weights(self, made: list[Value], at: Value) -> None:
        """`registers` of weights → memory."""
        raise NotImplementedError

    def mix(self, rows: Value, low: Value, high: Value, out: Value) -> None:
        """Rows of weights by the values, times the rows' `factors` → `out`."""
        raise NotImplementedError

    def _head_of_a_sequence(self, item: Value, own: Value) -> None:
        build = self.build
        sequence, head = build.sdiv(item, self.heads), build.srem(item, self.heads)
        query, queries = self._span("query_offsets", sequence)
        key, self.keys = self._span("key_offsets", sequence)
        q, k, v, out = (
            self.at(
                self.argument(name, POINTER),
                build.mul(self.steps[f"{name}_token"], token),
                build.mul(self.steps[f"{name}_head"], head),
            )
            for name, token in (("q", query), ("k", key), ("v", key), ("o", query))
        )
        self.pairs = self.parts(self.keys, PAIR)
        self.wide = self.times(self.pairs, PAIR)
        self.lay_out(k, v, own)
        with self.loop(queries, step=self.rows) as block:
            rows = self.least(build.sub(queries, block.index), self.rows)
            low, high = self._seen(block.index)
            self.score(self.at(q, build.mul(block.index, self.steps["q_token"])), rows, low, high)
            with self.loop(rows, step=self.together) as row:
                self._weigh(row.index, build.add(block.index, row.index), low, high)
            self.mix(rows, low, high, self.at(out, build.mul(block.index, self.steps["o_token"])))

    def _span(self, offsets: str, sequence: Value) -> tuple[Value, Value]:
        """(the first token of a sequence, how many there are)."""
        at = self.at(self.argument(offsets, POINTER), self.times(sequence, 4))
        first, end = (self.build.sext(self.load(self.at(at, 4 * i), INT), LONG) for i in (0, 1))
        return first, self.build.sub(end, first)

    def or_zeros(self, first: Value, name: str, token: Value, tokens: Value) -> Value:
        """Where a token's numbers are; zeros for one behind the last."""
        at = self.at(first, self.build.mul(token, self.steps[f"{name}_token"]))
        return self.build.select(self.build.icmp_signed("<", token, tokens), at, self.zeros)

    def _seen(self, query: Value) -> tuple[Value, Value]:
        """(the first 32 keys that some queries see any of, behind the last such)."""
        if not self.windowed:
            return whole(0), self.pairs
        build = self.build
        low, high = build.sub(query, self.window), build.add(build.add(query, whole(self.rows)), self.window)
        low = build.select(build.icmp_signed(">", low, whole(0)), low, whole(0))
        return build.sdiv(low, whole(PAIR)), self.parts(self.least(high, self.keys), PAIR)

    def by_keys(self, low: Value, high: Value, each: Callable[[Value, int], None]) -> None:
        """What `each` does for two registers of keys at a time, and for one where the last 32 keys are 16 or fewer."""
        build = self.build
        whole_pairs = build.sdiv(self.parts(self.keys, LANES), whole(2))
        with self.loop(self.least(high, whole_pairs), start=low) as pair:
            each(pair.index, 2)
        with build.if_then(build.icmp_signed(">", high, whole_pairs)):
            each(whole_pairs, 1)

    def _weigh(self, first: Value, query: Value, low: Value, high: Value) -> None:
        """The scores of `together` queries → powers, the largest of which is 1, and 1 / their sum.

        Each step is written for all of them before the next: one waits for its own result, and not for another's.
        """
        build, registers = self.build, range(self.registers)
        at_once = self.registers * LANES
        start, end = self.times(low, PAIR // at_once), self.times(high, PAIR // at_once)
        end = self.least(end, self.parts(self.keys, at_once))
        middle = start if self.windowed else build.sdiv(self.keys, whole(at_once))  # below, all are seen
        rows = [build.add(first, whole(row)) for row in range(self.together)]
        queries = [build.add(query, whole(row)) for row in range(self.together)]
        scores, weights = (
            [self.at(of, build.mul(row, self.times(self.wide, size))) for row in rows]
            for of, size in ((self.scores, 4), (self.weights, self.bytes_each))
        )

        def found(some: Value, hidden: bool) -> list[list[Value]]:
            all_rows = []
            for at, asking in zip(scores, queries, strict=True):
                row = [
                    self.load(self.at(at, self.times(some, 4 * at_once), one * 4 * LANES), FLOATS) for one in registers
                ]
                if hidden:
                    keys = [build.add(self.times(some, at_once), whole(one * LANES)) for one in registers]
                    seen = [self._is_seen(each, asking) for each in keys]
                    row = [build.select(*each, floats(-math.inf)) for each in zip(seen, row, strict=True)]
                all_rows.append(row)
            return all_rows

        def twice(none: float, each: Callable[[Value, list[list[Value]], list[Value]], list[Value]]) -> list[Value]:
            with self.loop(middle, [floats(none)] * (self.together * self.registers), start=start) as plain:
                plain.carried = each(plain.index, found(plain.index, False), plain.carried)
            with self.loop(end, plain.out, start=middle) as hidden:
                hidden.carried = each(hidden.index, found(hidden.index, True), hidden.carried)
            return hidden.out

        def over_rows(values: list[Value], two: Callable[[Value, Value], Value]) -> list[Value]:
            rows_of = [values[row * self.registers : (row + 1) * self.registers] for row in range(self.together)]
            return self.over([reduce(two, each) for each in rows_of], two)

        def largest(_: Value, read: list[list[Value]], so_far: list[Value]) -> list[Value]:
            return [self.larger(x, y) for x, y in zip(chain(*read), so_far, strict=True)]

        less = [build.fneg(build.fmul(each, self.scale)) for each in over_rows(twice(-math.inf, largest), self.larger)]

        def powers(some: Value, read: list[list[Value]], so_far: list[Value]) -> list[Value]:
            made = [
                [self.power_of_two(self.fma(x, self.scale, most), self.degree) for x in row]
                for row, most in zip(read, less, strict=True)
            ]
            for row, at in zip(made, weights, strict=True):
                self.keep_weights(row, self.at(at, self.times(some, at_once * self.bytes_each)))
            return [build.fadd(x, y) for x, y in zip(so_far, chain(*made), strict=True)]

        for row, total in zip(rows, over_rows(twice(0.0, powers), build.fadd), strict=True):
            self.store(build.fdiv(floats(1.0), total), self.at(self.factors, self.times(row, 4 * LANES)))

    def _is_seen(self, key: Value, query: Value) -> Value:
        """Of 16 keys, which the query sees."""
        build = self.build
        keys = build.add(self.spread(build.trunc(key, INT)), ir.Constant(INTS, list(range(LANES))))
        seen = build.icmp_signed("<", keys, self.spread(build.trunc(self.keys, INT)))
        if self.windowed:
            first, last = build.sub(query, self.window), build.add(query, self.window)
            seen = build.and_(seen, build.icmp_signed(">=", keys, self.spread(build.trunc(first, INT))))
            seen = build.and_(seen, build.icmp_signed("<=", keys, self.spread(build.trunc(last, INT))))
        return seen
