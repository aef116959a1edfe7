"""Sealing beside a stream in one process: the windows that are over, now and then, and all of them at the end."""

import shlex
import threading
import time
from collections.abc import Mapping

from pipelines.announcing import Windows
from pipelines.command import say, warn
from pipelines.failures import sentence
from pipelines.reporting import report_days
from seqcls_beam import storage
from seqcls_beam.config.stream import WindowOptions
from seqcls_beam.runs import pieces, windows
from seqcls_beam.runs.flow import Flow
from seqcls_beam.runs.sealing import due, seal
from seqcls_beam.runs.store import store_of

_MANY = 10
"""Windows that are sealed at the end without a word."""
_NEWS_SECONDS = 5.0
_PAGES_SECONDS = 600.0
_LAST_SECONDS = 10.0
"""For what platforms are told at the end."""
_DAY = 86_400 * windows.SECOND
_ALL = "windows that are over"


class Sealer:
    """Publishes windows of a stream's folder, and tells its flow."""

    def __init__(
        self,
        flow: Flow,
        output: str,
        options: WindowOptions,
        texts: bool = True,
        platforms: Mapping[str, str] | None = None,
    ) -> None:
        self._flow = flow
        self._output = output
        self._options = options
        self._texts = texts  # whether pages show some
        self._sealed: set[str] = set()  # windows that the page of their day does not know of
        self._platforms = platforms or {}  # that are told of them, and where
        self._untold = Windows(output, self._platforms)
        self._pages = 0.0  # when one may be written again
        self._told: dict[str, str] = {}  # window → why it could not be sealed

    def until(self, over: threading.Event) -> None:
        """Look again and again until a stream is over; then what is left is for `last`.

        A window is amended at most once in its own length, or a clock that is years behind would have one amended at
        every look, each time with all parts that it has.
        """
        pause = max(1.0, min(30.0, self._options.window / 10))
        while True:
            self._look(over)
            if over.wait(pause):
                return

    def last(self) -> None:
        """Seal what is over, and say how far it is where that takes a while."""
        self._look(None)

    def report(self) -> None:
        """Write the pages of the days that windows were sealed of, and say where they are."""
        report_days(self._output, self._sealed, self._texts)

    def tell(self) -> None:
        """Tell platforms of the windows that they were not told of; who ends waits some seconds for that."""
        until = time.monotonic() + _LAST_SECONDS
        self._untold.tell(lambda: time.monotonic() >= until)
        self._untold.last()

    def _report_over(self, until: int) -> None:
        """Write the pages of days that are over by `until`; seldom, however fast days go by in messages of long ago."""
        over = {each for each in self._sealed if (windows.bounds(each, 0)[0] // _DAY + 1) * _DAY <= until}
        if over and time.monotonic() >= self._pages:
            self._sealed -= over
            report_days(self._output, over, self._texts, tell=False)
            self._pages = time.monotonic() + _PAGES_SECONDS

    def _look(self, over: threading.Event | None) -> None:
        """One that cannot be sealed is told of, and is tried again by the next look."""
        self._flow.looking()
        try:
            if (reached := self._flow.watermark) is not None:
                until = reached - self._options.allowed_lateness * windows.SECOND
                self._seal(until, over)
                if over is not None and not over.is_set():
                    self._report_over(until)
            store = store_of(storage.absolute(self._output))
            self._flow.left(pieces.listed(store))
            self._told.pop(_ALL, None)
        except Exception as error:
            self._tell(_ALL, sentence(error))
        if over is not None:
            self._untold.tell(over.is_set)

    def _seal(self, until: int, over: threading.Event | None) -> None:
        whole, news = 0, time.monotonic() + _NEWS_SECONDS
        if over is None and (whole := len(due(self._output, until))) > _MANY:
            say(
                f"{whole:,} windows that are over are sealed; a second signal ends at once, and "
                f"python -m pipelines.seal {shlex.quote(self._output)} seals the rest",
                0,
            )
        patience = 0.0 if over is None else self._options.window
        for number, each in enumerate(seal(self._output, until, patience, self._platforms), 1):
            if each.fault is None:
                self._flow.published(each)
                if each.version is not None:
                    self._sealed.add(each.window)
                    self._untold.sealed(each.window, each.platforms)
                self._told.pop(each.window, None)
            else:
                self._tell(each.window, each.fault)
            if over is not None and over.is_set():
                return
            if whole > _MANY and time.monotonic() >= news:
                say(f"{number:,} of {whole:,} windows are sealed", 0)
                news = time.monotonic() + _NEWS_SECONDS

    def _tell(self, what: str, fault: str) -> None:
        if self._told.get(what) != fault:
            self._told[what] = fault
            warn(f"{what} could not be sealed, which is tried again: {fault}")
