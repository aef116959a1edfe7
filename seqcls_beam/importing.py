"""Heavy libraries are imported by one thread at a time, and Python looks for cycles less often meanwhile.

Steps of a pipeline run in several threads of a worker. Of two that import transformers at once, one of them through
torch, each waits for a module that the other has begun; Python ends that by handing one of them half a module.

Libraries make a million objects that stay. Each time that Python's usual threshold is met it walks them, which took an
eighth of the seconds to the first label (`benchmarks.startup`).
"""

import gc
import os
import threading

os.environ.setdefault("USE_HUB_KERNELS", "NO")  # transformers would fetch native code where it finds `kernels`

_OBJECTS = 100_000
"""New ones, before Python looks for cycles among them; 700 or 2,000 otherwise."""


class _Importing:
    """A lock that the thread which holds it may take again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._before: list[tuple[int, int, int]] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._before.append(gc.get_threshold())
        gc.set_threshold(_OBJECTS, *self._before[-1][1:])

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(*self._before.pop())
        self._lock.release()


IMPORTING = _Importing()
"""Held by whoever imports transformers, or what of this package does, from within a function."""
