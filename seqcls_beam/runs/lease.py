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

ELSEWHERE_EXPIRES = 5400.0
"""The same of a run whose job works elsewhere, where nobody renews its lease: it may wait for its machines, and loads
images and models, before a unit is finished; and each unit that is changes the attempt."""

_ELSEWHERE = b"at work elsewhere"


@contextmanager
def alive(run: Run, elsewhere: bool = False) -> Iterator[None]:
    """Renew the lease of a run whose attempt is open, from a thread, until the block ends.

    What is left of the attempt then, where it was not published, has none. Another start of the same run, which shares
    it, writes it again. Of a run whose job works `elsewhere`, and may go on without this process however that ends, the
    lease says so, and stays until somebody calls `end`.
    """
    over = threading.Event()
    sign = _ELSEWHERE if elsewhere else b""

    def renew() -> None:
        while not over.wait(RENEWED):
            # An attempt that was published or removed is not made again, and a store that fails may work next time.
            with suppress(OSError):
                if storage.exists(run.lease) or storage.exists(run.facts):
                    storage.put(run.lease, sign)

    storage.put(run.lease, sign)
    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if not elsewhere:
            end(run)


def end(run: Run) -> None:
    """Nobody works on the run any more."""
    with suppress(OSError):
        if storage.exists(run.facts):  # else nobody would write it again
            storage.remove_file(run.lease)


def is_living(attempt: str | None, idle: float) -> bool:
    """Whether a run may be at work in an attempt in which nothing has changed for so many seconds; None: not begun."""
    return idle < EXPIRES or (attempt is not None and idle < ELSEWHERE_EXPIRES and is_elsewhere(attempt))


def is_elsewhere(attempt: str) -> bool:
    """Whether the run of an attempt has a job that works elsewhere, as far as the lease says."""
    try:
        return storage.read(storage.join(attempt, "lease")) == _ELSEWHERE
    except OSError:  # it has none
        return False


def renewed(attempt: str) -> float | None:
    """When the lease in an attempt was renewed last, as `usage` tells it; None where all its starts have ended.

    Of a run that works elsewhere, when anything in its attempt changed last.
    """
    sign = usage(storage.join(attempt, "lease"))[2]
    return usage(attempt)[2] if sign is not None and is_elsewhere(attempt) else sign


def clock(store: Store) -> float:
    """The time by the clock that the times of files are from; by ours where no file can be written."""
    try:
        for _ in range(5):  # a run that begins removes what is named so
            if now := _asked(store.uri(f"_attempts/{OVER}{storage.token()}")):
                return now
    except OSError:
        pass
    finally:
        storage.remove_if_empty(store.uri("_attempts"))
    return time.time()


def _asked(probe: str) -> float | None:
    """When a file that is written now was written; None where it is gone, or nobody says it."""
    try:
        storage.put(probe, b"")
        return usage(probe)[2]
    finally:
        with suppress(OSError):
            storage.remove_file(probe)


def usage(uri: str) -> tuple[int, int, float | None]:
    """(files, bytes, when anything in it last changed) of a file or a folder with all below it.

    The time is in seconds since 1970 by the clock of the disk or store; None where it says none.
    """
    fs, path = storage.connect(uri)
    listed = fs.find(path, detail=True, withdirs=storage.is_local(uri))
    with suppress(FileNotFoundError):
        if list(listed.values()) == [{}]:  # so some file systems list a file as what is below it
            listed = {path: fs.info(path)}
    found = [each for each in listed.values() if each]
    changed = [_seconds(time) for each in found if (time := _time(each))]
    files = [each for each in found if each["type"] == "file"]
    return len(files), sum(each["size"] for each in files), max(changed, default=None)


_TIMES = ("mtime", "updated", "LastModified", "last_modified", "created")
"""What file systems call the time of the last change; who writes a file again in memory creates it."""


def _time(info: dict[str, Any]) -> Any:
    return next((info[key] for key in _TIMES if info.get(key)), None)


def _seconds(time: Any) -> float:
    if isinstance(time, str):
        time = datetime.datetime.fromisoformat(time)
    if isinstance(time, datetime.datetime):
        return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
    return float(time)
