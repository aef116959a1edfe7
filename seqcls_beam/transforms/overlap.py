"""Keeping a GPU busy: texts are tokenised while it computes, and it is given much at a time.

The steps of a fused stage run one after the other in one thread, on every runner: while one waits for a GPU, nothing is
read or tokenised, and while texts are tokenised the GPU stands still. On a CPU there is nothing to win, since the model
takes all cores; there both steps hand on what they get.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.utils.windowed_value import WindowedValue

from seqcls_beam.config import ModelOptions
from seqcls_beam.importing import IMPORTING
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.model.watching import Watch

AHEAD_BATCHES = 16
"""That are tokenised ahead: of short texts a million tokens or two, half a second of a GPU's work."""
GATHERED_TOKENS = 2**20
"""A GPU is waited for once for so many: sixteen passes of the default size."""
HELD_BYTES = 64 * 2**20
"""Of all columns that are held ahead, and again gathered; one batch more may be held, of at most 32 MiB."""


def overlaps(options: ModelOptions) -> bool:
    """Whether the model runs beside this machine's cores and not on them."""
    # Here and not above: building a pipeline must not import torch.
    with IMPORTING:
        from seqcls_beam.model.engine.devices import on_gpu

    return on_gpu(options.device)


def watch_of(checkpoint: Checkpoint, options: ModelOptions) -> Watch:
    """The model of a stream in this process."""
    # Here and not above: building a pipeline must not import torch.
    with IMPORTING:
        from seqcls_beam.model.engine.watched import watch_of

    return watch_of(checkpoint, options)


def forget_model(checkpoint: Checkpoint, options: ModelOptions) -> None:
    """The stream of `watch_of` is over in this process."""
    from seqcls_beam.model.engine.watched import forget

    forget(checkpoint, options)


@dataclass(frozen=True)
class _Place:
    """Where an element stands in time, which what comes of it shares."""

    timestamp: Any
    window: Any
    pane: Any

    def of(self, value: Any) -> WindowedValue:
        return WindowedValue(value, self.timestamp, (self.window,), self.pane)


class TokenizeAhead(beam.DoFn):
    """RECORD → TOKENS, row for row and in order; on a GPU's worker ahead of the steps behind."""

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, watched: bool = False) -> None:
        """`watched`: by the checkpoint at work, which is `checkpoint` at first (`model.watching`)."""
        self._checkpoint = checkpoint
        self._options = options
        self._watched = watched
        self._watch: Watch | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[_Tokenizing] = deque()

    def setup(self) -> None:
        """Decide."""
        if self._watched:
            self._watch = watch_of(self._checkpoint, self._options)
        if overlaps(self._options):
            self._pool = ThreadPoolExecutor(1, "tokenize")

    def start_bundle(self) -> None:
        """Nothing is left of a bundle that failed."""
        for each in self._ahead:
            each.tokens.cancel()
        self._ahead = deque()

    def process(
        self,
        batch: pa.RecordBatch,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        """Begin with a batch; hand on those for which there is no room any more."""
        if self._pool is None:
            yield self._tokenized(batch)
            return
        begun = self._pool.submit(self._tokenized, batch)
        self._ahead.append(_Tokenizing(begun, batch.nbytes, _Place(timestamp, window, pane)))
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

    def _tokenized(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._watch is not None:
            return self._watch.tokenized(batch)
        return tokenize(batch, self._checkpoint, self._options)


@dataclass(frozen=True)
class _Tokenizing:
    """A batch that is being tokenised."""

    tokens: Future[pa.RecordBatch]
    bytes: int
    place: _Place

    def done(self) -> WindowedValue:
        return self.place.of(self.tokens.result())


@dataclass
class Gathered:
    """TOKENS batches that the model is given together. Its length is the rows of all."""

    batches: list[pa.RecordBatch]

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    @property
    def nbytes(self) -> int:
        """Of all columns."""
        return sum(each.nbytes for each in self.batches)


class Gather(beam.DoFn):
    """TOKENS batches → `Gathered`, in order: on a CPU one of each, for a GPU of a million tokens or 64 MiB.

    Only batches of the same columns, time and window are gathered, since what comes of them has one.
    """

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._enough = self._tokens = self._bytes = 0
        self._held: list[pa.RecordBatch] = []
        self._place: _Place | None = None

    def setup(self) -> None:
        """Decide."""
        self._enough = GATHERED_TOKENS if overlaps(self._options) else 0

    def start_bundle(self) -> None:
        """Nothing is left of a bundle that failed."""
        self._drop()

    def process(
        self,
        batch: pa.RecordBatch,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[WindowedValue]:
        """Hold a batch, and hand on what is held when it is enough."""
        place = _Place(timestamp, window, pane)
        if self._held and (self._place != place or self._held[0].schema.names != batch.schema.names):
            yield self._all()
        self._held.append(batch)
        self._place = place
        self._tokens += pc.sum(batch["tokens"]).as_py() or 0
        self._bytes += batch.nbytes
        if self._tokens >= self._enough or self._bytes > HELD_BYTES:
            yield self._all()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on the rest."""
        if self._held:
            yield self._all()

    def _all(self) -> WindowedValue:
        assert self._place is not None
        gathered = self._place.of(Gathered(self._held))
        self._drop()
        return gathered

    def _drop(self) -> None:
        self._held, self._place = [], None
        self._tokens = self._bytes = 0
