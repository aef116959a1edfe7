"""A stream whose work is done by this process: epochs, pipelines of some thousand pulls, one after the other.

Beam's local runner keeps some memory for every bundle that it ran, and Prism runs no bundle again that failed. What
outlives an epoch, the model, the client of the subscription and the flow, belongs to the process. Beside them a thread
seals the windows that are over.
"""

import gc
import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import outcome
from pipelines.command import say, warn
from pipelines.failures import explained, sentence
from pipelines.prism import prism_of_its_own
from pipelines.quiet import quiet_threads
from pipelines.runners import is_prism
from pipelines.sealer import Sealer
from pipelines.stream_graph import Stream, begin, build
from pipelines.terminal import stream as terminal
from pipelines.terminal.signals import asking_to_end
from seqcls_beam import storage
from seqcls_beam.reading import clients
from seqcls_beam.reading.subscription import Subscription
from seqcls_beam.runs import flow as flows
from seqcls_beam.runs import publisher
from seqcls_beam.runs.flow import Flow
from seqcls_beam.runs.run import RunError
from seqcls_beam.transforms.overlap import forget_model
from seqcls_beam.transforms.stream import prompt_bundles

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


class Epochs:
    """A stream in this process."""

    def __init__(self, stream: Stream, beam_options: PipelineOptions) -> None:
        self._stream = stream
        self._beam_options = beam_options
        self._flow = flows.flow_of(stream.config.source.subscription)
        self._source: Subscription | None = None
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._acknowledged = 0

    def run(self) -> int:
        """Epoch after epoch, then what is left to do."""
        begun = time.monotonic()
        quiet_threads()
        config = self._stream.config
        texts = bool(config.run.report_texts)
        seals = Sealer(self._flow, self._stream.output, config.windows, texts, self._stream.platforms)
        # Signals are handled by the main thread, which so must never be long in a forward pass.
        work = threading.Thread(target=self._work, daemon=True)
        sealer = threading.Thread(target=seals.until, args=(self._over,), daemon=True)
        with asking_to_end() as asked:
            try:
                with terminal.once(), terminal.watching(self._flow, self._oldest, self._away):
                    work.start()
                    sealer.start()
                    self._watch(work, asked)
                    self._over.set()
                    sealer.join()
                    seals.last()
            finally:
                terminal.summary(self._flow, self._acknowledged, time.monotonic() - begun, self._stream.output)
                outcome.add(stream=_facts(self._flow, self._acknowledged, self._stream.output))
            seals.report()
            seals.tell()
        if self._failure is not None:
            raise self._failure
        return 0

    def _work(self) -> None:
        for each in (self._epochs, self._close, publisher.close_all, self._forget):
            try:
                each()
            except Exception as error:
                self._failure = self._failure or error

    def _forget(self) -> None:
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
                self._source = clients.opened(self._stream.config.source, pulling=False)
                # Whoever stops it sets the flow first, and then looks for a source to stop.
                topic = None if self._flow.stopping.is_set() else self._source.topic()
                if self._flow.stopping.is_set():
                    return
                if not begun:
                    begin(self._stream, topic)
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
                    warn(f"the messages in hand are not acknowledged, and come again: {why}")
                    return
                if failures == _FAILURES:
                    raise RunError(f"{failures} tries in a row labelled no message: {why}") from error
                pause = 2.0 ** (failures - 1)
                warn(f"nothing of this is acknowledged, and it is tried again in {pause:.0f} s: {why}")
                self._flow.stopping.wait(pause)

    def _epoch(self) -> None:
        alone = prism_of_its_own if is_prism(self._stream.runner) else nullcontext
        with alone(self._beam_options) as options, prompt_bundles():
            pipeline = beam.Pipeline(options=options)
            build(pipeline, self._stream, EPOCH_PULLS)
            pipeline.run().wait_until_finish()

    def _close(self) -> None:
        """Send what is to be acknowledged, and give the rest back."""
        if self._source is not None:
            closing, self._source = self._source, None
            clients.forget(self._stream.config.source, PATIENCE)
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
                warn(f"{flow.rejected:,} of {flow.rows:,} messages were rejected, more than --max_rejected={limit:g}")
                warned = True


def _facts(flow: Flow, acknowledged: int, output: str) -> dict[str, Any]:
    """What programs are told of a stream."""
    return {
        "output": storage.without_password(output),
        "labeled": flow.rows - flow.rejected,
        "rejected": flow.rejected,
        "duplicates": flow.duplicates,
        "acknowledged": acknowledged,
        "windows_sealed": flow.sealed,
        "windows_open": len(flow.open),
    }


def _trace(error: Exception) -> None:
    """Show where an error came from, of those that no sentence explains: no other try will."""
    if not isinstance(explained(error), RunError) and not _OF_FILES.search(f"{type(error).__name__}: {error}"):
        _log.error("the last try ended so:", exc_info=error)
