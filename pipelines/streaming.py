"""The stream half of `pipelines.classify`: messages of a subscription → windows, until it is told to end.

On this machine a stream is a sequence of epochs: pipelines of some thousand pulls, one after the other in one process,
since Beam's local runner keeps some memory for every bundle that it ran. What outlives them, the model, the client of
the subscription and the flow, belongs to the process. Beside them a thread seals the windows that are over. Other
runners get one pipeline without an end, and windows are sealed by `pipelines.seal`.
"""

import gc
import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines import dataflow, submitted
from pipelines.command import LOCAL, explained, log_to_stderr, planning, say, sentence
from pipelines.running import run_pipeline
from pipelines.sealer import Sealer
from pipelines.stream_flags import refuse
from pipelines.terminal import screen
from pipelines.terminal import stream as terminal
from pipelines.terminal.signals import asking_to_end
from seqcls_beam import storage
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, TopicOptions, WatchOptions, WindowOptions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.newer import find
from seqcls_beam.model.tokens import check
from seqcls_beam.reading import subscription
from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.messages import MessageLayout, message_layout
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs import publisher
from seqcls_beam.runs.pieces import check as check_folder
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.messages import ReadMessages
from seqcls_beam.transforms.overlap import forget_model
from seqcls_beam.transforms.publish import PublishRows
from seqcls_beam.transforms.stream import AppendWindows, PullMessages, prompt_bundles

GROUPS = {
    "source": SourceOptions,
    "windows": WindowOptions,
    "end": EndOptions,
    "topics": TopicOptions,
    "watch": WatchOptions,
}

