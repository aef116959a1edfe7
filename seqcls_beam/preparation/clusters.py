"""Edges between near-duplicates → clusters: which texts are joined, which of them leads, and how a cluster is named.

All arrays are over the texts of all partitions, one partition after the other.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation.components import components, leaders
from seqcls_beam.preparation.exchange import gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import hexadecimal
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.preparation.stars import read_links
from seqcls_beam.preparation.texts import partitions_of, rows_of
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]


class Edges(NamedTuple):
    """Pairs of near-duplicates, each once, in order; `first` is the lower text of both."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


def read_edges(job: Job, bases: Array) -> Edges:
    """EDGE of all partitions, whose first texts are `bases`."""
    if job.near == "off":
        return Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    rows = gather(job.exchange, [record["edges"] for record in job.index("compare")], 0, EDGE)
    first, second = (_over_all(rows[name].to_numpy(), bases) for name in ("first", "second"))
    order = np.lexsort((second, first))
    return Edges(first[order], second[order], rows["similarity"].to_numpy()[order])


def join(job: Job, bases: Array, edges: Edges) -> npt.NDArray[np.int64]:
    """The lowest text of each one's component: found here, or by the rounds before.

    Raises `RunError` where those were too few.
    """
    rounds = job.config.clean.linking_rounds
    if not rounds or job.near == "off":
        return components(int(bases[-1]), edges.first, edges.second)
    linked = np.arange(bases[-1])
    for partition in range(job.partitions):
        node, neighbour = (_over_all(each, bases) for each in read_links(job, f"small {rounds}", partition))
        inner = neighbour < node
        linked[node[inner]] = neighbour[inner]
    if (linked[linked] != linked).any() or (linked[edges.first] != linked[edges.second]).any():
        raise RunError(f"--linking_rounds={rounds} were too few for the clusters of near-duplicates here; give more")
    return linked


def _over_all(texts: Array, bases: Array) -> npt.NDArray[np.int64]:
    """Numbers of texts → numbers over all partitions."""
    found: npt.NDArray[np.int64] = bases[partitions_of(texts)] + rows_of(texts)
    return found


def lead(first: Array, second: Array, given: Array, job: Job) -> npt.NDArray[np.int64]:
    """The text that leads each one's cluster: of the highest split, and of those the first in the output."""
    count = len(given)
    order = np.lexsort((np.arange(count), -given))
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    if job.config.clean.linkage == "leader":
        return leaders(count, first, second, rank)
    cluster = components(count, first, second)
    best = np.full(count, count)
    np.minimum.at(best, cluster, rank)
    return order[best[cluster]]


def names(texts: pa.RecordBatch, edges: Edges, linked: Array, given: Array, job: Job) -> pa.Array:
    """What shards publish as `cluster`: the digest of the first text of each one's cluster; null where it is alone."""
    first = linked
    if job.config.clean.linkage == "leader":
        led = lead(edges.first, edges.second, given, job)
        lowest = np.full(len(given), len(given))
        np.minimum.at(lowest, led, np.arange(len(given)))
        first = lowest[led]
    shared = np.bincount(first, minlength=len(first))[first] > 1
    place = np.cumsum(shared) - 1
    return pa.array(digests_of(texts, first[shared]), pa.string()).take(pa.array(place, mask=~shared))


def digests_of(texts: pa.RecordBatch, some: Array) -> list[str]:
    """The digests of the keys of some texts."""
    return hexadecimal(texts["order"].to_numpy()[some], texts["chance"].to_numpy()[some])
