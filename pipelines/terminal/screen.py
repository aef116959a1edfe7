"""The screen that all commands print on, and the list of facts that each begins with."""

import os
import sys
from typing import Any

from rich.console import Console, OverflowMethod
from rich.table import Table


class NotShown(Exception):
    """The standard output is closed, or full."""


class _Screen(Console):
    def print(self, *objects: Any, **how: Any) -> None:
        """As of any console. Raises `NotShown`."""
        try:
            super().print(*objects, **how)
        except OSError as error:
            # What is left in Python's buffer would be tried again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise NotShown(error.strerror or str(error)) from error

    def on_broken_pipe(self) -> None:
        """Leave what rich is handling to `print`; it would end the process without a word."""
        raise


def console() -> Console:
    """The standard output: as wide as a terminal is, and 120 columns where it goes into a file."""
    return _Screen(width=None if sys.stdout is not None and sys.stdout.isatty() else 120)


def facts(overflow: OverflowMethod = "ellipsis") -> Table:
    """An empty list of facts, a bold name and what is said of it in each row; `overflow` is for words too long."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow=overflow)
    return table
