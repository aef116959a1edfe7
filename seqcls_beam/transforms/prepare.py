"""Prepare, as a PTransform: stages with a barrier between each two. What a task does is in `preparation/`.

Rows do not travel as elements: a task reads and writes files beside the attempt (`preparation.exchange`), and the
elements are the numbers of tasks that are done.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsIter, PBegin, PCollection

from seqcls_beam import storage
from seqcls_beam.preparation import tasks
from seqcls_beam.preparation.job import Job
from seqcls_beam.runs import progress
from seqcls_beam.schema import Mark


@dataclass
class Prepare(beam.PTransform[PBegin, PCollection[str]]):
    """A planned job → published shards; yields the URI of the manifest.

    Raises `RunError` in the worker, with nothing published, where that cannot be. The plan must have been written by
    `preparation.tasks.begin`.
    """

    job: Job

    def expand(self, root: PBegin) -> PCollection[str]:
        """Read units, then stage after stage."""
        done = (
            root
            | "Job" >> beam.Create([self.job])
            | "PlanUnits" >> beam.FlatMap(tasks.pending_units)
            | "SpreadUnits" >> beam.Reshuffle()
            | "ReadExamples" >> beam.Map(read_unit, self.job)
        )
        for stage in list(tasks.stages(self.job))[1:]:
            title = stage.title()
            done = (
                root
                | f"JobFor{title}" >> beam.Create([self.job])
                | f"Plan{title}" >> beam.FlatMap(planned, stage, AsIter(done))
                | f"Spread{title}" >> beam.Reshuffle()
                | title >> beam.Map(do, self.job, stage)
            )
        return root | "JobToCommit" >> beam.Create([self.job]) | "Commit" >> beam.Map(finish, AsIter(done))


def read_unit(unit: pa.RecordBatch, job: Job) -> int:
    """The first stage's task; its number."""
    of = storage.without_password(unit["path"][0].as_py())
    with progress.working(job.run.progress, f"unit {Mark.of(unit).unit}", of):
        return tasks.read_unit_of(job, unit)


def planned(job: Job, stage: str, before: Iterable[int]) -> Iterator[int]:
    """The tasks of a stage, once those `before` are done: to ask for them is to wait for them."""
    for _ in before:
        pass
    yield from tasks.pending_tasks(job, stage)


def do(task: int, job: Job, stage: str) -> int:
    """A task of a later stage; its number."""
    with progress.working(job.run.progress, f"task {task} of the stage {stage!r}"):
        return tasks.do(job, stage, task)


def finish(job: Job, before: Iterable[int]) -> str:
    """Publish, once all is done."""
    for _ in before:
        pass
    return tasks.finish(job)
