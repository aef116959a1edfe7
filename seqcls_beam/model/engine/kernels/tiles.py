"""Attention in bfloat16 by the tiles of AMX.

A tile has 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 numbers with 32 rows of 16, and adds them up in
float32. Keys and values are laid out for it first, each beside the next: 16 keys become the columns of a tile, and two
tokens of the values one row.

Axes in names as in `seqcls_beam.model.engine`.
"""

from llvmlite import ir

from seqcls_beam.model.engine.kernels.attending import PAIR, Attending
from seqcls_beam.model.engine.kernels.writing import BYTE, FLOATS, INT, INTS, LANES, NOTHING, TWICE_SHORTS, Value, whole

_ROWS = 16  # of a tile
_BYTES = 64  # of a row of a tile
_TILE = _ROWS * _BYTES
_CONFIGURATION = bytes([1] + [0] * 15) + bytes([_BYTES, 0] * 8 + [0] * 16) + bytes([_ROWS] * 8 + [0] * 8)
"""Intel's: palette 1; for each of eight tiles, how many bytes a row has, and how many rows there are."""


class Tiles(Attending):
    """The kernel in bfloat16."""

    name, rows, bytes_each, degree = "attention_tiles", _ROWS, 2, 3

    @staticmethod
    def needed(size: int, keys: int) -> int:
        """16 queries, what they are mixed to, and their factors; keys and values; scores and weights."""
        return _ROWS * (size * (2 + 4) + _BYTES) + keys * size * (2 + 2) + keys * _ROWS * (4 + 2)

    def begin(self) -> None:
        """Say how large tiles are."""
        # Tiles that a head's numbers fill: in bfloat16, and in float32.
        self._chunks, self._columns = self.size // PAIR, self.size // LANES
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
        laid_out = self.times(self.wide, 2 * self.size)
        self._queries, self._mixed = own, self.at(own, _ROWS * self.size * 2)
        self.factors = self.at(self._mixed, _ROWS * self.size * 4)
        self._k = self.at(self.factors, _ROWS * _BYTES)
        self._v = self.at(self._k, laid_out)
        self.scores = self.at(self._v, laid_out)
        self.weights = self.at(self.scores, self.times(self.wide, 4 * _ROWS))
        self._lay_out_keys(k)
        self._lay_out_values(v)

    def _lay_out_keys(self, k: Value) -> None:
        """16 keys at a time: a row for each two of their numbers, with a column for each key."""
        with self.loop(self.times(self.pairs, 2)) as block:
            tokens = [self.build.add(self.times(block.index, _ROWS), whole(row)) for row in range(_ROWS)]
            rows = [self.or_zeros(k, "k", token, self.keys) for token in tokens]
            for chunk in range(self._chunks):
                to = self.at(self._k, self.times(block.index, self._chunks * _TILE), chunk * _TILE)
                turned = self.turned([self.load(self.at(row, _BYTES * chunk), INTS) for row in rows])
                for number, row in enumerate(turned):
                    self.store(row, self.at(to, _BYTES * number))

    def _lay_out_values(self, v: Value) -> None:
        """Two tokens at a time, their numbers in turn: a row of each tile of 32 tokens and 16 numbers."""
        build = self.build
        pairs = ir.VectorType(INT, 2 * LANES)
        with self.loop(self.times(self.pairs, _ROWS)) as pair:
            token = self.times(pair.index, 2)
            even = self.or_zeros(v, "v", token, self.keys)
            odd = self.or_zeros(v, "v", build.add(token, whole(1)), self.keys)
            tile, row = build.sdiv(pair.index, whole(_ROWS)), build.srem(pair.index, whole(_ROWS))
            to = self.at(self._v, self.times(tile, self._columns * _TILE), self.times(row, _BYTES))
            for chunk in range(self._chunks):
                x, y = (self.load(self.at(each, _BYTES * chunk), TWICE_SHORTS) for each in (even, odd))
                for half in (0, 1):
                    lanes = [LANES * half + lane // 2 + 2 * LANES * (lane % 2) for lane in range(2 * LANES)]
                    self.store(
                        build.shuffle_vector(x, y, ir.Constant(pairs, lanes)), self.at(to, (2 * chunk + half) * _TILE)
                    )

    def score(self, first: Value, rows: Value, low: Value, high: Value) -> None:
        """16 queries by 32 keys at a time."""
        build = self.build
        few = build.icmp_signed("<", rows, whole(_ROWS))
        with build.if_then(few):
            for row in range(_ROWS):
                at = self.or_zeros(first, "q", whole(row), rows)
                for chunk in range(self._chunks):
                    to = self.at(self._queries, row * 2 * self.size, _BYTES * chunk)
                    self.store(self.load(self.at(at, _BYTES * chunk), INTS), to)
        queries = build.select(few, self._queries, first)
        step = build.select(few, whole(2 * self.size), self.steps["q_token"])
        for chunk in range(self._chunks):
            self.load_tile(chunk, self.at(queries, _BYTES * chunk), step)
        keys, sums = ((2, 3), (6, 7)), (4, 5)  # two blocks of keys at once, for none to wait for the other
        with self.loop(high, start=low) as pair:
            at = self.at(self._k, self.times(pair.index, 2 * self._chunks * _TILE))
            for block in (0, 1):
                self.clear_tile(sums[block])
                for chunk in range(self._chunks):
                    self.load_tile(keys[block][chunk], self.at(at, (block * self._chunks + chunk) * _TILE), _BYTES)
            for chunk in range(self._chunks):
                for block in (0, 1):
                    self.multiply_tiles(sums[block], chunk, keys[block][chunk])
            for block in (0, 1):
                to = self.at(self.scores, self.times(pair.index, 2 * _BYTES), block * _BYTES)
                self.store_tile(sums[block], to, self.times(self.wide, 4))

    def keep_weights(self, made: list[Value], at: Value) -> None:
        """Rounded."""
        self.store(self.rounded(*made), at)

    def mix(self, rows: Value, low: Value, high: Value, out: Value) -> None:
        """32 weights of 16 queries at a time."""
        sums, weights, values = range(4), 4, (5, 6, 7, 5)
        for column in range(self._columns):
            self.clear_tile(sums[column])
        with self.loop(high, start=low) as pair:
            self.load_tile(weights, self.at(self.weights, self.times(pair.index, _BYTES)), self.times(self.wide, 2))
            for column in range(self._columns):
                at = self.at(self._v, self.times(pair.index, self._columns * _TILE), column * _TILE)
                self.load_tile(values[column], at, _BYTES)
                self.multiply_tiles(sums[column], weights, values[column])
        for column in range(self._columns):
            self.store_tile(sums[column], self.at(self._mixed, column * _BYTES), 4 * self.size)
        with self.loop(rows) as row:
            factor = self.load(self.at(self.factors, self.times(row.index, _BYTES)), FLOATS)
            mixed = self.at(self._mixed, self.times(row.index, 4 * self.size))
            to = self.at(out, self.build.mul(row.index, self.steps["o_token"]))
            for column in range(0, self._columns, 2):
                halves = [self.load(self.at(mixed, (column + half) * _BYTES), FLOATS) for half in (0, 1)]
                self.store(
                    self.rounded(*(self.build.fmul(each, factor) for each in halves)), self.at(to, column * 2 * LANES)
                )
