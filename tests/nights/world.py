"""A table and what goes on around it: an inbox, who starts nights, who looks at what is approved, who knows better."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import fsspec

from tests.nights.inbox import Inbox
from tests.nights.oracle import Oracle
from tests.nights.starts import Scheduler
from tests.nights.watch import Watch


class World(NamedTuple):
    """All of it."""

    files: Inbox
    scheduler: Scheduler
    oracle: Oracle
    watch: Watch
    out: str  # as the file system names it


@contextmanager
def world(
    logs: Path, fs: fsspec.AbstractFileSystem, folder: str, inbox: str, scheme: str = "", **environ: str
) -> Iterator[World]:
    """One below a folder, of which the nights take the files that `inbox` finds; `environ` is theirs."""
    out = f"{folder}/out"
    files = Inbox(fs, f"{folder}/inbox")
    flags = [f"--input={scheme}{folder}/{inbox}", "--id_column=id", "--threads=1", "--unit_bytes=15000"]
    with (
        Scheduler(logs, flags, f"{scheme}{out}", environ) as scheduler,
        Watch(fs, out, every=0.3 if scheme else 0.02) as watch,
    ):
        yield World(files, scheduler, Oracle(f"{scheme}{out}", files, fs, out), watch, out)
