"""Attempts made by hand: units written and recorded, nothing published."""

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
