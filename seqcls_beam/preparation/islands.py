"""Islands: texts that near-duplicates, values and sentences join, before any is left out. Each goes to one task whole.

What becomes of a text follows from its island alone (`decide`), so tasks that decide on some islands each find what one
task finds that has all texts. An island that is larger than it must be changes nothing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import stars
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.known import Known, known, own_edges, own_texts
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.preparation.texts import TEXT, flat, numbers, rows_of

Array = npt.NDArray[Any]

OWNED = pa.schema([*TEXT, ("number", pa.uint64())])
"""TEXT on its way to the task that decides on it."""

_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number near 2**64 over the golden ratio: neighbours go far apart


def tie(partition: int, job: Job) -> dict[str, Any]:
    """The stage "ties": what joins texts of a partition to others → edges, few of them.

    A value that a million texts of this partition have is tied to the lowest of them alone, and the others to that one.
    """
    texts, edges = own_texts(job, partition), own_edges(job, partition)
    first, second = [edges["first"].to_numpy()], [edges["second"].to_numpy()]
    for name in ("groups", "sentences") if job.config.splits.group_sentences else ("groups",):
        digests, owner = flat(texts[name])
        first.append(numbers(partition, owner))
        second.append(stars.of_digests(digests))
    node, neighbour = stars.contracted(np.concatenate(first), np.concatenate(second))
    with SpillWriter(job.exchange, f"ties-{partition:05d}", stars.LINK, job.memory) as spill:
        stars.write_links(spill, node, neighbour, job)
        stars.write_links(spill, neighbour, node, job)
        return {"links": spill.close()}


def send(partition: int, job: Job) -> dict[str, Any]:
    """The stage "islands": texts of a partition, and edges whose second text is there → to the tasks that decide."""
    texts = own_texts(job, partition)
    number = numbers(partition, np.arange(len(texts)))
    owner = _owners(number, partition, job)
    edges = own_edges(job, partition)
    with (
        SpillWriter(job.exchange, f"owned-{partition:05d}", OWNED, job.memory) as spill,
        SpillWriter(job.exchange, f"beside-{partition:05d}", EDGE, job.memory) as beside,
    ):
        spill.write(pa.RecordBatch.from_arrays([*texts.columns, pa.array(number)], schema=OWNED), owner)
        beside.write(edges, owner[rows_of(edges["second"].to_numpy())])
        return {"texts": spill.close(), "edges": beside.close()}


def _owners(number: npt.NDArray[np.uint64], partition: int, job: Job) -> npt.NDArray[np.int64]:
    """The task that decides on each text of a partition: a text that is alone stays where it is."""
    last = stars.finished(job, "islands") or "rest"
    node, neighbour = stars.read_links(job, last, partition)
    some = node < stars.VALUE
    place, neighbour = rows_of(node[some]), neighbour[some]
    inner = neighbour < number[place]
    island = number.copy()
    island[place[inner]] = neighbour[inner]
    owner = np.full(len(number), partition)
    owner[place] = job.partition(island[place] * _MIX)
    return owner


def owned(task: int, job: Job) -> Known:
    """The texts that a task decides on, and the edges between them."""
    if not job.joins:
        texts = own_texts(job, task)
        return known(texts, numbers(task, np.arange(len(texts))), gather(job.exchange, [], EDGE))
    rows = gather(job.exchange, job.pieces("islands", "texts", task), OWNED)
    edges = gather(job.exchange, job.pieces("islands", "edges", task), EDGE)
    texts = pa.RecordBatch.from_arrays(rows.columns[:-1], schema=TEXT)
    return known(texts, rows["number"].to_numpy(), edges)
