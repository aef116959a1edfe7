"""The screen that all commands print on, and the list of facts that each begins with."""

import sys
from collections.abc import Iterable
from typing import Any

import rich.text
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.table import Table

from seqcls_beam.signs import one_line, shown


class Text(rich.text.Text):
    """Names of anybody, such as labels, ids and folders: no markup, and every sign can be seen."""

    def __init__(self, text: str = "", style: str | Style = "") -> None:
        super().__init__(shown(text, name=True), style)


class _Safe(Console):
    """A console that acts on nothing that it shows. Strings are no markup."""

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> rich.text.Text:
        """As of any console."""
        return super().render_str(shown(text, name=True, keep="\n"), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console; what comes here by a way that no one thought of is shown all the same."""
        for each in super().render(renderable, options):
            yield each if each.control else Segment(shown(each.text, keep="\n"), each.style)


def console() -> Console:
    """The standard output: as wide as a terminal is, and 120 columns where it goes into a file."""
    return _Safe(width=None if sys.stdout is not None and sys.stdout.isatty() else 120)


def prose(text: str) -> rich.text.Text:
    """A text of anybody, on one line; what joins its letters does so."""
    return Text().append(one_line(text))


def aside() -> Console:
    """The standard error, as wide as `console`."""
    return _Safe(stderr=True, width=None if sys.stderr is not None and sys.stderr.isatty() else 120)


def news() -> Console:
    """The standard error, for what changes while it is looked at."""
    return _Safe(stderr=True)


def facts(overflow: OverflowMethod = "ellipsis") -> Table:
    """An empty list of facts, a bold name and what is said of it in each row; `overflow` is for words too long."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow=overflow)
    return table
