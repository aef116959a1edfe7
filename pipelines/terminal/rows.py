"""How far the rows of a run are: how many, how fast, and what is left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn

from pipelines.terminal import live
from pipelines.terminal.screen import Text
from seqcls_beam.runs import progress

_SAID = {"labelled": ("labelling", "texts", "loading the model"), "scored": ("scoring", "rows", "reading")}
"""What is done to rows → how it is called while it lasts, what is counted by the second, and what comes before."""


@contextmanager
def watching(reader: progress.Reader, total_bytes: int, verb: str = "labelled") -> Iterator[None]:
    """Show how far a run is until the block ends, by what its workers tell.

    `verb` says what is done to rows: "labelled" or "scored".
    """
    meter = _Meter(reader, max(total_bytes, 1))
    with live.watching(partial(_bar, meter, verb), partial(_line, meter, verb)):
        yield


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rows']:,} rows  {task.fields['rate']:,.0f} {task.fields['unit']}/s")


def _bar(meter: "_Meter", verb: str, console: Console, done: threading.Event) -> None:
    during, unit, _ = _SAID[verb]
    columns = (TextColumn(during), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, rows=0, rate=0.0, unit=unit)
        while not done.wait(0.5):
            meter.read()
            bar.update(task, completed=meter.share, rows=meter.rows, rate=meter.rate)


def _line(meter: "_Meter", verb: str) -> str:
    unit, before = _SAID[verb][1:]
    meter.read()
    if not meter.rows:
        return before
    share, left = "", ""
    if meter.share:
        share = f" ({meter.share:.0%})"
        left = f", {meter.seconds * (1 - meter.share) / meter.share:,.0f} s left"
    rejected = f", {meter.rejected:,} rejected" if meter.rejected else ""
    return f"{verb} {meter.rows:,} rows{share}, {meter.rate:,.0f} {unit}/s{rejected}{left}"


class _Meter:
    """Totals of the workers, and the rate since the first rows came: loading the model is no labelling."""

    def __init__(self, reader: progress.Reader, total: int) -> None:
        self._reader = reader
        self._total = total
        self._first: tuple[float, float] | None = None
        self.rows = self.rejected = 0
        self.rate = self.seconds = self.share = 0.0

    def read(self) -> None:
        totals = self._reader.look().totals
        rows = max(totals["classified"] + totals["rejected"], totals["rows"])
        self.rows, self.rejected = int(rows), int(totals["rejected"])
        # Of the batches in hand count the rows that the model is through with.
        in_hand = totals["begun_rows"] - totals["rows"]
        through = min((rows - totals["rows"]) / in_hand, 1.0) if in_hand > 0 else 0.0
        done = totals["bytes"] + through * (totals["begun_bytes"] - totals["bytes"])
        self.share = min(max(done / self._total, 0.0), 1.0)
        if rows:
            now = time.monotonic()
            self._first = self._first or (now, rows)
            self.seconds = now - self._first[0]
            self.rate = (rows - self._first[1]) / self.seconds if self.seconds else 0.0
