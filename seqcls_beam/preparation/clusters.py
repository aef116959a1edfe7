"""Edges between near-duplicates → clusters: which texts are joined, which of them leads, and how a cluster is named.
With what the user groups by → groups: what must not be in two splits.

All arrays are over the texts that are known (`known`).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation.components import components, leaders
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import hexadecimal
from seqcls_beam.preparation.known import Edges
from seqcls_beam.preparation.texts import flat

Array = npt.NDArray[Any]


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
