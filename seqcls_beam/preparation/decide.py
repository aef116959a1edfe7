"""Texts and edges → the split of every text, or why its rows go. Rows and texts themselves are not read.

What becomes of a text follows from those that it is joined to, in the order of their numbers, and from nothing else;
but for the quotas of a stratified split, which `draw` knows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import clusters, findings, labels, splits
from seqcls_beam.preparation.clusters import Ties
from seqcls_beam.preparation.components import components
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests
from seqcls_beam.preparation.known import Edges, Known

Array = npt.NDArray[Any]


class Groups(NamedTuple):
    """Groups of texts to which a split is drawn by class."""

    heads: npt.NDArray[np.int64]  # the lowest text of each
    number: npt.NDArray[np.uint64]  # that is drawn for it
    label: pa.Array  # its class; null for none
    rows: npt.NDArray[np.int64]


Draw = Callable[[Groups], Array]
"""Groups → the split of each."""


class Decision(NamedTuple):
    """All arrays are over the texts."""

    split: Array  # of splits.NAMES, or NONE where its rows go or it is a reference
    reason: Array  # why they go, "" where they do not
    detail: pa.Array
    cluster: pa.Array  # the digest of the first text of its cluster of near-duplicates; null where it is in none
    linked: Array  # the lowest text that near-duplicates join it to
    stays: npt.NDArray[np.bool_]
    drawn: npt.NDArray[np.bool_]  # whether its split was drawn, not given
    group: Array  # the lowest text of those that must be in its split
    ties: Ties


def decide(known: Known, job: Job, draw: Draw) -> Decision:
    """What becomes of texts."""
    texts, edges = known.texts, known.edges
    given = texts["split"].to_numpy().astype(np.int64)
    reference = given == splits.REFERENCE
    linked = components(len(texts), edges.first, edges.second)

    reason = _thinned(edges, given, labels.codes(texts["label"]), job)
    found = _without_near_leaks(given, reason, linked, (reason == "") & ~reference, job)
    reason[~reference & (reason == "") & np.isin(linked, linked[reference])] = "contaminated"
    stays = (reason == "") & ~reference
    ties = clusters.ties(texts, clusters.without(linked, edges, stays), job)
    found = _without_group_leaks(found, reason, ties, stays, job)
    stays = (reason == "") & ~reference
    ties = ties._replace(cluster=clusters.without(linked, edges, stays))
    group = clusters.groups(ties, stays)
    found = _joined(found, group, stays)
    taken = job.given & (found == splits.TRAIN) & (sum(job.fractions) > 0)
    drawn = stays & ((found == splits.NONE) | taken)
    if drawn.any():
        number = _numbers(texts["chance"].to_numpy(), group, ties, stays, job.config.splits.seed)
        found[drawn] = _drawn(drawn, group, number, texts, job, draw)
    return Decision(
        np.where(stays, found, splits.NONE),
        reason,
        findings.details(texts, edges, reason, stays | reference),
        clusters.names(texts, edges, linked, given, job),
        linked,
        stays,
        drawn,
        group,
        ties,
    )


def _thinned(edges: Edges, given: Array, label: Array, job: Job) -> Array:
    """Why a text goes, "" if it stays: of near-duplicates of one label, where they are dropped, all but one that leads.

    Those given as validation or test rows stay.
    """
    reason = np.full(len(given), "", object)
    if job.near == "drop":
        alike = label[edges.first] == label[edges.second]
        alike &= (given[edges.first] < splits.REFERENCE) & (given[edges.second] < splits.REFERENCE)
        lead = clusters.lead(edges.first[alike], edges.second[alike], given, job)
        fixed = (given == splits.TEST) | (given == splits.VALIDATION)
        reason[(lead != np.arange(len(given))) & ~fixed] = "near_duplicate"
    return reason


def _highest(found: Array, owner: Array, some: Array) -> Array:
    """The highest split among those texts that `owner` puts together with each, and that are `some`."""
    top = np.full(len(found), splits.NONE)
    np.maximum.at(top, owner[some], found[some])
    highest: Array = top[owner]
    return highest


def _joined(found: Array, owner: Array, some: Array) -> Array:
    """Splits; those texts without one join the highest of what `owner` puts them with."""
    return np.where(some & (found == splits.NONE), _highest(found, owner, some), found)


def _without_near_leaks(given: Array, reason: Array, linked: Array, some: Array, job: Job) -> Array:
    """Splits once texts without one have joined their clusters; those in a lower split than the cluster's get a reason.

    Only those texts that are `some` matter and are changed.
    """
    if job.removes_leaks:
        reason[some & (given != splits.NONE) & (given < _highest(given, linked, some))] = "near_leak"
    return _joined(given, linked, some)


def _without_group_leaks(found: Array, reason: Array, ties: Ties, stays: Array, job: Job) -> Array:
    """Splits once texts without one have joined their groups in the higher splits; texts of lower ones get a reason.

    From the highest split down: what goes there ties nothing any more, so the rest of its group stays.
    """
    if not job.removes_leaks or not len(ties.digests):
        return found
    for high in (splits.TEST, splits.VALIDATION):
        if (stays & (found == high)).any():
            upper = stays & ((found == high) | (found == splits.NONE))
            found = _joined(found, clusters.groups(ties, upper), upper)
            held = np.zeros(len(ties.digests), bool)
            held[ties.tie[(stays & (found == high))[ties.text]]] = True
            below = stays & (found != splits.NONE) & (found < high)
            below &= np.isin(np.arange(len(found)), ties.text[held[ties.tie]])
            reason[below] = "group_leak"
            stays = stays & ~below
    return found


def _numbers(chance: Array, group: Array, ties: Ties, stays: Array, seed: int) -> npt.NDArray[np.uint64]:
    """What each one's split is drawn from: a number of its group.

    One of its value where there is one, so that rows which come later under it change nothing. Of several values it is
    that of the lowest, digested again: the lowest of many numbers is low, and would draw large groups for testing.
    """
    lowest = np.full(len(group), np.iinfo(np.uint64).max)
    text, tie = ties.of_values(stays)
    np.minimum.at(lowest, group[text], ties.digests[tie])
    with_value = np.zeros(len(group), bool)
    with_value[group[text]] = True
    heads = np.flatnonzero(with_value)
    again = pa.array([each.tobytes() for each in lowest[heads].astype("<u8")], pa.binary())
    lowest[heads] = digests(again, seed)[:, 0]
    return np.where(with_value[group], lowest[group], chance[group])


def _drawn(
    drawn: Array, group: Array, number: npt.NDArray[np.uint64], texts: pa.RecordBatch, job: Job, draw: Draw
) -> Array:
    """The splits of those texts that are `drawn`."""
    chosen = np.flatnonzero(drawn)
    heads, members = np.unique(group[chosen], return_inverse=True)
    if not job.stratified:
        return splits.by_hash(number[heads], *job.fractions)[members]
    rows = texts["rows"].to_numpy().astype(np.int64)[chosen]
    classes = _classes(texts["label"].take(pa.array(chosen)), members, rows)
    split: Array = draw(Groups(heads, number[heads], classes, np.bincount(members, rows).astype(np.int64)))[members]
    return split


def _classes(label: pa.Array, members: Array, rows: Array) -> pa.Array:
    """The class of each group: the one that most of its rows have; of several, the first by characters, null last."""
    names = sorted(label.drop_null().unique().to_pylist())
    rank = label.dictionary_encode()
    place = {name: number for number, name in enumerate(names)}
    ranks = np.array([*(place[each] for each in rank.dictionary.to_pylist()), len(names)], np.int64)
    of_rows = ranks[rank.indices.fill_null(len(ranks) - 1).to_numpy()]
    pairs, inverse = np.unique(np.stack([members, of_rows]), axis=1, return_inverse=True)
    weight = np.bincount(inverse.reshape(-1), rows)
    best = np.lexsort((pairs[1], -weight, pairs[0]))
    most = pairs[1][best[np.diff(pairs[0][best], prepend=-1) != 0]]
    return pa.array([*names, None], pa.string()).take(pa.array(most))
