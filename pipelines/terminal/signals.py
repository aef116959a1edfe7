"""How a person, or a machine, asks a command that works without an end to end."""

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines import voice


@contextmanager
def asking_to_end(
    last: str = "ended at once; what was not acknowledged comes again",
) -> Iterator[Callable[[], signal.Signals | None]]:
    """Yields what returns the signal that asked to end, once; None where none did. A second one ends the process.

    `last` is said then.
    """
    # Of all that may be locked when a signal comes, only this queue may be touched by its handler.
    asked: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    seen: list[int] = []

    def handle(number: int, _: object) -> None:
        if seen:
            os.write(2, f"{voice.line(last, logging.ERROR)}\n".encode())
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
    heeded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        heeded.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield answer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
