"""What a person sees of a stream while it runs, and when it ends."""

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.text import Text

from pipelines.terminal import live, screen
from seqcls_beam.runs.flow import Flow

_SECONDS = 10.0
"""Of the past that messages by the second are counted over."""


@contextmanager
def watching(flow: Flow, oldest: Callable[[], int | None]) -> Iterator[None]:
    """Show how a stream goes until the block ends; `oldest` says when the oldest message in hand was published (µs)."""
    meter = _Meter(flow, oldest)
    with live.watching(partial(_status, meter), meter.line):
        yield


def _status(meter: "_Meter", console: Console, done: threading.Event) -> None:
    with console.status("") as shown:
        while not done.wait(0.5):
            shown.update(Text(meter.line()))


class _Meter:
    """A line of news of a flow."""

    def __init__(self, flow: Flow, oldest: Callable[[], int | None]) -> None:
        self._flow = flow
        self._oldest = oldest
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), flow.rows)])

    def line(self) -> str:
        now, flow = time.monotonic(), self._flow
        self._seen.append((now, flow.rows))
        while len(self._seen) > 2 and now - self._seen[1][0] > _SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        rate = (flow.rows - before) / (now - then) if now > then else 0.0
        waiting = self._oldest()
        age = "" if waiting is None else f", the oldest in hand {max(0.0, time.time() - waiting / 1e6):,.0f} s old"
        return (
            f"{rate:,.0f} messages/s{age}; {flow.rows - flow.rejected:,} labelled, {flow.rejected:,} rejected; "
            f"windows: {len(flow.open):,} open, {flow.sealed:,} sealed"
        )


def summary(flow: Flow, acknowledged: int, seconds: float, output: str) -> None:
    """Print what became of a stream's messages and windows."""
    facts = screen.facts()
    rate = f" in {seconds:,.0f} s ({flow.rows / seconds:,.0f}/s)" if seconds else ""
    facts.add_row("messages", f"{flow.rows - flow.rejected:,} labelled, {flow.rejected:,} rejected{rate}")
    facts.add_row("acknowledged", f"{acknowledged:,}")
    more = f", {flow.amended:,} of them amended" if flow.amended else ""
    facts.add_row("windows", f"{flow.sealed:,} sealed{more}, {len(flow.open):,} open")
    if flow.duplicates:
        facts.add_row("duplicates", f"{flow.duplicates:,} dropped")
    facts.add_row("output", Text(output))
    if flow.open:
        facts.add_row("then", Text(f"python -m pipelines.seal {shlex.quote(output)} seals the windows that are open"))
    screen.console().print(facts)
