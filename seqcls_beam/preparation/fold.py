"""Stages in between, where many tasks wrote for many partitions: the files of several tasks → one.

Else every task would read a few rows from each of thousands of files. Rows stay in their order.
"""

from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.preparation.exchange import SpillWriter, opened
from seqcls_beam.preparation.job import Job

Array = npt.NDArray[np.int64]

BYTES = 1 << 22  # of a batch, or a row more: what reads batch by batch relies on it


def fold(task: int, job: Job, stage: str, shuffled: tuple[str, ...]) -> dict[str, Any]:
    """A task of the stage "fold X": what some tasks of X wrote as each of `shuffled` → the same in one file."""
    before = stage.removeprefix("fold ")
    tasks, folds = job.tasks(before), job.folds(before)
    some = range(task * tasks // folds, (task + 1) * tasks // folds)
    records = [job.record(before, each) for each in some]
    name = f"{stage.replace(' ', '-')}-{task:05d}"
    return {what: _joined([each[what] for each in records], f"{name}-{what}", job) for what in shuffled}


def _joined(spills: list[dict[str, Any]], prefix: str, job: Job) -> dict[str, Any]:
    with ExitStack() as open_:
        files = [open_.enter_context(opened(storage.join(job.exchange, each["name"]))) for each in spills]
        places = [_by_partition(np.array(each["partitions"], np.int64), job.partitions) for each in spills]
        spill = open_.enter_context(SpillWriter(job.exchange, prefix, files[0].schema, BYTES))
        for partition in range(job.partitions):
            for file, (order, ends) in zip(files, places, strict=True):
                for number in order[ends[partition] : ends[partition + 1]].tolist():
                    batch: pa.RecordBatch = file.get_batch(number)
                    spill.write(batch, np.full(len(batch), partition))
        return spill.close()


def _by_partition(owners: Array, partitions: int) -> tuple[Array, Array]:
    """(batches in the order of partitions; where each partition begins and the last ends there)."""
    order = np.argsort(owners, kind="stable")
    return order, np.searchsorted(owners[order], np.arange(partitions + 1))
