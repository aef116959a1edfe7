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
    """Rows a second of the whole command, where rows came about in the order of event time, and at random."""
    return {name: _sealed(name == "in order") for name in ("in order", "at random")}


def _sealed(ordered: bool) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        out = prepared(Path(folder, "out"))
        for start in range(0, ROWS, PIECE):
            numbers = np.arange(start, start + PIECE)
            times = numbers * 99 if ordered else chance.integers(0, LENGTH * S, PIECE)
            pieces.append(out, short_rows(numbers, times), LENGTH)
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "pipelines.seal", out], check=True, capture_output=True)
        took = time.monotonic() - begun
        rows = open_labels(out).count_rows()
        if rows != ROWS:
            raise RuntimeError(f"{rows} rows of {ROWS} were sealed")
    return {"rows": rows, "pieces": ROWS // PIECE, "seconds": round(took, 2), "rows/s": round(rows / took)}
