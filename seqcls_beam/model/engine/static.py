"""Packed execution in fixed shapes: compiled, and on a GPU replayed as a CUDA graph, which costs the host one call.

Every pass has T tokens and one of a few widths, the bucket of its longest sequence. What the sequences leave of the
tokens goes to dummies of at most that width, so that positions stay in range and attention local; what they leave of
the places for sequences are sequences of no token. A sequence's result then depends on its width, never on how full a
pass is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqcls_beam.model.engine.attention import Layout
from seqcls_beam.model.engine.packed import Packed
from seqcls_beam.model.engine.packing import Ints, packs

_NARROWEST = 64  # below this the variable-length kernel has the same work
_SPREAD = 8  # a pass has places for sequences an eighth as long as its width; each unused place costs idle blocks
_LIMIT = 256  # compilations of `_pass` per process, where torch allows 8: one for every width of every model


@dataclass(frozen=True)
class _Shape:
    """What one shape keeps between its passes."""

    numbers: Tensor  # what `_pass` reads, at the address that the graph knows
    logits: Tensor | None  # what the graph writes
    graph: Any  # torch.cuda.CUDAGraph


class Static:
    """A `Packed` in passes of `tokens` tokens, or of `longest` where that is more: the most that a sequence has.

    Compiles on the first pass of each width, for which torch needs a C compiler. `backend` is `torch.compile`'s.
    """

    def __init__(
        self, packed: Packed, tokens: int, longest: int, backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        self.model = packed.model
        self._packed, self._longest, self._tokens = packed, longest, max(tokens, longest)
        self._compiled = torch.compile(self._pass, fullgraph=True, dynamic=False, backend=backend)
        self._shapes: dict[tuple[int, int, bool], _Shape] = {}
        self._pool: Any = None

    def packs(self, lengths: Ints, rows: Ints, budget: int) -> Iterator[Ints]:
        """`rows` in the groups that run together. Passes have `budget` tokens from now on."""
        self._tokens = tokens = max(budget, self._longest)
        return packs(lengths, rows, budget, lambda longest: self._places(tokens, self._width(longest)))

    @torch.inference_mode()
    def forward(self, ids: Ints, types: Ints | None, lengths: Ints) -> Tensor:
        """Ids of sequences of these lengths, all flat → logits float32 [sequences, labels], on the model's device."""
        tokens, width = self._tokens, self._width(int(lengths.max()))
        if len(ids) > tokens or len(lengths) > self._places(tokens, width):
            return self._packed.forward(ids, types, lengths)  # a pack made before memory ran out in another thread
        self._shapes = {key: shape for key, shape in self._shapes.items() if key[0] == tokens}
        key = tokens, width, types is not None
        numbers = torch.from_numpy(self._numbers(ids, types, lengths, tokens, width))
        if key not in self._shapes:
            self._shapes[key] = self._prepare(numbers, key)
        shape = self._shapes[key]
        cuda = shape.graph is not None
        # Fresh pinned memory each time, of which torch keeps a store: the copy before may still be under way.
        shape.numbers.copy_(numbers.pin_memory() if cuda else numbers, non_blocking=cuda)
        if not cuda:
            return self._compiled(shape.numbers, *key)[: len(lengths)]
        with torch.cuda.device(self.model.device):
            shape.graph.replay()
        assert shape.logits is not None
        return shape.logits[: len(lengths)].clone()

    def _width(self, longest: int) -> int:
        """The power of 2 that holds a sequence, or, where that is less, what holds them all."""
        return min(max(_NARROWEST, self._longest), max(_NARROWEST, 1 << (longest - 1).bit_length()))

    @staticmethod
    def _places(tokens: int, width: int) -> int:
        """Sequences that a pass has places for, besides its dummies."""
        return max(1, tokens * _SPREAD // width)

    def _numbers(self, ids: Ints, types: Ints | None, lengths: Ints, tokens: int, width: int) -> Ints:
        """int32 [3 * T + S + 1]: ids, positions and types of all T tokens, then `ends` of S sequences.

        One array is one copy to the device.
        """
        spare, dummy = tokens - len(ids), min(width, self._longest)
        lengths = np.concatenate([lengths, np.diff(np.arange(0, spare, dummy), append=spare)])
        # Far fewer sequences than tokens: attention tells by their number whether it is asked for all tokens.
        out = np.zeros(3 * tokens + self._places(tokens, width) + -(-tokens // dummy) + 1, np.int32)
        rows = out[: 3 * tokens].reshape(3, tokens)
        rows[0, : len(ids)] = ids
        rows[1] = self._packed.positions(rows[0], lengths)
        if types is not None:
            rows[2, : len(ids)] = types
        ends = out[3 * tokens :]
        ends[1 : len(lengths) + 1] = np.cumsum(lengths)
        ends[len(lengths) + 1 :] = tokens
        return out

    def _pass(self, numbers: Tensor, tokens: int, width: int, typed: bool) -> Tensor:
        """What `_numbers` gives → logits float32 [S, labels]; of unused places they mean nothing."""
        ids, positions, types = numbers[: 3 * tokens].view(3, tokens).long()
        ends = numbers[3 * tokens :]
        layout = Layout(
            ends=ends,
            first=ends[:-1].long().clamp(max=tokens - 1),
            each=torch.arange(len(ends), dtype=torch.int32, device=ends.device),
            longest=width,
            runs=[],
        )
        return self._packed.run(ids, positions, types if typed else None, layout)

    def _prepare(self, numbers: Tensor, key: tuple[int, int, bool]) -> _Shape:
        """Compile for a shape and, on a GPU, capture it. `numbers` are those of any pass."""
        device = self.model.device
        held = numbers.to(device, copy=True)
        with torch._dynamo.config.patch(recompile_limit=_LIMIT):
            if device.type != "cuda":
                self._compiled(held, *key)
                return _Shape(held, None, None)
            with torch.cuda.device(device):
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):  # compiles, and makes what libraries make on their first call
                    self._compiled(held, *key)
                torch.cuda.current_stream().wait_stream(side)
                # Graphs may share memory: none runs while another does, and logits are copied out. A pool ends with
                # the last of its graphs.
                self._pool = self._pool if self._shapes else torch.cuda.graph_pool_handle()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                    logits = self._compiled(held, *key)
        return _Shape(held, logits, graph)
