"""The stream half of `pipelines.classify`: messages of a subscription → windows, until it is told to end.

Where this process does the work it is a sequence of epochs (`epochs.py`), and windows are sealed beside them. Other
engines get one pipeline without an end, and windows are sealed by `pipelines.seal`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, StandardOptions

from pipelines import dataflow, engines, stream_job, submitted
from pipelines.command import say, warn
from pipelines.ending import planning
from pipelines.epochs import Epochs
from pipelines.running import run_pipeline
from pipelines.stream_flags import refuse
from pipelines.stream_graph import Stream, begin, build
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.announce import PlatformOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.stream import (
    GROUPS,
    EndOptions,
    SourceOptions,
    StreamConfig,
    TopicOptions,
    WatchOptions,
    WindowOptions,
)
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.newer import find
from seqcls_beam.model.tokens import check
from seqcls_beam.reading import clients
from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.messages import message_layout
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs import publisher
from seqcls_beam.runs.pieces import check as check_folder
from seqcls_beam.runs.run import RunError


def plan(given: dict[str, dict[str, Any]], runner: str, beam_options: PipelineOptions) -> Stream:
    """Flags → a stream. Raises `ValueError` for what cannot be, and `OSError` where the output cannot be written."""
    refuse(given, GROUPS, runner, beam_options)
    config = StreamConfig(
        read=ReadOptions(input=(), **given["read"]),
        model=ModelOptions(**given["model"]),
        source=SourceOptions(**given["source"]),
        windows=WindowOptions(**given["windows"]),
        end=EndOptions(**given["end"]),
        run=RunOptions(**given["run"]),
        topics=TopicOptions(**given["topics"]),
        watch=WatchOptions(**given["watch"]),
        platforms=PlatformOptions(**given.get("platforms", {})),
    )
    told = platforms.named(config.platforms, config.run.output)
    watched = config.watch.watch_model
    dataflow.refuse_unseen(runner, output=[config.run.output], watch_model=[watched])
    engines.configure(beam_options, runner, streaming=True)
    if engines.is_flink_cluster(beam_options) and "pullers" not in given["source"]:
        slots = beam_options.view_as(FlinkRunnerOptions).parallelism
        config = replace(config, source=replace(config.source, pullers=min(slots, 256)))
    workers = DataflowOptions(**given.get("dataflow", {}))
    device = dataflow.configure(beam_options, runner, workers, config.model.device, streaming=True)
    config = replace(config, model=replace(config.model, device=device, model=watched or config.model.model))
    checkpoint = (
        find(watched, config.model.problem_type)
        if watched
        else resolve(config.model.model, config.model.revision, config.model.problem_type)
    )
    check(checkpoint, config.model, pairs=config.read.text_pair_column is not None)
    layout = message_layout(config.read, config.source, attributed=config.topics.dead_letter_topic is not None)
    stream = Stream(config, checkpoint, layout, storage.absolute(config.run.output), runner, told)
    check_folder(stream.output, config.windows.window, stream.columns, config.source)
    if checkpoint.remark:
        warn(checkpoint.remark)
    return stream


def run(stream: Stream, beam_options: PipelineOptions) -> int:
    """Label until the stream ends; the exit code."""
    here = engines.works_here(stream.runner, beam_options)
    with planning(), _answered():  # an extra may be missing
        source = clients.opened(stream.config.source, pulling=False)
        for flag, topic in stream.config.topics.named.items():
            publisher.opened(flag, topic).check(permission=here)  # elsewhere, another account works
    if here:
        flows.forget(stream.config.source.subscription)  # another job's of this process
        return Epochs(stream, beam_options).run()
    publisher.close_all()
    with _answered():
        begin(stream, source.topic())
    clients.forget(stream.config.source, 0)
    name = submitted.stream_name(stream.output, stream.config.source.subscription)
    if dataflow.is_dataflow(stream.runner):
        beam_options.view_as(StandardOptions).streaming = True
        run_pipeline(beam_options, partial(build, stream=stream), name)
    else:
        stream_job.run(beam_options, partial(build, stream=stream), name, stream.output)
    return say(f"the stream ended; python -m pipelines.seal {stream.output} publishes its windows", 0)


@contextmanager
def _answered() -> Iterator[None]:
    """What a subscription that will never answer says ends the command in its sentence."""
    try:
        yield
    except InputFailed as error:
        raise RunError(str(error)) from error
