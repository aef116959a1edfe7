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
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from pipelines.command import LOCAL, explained, log_to_stderr, planning, say, sentence
from pipelines.options import UsageError
from pipelines.sealer import Sealer
from pipelines.terminal import screen
from pipelines.terminal import stream as terminal
from pipelines.terminal.signals import asking_to_end
from seqcls_beam import storage
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, WindowOptions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.tokens import check
from seqcls_beam.reading import subscription
from seqcls_beam.reading.formats.pieces import InputFailed
from seqcls_beam.reading.messages import MessageLayout, message_layout
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.pieces import check as check_folder
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.stream import AppendWindows, PullMessages, ReadMessages, prompt_bundles

GROUPS = {"source": SourceOptions, "windows": WindowOptions, "end": EndOptions}

EPOCH_PULLS = 2000
"""Of each puller in one pipeline: some 50 MB that Beam's local runner keeps until it is over."""
_READ = ("text_column", "text_pair_column", "id_column", "keep_columns", "batch_rows")
_RUN = ("output", "max_rejected")
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
    _refuse(given, runner, beam_options)
    config = StreamConfig(
        read=ReadOptions(input=(), **given["read"]),
        model=ModelOptions(**given["model"]),
        source=SourceOptions(**given["source"]),
        windows=WindowOptions(**given["windows"]),
        end=EndOptions(**given["end"]),
        run=RunOptions(**given["run"]),
    )
    checkpoint = resolve(config.model.model, config.model.revision, config.model.problem_type)
    check(checkpoint, config.model, pairs=config.read.text_pair_column is not None)
    layout = message_layout(config.read, config.source)
    stream = Stream(config, checkpoint, layout, storage.absolute(config.run.output), runner)
    check_folder(stream.output, config.windows.window, stream.columns, config.source)
    if checkpoint.remark:
        say(checkpoint.remark, 0)
    return stream


def _refuse(given: dict[str, dict[str, Any]], runner: str, beam_options: PipelineOptions) -> None:
    if "subscription" not in given["source"]:
        first = next(
            flag(each) for name, group in GROUPS.items() for each in option_fields(group) if each.name in given[name]
        )
        raise UsageError(f"--{first} is of a stream: it needs --subscription")
    for group, meant in (("read", _READ), ("run", _RUN)):
        for name in given[group]:
            if name not in meant:
                raise UsageError(
                    f"--{name} is of files, and --subscription reads messages: of the options of files a stream takes "
                    + ", ".join(f"--{each}" for each in meant)
                )
    if "output" not in given["run"]:
        raise UsageError("--output is missing: the folder that the windows are published into")
    if given["model"].get("dtype") == "int8":
        raise UsageError("--dtype=int8 is fitted to the first rows of a corpus, which a stream has not")
    if runner != LOCAL:
        _refuse_remote(given, runner)
        return
    direct = beam_options.view_as(DirectOptions)
    if direct.direct_running_mode != "in_memory" or direct.direct_num_workers != 1:
        raise UsageError(
            "--direct_running_mode and --direct_num_workers do nothing for a stream, which runs in one process; start "
            "the command several times, with the same --subscription and --output, and they share the messages"
        )


def _refuse_remote(given: dict[str, dict[str, Any]], runner: str) -> None:
    """Options that a runner elsewhere has no use for."""
    if given["end"]:
        raise UsageError(f"--for and --until_idle are of a stream on this machine; {runner} has its own ways to end")
    if "allowed_lateness" in given["windows"]:
        raise UsageError(
            f"--allowed_lateness is of a stream on this machine; with --runner={runner} pipelines.seal publishes the "
            "windows, up to the time that its --until says"
        )
    if "max_rejected" in given["run"]:
        raise UsageError(
            f"--max_rejected is of a stream on this machine; with --runner={runner} Beam's counters tell what was "
            "rejected"
        )
    if _dataflow(runner):
        for name in ("pullers", "max_outstanding"):
            if name in given["source"]:
                raise UsageError(f"--{name} does nothing with --runner={runner}, whose own source pulls: leave it out")


def _dataflow(runner: str) -> bool:
    return "dataflow" in runner.lower()


def build(root: beam.Pipeline, stream: Stream, pulls: int | None = None) -> None:
    """The pipeline: one fused stage from the messages to the pieces. Dataflow has a source of its own."""
    config, checkpoint = stream.config, stream.checkpoint
    source = (
        ReadMessages(config.source, stream.layout, config.read.batch_rows)
        if _dataflow(stream.runner)
        else PullMessages(config.source, stream.layout, config.read.batch_rows, pulls)
    )
    (
        root
        | source
        | Tokenize(checkpoint, config.model)
        | Classify(checkpoint, config.model)
        | AppendWindows(stream.output, config.windows.window, config.source.subscription)
    )


def run(stream: Stream, beam_options: PipelineOptions) -> int:
    """Label until the stream ends; the exit code."""
    log_to_stderr()
    with planning(), _answered():  # an extra may be missing
        source = subscription.opened(stream.config.source, pulling=False)
    if stream.runner != LOCAL:
        with _answered():
            _begin(stream, source.topic())
    if stream.runner == LOCAL:
        flows.forget(stream.config.source.subscription)  # another job's of this process
        return _Local(stream, beam_options).run()
    subscription.forget(stream.config.source, 0)
    beam_options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=beam_options) as pipeline:
        build(pipeline, stream)
    return say(f"the stream ended; python -m pipelines.seal {stream.output} publishes its windows", 0)


@contextmanager
def _answered() -> Iterator[None]:
    """What a subscription that will never answer says ends the command in its sentence."""
    try:
        yield
    except InputFailed as error:
        raise RunError(str(error)) from error


def _begin(stream: Stream, topic: str | None) -> None:
    """Make the folder one of this stream, as `prepare` does."""
    source = stream.config.source
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

    def _epochs(self) -> None:
        """Raises `RunError` where nothing is written any more."""
        failures, begun = 0, False
        while not self._flow.stopping.is_set():
            gc.collect()  # what the last pipeline leaves is full of cycles, and Python would find them much later
            before = self._flow.rows
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
                failures = 1 if self._flow.rows > before else failures + 1
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
