"""What a person sees of what an output folder has that no version names."""

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TypeVar

from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipelines.terminal import live, screen
from seqcls_beam.runs.cleaning import Leftover

Removed = TypeVar("Removed")

SHOWN = 50


def listed(found: list[Leftover]) -> None:
    """Print what was found, a row each: the first of many, and the sum of all."""
    console = screen.console()
    table = Table()
    for name in ("what", "why", "files", "size", "idle"):
        table.add_column(name, justify="right" if name in ("files", "size", "idle") else "left", overflow="fold")
    for each in found[:SHOWN]:
        idle = "" if each.idle is None else _time(each.idle)
        table.add_row(Text(each.name), each.why, f"{each.files:,}", filesize.decimal(each.bytes), idle)
    console.print(table)
    if len(found) > SHOWN:
        console.print(f"… and {len(found) - SHOWN:,} more")
    gone = [each for each in found if each.removable]
    console.print(f"to remove: {len(gone):,} of {len(found):,}, {filesize.decimal(sum(each.bytes for each in gone))}")


def watching(removed: Iterable[Removed], total: int) -> Iterator[Removed]:
    """Hand on what is removed, and show how far that is."""
    so_far = [0]
    with live.watching(partial(_bar, so_far, total), partial(_line, so_far, total)):
        for each in removed:
            so_far[0] += 1
            yield each


def _bar(so_far: list[int], total: int, console: Console, done: threading.Event) -> None:
    with Progress(
        TextColumn("removing"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        while not done.wait(0.5):
            bar.update(task, completed=so_far[0])


def _line(so_far: list[int], total: int) -> str:
    return f"removed {so_far[0]:,} of {total:,}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"
