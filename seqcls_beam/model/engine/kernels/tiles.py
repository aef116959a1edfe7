"""Attention in bfloat16 by the tiles of AMX.

A tile has 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 numbers with 32 rows of 16, and adds them up in
float32. Keys and values are laid out for it first, as `halves` has it: 16 keys become the columns of a tile, and two
tokens of the values one row.

Axes in names as in `seqcls_beam.model.engine`.
"""

from llvmlite import ir

from seqcls_beam.model.engine.kernels.halves import Halves
from seqcls_beam.model.engine.kernels.writing import BYTE, FLOATS, INTS, LANES, NOTHING, Value, whole

_ROWS = 16  # of a tile
_BYTES = 64  # of a row of a tile
_TILE = _ROWS * _BYTES
_CONFIGURATION = bytes([1] + [0] * 15) + bytes([_BYTES, 0] * 8 + [0] * 16) + bytes([_ROWS] * 8 + [0] * 8)
"""Intel's: palette 1; for each of eight tiles, how many bytes a row has, and how many rows there are."""


class Tiles(Halves):
    """The kernel in bfloat16."""

    name, rows, registers = "attention_tiles", _ROWS, 2

    @staticmethod
    def needed(size: int, keys: int) -> int:
        """16 queries, and what they are mixed to; the rest."""
        return _ROWS * size * (2 + 4) + Halves.held(_ROWS, size, keys)

    def begin(self) -> None:
        """Say how large tiles are."""
        self._kept = self.build.alloca(ir.ArrayType(BYTE, _BYTES))
        self._kept.align = _BYTES
        # oneDNN keeps its own configuration of the tiles in a thread, and looks no second time.
        self.call("llvm.x86.sttilecfg", NOTHING, self._kept)
        self.call("llvm.x86.ldtilecfg", NOTHING, self.bytes("configuration", _CONFIGURATION))

    def end(self) -> None:
        """Leave them as they were."""
        self.call("llvm.x86.ldtilecfg", NOTHING, self._kept)

    def lay_out(self, k: Value, v: Value, own: Value) -> None:
        """Keys and values, for tiles."""
        self._queries, self._mixed = own, self.at(own, _ROWS * self.size * 2)
        super().lay_out(k, v, self.at(self._mixed, _ROWS * self.size * 4))

    def score(self, first: Value, rows: Value, low: Value, high: Value) -> None:
        """16 queries by 32 keys at a time."""
        build = self.build
        few = build.icmp_signed("<", rows, whole(_ROWS))
        with build.if_then(few):
            for row in range(_ROWS):
                at = self.or_zeros(first, "q", whole(row), rows)
                for chunk in range(self.chunks):
                    to = self.at(self._queries, row * 2 * self.size, _BYTES * chunk)
                    self.store(self.load(self.at(at, _BYTES * chunk), INTS), to)
        queries = build.select(few, self._queries, first)
        step = build.select(few, whole(2 * self.size), self.steps["q_token"])
        for chunk in range(self.chunks):
            self.load_tile(chunk, self.at(queries, _BYTES * chunk), step)
        keys, sums = ((2, 3), (6, 7)), (4, 5)  # two blocks of keys at once, for none to wait for the other
        with self.loop(high, start=low) as pair:
            at = self.at(self.laid_k, self.times(pair.index, 2 * self.chunks * _TILE))
            for block in (0, 1):
                self.clear_tile(sums[block])
                for chunk in range(self.chunks):
                    self.load_tile(keys[block][chunk], self.at(at, (block * self.chunks + chunk) * _TILE), _BYTES)
            for chunk in range(self.chunks):
                for block in (0, 1):
                    self.multiply_tiles(sums[block], chunk, keys[block][chunk])
            for block in (0, 1):
                to = self.at(self.scores, self.times(pair.index, 2 * _BYTES), block * _BYTES)
                self.store_tile(sums[block], to, self.times(self.wide, 4))

    def mix(self, rows: Value, low: Value, high: Value, out: Value) -> None:
        """32 weights of 16 queries at a time."""
        sums, weights, values = range(4), 4, (5, 6, 7, 5)
        for column in range(self.columns):
            self.clear_tile(sums[column])
        with self.loop(high, start=low) as pair:
            self.load_tile(weights, self.at(self.weights, self.times(pair.index, _BYTES)), self.times(self.wide, 2))
            for column in range(self.columns):
                at = self.at(self.laid_v, self.times(pair.index, self.columns * _TILE), column * _TILE)
                self.load_tile(values[column], at, _BYTES)
                self.multiply_tiles(sums[column], weights, values[column])
        for column in range(self.columns):
            self.store_tile(sums[column], self.at(self._mixed, column * _BYTES), 4 * self.size)
        with self.loop(rows) as row:
            factor = self.load(self.at(self.factors, self.times(row.index, _BYTES)), FLOATS)
            mixed = self.at(self._mixed, self.times(row.index, 4 * self.size))
            to = self.at(out, self.build.mul(row.index, self.steps["o_token"]))
            for column in range(0, self.columns, 2):
                halves = [self.load(self.at(mixed, (column + half) * _BYTES), FLOATS) for half in (0, 1)]
                self.store(
                    self.rounded(*(self.build.fmul(each, factor) for each in halves)), self.at(to, column * 2 * LANES)
                )