EPOCH_PULLS = 2000
"""Of each puller in one pipeline: some 50 MB that Beam's local runner keeps until it is over."""
_FAILURES = 6
"""Epochs in a row that fail without writing a row: then it is not the weather."""
_ENOUGH_TO_JUDGE = 100
_TICK = 0.25
PATIENCE = 10.0
"""Seconds that the last acknowledgements are tried for; what they do not reach comes again, and is dropped there."""
_HOPELESS = re.compile(r"^(?:[\w.]*\.)?(?:EngineError|CheckpointError|InputFailed|RunError): ", re.MULTILINE)
"""What no later try mends, as it stands in a worker's traceback."""
_OF_FILES = re.compile(r"^(?:RuntimeError: )?OSError: ")
"""What was said of a file that is no error of the system: it needs no traceback to be understood."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stream:
    """All that is known of a stream before it starts."""

    config: StreamConfig
    checkpoint: Checkpoint
    layout: MessageLayout
    output: str
    runner: str

    @property
    def columns(self) -> pa.Schema:
        """LABELED."""
        return labeled(self.layout.keep, self.checkpoint.problem == "multi_label", streamed=True)


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
    )
    watched = config.watch.watch_model
    dataflow.refuse_unseen(runner, output=[config.run.output], watch_model=[watched])
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
    stream = Stream(config, checkpoint, layout, storage.absolute(config.run.output), runner)
    check_folder(stream.output, config.windows.window, stream.columns, config.source)
    if checkpoint.remark:
        say(checkpoint.remark, 0)
    return stream


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


def run(stream: Stream, beam_options: PipelineOptions) -> int:
    """Label until the stream ends; the exit code."""
    log_to_stderr()
    with planning(), _answered():  # an extra may be missing
        source = subscription.opened(stream.config.source, pulling=False)
        for flag, topic in stream.config.topics.named.items():
            publisher.opened(flag, topic).check(permission=stream.runner == LOCAL)  # elsewhere, another account works
    if stream.runner != LOCAL:
        publisher.close_all()
        with _answered():
            _begin(stream, source.topic())
    if stream.runner == LOCAL:
        flows.forget(stream.config.source.subscription)  # another job's of this process
        return _Local(stream, beam_options).run()
    subscription.forget(stream.config.source, 0)
    beam_options.view_as(StandardOptions).streaming = True
    name = submitted.stream_name(stream.output, stream.config.source.subscription)
    run_pipeline(beam_options, partial(build, stream=stream), name, "rows")
    return say(f"the stream ended; python -m pipelines.seal {stream.output} publishes its windows", 0)


@contextmanager
def _answered() -> Iterator[None]:
    """What a subscription that will never answer says ends the command in its sentence."""
    try:
        yield
    except InputFailed as error:
        raise RunError(str(error)) from error


def _begin(stream: Stream, topic: str | None) -> None:
    """Make the folder one of this stream, as `prepare` does. Raises `RunError` for a topic that is its own source."""
    source = stream.config.source
    for flag, to in stream.config.topics.named.items():
        if to == topic:
            raise RunError(
                f"--{flag}={to} is the topic that {source.subscription} is of: what is published would be labelled "
                "again, without an end; name another topic"
            )
    if not prepare(stream.output, stream.config.windows.window, stream.columns, topic, source):
        say(terminal.unknown(source.subscription, topic, stream.output), 0)


class _Local:
    """A stream in this process."""

    def __init__(self, stream: Stream, beam_options: PipelineOptions) -> None:
        self._stream = stream
        self._beam_options = beam_options
        self._flow = flows.flow_of(stream.config.source.subscription)
        self._source: subscription.Subscription | None = None
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._acknowledged = 0

    def run(self) -> int:
        """Epoch after epoch, then what is left to do."""
        begun = time.monotonic()
        seals = Sealer(self._flow, self._stream.output, self._stream.config.windows)
        # Signals are handled by the main thread, which so must never be long in a forward pass.
        work = threading.Thread(target=self._work, daemon=True)
        sealer = threading.Thread(target=seals.until, args=(self._over,), daemon=True)
        try:
            with asking_to_end() as asked, terminal.once(), terminal.watching(self._flow, self._oldest, self._away):
                work.start()
                sealer.start()
                self._watch(work, asked)
                self._over.set()
                sealer.join()
                seals.last()
        finally:
            # Why it failed is to be told even where nothing can be shown.
            with suppress(*([screen.NotShown] if self._failure is not None else [])):
                terminal.summary(self._flow, self._acknowledged, time.monotonic() - begun, self._stream.output)
        if self._failure is not None:
            raise self._failure
        return 0

    def _work(self) -> None:
        try:
            self._epochs()
        except Exception as error:
            self._failure = error
        finally:
            self._close()
            publisher.close_all()
            if self._stream.config.watch.watch_model is not None:
                forget_model(self._stream.checkpoint, self._stream.config.model)

    @property
    def _done(self) -> int:
        """Rows of which all is done that is to be."""
        return self._flow.passed if self._stream.config.topics.named else self._flow.rows

    def _epochs(self) -> None:
        """Raises `RunError` where nothing is written any more."""
        failures, begun = 0, False
        while not self._flow.stopping.is_set():
            gc.collect()  # what the last pipeline leaves is full of cycles, and Python would find them much later
            before = self._done
            try:
                self._source = subscription.opened(self._stream.config.source, pulling=False)
                # Whoever stops it sets the flow first, and then looks for a source to stop.
                topic = None if self._flow.stopping.is_set() else self._source.topic()
                if self._flow.stopping.is_set():
                    return
                if not begun:
                    _begin(self._stream, topic)
                    begun = True
                self._epoch()
                failures = 0
            except Exception as error:
                self._close()
                failures = 1 if self._done > before else failures + 1
                if _HOPELESS.search(f"{type(error).__name__}: {error}"):
                    raise explained(error) from error
                why = sentence(error)
                if self._flow.stopping.is_set() or failures == _FAILURES:
                    _trace(error)
                if self._flow.stopping.is_set():
                    say(f"the messages in hand are not acknowledged, and come again: {why}", 0)
                    return
                if failures == _FAILURES:
                    raise RunError(f"{failures} tries in a row labelled no message: {why}") from error
                pause = 2.0 ** (failures - 1)
                say(f"nothing of this is acknowledged, and it is tried again in {pause:.0f} s: {why}", 0)
                self._flow.stopping.wait(pause)

    def _epoch(self) -> None:
        pipeline = beam.Pipeline(options=self._beam_options)
        build(pipeline, self._stream, EPOCH_PULLS)
        with prompt_bundles():
            pipeline.run().wait_until_finish()

    def _close(self) -> None:
        """Send what is to be acknowledged, and give the rest back."""
        if self._source is not None:
            closing, self._source = self._source, None
            subscription.forget(self._stream.config.source, PATIENCE)
            self._acknowledged += closing.acknowledged

    def _oldest(self) -> int | None:
        source = self._source
        return source.oldest if source else None

    def _away(self) -> float | None:
        source = self._source
        return source.away if source else None

    def _stop(self, why: str) -> None:
        say(f"{why}: no more messages are pulled, and those in hand are finished", 0)
        self._flow.stopping.set()
        if source := self._source:
            source.stop()

    def _watch(self, work: threading.Thread, asked: Callable[[], signal.Signals | None]) -> None:
        """Until the work is over: signals, the clock, silence, too many rejects."""
        end, limit = self._stream.config.end, self._stream.config.run.max_rejected
        begun, warned = time.monotonic(), False
        while work.is_alive():
            work.join(_TICK)
            source, flow = self._source, self._flow
            silence = source.silence if source else 0.0
            if not flow.stopping.is_set():
                if came := asked():
                    self._stop(f"{came.name} came")
                elif end.seconds is not None and time.monotonic() - begun >= end.seconds:
                    self._stop(f"{end.seconds:g} s are over")
                elif end.until_idle is not None and 0 < silence >= end.until_idle:
                    self._stop(f"no message came for {end.until_idle:g} s")
            if not warned and flow.rows >= _ENOUGH_TO_JUDGE and flow.rejected > limit * flow.rows:
                say(f"{flow.rejected:,} of {flow.rows:,} messages were rejected, more than --max_rejected={limit:g}", 0)
                warned = True


def _trace(error: Exception) -> None:
    """Show where an error came from, of those that no sentence explains: no other try will."""
    if not isinstance(explained(error), RunError) and not _OF_FILES.search(f"{type(error).__name__}: {error}"):
        _log.error("the last try ended so:", exc_info=error)
