"""A stream as it is known before it starts, and its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa

from pipelines import dataflow
from pipelines.command import warn
from pipelines.terminal import stream as terminal
from seqcls_beam.config.stream import StreamConfig
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.reading.messages import MessageLayout
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.messages import ReadMessages
from seqcls_beam.transforms.publish import PublishRows
from seqcls_beam.transforms.stream import AppendWindows, PullMessages


@dataclass(frozen=True)
class Stream:
    """All that is known of a stream before it starts."""

    config: StreamConfig
    checkpoint: Checkpoint
    layout: MessageLayout
    output: str
    runner: str
    platforms: Mapping[str, str] = field(default_factory=dict)  # that are told of windows, and where

    @property
    def columns(self) -> pa.Schema:
        """LABELED."""
        return labeled(self.layout.keep, self.checkpoint.problem == "multi_label", streamed=True)


def build(root: beam.Pipeline, stream: Stream, pulls: int | None = None) -> None:
    """The pipeline: one fused stage from the messages to the pieces and topics. Dataflow has a source of its own."""
    config, checkpoint = stream.config, stream.checkpoint
    watched = config.watch.watch_model is not None
    # A running job is updated by these names, so they are not left to what the classes are called.
    source = (
        "ReadMessages" >> ReadMessages(config.source, stream.layout, config.read.batch_rows)
        if dataflow.is_dataflow(stream.runner)
        else "PullMessages" >> PullMessages(config.source, stream.layout, config.read.batch_rows, pulls)
    )
    durable = (
        root
        | source
        | "Tokenize" >> Tokenize(checkpoint, config.model, watched)
        | "Classify" >> Classify(checkpoint, config.model, watched=watched)
        | "AppendWindows" >> AppendWindows(stream.output, config.windows.window, config.source.subscription)
    )
    if config.topics.named:
        _ = durable | "PublishRows" >> PublishRows(config.topics, config.windows.window, config.source.subscription)


def begin(stream: Stream, topic: str | None) -> None:
    """Make the folder one of this stream, as `prepare` does. Raises `RunError` for a topic that is its own source."""
    source = stream.config.source
    for flag, to in stream.config.topics.named.items():
        if to == topic:
            raise RunError(
                f"--{flag}={to} is the topic that {source.subscription} is of: what is published would be labelled "
                "again, without an end; name another topic"
            )
    if not prepare(stream.output, stream.config.windows.window, stream.columns, topic, source):
        warn(terminal.unknown(source.subscription, topic, stream.output))
