"""How far the workers of a run are, told through a folder that every engine's workers see: one in the run's attempt.

Each process writes a file of its own: what it has done, what it has in hand, and what it is through with. A thread
writes it, so that the work waits for no store, every half second on a disk and every five in a store, where each is a
request; without news every ten while something is in hand, so that a process that hangs is told from one that is dead.
A launcher opens the folder, and the last one closes it; where it is not open, nothing is written.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from seqcls_beam import storage

_ZERO = {"begun_rows": 0.0, "begun_bytes": 0.0, "classified": 0.0, "rows": 0.0, "rejected": 0.0, "bytes": 0.0}
_OPEN = "open"
"""The file of the folder that says that somebody reads the others."""
_READERS = "readers"
"""A folder in it, with a file for each launcher that does."""
_BEAT = 10.0
"""Seconds without news after which a process with something in hand writes again, and the thread of another ends."""
_SILENT = 60.0
"""Seconds without a word after which a process with something in hand is taken for dead."""

_lock = threading.Lock()
_tellers: dict[str, "_Teller"] = {}


def report(folder: str, **done: float) -> None:
    """Add what was done since the last call to this process's totals: a sign of life of what the thread has in hand.

    `begun_rows`, `begun_bytes`: rows that the model was given, and the input bytes they took; `classified`: rows it is
    through with; `rows`: rows written, of them `rejected`; `bytes`: input bytes of the rows written. With none of
    these it is a sign of life and no more.
    """
    _teller(folder).add(done)


@contextmanager
def working(folder: str | None, task: str, of: str = "") -> Iterator[None]:
    """This thread has a task in hand, with a word on what it is of, until the block ends; None: nobody is told."""
    if folder is None:
        yield
        return
    teller = _teller(folder)
    teller.begin(task, of)
    try:
        yield
    except BaseException:
        teller.end(task, done=False)
        raise
    teller.end(task, done=True)


@dataclass(frozen=True)
class Seen:
    """What the processes of a run have told."""

    totals: dict[str, float] = field(default_factory=lambda: dict(_ZERO))
    """The sum over all processes of what `report` was told, by name."""
    hand: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """Tasks that are begun and not done → (process, signs of life) of each process that has it in hand."""
    of: dict[str, str] = field(default_factory=dict)
    """The word on each of them."""
    silent: frozenset[str] = field(default=frozenset(), compare=False)
    """Those of the processes of `hand` that are dead, or do not reach the folder."""


def open_folder(folder: str) -> str:
    """Make the folder, for workers to tell in; who reads there, for `close_folder`. Raises `OSError`.

    What processes of an earlier start told is removed: who of them works still tells all of it again.
    """
    storage.each(storage.remove_file, _told(folder))
    reader = storage.join(folder, _READERS, storage.token())
    storage.put(reader, b"")
    storage.put(storage.join(folder, _OPEN), b"")
    return reader


def close_folder(folder: str, reader: str) -> None:
    """A reader reads it no more: without others it is removed."""
    with _lock:
        _tellers.pop(folder, None)
    with suppress(OSError):
        storage.remove_file(reader)
        if not storage.files(storage.join(folder, _READERS)):
            storage.remove_file(storage.join(folder, _OPEN))
            storage.remove(folder)


def _told(folder: str) -> list[str]:
    return [uri for uri in storage.files(folder) if uri.endswith(".json")]


class Reader:
    """What stands in a folder, read again when it may be different."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read = 0.0
        self._seen = Seen()
        self._beats: dict[str, tuple[int, float]] = {}  # of each process the last, and when it was seen first

    def look(self) -> Seen:
        """What was told, as of half a second ago at most on a disk, and five in a store that answers."""
        with self._lock:
            if time.monotonic() - self._read >= _pause(self._folder):
                # What another process put there in place of its news is nobody's.
                with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                    uris = _told(self._folder)
                    told = [orjson.loads(each) for each in storage.each(storage.read, uris)]
                    self._seen = _seen(uris, told, self._silent(uris, told))
                self._read = time.monotonic()
            return self._seen

    def _silent(self, uris: list[str], told: list[dict[str, Any]]) -> frozenset[str]:
        now = time.monotonic()
        for uri, each in zip(uris, told, strict=True):
            if self._beats.get(uri, (None,))[0] != each["beat"]:
                self._beats[uri] = each["beat"], now
        return frozenset(uri for uri in uris if now - self._beats[uri][1] >= _SILENT)


def _seen(uris: list[str], told: list[dict[str, Any]], silent: frozenset[str]) -> Seen:
    totals = {name: sum(each["totals"][name] for each in told) for name in _ZERO}
    done = {task for each in told for task in each["done"]}
    hand: dict[str, tuple[tuple[str, int], ...]] = {}
    of: dict[str, str] = {}
    for uri, each in zip(uris, told, strict=True):
        for task, (signs, word) in each["hand"].items():
            if task not in done:
                hand[task] = (*hand.get(task, ()), (uri, signs))
                of[task] = word
    return Seen(totals, hand, of, silent)


def _pause(folder: str) -> float:
    return 0.5 if storage.is_local(folder) else 5.0


class _Teller:
    """What this process tells in one folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._uri = storage.join(folder, f"{socket.gethostname()}-{os.getpid()}-{storage.token()}.json")
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._totals = dict(_ZERO)
        self._hand: dict[str, list[Any]] = {}  # task → [signs, word]
        self._tasks: dict[int, str] = {}  # of each thread
        self._done: list[str] = []
        self._beat = 0

    def add(self, done: dict[str, float]) -> None:
        with self._lock:
            for name, value in done.items():
                self._totals[name] += value
            task = self._tasks.get(threading.get_ident())
            if task in self._hand:
                self._hand[task][0] += 1
            self._tell()

    def begin(self, task: str, of: str) -> None:
        with self._lock:
            self._tasks[threading.get_ident()] = task
            self._hand[task] = [0, of]
            self._tell()

    def end(self, task: str, done: bool) -> None:
        with self._lock:
            self._tasks.pop(threading.get_ident(), None)
            self._hand.pop(task, None)
            if done:
                self._done.append(task)
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="progress", daemon=True)
            self._thread.start()

    def _write(self) -> None:
        read = True
        while True:
            self._news.wait(_BEAT)
            with self._lock:
                if not self._news.is_set() and not (self._hand and read):
                    self._thread = None
                    return
                self._news.clear()
                self._beat += 1
                said = {"totals": self._totals, "hand": self._hand, "done": self._done, "beat": self._beat}
                told = orjson.dumps(said)
            # News that cannot be written, or that nobody reads any more, must not fail the work.
            with suppress(Exception):
                read = storage.exists(storage.join(self._folder, _OPEN))
                if read:
                    _put(self._uri, told)
            time.sleep(_pause(self._folder))


def _put(uri: str, data: bytes) -> None:
    """As `storage.put`, without waiting for the disk: news need not outlive a power cut."""
    if not storage.is_local(uri):
        storage.put(uri, data)
        return
    path = storage.local_path(uri)
    aside = path.removesuffix(".json") + ".tmp"
    with open(aside, "wb") as file:
        file.write(data)
    os.replace(aside, path)


def _teller(folder: str) -> _Teller:
    with _lock:
        found = _tellers.get(folder)
        if found is None:
            found = _tellers[folder] = _Teller(folder)
        return found
