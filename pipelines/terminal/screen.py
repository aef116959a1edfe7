"""The screen that all commands print on, and the list of facts that each begins with."""

import re
import shlex
import sys
from collections.abc import Iterable
from typing import Any

import rich.table
import rich.text
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style

from pipelines import voice
from pipelines.called import as_called
from seqcls_beam import storage
from seqcls_beam.signs import one_line, shown


class Text(rich.text.Text):
    """Names of anybody, such as labels, ids and folders: no markup, and every sign can be seen."""

    def __init__(self, text: str = "", style: str | Style = "") -> None:
        super().__init__(shown(text, name=True), style)


class Table(rich.table.Table):
    """A table with lines around its cells where somebody looks at it, and aligned columns alone in a file or a pipe."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As of any table."""
        if not options.is_terminal:
            self.box, self.pad_edge = None, False
        yield from super().__rich_console__(console, options)


class _Safe(Console):
    """A console that acts on nothing that it shows. Strings are no markup."""

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> rich.text.Text:
        """As of any console."""
        return super().render_str(shown(text, name=True, keep="\n"), **how)

    def print(self, *things: Any, **how: Any) -> None:
        """As of any console; into a file or a pipe no line ends in blanks."""
        if self.is_terminal or self.quiet:
            super().print(*things, **how)
            return
        with self.capture() as caught:
            super().print(*things, **how)
        self.file.write(re.sub(" +$", "", caught.get(), flags=re.MULTILINE))
        self.file.flush()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console; what comes here by a way that no one thought of is shown all the same."""
        for each in super().render(renderable, options):
            yield each if each.control else Segment(shown(each.text, keep="\n"), each.style)


def console() -> Console:
    """What people see: as wide as a terminal is, and 120 columns where it goes into a file.

    That is the standard output, or the other one where a program reads that, or nothing.
    """
    if voice.now.json == "-":
        return aside()
    return _Safe(quiet=voice.now.quiet, width=None if sys.stdout is not None and sys.stdout.isatty() else 120)


def prose(text: str) -> rich.text.Text:
    """A text of anybody, on one line; what joins its letters does so."""
    return Text().append(one_line(text))


def aside() -> Console:
    """The standard error, as wide as `console`."""
    quiet = voice.now.quiet or voice.now.log_json
    width = None if sys.stderr is not None and sys.stderr.isatty() else 120
    return _Safe(stderr=True, quiet=quiet, width=width)


def news() -> Console:
    """The standard error, for what changes while it is looked at."""
    return _Safe(stderr=True)


def quoted(place: str) -> str:
    """A folder as a shell takes it, without a password; of this machine as a path."""
    return shlex.quote(storage.local_path(place) if storage.is_local(place) else storage.without_password(place))


def then(what: str) -> None:
    """Print what comes next, such as a command that one can copy: on one line, however long."""
    console().print(Text("then  ", "bold").append_text(Text(as_called(what))), soft_wrap=True)


def then_read(output: str) -> None:
    """Print how to open a table."""
    place = storage.local_path(output) if storage.is_local(output) else storage.without_password(output)
    then(f"pandas.read_parquet({place!r}) in Python")


def facts(overflow: OverflowMethod = "ellipsis") -> Table:
    """An empty list of facts, a bold name and what is said of it in each row; `overflow` is for words too long."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow=overflow)
    return table
