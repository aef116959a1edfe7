"""The sign that a run is alive: a file in its attempt, written again as long as its command runs.

It decides nothing that is published: `cleaning.py` looks at it before it closes a partition to a run.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from seqcls_beam import storage
from seqcls_beam.runs.run import Run

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
