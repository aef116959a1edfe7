"""News of work that goes on: a live bar on a terminal, elsewhere a line now and then."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pipelines import voice
from pipelines.terminal import discreet, screen

Thing = TypeVar("Thing")

PLAIN_SECONDS = 10.0
"""Between two lines where the standard error is not a terminal."""


@contextmanager
def watching(bar: Callable[[Console, threading.Event], None], line: Callable[[], str]) -> Iterator[None]:
    """Show how far work is until the block ends, on the standard error, from a thread beside it.

    `bar` draws on a terminal until the event is set; `line` is one sentence of news, which is said once while it stays.
    """
    if voice.now.least > logging.INFO:
        yield
        return
    console = screen.news()
    done = threading.Event()

    def plain() -> None:
        said = ""
        while not done.wait(PLAIN_SECONDS):
            before, said = said, line()
            if said != before:
                voice.news(discreet.hidden(said))

    draw = partial(bar, console, done) if console.is_terminal and not voice.now.log_json else plain
    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def counted(things: Iterable[Thing], total: int, done: str) -> Iterator[Thing]:
    """Hand on things that are done one after the other, and show how many of all; `done` says what was done."""
    so_far = [0]
    with watching(partial(_bar, so_far, total, done), partial(_line, so_far, total, done)):
        for each in things:
            so_far[0] += 1
            yield each


def _bar(so_far: list[int], total: int, done: str, console: Console, over: threading.Event) -> None:
    with Progress(
        TextColumn(done),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        while not over.wait(0.5):
            bar.update(task, completed=so_far[0])


def _line(so_far: list[int], total: int, done: str) -> str:
    return f"{done} {so_far[0]:,} of {total:,}"
