"""A stream as it is built for Dataflow, and its graph with a bounded source in place of the service's own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.dataflow.ptransform_overrides import get_dataflow_transform_overrides
from apache_beam.transforms.core import RestrictionProvider
from google import pubsub_v1

from pipelines import stream_graph
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, TopicOptions, WindowOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.reading.messages import Message, message_layout
from seqcls_beam.runs.pieces import prepare

SUBSCRIPTION = "projects/some-project/subscriptions/sub"
WINDOW = 300

_RESTRICTION = beam.DoFn.RestrictionParam()  # of the DoFn itself


def stream(
    output: Path,
    checkpoint: Checkpoint,
    runner: str = "DataflowRunner",
    rows: int = 8192,
    topics: TopicOptions | None = None,
    **source: Any,
) -> stream_graph.Stream:
    """A stream of windows of five minutes, its folder made."""
    config = StreamConfig(
        read=ReadOptions(input=(), batch_rows=rows),
        model=ModelOptions(threads=1),
        source=SourceOptions(subscription=SUBSCRIPTION, **source),
        windows=WindowOptions(window=WINDOW),
        end=EndOptions(),
        run=RunOptions(output=str(output)),
        topics=topics or TopicOptions(),
    )
    attributed = config.topics.dead_letter_topic is not None  # as `streaming.plan` has it
    layout = message_layout(config.read, config.source, attributed)
    made = stream_graph.Stream(config, checkpoint, layout, str(output), runner)
    prepare(made.output, WINDOW, made.columns, "projects/some-project/topics/t", config.source)
    return made


def graph(made: stream_graph.Stream) -> beam_runner_api_pb2.Pipeline:
    """What DataflowRunner would stage of it, but for the container."""
    options = PipelineOptions(["--streaming"])
    pipeline = beam.Pipeline(options=options)
    stream_graph.build(pipeline, made)
    pipeline.replace_all([*DataflowRunner._PTRANSFORM_OVERRIDES, *get_dataflow_transform_overrides(options)])
    DataflowRunner()._adjust_pipeline_for_dataflow_v2(pipeline)
    return pipeline.to_runner_api()


def on_the_wire(message: Message) -> bytes:
    """A message as the service hands it over."""
    seconds, micros = divmod(message.published, 1_000_000)
    return pubsub_v1.types.PubsubMessage.serialize(
        {
            "data": message.data,
            "attributes": dict(message.attributes),
            "message_id": message.id,
            "publish_time": {"seconds": seconds, "nanos": micros * 1_000},
        }
    )


def fed(staged: beam_runner_api_pb2.Pipeline, bundles: Sequence[Sequence[bytes]]) -> beam_runner_api_pb2.Pipeline:
    """The graph with these messages, some of them in one bundle, where it reads the subscription."""
    spare = beam.Pipeline()
    given = [list(each) for each in bundles]
    _ = spare | "Ours" >> beam.Create([given], reshuffle=False) | "Deliver" >> beam.ParDo(_Deliver())
    drawn, made = spare.to_runner_api(), beam_runner_api_pb2.Pipeline()
    made.CopyFrom(staged)
    made.requirements.extend(drawn.requirements)
    ours = drawn.components
    (read,) = [
        each for each in made.components.transforms.values() if each.spec.urn == common_urns.composites.PUBSUB_READ.urn
    ]
    (whole,) = read.outputs.values()
    (last,) = [
        output for each in ours.transforms.values() if each.unique_name == "Deliver" for output in each.outputs.values()
    ]
    (top,) = [id for id, each in ours.transforms.items() if not each.spec.urn]
    del ours.pcollections[last]
    _spliced(made.components, ours, {last: whole})
    read.spec.Clear()
    read.subtransforms.extend(f"ours-{id}" for id in ours.transforms[top].subtransforms)
    del made.components.transforms[f"ours-{top}"]
    read.environment_id = ""
    for environment in made.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    return made


class _Deliver(beam.DoFn, RestrictionProvider):
    """Lists of messages → messages, each list in a bundle of its own."""

    def process(self, given: list[list[bytes]], restriction: Any = _RESTRICTION) -> Iterator[bytes]:
        """One list, and the rest in another bundle."""
        left = restriction.current_restriction()
        if not restriction.try_claim(left.start):
            return
        yield from given[left.start]
        if left.start + 1 < left.stop:
            restriction.defer_remainder()

    def initial_restriction(self, element: list[list[bytes]]) -> OffsetRange:
        """All lists."""
        return OffsetRange(0, len(element))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """Of lists."""
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: list[list[bytes]], restriction: OffsetRange) -> int:
        """Lists that are left."""
        return int(restriction.size())


def _spliced(into: Any, ours: Any, known: dict[str, str]) -> None:
    """Take components over, under names that nobody has."""

    def named(id: str) -> str:
        return known.get(id, f"ours-{id}") if id else ""

    for kind in ("transforms", "pcollections", "windowing_strategies", "coders", "environments"):
        for id, each in getattr(ours, kind).items():
            taken = getattr(into, kind)[f"ours-{id}"]
            taken.CopyFrom(each)
            for field in ("environment_id", "coder_id", "windowing_strategy_id", "window_coder_id"):
                if getattr(each, field, ""):
                    setattr(taken, field, named(getattr(each, field)))
            for field in ("inputs", "outputs"):
                for name, value in getattr(each, field, {}).items():
                    getattr(taken, field)[name] = named(value)
            for field in ("subtransforms", "component_coder_ids"):
                if getattr(each, field, ()):
                    getattr(taken, field)[:] = [named(value) for value in getattr(each, field)]
            if kind == "transforms" and each.spec.urn == common_urns.primitives.PAR_DO.urn:
                work = beam_runner_api_pb2.ParDoPayload.FromString(each.spec.payload)
                work.restriction_coder_id = named(work.restriction_coder_id)
                taken.spec.payload = work.SerializeToString()
