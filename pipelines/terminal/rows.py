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
        fields = task.fields
        if not fields["rows"]:
            return Text(fields["before"])
        rate = f"  {fields['rate']:,.0f} {fields['unit']}/s" if fields["rate"] else ""
        return Text(f"{fields['rows']:,} rows{rate}")


def _bar(meter: "_Meter", verb: str, console: Console, done: threading.Event) -> None:
    during, unit, before = _SAID[verb]
    columns = (TextColumn(during), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, rows=0, rate=0.0, unit=unit, before=before)
        while not done.wait(0.5):
            meter.read()
            bar.update(task, completed=meter.share, rows=meter.rows, rate=meter.rate)


def _line(meter: "_Meter", verb: str) -> str:
    unit, before = _SAID[verb][1:]
    meter.read()
    if not meter.rows:
        return before
    said = [f"{verb} {meter.rows:,} rows" + (f" ({meter.share:.0%})" if meter.share else "")]
    said += [f"{meter.rate:,.0f} {unit}/s"] if meter.rate else []
    said += [f"{meter.rejected:,} rejected"] if meter.rejected else []
    said += [f"{meter.left:,.0f} s left"] if meter.left else []
    return ", ".join(said)


class _Meter:
    """Totals of the workers, and the rate since the first rows came: loading the model is no labelling."""

    def __init__(self, reader: progress.Reader, total: int) -> None:
        self._reader = reader
        self._total = total
        self._first: tuple[float, float, float] | None = None
        self.rows = self.rejected = 0
        self.rate = self.share = self.left = 0.0  # 0 also of what is not known yet

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
            self._first = self._first or (now, rows, self.share)
            then, before, share = self._first
            self.rate = (rows - before) / (now - then) if now > then else 0.0
            self.left = (now - then) * (1 - self.share) / (self.share - share) if self.share > share else 0.0
