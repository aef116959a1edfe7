"""Ending a run in which a step hangs: what its workers tell stands still for longer than it may."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipelines.command import say
from pipelines.interrupts import wake
from seqcls_beam.runs.progress import Reader, Seen

_LAST_SECONDS = 60.0
"""That a run has to end once it was told to, before its process is ended."""


class Hanging:
    """Whether a run stands still, by the clock of who looks."""

    def __init__(self, reader: Reader | None, seconds: float, waits: bool = False) -> None:
        """Without a reader nobody tells anything; a service's job `waits` for its machines as long as that takes."""
        self._reader = reader
        self._waits = waits
        self._seconds = seconds
        self._of_all: tuple[Any, float] = (None, time.monotonic())
        self._of_each: dict[str, tuple[Any, float]] = {}

    def look(self) -> str | None:
        """The sentence to end with, or None; to be asked now and then."""
        seen, now = self._reader.look() if self._reader is not None else Seen(), time.monotonic()
        if self._of_all[0] != seen or (self._waits and seen == Seen()):
            self._of_all = seen, now
        self._of_each = {
            task: (signs, self._of_each[task][1] if self._of_each.get(task, (None,))[0] == signs else now)
            for task, signs in seen.hand.items()
            # What only dead processes have in hand waits for another, until all others are through with theirs.
            if any(process not in seen.silent for process, _ in signs)
        }
        limit = f"for {self._seconds:g} s (--step_timeout)"
        for task, (_, since) in self._of_each.items():
            if now - since >= self._seconds:
                return f"{_named(task, seen)} gave no sign of life {limit}"
        if now - self._of_all[1] >= self._seconds:
            left = f"; {_named(min(seen.hand), seen)} was not done" if seen.hand else ""
            return f"no worker gave a sign of life {limit}{left}"
        return None


def _named(task: str, seen: Seen) -> str:
    return f"{task} ({of})" if (of := seen.of.get(task)) else task


class Watch:
    """Looks at a run until it is over, and ends it where it hangs."""

    def __init__(self, hanging: Hanging | None, seconds: float) -> None:
        self._hanging = hanging
        self._pause = min(5.0, max(seconds / 8, 0.1))
        self._over = threading.Event()
        self._waking = threading.Lock()
        self.cancel: Callable[[], None] | None = None  # how the engine is told to end the job, once it has one
        self.hung: str | None = None

    def run(self) -> None:
        """Until the run is over, or hangs."""
        while self._hanging is not None and not self._over.wait(self._pause):
            said = self._hanging.look()
            if said is not None and not self._over.is_set():  # a look may take a while
                self.hung = said
                self._end()
                return

    def over(self) -> None:
        """The run is; from now on nobody is woken."""
        self._over.set()
        with self._waking:  # whoever is about to wake has done so, and the main thread waits for it here
            pass

    def _end(self) -> None:
        if self.cancel is not None:
            with suppress(Exception):  # whatever the engine says to that, the run is over
                self.cancel()
            if self._over.wait(_LAST_SECONDS):
                return
        # An engine in this process has no way to be told, and the thread that waits for it is the one to wake.
        with self._waking:
            if self._over.is_set():
                return
            wake()
        if not self._over.wait(_LAST_SECONDS):
            say(f"{self.hung}: the process is ended; start it again, and it goes on from what is done", 1)
            os._exit(1)


@contextmanager
def watched(reader: Reader | None, seconds: float, waits: bool = False) -> Iterator[Watch]:
    """Watch a run until the block ends; `seconds` is the longest it may stand still, 0 for ever.

    Without a `reader` it is the longest that all of it may take. A service's job `waits` for its machines before.
    """
    watch = Watch(Hanging(reader, seconds, waits) if seconds else None, seconds)
    thread = threading.Thread(target=watch.run, name="hanging", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.over()
        if watch.hung is None:
            thread.join()
