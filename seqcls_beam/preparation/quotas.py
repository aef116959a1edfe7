"""Stratified splits by all tasks: the rows of a class that come before a group, in the order of drawn numbers.

groups   groups → by ranges of their numbers
count    a range: the rows of each class → by class
quotas   a class: the rows in the ranges before each, and in all → by range
draw     a range: the splits of its groups → back to the tasks that decide on them
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import islands, labels, splits
from seqcls_beam.preparation.decide import Draw, Groups, decide
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests

Array = npt.NDArray[Any]

STAGES = ("groups", "count", "quotas", "draw")

GROUP = pa.schema(
    [
        ("number", pa.uint64()),  # drawn for it
        ("head", pa.uint64()),  # the number of its lowest text
        ("owner", pa.int32()),  # the task that decides on it
        ("label", pa.string()),
        ("rows", pa.int64()),
    ]
)
COUNT = pa.schema([("label", pa.string()), ("range", pa.int32()), ("rows", pa.int64())])
QUOTA = pa.schema([("label", pa.string()), ("before", pa.int64()), ("total", pa.int64())])
DRAWN = pa.schema([("head", pa.uint64()), ("split", pa.int8())])


def alone(job: Job) -> Draw:
    """How one task draws that has all groups."""

    def draw(groups: Groups) -> Array:
        return splits.stratified(groups.number, labels.codes(groups.label), groups.rows, *job.fractions)

    return draw


def send_groups(task: int, job: Job) -> dict[str, Any]:
    """The stage "groups"."""
    known = islands.owned(task, job)
    with _spill(job, "groups", task, GROUP) as spill:

        def draw(groups: Groups) -> Array:
            owner = np.full(len(groups.heads), task)
            _add(
                spill,
                job.partition(groups.number),
                groups.number,
                known.numbers[groups.heads],
                owner,
                groups.label,
                groups.rows,
            )
            return np.zeros(len(groups.heads), np.int8)

        decide(known, job, draw)
        return {"groups": spill.close()}


def count(task: int, job: Job) -> dict[str, Any]:
    """The stage "count"."""
    rows = gather(job.exchange, job.pieces("groups", "groups", task), GROUP)
    found = pa.TableGroupBy(pa.Table.from_batches([rows]), "label").aggregate([("rows", "sum")])
    label = found["label"].combine_chunks()
    with _spill(job, "count", task, COUNT) as spill:
        _add(spill, _of_label(label, job), label, np.full(len(label), task), found["rows_sum"].combine_chunks())
        return {"counts": spill.close()}


def sum_up(task: int, job: Job) -> dict[str, Any]:
    """The stage "quotas"."""
    rows = gather(job.exchange, job.pieces("count", "counts", task), COUNT)
    code, where, size = labels.codes(rows["label"]), rows["range"].to_numpy(), rows["rows"].to_numpy()
    order = np.lexsort((where, code))
    first = np.diff(code[order], prepend=-2) != 0
    ends = np.cumsum(size[order])
    which = np.cumsum(first) - 1
    starts = (ends - size[order])[first]
    total = np.bincount(which, size[order]).astype(np.int64)
    with _spill(job, "quotas", task, QUOTA) as spill:
        label = rows["label"].take(pa.array(order))
        _add(spill, where[order].astype(np.int64), label, ends - size[order] - starts[which], total[which])
        return {"quotas": spill.close()}


def draw_range(task: int, job: Job) -> dict[str, Any]:
    """The stage "draw"."""
    rows = gather(job.exchange, job.pieces("groups", "groups", task), GROUP)
    quota = gather(job.exchange, job.pieces("quotas", "quotas", task), QUOTA)
    rows = rows.take(pa.array(np.argsort(rows["head"].to_numpy())))  # of equal numbers the lower text comes first
    place = pc.index_in(rows["label"], quota["label"], skip_nulls=False)
    around = quota["before"].take(place).to_numpy(), quota["total"].take(place).to_numpy()
    found = splits.stratified(
        rows["number"].to_numpy(), labels.codes(rows["label"]), rows["rows"].to_numpy(), *job.fractions, around
    )
    with _spill(job, "draw", task, DRAWN) as spill:
        _add(spill, rows["owner"].to_numpy().astype(np.int64), rows["head"], found)
        return {"drawn": spill.close()}


def drawn(task: int, job: Job, numbers: npt.NDArray[np.uint64]) -> Draw:
    """What was drawn for the groups of a task, whose texts have these numbers."""

    def draw(groups: Groups) -> Array:
        rows = gather(job.exchange, job.pieces("draw", "drawn", task), DRAWN)
        order = np.argsort(rows["head"].to_numpy())
        place = np.searchsorted(rows["head"].to_numpy()[order], numbers[groups.heads])
        split: Array = rows["split"].to_numpy()[order][place]
        return split

    return draw


def _of_label(label: pa.Array, job: Job) -> npt.NDArray[np.int64]:
    return job.partition(digests(pc.fill_null(label, ""), job.config.splits.seed)[:, 0])


def _spill(job: Job, name: str, task: int, schema: pa.Schema) -> SpillWriter:
    return SpillWriter(job.exchange, f"{name}-{task:05d}", schema, job.memory)


def _add(spill: SpillWriter, partitions: npt.NDArray[np.int64], *columns: Any) -> None:
    """Rows, by the file's columns."""
    pairs = zip(columns, spill.schema.types, strict=True)
    made = [each if isinstance(each, pa.Array) else pa.array(each, kind) for each, kind in pairs]
    spill.write(pa.RecordBatch.from_arrays(made, schema=spill.schema), partitions)
