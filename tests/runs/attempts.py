"""Attempts and versions made by hand: units written and recorded, nothing published; and what a version may say."""

import json
from pathlib import Path
from typing import Any

from seqcls_beam.runs.parts import UnitWriter
from seqcls_beam.runs.run import Run, save_record
from tests.batches import unit_batches

ROWS = 10


def write_run(run: Run, units: int, rejected: frozenset[int] = frozenset()) -> None:
    """Write and record units of ten rows each, with ids counted through."""
    for unit in range(units):
        writer = None
        for batch in unit_batches(unit, units, range(unit * ROWS, (unit + 1) * ROWS), 4, rejected):
            writer = writer or UnitWriter(run.attempt, batch)
            record = writer.write(batch)
        assert record is not None
        save_record(run, record)


COMMIT: dict[str, Any] = {
    "version": 1,
    "partition": "",
    "stage": "_attempts/publish-00000001-0123456789abcdef",
    "work": "_attempts/r-v1",
    "moves": [],
    "replaces": [],
    "sweeps": [],
    "bars": False,
}
"""What a version says of its commit, where a test has no word on it."""


def write_version(out: Path, manifest: dict[str, Any], **commit: Any) -> Path:
    """Write the first version of a folder, with what a version must say where neither has a word on it."""
    what = {"format_version": 2, "run_id": "r", "kind": "classify", "parts": [], "rejects": []}
    path = out / "_versions" / "00000001.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**what, "commit": {**COMMIT, **commit}, **manifest}))
    return path
