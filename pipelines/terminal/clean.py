"""What a person sees of what an output folder has that no version names."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich import filesize

from pipelines.terminal import live, screen
from pipelines.terminal.screen import Table, Text
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
    return live.counted(removed, total, "removed")


def _time(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"
