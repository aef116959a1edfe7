"""The sign that a run is alive: a file in its attempt, written again as long as its command runs.

It decides nothing that is published: `cleaning.py` and `claims.py` look at it before they close a partition to a run.
"""

import datetime
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from seqcls_beam import storage
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.store import OVER, Store

RENEWED = 20.0
"""Seconds between two signs."""

EXPIRES = 600.0
"""Seconds without any change in its attempt after which a run is taken for dead: a machine may be slow, or halted."""


@contextmanager
def alive(run: Run) -> Iterator[None]:
    """Renew the lease of a run whose attempt is open, from a thread, until the block ends."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWED):
            # An attempt that was published or removed is not made again, and a store that fails may work next time.
            with suppress(OSError):
                if storage.exists(run.lease):
                    storage.put(run.lease, b"")

    storage.put(run.lease, b"")
    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def clock(store: Store) -> float:
    """The time by the clock that the times of files are from; by ours where no file can be written."""
    try:
        for _ in range(5):  # a run that begins removes what is named so
            probe = store.uri(f"_attempts/{OVER}{storage.token()}")
            storage.put(probe, b"")
            if now := usage(probe)[2]:
                return now
        return time.time()
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            storage.remove_file(probe)
        storage.remove_if_empty(store.uri("_attempts"))


def usage(uri: str) -> tuple[int, int, float | None]:
    """(files, bytes, when anything in it last changed) of a file or a folder with all below it.

    The time is in seconds since 1970 by the clock of the disk or store; None where it says none.
    """
    fs, path = storage.connect(uri)
    found = list(fs.find(path, detail=True, withdirs=storage.is_local(uri)).values())
    times = [each.get("mtime") or each.get("updated") or each.get("LastModified") for each in found]
    changed = [_seconds(each) for each in times if each]
    files = [each for each in found if each["type"] == "file"]
    return len(files), sum(each["size"] for each in files), max(changed, default=None)


def _seconds(time: Any) -> float:
    if isinstance(time, str):
        time = datetime.datetime.fromisoformat(time)
    return float(time.timestamp() if isinstance(time, datetime.datetime) else time)
