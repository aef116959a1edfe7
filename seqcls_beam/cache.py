"""This machine's folder for what is fetched or derived and can be made again: SEQCLS_BEAM_CACHE."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache() -> Path:
    """The folder, `~/.cache/seqcls_beam` by default; made where there is none."""
    folder = Path(os.environ.get("SEQCLS_BEAM_CACHE") or "~/.cache/seqcls_beam").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """The path of `name` in the cache, to make or look at while no other process on this machine does."""
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache() / name
