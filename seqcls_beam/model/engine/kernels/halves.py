"""Attention in bfloat16: keys and values laid out for instructions that take two numbers at once.

Each place of 32 bits has two numbers that are multiplied with two others, and both products are added to one sum in
float32. Scores add up over the numbers of a head, so two of these lie beside each other; mixed values add up over
tokens.

Axes in names as in `seqcls_beam.model.engine`.
"""

from llvmlite import ir

from seqcls_beam.model.engine.kernels.attending import PAIR, Attending
from seqcls_beam.model.engine.kernels.writing import INT, INTS, LANES, TWICE_SHORTS, Value, whole

_BYTES = 64  # of a register, or a row of a tile
_TILE = LANES * _BYTES  # 16 of these


class Halves(Attending):
    """What kernels in bfloat16 have in common."""

    bytes_each, degree = 2, 3
    laid_k: Value
    """16 keys at a time: a register for each two of their numbers, with a place for each key."""
    laid_v: Value
    """32 tokens and 16 numbers at a time: a register for each two tokens, with a place for each number."""

    @staticmethod
    def held(rows: int, size: int, keys: int) -> int:
        """Bytes of what `lay_out` needs: factors; keys and values; scores and weights."""
        return rows * _BYTES + keys * size * (2 + 2) + keys * rows * (4 + 2)

    @property
    def chunks(self) -> int:
        """Registers that a head's numbers fill in bfloat16."""
        return self.size // PAIR

    @property
    def columns(self) -> int:
        """Registers that a head's numbers fill in float32."""
        return self.size // LANES

    def lay_out(self, k: Value, v: Value, own: Value) -> None:
        """Keys and values, each beside the next."""
        laid_out = self.times(self.wide, 2 * self.size)
        self.factors = own
        self.laid_k = self.at(own, self.rows * _BYTES)
        self.laid_v = self.at(self.laid_k, laid_out)
        self.scores = self.at(self.laid_v, laid_out)
        self.weights = self.at(self.scores, self.times(self.wide, 4 * self.rows))
        self._lay_out_keys(k)
        self._lay_out_values(v)

    def _lay_out_keys(self, k: Value) -> None:
        with self.loop(self.times(self.pairs, 2) if self.registers > 1 else self.parts(self.keys, LANES)) as block:
            tokens = [self.build.add(self.times(block.index, LANES), whole(row)) for row in range(LANES)]
            rows = [self.or_zeros(k, "k", token, self.keys) for token in tokens]
            for chunk in range(self.chunks):
                to = self.at(self.laid_k, self.times(block.index, self.chunks * _TILE), chunk * _TILE)
                turned = self.turned([self.load(self.at(row, _BYTES * chunk), INTS) for row in rows])
                for number, row in enumerate(turned):
                    self.store(row, self.at(to, _BYTES * number))

    def _lay_out_values(self, v: Value) -> None:
        build = self.build
        pairs = ir.VectorType(INT, 2 * LANES)
        with self.loop(self.times(self.pairs, LANES) if self.registers > 1 else self.parts(self.keys, 2)) as pair:
            token = self.times(pair.index, 2)
            even = self.or_zeros(v, "v", token, self.keys)
            odd = self.or_zeros(v, "v", build.add(token, whole(1)), self.keys)
            tile, row = build.sdiv(pair.index, whole(LANES)), build.srem(pair.index, whole(LANES))
            to = self.at(self.laid_v, self.times(tile, self.columns * _TILE), self.times(row, _BYTES))
            for chunk in range(self.chunks):
                x, y = (self.load(self.at(each, _BYTES * chunk), TWICE_SHORTS) for each in (even, odd))
                for half in (0, 1):
                    lanes = [LANES * half + lane // 2 + 2 * LANES * (lane % 2) for lane in range(2 * LANES)]
                    self.store(
                        build.shuffle_vector(x, y, ir.Constant(pairs, lanes)), self.at(to, (2 * chunk + half) * _TILE)
                    )

    def keep_weights(self, made: list[Value], at: Value) -> None:
        """Rounded."""
        self.store(self.rounded(*made) if len(made) > 1 else self.rounded_one(*made), at)
