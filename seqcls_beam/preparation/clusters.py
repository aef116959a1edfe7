"""Edges between near-duplicates → clusters: which texts are joined, which of them leads, and how a cluster is named.
With what the user groups by → groups: what must not be in two splits.

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
from seqcls_beam.preparation.texts import flat, partitions_of, rows_of
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


class Ties(NamedTuple):
    """What must not be in two splits, beside single texts: clusters, values of `--group_by`, sentences."""

    cluster: npt.NDArray[np.int64]  # the lowest text of each one's cluster
    text: npt.NDArray[np.int64]  # a text …
    tie: npt.NDArray[np.int64]  # … and one of its values or sentences: its place in `digests`
    digests: npt.NDArray[np.uint64]  # of the different values, then of the different sentences
    values: int  # how many of those are values

    def of_values(self, some: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(text, tie) of those texts that are `some`, values only."""
        there = some[self.text] & (self.tie < self.values)
        return self.text[there], self.tie[there]


def ties(texts: pa.RecordBatch, cluster: Array, job: Job) -> Ties:
    """TEXT of all partitions, and the clusters → what ties them."""
    value, users = flat(texts["groups"])
    values, which = np.unique(value, return_inverse=True)
    if not job.config.splits.group_sentences:
        return Ties(cluster, users, which, values, len(values))
    sentence, speakers = flat(texts["sentences"])
    sentences, said = np.unique(sentence, return_inverse=True)
    both = np.concatenate([users, speakers]), np.concatenate([which, len(values) + said])
    return Ties(cluster, *both, np.concatenate([values, sentences]), len(values))


def groups(found: Ties, some: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The lowest text of each one's group, among those texts that are `some`."""
    count, there, held = len(some), np.flatnonzero(some), some[found.text]
    # Nodes are texts, then clusters, then values and sentences: of a group the lowest is a text.
    first = np.concatenate([there, found.text[held]])
    second = np.concatenate([count + found.cluster[there], 2 * count + found.tie[held]])
    return components(2 * count + len(found.digests), first, second)[:count]


def without(linked: Array, edges: Edges, stays: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Clusters as they are once only those texts are there that stay: a text that went joins no others."""
    broken = np.zeros(len(linked), bool)
    broken[linked[~stays]] = True
    again = broken[linked[edges.first]] & stays[edges.first] & stays[edges.second]
    found = components(len(linked), edges.first[again], edges.second[again])
    return np.where(broken[linked], found, linked)


def digests_of(texts: pa.RecordBatch, some: Array) -> list[str]:
    """The digests of the keys of some texts."""
    return hexadecimal(texts["order"].to_numpy()[some], texts["chance"].to_numpy()[some])
