"""A card of one's own: which of a machine's GPUs a process works on, where several processes share several of them.

A card has slots, and a slot is an empty file in the temporary directory, locked as long as its process lives: the
system lets go of the lock, however that ends. So processes agree that see different cards, or the same in another
order, as long as they name them alike and have the same temporary directory.
"""

import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress

if sys.platform != "win32":
    import fcntl

    # A pipe that somebody laid there would wait for a writer.
    _PLAINLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

_SLOTS = 256  # of a card: no machine has so many processes for one
_LOCK = threading.Lock()
_held: dict[str, int] = {}  # the cards of this process, each with the open file of its slot


def take(names: Sequence[str]) -> int:
    """Names of one card or more → the number of the one that this process works on, from now until it ends.

    The first of those with the fewest processes: no card has a third before each has a second. A process that asks
    again gets the card it has, if that is among the names. Raises `OSError` where no slot can be locked. On Windows,
    which has no such locks, it is always the first.
    """
    if sys.platform == "win32":
        return 0
    with _LOCK:
        for index, name in enumerate(names):
            if name in _held:
                return index
        for slot, (index, name) in itertools.product(range(_SLOTS), enumerate(names)):
            if (file := _lock(f"{name}-{slot}")) is not None:
                _held[name] = file
                return index
    raise OSError(f"{_SLOTS} slots of each card are locked")


def _lock(slot: str) -> int | None:
    """The open file of a slot, locked; None where another process has it."""
    file = _open(os.path.join(tempfile.gettempdir(), f"seqcls_beam-{slot}"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def _open(path: str) -> int:
    # A lock needs no more than to read. Another user's file is opened as it is, for Linux may refuse to "create" it
    # again (fs.protected_regular); where that user let nobody read it, this one's processes agree among themselves.
    for how in (0, os.O_CREAT):
        with suppress(OSError):
            return os.open(path, _PLAINLY | how, 0o644)
    return os.open(f"{path}-{os.getuid()}", _PLAINLY | os.O_CREAT, 0o600)


def _let_go() -> None:
    """In a forked child: a lock lasts until nobody has its file open, and the card is the parent's."""
    for file in _held.values():
        os.close(file)
    _held.clear()
    _LOCK.release()


if sys.platform != "win32":
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_let_go)
