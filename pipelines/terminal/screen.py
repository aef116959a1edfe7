"""The screen that all commands print on, and the list of facts that each begins with."""

import sys

from rich.console import Console, OverflowMethod
from rich.table import Table


def console() -> Console:
    """The standard output: as wide as a terminal is, and 120 columns where it goes into a file."""
    return Console(width=None if sys.stdout.isatty() else 120)


def facts(overflow: OverflowMethod = "ellipsis") -> Table:
    """An empty list of facts, a bold name and what is said of it in each row; `overflow` is for words too long."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow=overflow)
    return table
