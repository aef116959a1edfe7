"""A window of many short rows, sealed by the command as a user calls it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from seqcls_beam import open_labels
from seqcls_beam.runs import pieces
from tests.runs.streams import LENGTH, S, prepared, short_rows

ROWS = 3_000_000
PIECE = 20_000


def sealed() -> dict[str, Any]:
    """Rows a second of the command, where rows came about in the order of event time, and at random.

    Of all of it, and without the seconds that it takes where nothing is to be sealed.
    """
    return {name: _sealed(name == "in order") for name in ("in order", "at random")}


def _sealed(ordered: bool) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        out = prepared(Path(folder, "out"))
        for start in range(0, ROWS, PIECE):
            numbers = np.arange(start, start + PIECE)
            times = numbers * 99 if ordered else chance.integers(0, LENGTH * S, PIECE)
            pieces.append(out, short_rows(numbers, times), LENGTH)
        took, idle = _command(out), _command(out)
        rows = open_labels(out).count_rows()
        if rows != ROWS:
            raise RuntimeError(f"{rows} rows of {ROWS} were sealed")
    return {
        "rows": rows,
        "pieces": ROWS // PIECE,
        "seconds": round(took, 2),
        "seconds without rows": round(idle, 2),
        "rows/s": round(rows / took),
        "rows/s once it has begun": round(rows / (took - idle)),
    }


def _command(out: str) -> float:
    """Seconds that it takes."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipelines.seal", out], check=True, capture_output=True)
    return time.monotonic() - begun
