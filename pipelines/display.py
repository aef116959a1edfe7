"""What a person sees: the live line while a run works, and the table when it is done."""

import logging
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from seqcls_beam.runs import progress
from seqcls_beam.runs.manifest import first_rows

EXPECTED = re.compile(
    r"^(?:[\w.]*\.)?(?:RunError|CheckpointError|EngineError|InputChanged): (.*?)(?: \[while running '.*'\])?$",
    re.MULTILINE,
)
"""The last line of a worker's traceback, where it ends in an error that speaks to the user."""

PLAIN_SECONDS = 10.0
"""Between two lines of progress where the output is not a terminal."""


def log_to_stderr() -> None:
    """Show warnings, but not what a worker logs of an error that the command itself will say in a sentence."""
    logging.basicConfig()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_unexpected)


def _unexpected(record: logging.LogRecord) -> bool:
    return not EXPECTED.search(logging.Formatter().format(record))


_SAID = {"labelled": ("labelling", "texts", "loading the model"), "scored": ("scoring", "rows", "reading")}
"""What is done to rows → how it is called while it lasts, what is counted by the second, and what comes before."""


@contextmanager
def watching(total_bytes: int, verb: str = "labelled") -> Iterator[str]:
    """Show how far a run is until the block ends; yields the folder that workers of this machine report to.

    `verb` says what is done to rows: "labelled" or "scored".
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="seqcls_beam-") as folder:
        done = threading.Event()
        show = _live if console.is_terminal else _plain
        thread = threading.Thread(target=show, args=(console, folder, max(total_bytes, 1), done, verb), daemon=True)
        thread.start()
        try:
            yield folder
        finally:
            done.set()
            thread.join()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rows']:,} rows  {task.fields['rate']:,.0f} {task.fields['unit']}/s")


def _live(console: Console, folder: str, total: int, done: threading.Event, verb: str) -> None:
    during, unit, _ = _SAID[verb]
    columns = (TextColumn(during), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), _Rate())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, rows=0, rate=0.0, unit=unit)
        meter = _Meter(folder, total)
        while not done.wait(0.5):
            meter.read()
            bar.update(task, completed=meter.share, rows=meter.rows, rate=meter.rate)


def _plain(_: Console, folder: str, total: int, done: threading.Event, verb: str) -> None:
    unit, before = _SAID[verb][1:]
    meter = _Meter(folder, total)
    while not done.wait(PLAIN_SECONDS):
        meter.read()
        share, left = "", ""
        if meter.share:
            share = f" ({meter.share:.0%})"
            left = f", {meter.seconds * (1 - meter.share) / meter.share:,.0f} s left"
        rejected = f", {meter.rejected:,} rejected" if meter.rejected else ""
        line = f"{verb} {meter.rows:,} rows{share}, {meter.rate:,.0f} {unit}/s{rejected}{left}"
        print(line if meter.rows else before, file=sys.stderr, flush=True)


class _Meter:
    """Totals of the workers, and the rate since the first rows came: loading the model is no labelling."""

    def __init__(self, folder: str, total: int) -> None:
        self._folder = folder
        self._total = total
        self._first: tuple[float, float] | None = None
        self.rows = self.rejected = 0
        self.rate = self.seconds = self.share = 0.0

    def read(self) -> None:
        totals = progress.totals(self._folder)
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


def summary(output: str, manifest: dict[str, Any], rows: int = 5) -> None:
    """Print what a published run made, and its first rows."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    counts = manifest["rows"]
    # Names of labels, columns and folders may look like markup: everything of the user's is wrapped in Text.
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column()
    facts.add_row("rows", f"{counts['in']:,} in, {counts['labeled']:,} labelled, {counts['rejected']:,} rejected")
    labelled = sorted(manifest["label_counts"].items(), key=lambda item: -item[1])
    more = f", … ({len(labelled)} labels)" if len(labelled) > 8 else ""
    facts.add_row("labels", Text(", ".join(f"{name} {count:,}" for name, count in labelled[:8]) + more))
    if counts["rejected"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in counts["rejected_by_reason"].items())
        facts.add_row("rejects", reasons)
    if manifest["truncated_rows"]:
        facts.add_row("truncated", f"{manifest['truncated_rows']:,} (texts longer than the model reads)")
    seconds = manifest["seconds"]
    busy = sum(seconds.get(stage, 0.0) for stage in ("read", "tokenize", "classify", "write"))
    if busy:
        stages = ", ".join(f"{stage} {seconds[stage]:.1f} s" for stage in ("read", "tokenize", "classify", "write"))
        facts.add_row("speed", f"{counts['in'] / busy:,.0f} texts/s per worker ({stages})")
    parts = len(manifest["parts"])
    facts.add_row("output", Text(f"{output}/labels ({parts:,} part{'s'[: parts != 1]})"))
    console.print(facts)
    _show_rows(console, output, rows)


def _show_rows(console: Console, output: str, rows: int) -> None:
    head = first_rows(output, rows)
    if not head.num_rows:
        return
    names = [name for name in head.column_names if name not in ("tokens", "truncated")]
    cells = [[_cell(row[name]) for name in names] for row in head.to_pylist()]
    widths = {name: max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)}
    said = {"label", "labels", "score", "scores"} & set(names)
    shown_widths = {name: min(widths[name], 30) for name in said}
    # The kept columns share what the answers leave; a narrow one leaves its share to the others.
    room = console.width - 1 - 3 * len(names) - sum(shown_widths.values())
    kept = sorted(set(names) - said, key=widths.__getitem__)
    for i, name in enumerate(kept):
        shown_widths[name] = min(widths[name], max(8, room // (len(kept) - i)), 60)
        room -= shown_widths[name]
    shown = Table()
    for name in names:
        shown.add_column(Text(name), no_wrap=True, overflow="ellipsis", max_width=shown_widths[name])
    for row in cells:
        shown.add_row(*map(Text, row))
    console.print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        shown = " ".join(_cell(each) for each in value[:6])
        return shown + (" …" if len(value) > 6 else "")
    return "" if value is None else str(value).replace("\n", " ")


def probabilities(texts: list[str], labels: tuple[str, ...], scores: Any) -> None:
    """Print the probability of every label of a few texts."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table()
    table.add_column("text", max_width=60)
    for label in labels:
        table.add_column(Text(label), justify="right")
    for text, row in zip(texts, scores, strict=True):
        table.add_row(Text(text), *(f"{score:.3f}" for score in row))
    console.print(table)
