"""How far the workers of this machine are, told through a folder that the launcher made.

Runners that work on this machine give no counters while they run, and their workers may be other processes. So each
process writes its totals to a file of its own, twice a second at most. Where the folder does not exist, because the
worker is on another machine, nothing is written: there the runner's own counters tell.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import orjson

_SECONDS = 0.5
_ZERO = {"begun_rows": 0.0, "begun_bytes": 0.0, "classified": 0.0, "rows": 0.0, "rejected": 0.0, "bytes": 0.0}
_lock = threading.Lock()
_totals: dict[str, dict[str, float]] = {}
_written: dict[str, float] = {}


def report(folder: str, **done: float) -> None:
    """Add what was done since the last call to this process's totals.

    `begun_rows`, `begun_bytes`: rows that the model was given, and the input bytes they took; `classified`: rows it is
    through with; `rows`: rows written, of them `rejected`; `bytes`: input bytes of the rows written.
    """
    with _lock:
        totals = _totals.setdefault(folder, dict(_ZERO))
        for name, value in done.items():
            totals[name] += value
        now = time.monotonic()
        if now - _written.get(folder, 0.0) < _SECONDS or not os.path.isdir(folder):
            return
        _written[folder] = now
        target = Path(folder) / f"{os.getpid()}.json"
        aside = target.with_suffix(".tmp")
        with suppress(OSError):  # a display that is gone or full must not fail the work
            aside.write_bytes(orjson.dumps(totals))
            aside.replace(target)


def totals(folder: str) -> dict[str, float]:
    """The sum over all processes of what `report` was told, by name; zeros where none has told anything."""
    summed = dict(_ZERO)
    for each in Path(folder).glob("*.json"):
        for name, value in orjson.loads(each.read_bytes()).items():
            summed[name] += value
    return summed
