"""What a person sees of a stream that is labelled elsewhere: what lies in its folder, which every engine writes to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console

from pipelines.terminal import live
from pipelines.terminal.screen import Text
from seqcls_beam import storage
from seqcls_beam.runs import pieces
from seqcls_beam.runs.store import store_of

_SECONDS = 10.0
"""Between two looks: each lists all windows that wait."""


@contextmanager
def watching(output: str) -> Iterator[None]:
    """Show what waits to be sealed until the block ends."""
    looks = _Looks(output)
    with live.watching(partial(_status, looks), looks.line):
        yield


def _status(looks: "_Looks", console: Console, done: threading.Event) -> None:
    with console.status("") as shown:
        while not done.wait(0.5):
            shown.update(Text(looks.line()))


class _Looks:
    """A line of news of a folder."""

    def __init__(self, output: str) -> None:
        self._store = store_of(storage.absolute(output))
        self._looked = 0.0
        self._said = ""

    def line(self) -> str:
        if time.monotonic() - self._looked > _SECONDS or not self._said:
            try:
                found = pieces.listed(self._store)
                count = sum(map(len, found.values()))
                self._said = (
                    f"{count:,} piece{'s'[: count != 1]} of {len(found):,} window{'s'[: len(found) != 1]} "
                    "wait to be sealed by pipelines.seal"
                )
            except OSError as error:
                self._said = f"what waits to be sealed cannot be listed now: {error}"
            self._looked = time.monotonic()
        return self._said
