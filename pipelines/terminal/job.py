"""How a job of a service does, while its command waits for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from rich.console import Console
from rich.status import Status

from pipelines.terminal import live


class Watched(Protocol):
    """What is known of it."""

    state: str

    @property
    def rows(self) -> int:
        """That it is through with, as far as is known."""


@contextmanager
def watching(job: Watched) -> Iterator[None]:
    """Show its state, and how many rows it is through with, until the block ends."""
    with live.watching(partial(_status, job), partial(_line, job)):
        yield


def _status(job: Watched, console: Console, done: threading.Event) -> None:
    with Status(_line(job), console=console) as status:
        while not done.wait(0.5):
            status.update(_line(job))


def _line(job: Watched) -> str:
    state = job.state.removeprefix("JOB_STATE_").lower().replace("_", " ")
    return f"the job is {state}" + (f", {job.rows:,} rows so far" if job.rows else "")
