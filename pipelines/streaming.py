"""The stream half of `pipelines.classify`: messages of a subscription → windows, until it is told to end.

On this machine a stream is a sequence of epochs: pipelines of some thousand pulls, one after the other in one process,
since Beam's local runner keeps some memory for every bundle that it ran. What outlives them, the model, the client of
the subscription and the flow, belongs to the process. Beside them a thread seals the windows that are over. Other
runners get one pipeline without an end, and windows are sealed by `pipelines.seal`.
"""

import gc
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from pipelines.command import LOCAL, explained, log_to_stderr, say
from pipelines.options import UsageError
from pipelines.terminal import stream as terminal
from seqcls_beam import storage
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.classify import RunOptions
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.config.stream import EndOptions, SourceOptions, StreamConfig, WindowOptions
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.tokens import check
from seqcls_beam.reading import subscription
from seqcls_beam.reading.messages import MessageLayout, message_layout
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs.pieces import prepare
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.sealing import seal
from seqcls_beam.schema import labeled
from seqcls_beam.transforms import Classify, Tokenize
from seqcls_beam.transforms.stream import AppendWindows, PullMessages, ReadMessages

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
_HOPELESS = re.compile(r"^(?:[\w.]*\.)?(?:EngineError|CheckpointError|InputFailed): ", re.MULTILINE)
"""What no later try mends, as it stands in a worker's traceback."""


@dataclass(frozen=True)
class Stream:
    """All that is known of a stream before it starts."""

    config: StreamConfig
    checkpoint: Checkpoint
    layout: MessageLayout
    output: str
    runner: str


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
    output = storage.absolute(config.run.output)
    prepare(output, config.windows.window, labeled(layout.keep, checkpoint.problem == "multi_label", streamed=True))
    if checkpoint.remark:
        say(checkpoint.remark, 0)
    return Stream(config, checkpoint, layout, output, runner)


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
    if runner != LOCAL and given["end"]:
        raise UsageError(f"--for and --until_idle are of a stream on this machine; {runner} has its own ways to end")
    mode = beam_options.view_as(DirectOptions).direct_running_mode
    if runner == LOCAL and mode != "in_memory":
        raise UsageError(
            f"--direct_running_mode={mode}: a stream runs in one process; start the command several times, with the "
            "same --subscription and --output, and they share the messages"
        )


def build(root: beam.Pipeline, stream: Stream, pulls: int | None = None) -> None:
    """The pipeline: one fused stage from the messages to the pieces. Dataflow has a source of its own."""
    config, checkpoint = stream.config, stream.checkpoint
    source = (
        ReadMessages(config.source, stream.layout, config.read.batch_rows)
        if "dataflow" in stream.runner.lower()
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
    if stream.runner == LOCAL:
        return _Local(stream, beam_options).run()
    beam_options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=beam_options) as pipeline:
        build(pipeline, stream)
    return say(f"the stream ended; python -m pipelines.seal {stream.output} publishes its windows", 0)


class _Local:
    """A stream in this process."""

    def __init__(self, stream: Stream, beam_options: PipelineOptions) -> None:
        self._stream = stream
        self._beam_options = beam_options
        self._name = stream.config.source.subscription
        flows.forget(self._name)
        self._flow = flows.flow_of(self._name)
        self._source: subscription.Subscription | None = None
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._acknowledged = 0
        self._told: dict[str, str] = {}  # window → why it could not be sealed

    def run(self) -> int:
        """Epoch after epoch, then what is left to do."""
        begun = time.monotonic()
        # Signals are handled by the main thread, which so must never be long in a forward pass.
        work = threading.Thread(target=self._work, daemon=True)
        sealer = threading.Thread(target=self._seal_on, daemon=True)
        try:
            with _signals() as asked, terminal.watching(self._flow, self._oldest):
                work.start()
                sealer.start()
                self._watch(work, asked)
                self._over.set()
                sealer.join()
                self._seal()
        finally:
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
        failures = 0
        while not self._flow.stopping.is_set():
            gc.collect()  # what the last pipeline leaves is full of cycles, and Python would find them much later
            before = self._flow.rows
            try:
                self._source = subscription.opened(self._stream.config.source)
                if self._flow.stopping.is_set():
                    return
                self._epoch()
                failures = 0
            except Exception as error:
                self._close()
                failures = 1 if self._flow.rows > before else failures + 1
                if _HOPELESS.search(f"{type(error).__name__}: {error}"):
                    raise explained(error) from error
                why = _sentence(error)
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

    def _stop(self, why: str) -> None:
        say(f"{why}: no more messages are pulled, and those in hand are finished", 0)
        self._flow.stopping.set()
        if source := self._source:
            source.stop()

    def _watch(self, work: threading.Thread, asked: Callable[[], signal.Signals | None]) -> None:
        """Until the work is over: signals, the clock, silence, too many rejects."""
        end, limit = self._stream.config.end, self._stream.config.run.max_rejected
        begun = moved = time.monotonic()
        pulled, warned = 0, False
        while work.is_alive():
            work.join(_TICK)
            now, source, flow = time.monotonic(), self._source, self._flow
            if not flow.stopping.is_set():
                if source is None or source.outstanding or source.pulled != pulled:
                    moved, pulled = now, source.pulled if source else 0
                if came := asked():
                    self._stop(f"{came.name} came")
                elif end.seconds is not None and now - begun >= end.seconds:
                    self._stop(f"{end.seconds:g} s are over")
                elif end.until_idle is not None and now - moved >= end.until_idle:
                    self._stop(f"no message came for {end.until_idle:g} s")
            many = flow.rows >= _ENOUGH_TO_JUDGE and flow.rejected > limit * flow.rows
            if many and not warned:
                say(f"{flow.rejected:,} of {flow.rows:,} messages were rejected, more than --max_rejected={limit:g}", 0)
            warned = many

    def _seal_on(self) -> None:
        """Until the stream is over: windows that are."""
        while not self._over.wait(max(1.0, min(30.0, self._stream.config.windows.window / 10))):
            self._seal()

    def _seal(self) -> None:
        """Publish the windows that are over. One that cannot be is told, and is tried again with the next ones."""
        reached = self._flow.watermark
        if reached is None:
            return
        since = time.monotonic()
        try:
            for each in seal(self._stream.output, reached - self._stream.config.windows.allowed_lateness * 1_000_000):
                if each.fault is None:
                    self._flow.published(each, since)
                else:
                    self._tell(each.window, each.fault)
        except Exception as error:
            self._tell("windows that are over", _sentence(error))

    def _tell(self, what: str, fault: str) -> None:
        if self._told.get(what) != fault:
            self._told[what] = fault
            say(f"{what} could not be sealed, which is tried again: {fault}", 0)


@contextmanager
def _signals() -> Iterator[Callable[[], signal.Signals | None]]:
    """Yields what returns the signal that asked to end, once; None where none did. A second one ends the process."""
    # Of all that may be locked when a signal comes, only this queue may be touched by its handler.
    asked: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    seen: list[int] = []

    def handle(number: int, _: object) -> None:
        if seen:
            os.write(2, b"seqcls_beam: ended at once; what was not acknowledged comes again\n")
            os._exit(128 + number)
        seen.append(number)
        asked.put(signal.Signals(number))

    def answer() -> signal.Signals | None:
        try:
            return asked.get_nowait()
        except queue.Empty:
            return None

    if threading.current_thread() is not threading.main_thread():
        yield answer
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield answer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sentence(error: Exception) -> str:
    """What is told of an error: a sentence where it has one, else the last line of its traceback."""
    told = explained(error)
    if isinstance(told, RunError):
        return str(told)
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"
