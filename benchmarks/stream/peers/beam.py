"""Beam's own `ReadFromPubSub` on its local runner, and behind it this project's tokeniser, model and pieces.

Batches are Beam's own too: `BatchElements`, which gathers what is in a bundle.
"""

import argparse

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.timestamp import Timestamp

from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.reading.messages import Message, message_layout, to_record
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.stream import AppendWindows

WINDOW = 60


def plain(message: PubsubMessage) -> Message:
    """A message as the layout reads it."""
    published = Timestamp.from_utc_datetime(message.publish_time).micros
    return Message(message.message_id, published, message.attributes, message.data)


def main() -> None:
    """Label until it is killed."""
    arguments = argparse.ArgumentParser()
    for name in ("subscription", "output", "model"):
        arguments.add_argument(f"--{name}", required=True)
    given = arguments.parse_args()
    checkpoint, options = resolve(given.model), ModelOptions(model=given.model)
    layout = message_layout(
        ReadOptions(input=()), SourceOptions(subscription=given.subscription, message_format="text")
    )
    prepare(given.output, WINDOW)
    with beam.Pipeline(options=PipelineOptions(["--streaming", "--runner=DirectRunner"])) as pipeline:
        (
            pipeline
            | ReadFromPubSub(subscription=given.subscription, with_attributes=True)
            | beam.Map(plain)
            | beam.BatchElements(max_batch_size=8192)
            | beam.Map(to_record, layout)
            | Tokenize(checkpoint, options)
            | Classify(checkpoint, options)
            | AppendWindows(given.output, WINDOW)
        )


if __name__ == "__main__":
    main()
