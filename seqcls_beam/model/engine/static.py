"""Packed execution in fixed shapes: compiled, and on a GPU replayed as a CUDA graph, which costs the host one call.

Every pass has S tokens and one of a few widths, the bucket of its longest sequence. What the sequences leave of the
tokens goes to dummies of at most that width, so that positions stay in range and attention local; what they leave of
the places for sequences are sequences of no token. A sequence's result then depends on its width, never on how full a
pass is.

Axes in names as in `seqcls_beam.model.engine`, T and N being those of the sequences that a pass is made for; and

    S    all tokens of a pass
    P    all places for sequences in it
    X    3 * S + P + 1: what a pass is told of its tokens and its places
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.attention import Layout
from seqcls_beam.model.engine.packed import Packed
from seqcls_beam.model.engine.packing import MOST_SEQUENCES, Ints, packs

_NARROWEST = 64  # below this the variable-length kernel has the same work
_SPREAD = 8  # a pass has places for sequences an eighth as long as its width; each unused place costs idle blocks
_MOST_DUMMIES = 1 << 15  # in a pass: about half of the sequences that the kernel takes
_LIMIT = 256  # compilations of `_pass` per process, where torch allows 8: one for every width of every model


@dataclass(frozen=True)
class _Shape:
    """What one shape keeps between its passes."""

    numbers_X: Tensor  # what `_pass` reads, at the address that the graph knows
    logits_PL: Tensor | None  # what the graph writes
    graph: Any  # torch.cuda.CUDAGraph


class Static:
    """A `Packed` in passes of `tokens` tokens or, where that is more, of `longest`: the most that a sequence has.

    Compiles on the first pass of each width, for which torch needs a C compiler. `backend` is `torch.compile`'s.
    """

    def __init__(
        self, packed: Packed, tokens: int, longest: int, backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        self.model = packed.model
        self._packed, self._longest = packed, longest
        self._tokens = self._most(tokens)
        self._compiled = torch.compile(self._pass, fullgraph=True, dynamic=False, backend=backend)
        self._shapes: dict[tuple[int, int, bool], _Shape] = {}  # (tokens, width, whether there are types) →
        self._pool: Any = None

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together. Passes have `budget` tokens from now on."""
        self._tokens = tokens = self._most(budget)
        return packs(lengths_N, rows_R, tokens, lambda longest: self._places(tokens, self._width(longest)))

    @torch.inference_mode()
    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""
        tokens, width = self._tokens, self._width(int(lengths_N.max()))
        if len(ids_T) > tokens or len(lengths_N) > self._places(tokens, width):
            # A pack made before memory ran out in another thread.
            return self._packed.forward(ids_T, types_T, lengths_N)
        self._shapes = {key: shape for key, shape in self._shapes.items() if key[0] == tokens}
        key = tokens, width, types_T is not None
        numbers_X = torch.from_numpy(self._numbers(ids_T, types_T, lengths_N, tokens, width))
        if key not in self._shapes:
            self._shapes[key] = self._prepare(numbers_X, key)
        shape = self._shapes[key]
        cuda = shape.graph is not None
        # Fresh pinned memory each time, of which torch keeps a store: the copy before may still be under way.
        shape.numbers_X.copy_(numbers_X.pin_memory() if cuda else numbers_X, non_blocking=cuda)
        if not cuda:
            return self._compiled(shape.numbers_X, *key)[: len(lengths_N)]
        with torch.cuda.device(self.model.device):
            shape.graph.replay()
        assert shape.logits_PL is not None
        return shape.logits_PL[: len(lengths_N)].clone()

    def _most(self, budget: int) -> int:
        """Tokens of a pass."""
        return max(min(budget, _MOST_DUMMIES * min(_NARROWEST, self._longest)), self._longest)

    def _width(self, longest: int) -> int:
        """The power of 2 that holds a sequence, or, where that is less, what holds them all."""
        return min(max(_NARROWEST, self._longest), max(_NARROWEST, 1 << (longest - 1).bit_length()))

    @staticmethod
    def _places(tokens: int, width: int) -> int:
        """Sequences that a pass has places for, besides its dummies."""
        return max(1, min(tokens * _SPREAD // width, MOST_SEQUENCES - _MOST_DUMMIES))

    def _numbers(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints, tokens: int, width: int) -> Ints:
        """int32 [X]: ids, positions and types of all tokens, then the offsets of all places.

        One array is one copy to the device.
        """
        spare, dummy = tokens - len(ids_T), min(width, self._longest)
        lengths = np.concatenate([lengths_N, np.diff(np.arange(0, spare, dummy), append=spare)])  # with dummies
        # Far fewer places than tokens: attention tells by the number of queries whether all tokens ask.
        numbers_X = np.zeros(3 * tokens + self._places(tokens, width) + -(-tokens // dummy) + 1, np.int32)
        ids_S, positions_S, types_S = numbers_X[: 3 * tokens].reshape(3, tokens)
        ids_S[: len(ids_T)] = ids_T
        positions_S[:] = self._packed.positions(ids_S, lengths)
        if types_T is not None:
            types_S[: len(types_T)] = types_T
        offsets_P1 = numbers_X[3 * tokens :]
        offsets_P1[1 : len(lengths) + 1] = np.cumsum(lengths)
        offsets_P1[len(lengths) + 1 :] = tokens
        return numbers_X

    def _pass(self, numbers_X: Tensor, tokens: int, width: int, typed: bool) -> Tensor:
        """What `_numbers` gives → logits float32 [P, L]; of places without a sequence they mean nothing."""
        ids_S, positions_S, types_S = numbers_X[: 3 * tokens].view(3, tokens).long()
        offsets_P1 = numbers_X[3 * tokens :]
        layout = Layout(
            offsets_N1=offsets_P1,
            first_N=offsets_P1[:-1].long().clamp(max=tokens - 1),
            query_offsets_N1=torch.arange(len(offsets_P1), dtype=torch.int32, device=offsets_P1.device),
            longest=width,
            runs=[],
        )
        return self._packed.run(ids_S, positions_S, types_S if typed else None, layout)

    def _prepare(self, numbers_X: Tensor, key: tuple[int, int, bool]) -> _Shape:
        """Compile for a shape and, on a GPU, capture it. The numbers are those of any pass."""
        device = self.model.device
        held_X = numbers_X.to(device, copy=True)
        with torch._dynamo.config.patch(recompile_limit=_LIMIT):
            if device.type != "cuda":
                self._compiled(held_X, *key)
                return _Shape(held_X, None, None)
            with torch.cuda.device(device):
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):  # compiles, and makes what libraries make on their first call
                    self._compiled(held_X, *key)
                torch.cuda.current_stream().wait_stream(side)
                # Graphs may share memory: none runs while another does, and logits are copied out. A pool ends with
                # the last of its graphs.
                self._pool = self._pool if self._shapes else torch.cuda.graph_pool_handle()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                    logits_PL = self._compiled(held_X, *key)
        return _Shape(held_X, logits_PL, graph)
