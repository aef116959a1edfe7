"""What a person sees of a stream while it runs, and when it ends."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console

from pipelines.terminal import live, screen
from pipelines.terminal.screen import Text
from seqcls_beam.runs.flow import Flow

_SECONDS = 10.0
"""Of the past that messages by the second are counted over."""


@contextmanager
def watching(flow: Flow, oldest: Callable[[], int | None], away: Callable[[], float | None]) -> Iterator[None]:
    """Show how a stream goes until the block ends.

    `oldest` says when the oldest message in hand was published (µs), `away` when the service was heard last (s), if it
    does not answer.
    """
    meter = _Meter(flow, oldest, away)
    with live.watching(partial(_status, meter), meter.line):
        yield


def _status(meter: "_Meter", console: Console, done: threading.Event) -> None:
    with console.status("") as shown:
        while not done.wait(0.5):
            shown.update(Text(meter.line()))


class _Meter:
    """A line of news of a flow."""

    def __init__(self, flow: Flow, oldest: Callable[[], int | None], away: Callable[[], float | None]) -> None:
        self._flow = flow
        self._oldest = oldest
        self._away = away
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), flow.rows)])

    def line(self) -> str:
        now, flow, heard = time.monotonic(), self._flow, self._away()
        self._seen.append((now, flow.rows))
        while len(self._seen) > 2 and now - self._seen[1][0] > _SECONDS:
            self._seen.popleft()
        waiting = self._oldest()
        if heard is None and waiting is None and not (flow.rows or flow.open or _told(flow)):
            return "waiting for messages: none has come yet"
        then, before = self._seen[0]
        rate = (flow.rows - before) / (now - then) if now > then else 0.0
        away = "" if heard is None else f", Pub/Sub away since {time.strftime('%H:%M:%SZ', time.gmtime(heard))}"
        age = "" if waiting is None else f", the oldest in hand {max(0.0, time.time() - waiting / 1e6):,.0f} s old"
        return (
            f"{rate:,.0f} messages/s{age}{away}; {flow.rows - flow.rejected:,} labelled, {flow.rejected:,} rejected; "
            f"{_told(flow, '; ')}windows: {len(flow.open):,} open, {_sealed(flow)}"
        )


def _sealed(flow: Flow) -> str:
    more = f", {flow.amendments:,} amendment{'s'[: flow.amendments != 1]}" if flow.amendments else ""
    return f"{flow.sealed:,} sealed{more}"


def _told(flow: Flow, end: str = "") -> str:
    """What topics have; nothing where none have anything."""
    if not flow.sent + flow.dead_lettered + flow.too_large:
        return ""
    large = f", {flow.too_large:,} too large" if flow.too_large else ""
    return f"{flow.sent:,} published, {flow.dead_lettered:,} to the dead letters{large}{end}"


@contextmanager
def once() -> Iterator[None]:
    """Leave it to the stream to tell of a bundle that fails: Beam logs what it raises then, with a traceback."""
    beam = logging.getLogger("apache_beam.runners.common")
    beam.addFilter(_raised)
    try:
        yield
    finally:
        beam.removeFilter(_raised)


def _raised(record: logging.LogRecord) -> bool:
    return record.exc_info is None


def unknown(subscription: str, topic: str | None, output: str) -> str:
    """A warning: it is not known whether all messages in a folder are of one topic."""
    of = topic or "a topic that is deleted, or that this account may not see (it lacks pubsub.subscriptions.get)"
    return (
        f"{subscription} is of {of}, and whether all messages in {output} are of it is not known: two topics may give "
        "two messages one id, and one of them would be dropped as a copy; so let no other topic in"
    )


def summary(flow: Flow, acknowledged: int, seconds: float, output: str) -> None:
    """Print what became of a stream's messages and windows."""
    facts = screen.facts()
    rate = f" in {seconds:,.0f} s ({flow.rows / seconds:,.0f}/s)" if seconds else ""
    facts.add_row("messages", f"{flow.rows - flow.rejected:,} labelled, {flow.rejected:,} rejected{rate}")
    if told := _told(flow):
        facts.add_row("topics", told)
    facts.add_row("acknowledged", f"{acknowledged:,}")
    facts.add_row("windows", f"{_sealed(flow)}, {len(flow.open):,} open")
    if flow.duplicates:
        facts.add_row("duplicates", f"{flow.duplicates:,} dropped")
    facts.add_row("output", Text(output))
    screen.console().print(facts)
    if flow.open:
        screen.then(f"python -m pipelines.seal {screen.quoted(output)} seals the windows that are open")
    elif flow.sealed:
        screen.then_read(output)
