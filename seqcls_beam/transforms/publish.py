"""Topics as a PTransform: what became of a stream's messages is published, row by row, when it is durable."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection

from seqcls_beam.config.stream import TopicOptions
from seqcls_beam.runs.flow import flow_of
from seqcls_beam.runs.letters import MAX_LETTER, Letters, of_labelled, of_rejected
from seqcls_beam.runs.publisher import opened

Batches = PCollection[pa.RecordBatch]

_log = logging.getLogger(__name__)


@dataclass
class PublishRows(beam.PTransform[Batches, Batches]):
    """PREDICTION batches of messages → the same, when topics have what they are to get of them.

    Labelled rows go to `topics.output_topic` and rejected ones, which need ATTRIBUTES, to `topics.dead_letter_topic`,
    as `runs.letters` has them. All of a batch is confirmed before it is handed on, in no order; a bundle that runs
    again publishes again. A row that makes too large a message is counted, and the first of a worker told. `window` are
    the seconds of event time in a window, and `subscription` names the `runs.flow.Flow` of this process that is told.

    Raises what `runs.publisher.Publisher` does.
    """

    topics: TopicOptions
    window: int
    subscription: str = ""

    def expand(self, predictions: Batches) -> Batches:
        """One step."""
        return predictions | "Publish" >> beam.ParDo(_Publish(self)).with_output_types(pa.RecordBatch)


class _Publish(beam.DoFn):
    """PREDICTION → PREDICTION."""

    def __init__(self, how: PublishRows) -> None:
        self._how = how
        self._published, self._dead_lettered, self._too_large = (
            Metrics.counter("seqcls_beam.PublishRows", name) for name in ("published", "dead-lettered", "too-large")
        )
        self._told = False

    def process(self, predictions: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Published when it yields."""
        topics, none = self._how.topics, Letters([], 0)
        labelled = of_labelled(predictions, self._how.window) if topics.output_topic else none
        rejected = of_rejected(predictions) if topics.dead_letter_topic else none
        flow = flow_of(self._how.subscription)
        for flag, topic in topics.named.items():
            letters = labelled if topic == topics.output_topic else rejected
            if letters.made:
                opened(flag, topic).publish(letters.made, flow.stopping)
        large = labelled.too_large + rejected.too_large
        if large and not self._told:
            self._told = True
            _log.warning(
                "%d of %d messages would be larger than Pub/Sub takes, %d bytes, and are in the output folder alone; "
                "the counter too-large has their number, and this is said once",
                large,
                len(predictions),
                MAX_LETTER,
            )
        self._published.inc(len(labelled.made))
        self._dead_lettered.inc(len(rejected.made))
        self._too_large.inc(large)
        flow.told(len(predictions), len(labelled.made), len(rejected.made), large)
        yield predictions
