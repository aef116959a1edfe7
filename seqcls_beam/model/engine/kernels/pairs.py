"""Attention in bfloat16 by the registers of AVX-512, where there are no tiles: six queries by 32 keys, or by the
numbers of a head, two products in each place at once.

Axes in names as in `seqcls_beam.model.engine`.
"""

from seqcls_beam.model.engine.kernels.attending import PAIR
from seqcls_beam.model.engine.kernels.halves import Halves
from seqcls_beam.model.engine.kernels.writing import BFLOATS, FLOATS, INT, LANES, Value, floats, whole

_ROWS = 6
"""As many as leave registers for what they meet, with two or four registers of sums for each."""
_BYTES = 4 * LANES  # of a register


class Pairs(Halves):
    """The kernel in bfloat16."""

    name, rows, together = "attention_pairs", _ROWS, _ROWS // 2

    @staticmethod
    def needed(size: int, keys: int) -> int:
        """Nothing but what is laid out."""
        return Halves.held(_ROWS, size, keys)

    def score(self, first: Value, rows: Value, low: Value, high: Value) -> None:
        """Two numbers at a time: those of 32 keys by those of each query, or of the last 16."""
        queries = [self.or_zeros(first, "q", whole(row), rows) for row in range(_ROWS)]
        block = self.chunks * LANES * _BYTES

        def of_keys(pair: Value, registers: int) -> None:
            keys = self.at(self.laid_k, self.times(pair, 2 * block))
            with self.loop(self.size // 2, [floats(0.0)] * (registers * _ROWS)) as two:
                at = self.at(keys, self.times(two.index, _BYTES))
                met = [self.load(self.at(at, half * block), BFLOATS) for half in range(registers)]
                two.carried = self._added(queries, self.times(two.index, 4), met, two.carried)
            to = self.at(self.scores, self.times(pair, 4 * PAIR))
            for place, value in enumerate(two.out):
                row, half = divmod(place, registers)
                self.store(value, self.at(to, self.times(self.wide, 4 * row), half * _BYTES))

        self.by_keys(low, high, of_keys)

    def mix(self, rows: Value, low: Value, high: Value, out: Value) -> None:
        """Two tokens at a time: the numbers of their values by their weights of each query."""
        build = self.build
        weights = [self.at(self.weights, self.times(self.wide, 2 * row)) for row in range(_ROWS)]
        with self.loop(high, [floats(0.0)] * (self.columns * _ROWS), start=low) as pair:
            values = self.at(self.laid_v, self.times(pair.index, self.columns * LANES * _BYTES))
            left = build.sub(self.keys, self.times(pair.index, PAIR))
            with self.loop(self.least(self.parts(left, 2), LANES), pair.carried) as two:
                at = self.at(values, self.times(two.index, _BYTES))
                met = [self.load(self.at(at, column * LANES * _BYTES), BFLOATS) for column in range(self.columns)]
                offset = self._at_weights(pair.index, two.index)
                two.carried = self._added(weights, offset, met, two.carried)
            pair.carried = two.out
        for row in range(_ROWS):
            with build.if_then(build.icmp_signed(">", rows, whole(row))):
                factor = self.load(self.at(self.factors, row * _BYTES), FLOATS)
                sums = [build.fmul(each, factor) for each in pair.out[row * self.columns : (row + 1) * self.columns]]
                to = self.at(out, self.times(self.steps["o_token"], row))
                for column in range(0, self.columns, 2):
                    self.store(self.rounded(*sums[column : column + 2]), self.at(to, column * 2 * LANES))

    def _at_weights(self, pair: Value, two: Value) -> Value:
        """Bytes before the weights of two tokens."""
        return self.build.add(self.times(pair, 2 * PAIR), self.times(two, 4))

    def _added(self, rows: list[Value], offset: Value, met: list[Value], sums: list[Value]) -> list[Value]:
        """The sums of each row and register, with the products of two numbers of the row by what they meet."""
        each = [self.build.bitcast(self.spread(self.load(self.at(row, offset), INT)), BFLOATS) for row in rows]
        pairs = [(two, register) for two in each for register in met]
        return [self.two_products(*pair, so_far) for pair, so_far in zip(pairs, sums, strict=True)]
