"""The runs that a command would make, looked at and not begun."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.command import say
from pipelines.planning.sample import Work
from pipelines.publishing import already_published
from seqcls_beam import storage
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.reading.formats.pieces import InputChanged
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs import publication
from seqcls_beam.runs.accounting import refuse_unread
from seqcls_beam.runs.covered import Key, key_of
from seqcls_beam.runs.due import due
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.nights import made_of
from seqcls_beam.runs.pieces import is_stream
from seqcls_beam.runs.plan import look, plan_again
from seqcls_beam.runs.run import Run, RunError, done_before
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import partitions, published
from seqcls_beam.schema import PARTITION

_REFUSALS = (RunError, InputChanged, ValueError, OSError)
"""What ends one of several runs, and not those after it."""


@dataclass(frozen=True)
class Planned:
    """One of the runs that would be made, one after the other."""

    job: Job
    units: list[pa.RecordBatch]
    left: list[Work]  # units that no earlier start has finished


class Plans(NamedTuple):
    """The runs of a command."""

    runs: list[Planned]
    code: int  # how it would end, by what is known before: 1 where one of several is refused, 2 where all are, as usage


def planned(config: ClassifyConfig) -> Plans:
    """The runs that would be made; says which would not, and why. Raises what refuses it where there is but one."""
    nights = due(config.run) if config.run.only_new else []
    runs: list[Planned] = []
    usage: list[bool] = []
    found = 0
    for name, job in _jobs(config, nights):
        found += 1
        try:
            if isinstance(job, Exception):
                raise job
            runs += _left(name, job)
        except _REFUSALS as error:
            if not (config.run.relabel or len(nights) > 1):
                raise
            what = "stay as it is" if config.run.relabel else "fail"
            say(f"{name or 'the table'} would {what}: {storage.without_secrets(str(error))}", 0)
            usage.append(isinstance(error, ValueError | FileNotFoundError))
    if not found:
        refuse_other(config.run.output)
        say("nothing to label again: no other model labelled what is under --output", 0)
    return Plans(runs, 0 if not usage else 2 if all(usage) and len(usage) == found else 1)


def refuse_other(output: str) -> None:
    """Raise `RunError` for a folder that holds no labels of files: its name may be misspelled."""
    store = store_of(storage.absolute(output))
    if not partitions(store):
        raise RunError(f"--output={output} holds nothing that was published, so --relabel has nothing to replace there")
    for run in published(output):
        if run.manifest["kind"] != "classify":
            what = publication.TOLD[run.manifest["kind"]]
            raise RunError(f"--output={output} holds {what}, and --relabel replaces labels: name another folder")
    if is_stream(store):
        raise RunError(f"--output={output} holds what a stream labelled, and --relabel replaces labels of files")


def _left(name: str, job: Job) -> list[Planned]:
    """A run, or none where there is nothing to do, which is said. Raises `RunError` for one that is refused."""
    if job.config.run.only_new and not job.files.num_rows:
        say("; ".join([f"{name}: nothing new to label", *job.remarks]), 0)
        if publication.current(job.run) is None and not made_of(job.run):
            refuse_unread(job.run.limits, [], 0)
        return []
    if already_published(job.run, _unshown):
        return []
    units = plan_units(job.files, job.config.read.unit_bytes, job.config.read.encoding)
    done = done_before(job.run, len(units))
    groups = _groups(units)
    left = [Work(unit, job.layout, _size(unit, groups)) for number, unit in enumerate(units) if number not in done]
    return [Planned(job, units, left)]


def _unshown(run: Run, manifest: dict[str, Any]) -> None:
    """The summary of what is published, which no plan shows."""


def _jobs(config: ClassifyConfig, nights: list[date]) -> Iterator[tuple[str, Job | Exception]]:
    """By their partitions, each when its turn comes, or what refuses one."""
    if config.run.relabel:
        for partition, job in plan_again(config, publication.beside):
            yield partition, RunError(job) if isinstance(job, str) else job
        return
    if not config.run.only_new:
        yield config.run.run_date or "", look(config)
        return
    others: set[Key] = set()
    for night in nights:
        try:
            job = look(replace(config, run=replace(config.run, run_date=str(night))), others)
        except _REFUSALS as error:
            yield f"{PARTITION}={night}", error
            continue
        others.update(key_of(row) for row in job.files.to_pylist())
        yield job.run.partition, job


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
