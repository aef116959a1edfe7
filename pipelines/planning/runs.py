"""The runs that a command would make, looked at and not begun."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from pipelines.command import say
from pipelines.planning.sample import Work
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs import publication
from seqcls_beam.runs.covered import Key, key_of
from seqcls_beam.runs.due import due
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.plan import look, plan_again
from seqcls_beam.runs.run import RunError, done_before
from seqcls_beam.runs.table import damage


@dataclass(frozen=True)
class Planned:
    """One of the runs that would be made, one after the other."""

    job: Job
    units: list[pa.RecordBatch]
    left: list[Work]  # units that no earlier start has finished


def planned(config: ClassifyConfig) -> Iterator[Planned]:
    """The runs that would be made; says which would not, and why. Raises `RunError` for one that is refused."""
    nothing = True
    for partition, job in _jobs(config):
        name = partition or "the table"
        if isinstance(job, str):
            say(f"{name} would stay as it is: {job}", 0)
        elif config.run.only_new and not job.files.num_rows:
            say("; ".join([f"{name}: nothing new to label", *job.remarks]), 0)
        elif reason := publication.unpublishable(job.run):
            raise RunError(reason)
        elif _is_published(job):
            say(f"already published: {job.run.output} holds exactly this run; there is nothing to do", 0)
        else:
            units = plan_units(job.files, job.config.read.unit_bytes, job.config.read.encoding)
            done = done_before(job.run, len(units))
            groups = _groups(units)
            left = [
                Work(unit, job.layout, _size(unit, groups)) for number, unit in enumerate(units) if number not in done
            ]
            yield Planned(job, units, left)
        nothing = False
    if nothing:
        say("nothing to label again: no other model labelled what is under --output", 0)


def _jobs(config: ClassifyConfig) -> Iterator[tuple[str, Job | str]]:
    if config.run.relabel:
        yield from plan_again(config, publication.beside)
        return
    if not config.run.only_new:
        yield config.run.run_date or "", look(config)
        return
    others: set[Key] = set()
    for night in due(config.run):
        job = look(replace(config, run=replace(config.run, run_date=str(night))), others)
        others.update(key_of(row) for row in job.files.to_pylist())
        yield job.run.partition, job


def _is_published(job: Job) -> bool:
    now = publication.current(job.run)
    return now is not None and now.version.run_id == job.run.run_id and damage(now) is None


def _groups(units: list[pa.RecordBatch]) -> dict[str, int]:
    """Parquet file that is cut → its row groups."""
    ends: dict[str, int] = {}
    for unit in units:
        for row in unit.to_pylist():
            if row["format"] == "parquet" and row["end"] >= 0:
                ends[row["path"]] = max(ends.get(row["path"], 0), row["end"])
    return ends


def _size(unit: pa.RecordBatch, groups: dict[str, int]) -> int:
    """Bytes of a unit; row groups of a file count alike."""
    total = 0
    for row in unit.to_pylist():
        if row["end"] < 0:
            total += row["size"] - row["start"]
        elif row["path"] in groups:
            total += row["size"] * (row["end"] - row["start"]) // groups[row["path"]]
        else:
            total += row["end"] - row["start"]
    return total
