"""Streams as PTransforms: messages in, pieces of windows out. The steps between are those of files.

    PullMessages ─ Tokenize ─ Classify ─ AppendWindows ─ (PublishRows) ┄ (bundle done: acknowledge)

All of it is one fused stage, so a bundle is done when its pieces are durable, and only then are its messages
acknowledged. Nothing may shuffle in between: the acknowledgement would come before the piece. Dataflow, which keeps
messages itself, has a source of its own: `messages.py`.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.worker import statesampler
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.reading.clients import opened
from seqcls_beam.reading.messages import Message, MessageLayout, own_time, to_record
from seqcls_beam.reading.subscription import Subscription
from seqcls_beam.runs.flow import Took, flow_of
from seqcls_beam.runs.pieces import append, ensure_begun
from seqcls_beam.schema import Mark

Batches = PCollection[pa.RecordBatch]

_RESTRICTION = beam.DoFn.RestrictionParam()  # of the DoFn itself, which knows how many pulls
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())

_SAMPLING_MS = 10


@dataclass
class PullMessages(beam.PTransform[PBegin, Batches]):
    """A subscription → RECORD batches: a pull is a batch, and nothing is yielded where nothing came.

    Each of `source.pullers` sources takes one batch in a bundle, and goes on in the next one. A message waits at most
    half of `max_latency` for others, and a batch has no more than what the steps behind do in the other half
    (`runs.flow.Pace`), `batch_rows` rows and 32 MiB of payload. Its messages are acknowledged when its bundle is done.
    A batch's timestamp is the earliest of its rows' event times; the watermark is the puller's event time
    (`runs.flow.Flow.pulled`), which waits for nothing: what is late is a matter of the windows.

    Each source ends after `pulls` batches, empty ones among them, and without that never; in both cases when the
    `Flow` of this process is stopping.
    """

    source: SourceOptions
    layout: MessageLayout
    batch_rows: int = 8192
    pulls: int | None = None

    def expand(self, root: PBegin) -> Batches:
        """Sources, spread over the workers."""
        return (
            root
            | "Pullers" >> beam.Create(range(self.source.pullers))
            | "Spread" >> beam.Reshuffle()
            | "Pull" >> beam.ParDo(_Pull(self)).with_output_types(pa.RecordBatch)
        )


@dataclass
class AppendWindows(beam.PTransform[Batches, Batches]):
    """PREDICTION batches → the same, when there is a durable piece in every window that they have rows of.

    `output` is the folder, `window` the seconds of event time in a window. `subscription` names the `runs.flow.Flow` of
    this process that is told. Raises what `runs.pieces.append` does, and before anything is pulled what `ensure_begun`.
    """

    output: str
    window: int
    subscription: str = ""

    def expand(self, predictions: Batches) -> Batches:
        """One step."""
        return predictions | "Append" >> beam.ParDo(_Append(self)).with_output_types(pa.RecordBatch)


@contextmanager
def prompt_bundles() -> Iterator[None]:
    """Pipelines that begin to run in this process meanwhile end a bundle when its work is done.

    Else up to 200 ms later, and the model waits: a bundle's end joins the thread that samples what its steps are at,
    which sleeps between two looks, and for how long is no option of Beam's.
    """
    sampler = statesampler.StateSampler
    statesampler.StateSampler = partial(sampler, sampling_period_ms=_SAMPLING_MS)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        statesampler.StateSampler = sampler  # type: ignore[misc]


class _Pulls(OffsetRestrictionTracker):
    """Pulls to come. They are put off, and never shared out.

    A runner that finds a bundle slow would halve them again and again, and each half would be one more puller.
    """

    def try_split(self, fraction_of_remainder: float) -> tuple[OffsetRange, OffsetRange] | None:
        """(this pull, all others) where the rest is put off, else None."""
        split: tuple[OffsetRange, OffsetRange] | None = super().try_split(0.0) if fraction_of_remainder == 0 else None
        return split


class _Pull(beam.DoFn, RestrictionProvider):
    """Number of a puller → RECORD batches. Its restriction counts pulls."""

    def __init__(self, how: PullMessages) -> None:
        self._source, self._layout, self._batch_rows = how.source, how.layout, how.batch_rows
        self._taken: list[tuple[Subscription, list[str]]] = []  # in this bundle
        self._pulls = sys.maxsize if how.pulls is None else how.pulls
        self._messages, self._bytes = (
            Metrics.counter("seqcls_beam.PullMessages", name) for name in ("messages", "bytes")
        )

    def start_bundle(self) -> None:
        """What was taken before is acknowledged: an instance is used again when its bundle was finalised."""
        self._taken = []

    def teardown(self) -> None:
        """Give back what was taken in a bundle that failed: else its leases are extended as long as the process lives.

        A worker outlives its bundles, and on some runners its jobs.
        """
        for subscription, ids in self._taken:
            subscription.give_back(ids)

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        puller: int,
        # First: Beam hands these over by place, and restriction and watermark by name behind them.
        bundle: Any = beam.DoFn.BundleFinalizerParam,
        restriction: Any = _RESTRICTION,
        watermark: Any = _WATERMARK,
    ) -> Iterator[TimestampedValue]:
        """One pull, and the rest in another bundle."""
        # Prism finalises each bundle of this step, and a worker logs an error where nothing was registered.
        bundle.register(_nothing)
        left = restriction.current_restriction()
        if not restriction.try_claim(left.start):
            return
        flow = flow_of(self._source.subscription)
        if not flow.stopping.is_set():
            subscription, half = opened(self._source), self._source.max_latency / 2
            if messages := subscription.take(*flow.pace.enough(half, self._batch_rows), half):
                batch = to_record(messages, self._layout)
                self._messages.inc(len(messages))
                self._bytes.inc(Mark.of(batch).bytes)
                ids = [each.id for each in messages]
                self._taken.append((subscription, ids))
                bundle.register(partial(subscription.acknowledge, ids))
                timed = batch.filter(_timed(messages, batch, self._source.timestamp_attribute))
                reached = flow.pulled(puller, timed["position"], timed["keep"].field("publish_time"))
                if reached is not None:
                    # A runner may know more: of a process that died, and whose messages came again.
                    known = watermark.current_watermark()
                    now = Timestamp(micros=reached)
                    watermark.set_watermark(now if known is None else max(now, known))
                yield TimestampedValue(batch, Timestamp(micros=pc.min(batch["position"]).as_py()))
        if flow.stopping.is_set():
            restriction.try_claim(left.stop)
            return
        restriction.defer_remainder()

    def initial_restriction(self, element: int) -> OffsetRange:
        """All pulls."""
        return OffsetRange(0, self._pulls)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """Of pulls."""
        return _Pulls(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        """Pulls that are left."""
        return int(restriction.size())


class _Append(beam.DoFn):
    """PREDICTION → PREDICTION."""

    def __init__(self, how: AppendWindows) -> None:
        self._how = how
        self._rows, self._rejected, self._pieces = (
            Metrics.counter("seqcls_beam.AppendWindows", name) for name in ("rows", "rows-rejected", "pieces")
        )
        self._waited = Metrics.distribution("seqcls_beam.AppendWindows", "milliseconds-since-published")
        self._told: set[bytes] = set()

    def setup(self) -> None:
        """Raise `RunError` where this machine has another folder of the output's name: what lies there is lost."""
        ensure_begun(self._how.output)

    def process(self, predictions: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Durable when it yields."""
        begun = time.monotonic()
        pieces = append(self._how.output, predictions, self._how.window, self._told)
        oldest = pc.min(predictions["keep"].field("publish_time").cast(pa.int64())).as_py()
        self._waited.update(time.time_ns() // 1_000_000 - oldest // 1000)
        if self._how.subscription:
            mark, beside = Mark.of(predictions), time.monotonic() - begun
            took = Took(mark.rows, mark.bytes, sum(mark.seconds.values()), beside)
            flow_of(self._how.subscription).written(pieces, took)
        for _, rows, rejected in pieces:
            self._rows.inc(rows)
            self._rejected.inc(rejected)
            self._pieces.inc()
        yield predictions


def _nothing() -> None:
    """What is to be done when a bundle is finalised that took no messages."""


def _timed(messages: Sequence[Message], batch: pa.RecordBatch, attribute: str | None) -> pa.Array:
    """Which rows have a time of their own: all but of rejected ones those whose message does not tell it."""
    rejected = batch["reject"].is_valid().to_pylist()
    both = zip(messages, rejected, strict=True)
    return pa.array([not bad or own_time(each, attribute) is not None for each, bad in both], pa.bool_())
