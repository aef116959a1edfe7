"""Keeping a GPU busy: texts are tokenised while it computes, and it is given much at a time.

The steps of a fused stage run one after the other in one thread, on every runner: while one waits for a GPU, nothing is
read or tokenised, and while texts are tokenised the GPU stands still. On a CPU there is nothing to win, since the model
takes all cores; there both steps hand on what they get.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.utils.windowed_value import WindowedValue

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import tokenize

AHEAD_BATCHES = 16
"""That are tokenised ahead: of short texts a million tokens or two, half a second of a GPU's work."""
GATHERED_TOKENS = 2**20
"""A GPU is waited for once for so many: sixteen passes of the default size."""
HELD_BYTES = 64 * 2**20
"""Of all columns, in the batches that are held at once, ahead or gathered, but for one; a batch has half as much."""


def overlaps(options: ModelOptions) -> bool:
    """Whether the model runs beside this machine's cores and not on them. Raises `EngineError`."""
    # Here and not above: building a pipeline must not import torch.
    from seqcls_beam.model.engine.devices import resolve_device

    return resolve_device(options.device).type != "cpu"


class TokenizeAhead(beam.DoFn):
    """RECORD → TOKENS, row for row and in order; on a GPU's worker ahead of the steps behind."""

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions) -> None:
        self._checkpoint = checkpoint
        self._options = options
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[_Tokenizing] = deque()

    def setup(self) -> None:
        """Decide."""
        if overlaps(self._options):
            self._pool = ThreadPoolExecutor(1, "tokenize")

    def start_bundle(self) -> None:
        """Nothing is left of a bundle that failed."""
        self._ahead = deque()

    def process(
        self, batch: pa.RecordBatch, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        """Begin with a batch; hand on those for which there is no room any more."""
        if self._pool is None:
            yield tokenize(batch, self._checkpoint, self._options)
            return
        begun = self._pool.submit(tokenize, batch, self._checkpoint, self._options)
        self._ahead.append(_Tokenizing(begun, batch.nbytes, timestamp, window))
        while len(self._ahead) > AHEAD_BATCHES or (
            len(self._ahead) > 1 and sum(each.bytes for each in self._ahead) > HELD_BYTES
        ):
            yield self._ahead.popleft().done()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on the rest."""
        while self._ahead:
            yield self._ahead.popleft().done()

    def teardown(self) -> None:
        """Leave no thread behind."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Tokenizing:
    """A batch that is being tokenised, and its place in time."""

    tokens: Future[pa.RecordBatch]
    bytes: int
    timestamp: Any
    window: Any

    def done(self) -> WindowedValue:
        return WindowedValue(self.tokens.result(), self.timestamp, (self.window,))


@dataclass
class Gathered:
    """TOKENS batches that the model is given together. Its length is the rows of all."""

    batches: list[pa.RecordBatch] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return sum(pc.sum(each["tokens"]).as_py() or 0 for each in self.batches)

    @property
    def nbytes(self) -> int:
        """Of all columns."""
        return sum(each.nbytes for each in self.batches)


class Gather(beam.DoFn):
    """TOKENS batches → `Gathered`, in order: on a CPU one of each, for a GPU of a million tokens or 64 MiB.

    Only batches of the same time and window are gathered, since what comes of them has one.
    """

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._tokens = 0
        self._held = Gathered()
        self._place: tuple[Any, Any] | None = None

    def setup(self) -> None:
        """Decide."""
        self._tokens = GATHERED_TOKENS if overlaps(self._options) else 0

    def start_bundle(self) -> None:
        """Nothing is left of a bundle that failed."""
        self._held = Gathered()

    def process(
        self, batch: pa.RecordBatch, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        """Hold a batch, and hand on what is held when it is enough."""
        if self._held.batches and self._place != (timestamp, window):
            yield self._all()
        self._held.batches.append(batch)
        self._place = timestamp, window
        if self._held.tokens >= self._tokens or self._held.nbytes > HELD_BYTES:
            yield self._all()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on the rest."""
        if self._held.batches:
            yield self._all()

    def _all(self) -> WindowedValue:
        assert self._place is not None
        held, (timestamp, window) = self._held, self._place
        self._held = Gathered()
        return WindowedValue(held, timestamp, (window,))
