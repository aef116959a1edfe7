"""Attention in float32, by the registers of AVX-512: six queries by 32 keys, or by the numbers of a head.

Axes in names as in `seqcls_beam.model.engine`.
"""

from seqcls_beam.model.engine.kernels.attending import PAIR, Attending
from seqcls_beam.model.engine.kernels.writing import FLOAT, FLOATS, INTS, LANES, Value, floats, whole

_ROWS = 6
"""As many as leave registers for what they meet, with two or four registers of sums for each."""
_BYTES = 4 * LANES  # of a register


class Plain(Attending):
    """The kernel in float32."""

    name, rows, together, bytes_each, degree = "attention_plain", _ROWS, _ROWS // 2, 4, 5

    @staticmethod
    def needed(size: int, keys: int) -> int:
        """Factors, keys, scores."""
        return _ROWS * _BYTES + keys * size * 4 + keys * _ROWS * 4

    def lay_out(self, k: Value, v: Value, own: Value) -> None:
        """A row for each number of the keys, with a column for each key. Weights take the place of their scores."""
        self.factors, self._k, self._v = own, self.at(own, _ROWS * _BYTES), v
        self._row = self.times(self.wide, 4)
        self.scores = self.weights = self.at(self._k, self.times(self._row, self.size))
        with self.loop(self.parts(self.keys, LANES)) as block:
            tokens = [self.build.add(self.times(block.index, LANES), whole(row)) for row in range(LANES)]
            rows = [self.or_zeros(k, "k", token, self.keys) for token in tokens]
            for chunk in range(self.size // LANES):
                turned = self.turned([self.load(self.at(row, _BYTES * chunk), INTS) for row in rows])
                for number, row in enumerate(turned):
                    to = self.at(self._k, self.times(self._row, chunk * LANES + number))
                    self.store(row, self.at(to, self.times(block.index, _BYTES)))

    def score(self, first: Value, rows: Value, low: Value, high: Value) -> None:
        """Number by number: those of 32 keys by one of each query, or of the last 16."""
        queries = [self.or_zeros(first, "q", whole(row), rows) for row in range(_ROWS)]

        def of_keys(pair: Value, registers: int) -> None:
            keys = self.at(self._k, self.times(pair, 4 * PAIR))
            with self.loop(self.size, [floats(0.0)] * (registers * _ROWS)) as number:
                at = self.at(keys, self.build.mul(self._row, number.index))
                met = [self.load(self.at(at, half * _BYTES), FLOATS) for half in range(registers)]
                number.carried = self._added(queries, self.times(number.index, 4), met, number.carried)
            self._write(number.out, registers, self.at(self.scores, self.times(pair, 4 * PAIR)), self._row)

        self.by_keys(low, high, of_keys)

    def keep_weights(self, made: list[Value], at: Value) -> None:
        """As they are."""
        self.store(made[0], at)

    def mix(self, rows: Value, low: Value, high: Value, out: Value) -> None:
        """Key by key: the numbers of its value by one weight of each query."""
        build, columns = self.build, self.size // LANES
        weights = [self.at(self.weights, self.times(self._row, row)) for row in range(_ROWS)]
        end = self.least(self.times(high, PAIR), self.keys)
        with self.loop(end, [floats(0.0)] * (columns * _ROWS), start=self.times(low, PAIR)) as key:
            at = self.at(self._v, build.mul(key.index, self.steps["v_token"]))
            met = [self.load(self.at(at, column * _BYTES), FLOATS) for column in range(columns)]
            key.carried = self._added(weights, self.times(key.index, 4), met, key.carried)
        for row in range(_ROWS):
            with build.if_then(build.icmp_signed(">", rows, whole(row))):
                factor = self.load(self.at(self.factors, row * _BYTES), FLOATS)
                sums = [build.fmul(each, factor) for each in key.out[row * columns : (row + 1) * columns]]
                self._write(sums, columns, self.at(out, self.times(self.steps["o_token"], row)), 0)

    def _added(self, rows: list[Value], offset: Value, met: list[Value], sums: list[Value]) -> list[Value]:
        """The sums of each row and register, with the product of one number of the row by what it meets."""
        each = [self.spread(self.load(self.at(row, offset), FLOAT)) for row in rows]
        pairs = [(number, register) for number in each for register in met]
        return [self.fma(*pair, so_far) for pair, so_far in zip(pairs, sums, strict=True)]

    def _write(self, values: list[Value], columns: int, at: Value, step: Value | int) -> None:
        for place, value in enumerate(values):
            self.store(value, self.at(at, self.times(whole(step), place // columns), place % columns * _BYTES))
