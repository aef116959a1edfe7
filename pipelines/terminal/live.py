"""News of work that goes on: a live bar on a terminal, elsewhere a line now and then."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console

PLAIN_SECONDS = 10.0
"""Between two lines where the standard error is not a terminal."""


@contextmanager
def watching(bar: Callable[[Console, threading.Event], None], line: Callable[[], str]) -> Iterator[None]:
    """Show how far work is until the block ends, on the standard error, from a thread beside it.

    `bar` draws on a terminal until the event is set; `line` is one sentence of news.
    """
    console = Console(stderr=True)
    done = threading.Event()

    def plain() -> None:
        while not done.wait(PLAIN_SECONDS):
            print(line(), file=sys.stderr, flush=True)

    draw = partial(bar, console, done) if console.is_terminal else plain
    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
