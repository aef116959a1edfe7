"""Sixth stage, one task: texts and edges → the split of every text, and its place in the output.

It takes some 360 bytes a text, for 10 million texts 4 GB. Rows and texts themselves are not read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import clusters, findings, labels, spellings, splits
from seqcls_beam.preparation.blocks import offsets_of
from seqcls_beam.preparation.clusters import Edges, Ties
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests
from seqcls_beam.preparation.texts import TEXT, flat
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

PLACED = pa.schema(
    [
        ("split", pa.int8()),  # of splits.NAMES, or NONE where its rows go or it is a reference
        ("reason", pa.string()),  # why they go, "" where they do not
        ("detail", pa.string()),
        # The digest of the first text of its cluster of near-duplicates; null where it is in none.
        ("cluster", pa.string()),
    ]
)
"""One row per row of TEXT, by partition."""


def assign(_: int, job: Job) -> dict[str, Any]:
    """TEXT of all partitions and EDGE → PLACED; the record says how many rows of each split each partition has."""
    records = job.index("exact")
    parts = [gather(job.exchange, [record["texts"]], 0, TEXT) for record in records]
    bases = offsets_of([len(each) for each in parts])
    texts = pa.concat_batches(parts)
    given = texts["split"].to_numpy().astype(np.int64)
    rows = texts["rows"].to_numpy().astype(np.int64)
    label = labels.codes(texts["label"])
    reference = given == splits.REFERENCE
    edges = clusters.read_edges(job, bases)
    linked = clusters.join(job, bases, edges)

    reason = _thinned(edges, given, label, job)
    found = _without_near_leaks(given, reason, linked, (reason == "") & ~reference, job)
    reason[~reference & (reason == "") & np.isin(linked, linked[reference])] = "contaminated"
    stays = (reason == "") & ~reference
    ties = clusters.ties(texts, clusters.without(linked, edges, stays), job)
    found = _without_group_leaks(found, reason, ties, stays, job)
    stays = (reason == "") & ~reference
    ties = ties._replace(cluster=clusters.without(linked, edges, stays))
    group = clusters.groups(ties, stays)
    found = _joined(found, group, stays)
    _refuse_equal_ids(texts["ids"], stays)
    taken = job.given & (found == splits.TRAIN) & (sum(job.fractions) > 0)
    drawn = stays & ((found == splits.NONE) | taken)
    if drawn.any():
        found[drawn] = _drawn(
            drawn, group, _numbers(texts["chance"].to_numpy(), group, ties, stays, job.config.splits.seed), texts, job
        )

    counts = np.zeros((len(records), len(splits.NAMES)), np.int64)
    where = np.repeat(np.arange(len(records)), np.diff(bases))
    np.add.at(counts, (where[stays], found[stays]), rows[stays])
    placed = pa.RecordBatch.from_arrays(
        [
            pa.array(np.where(stays, found, splits.NONE).astype(np.int8)),
            pa.array(reason, pa.string()),
            findings.details(texts, edges, reason, stays | reference),
            clusters.names(texts, edges, linked, given, job),
        ],
        schema=PLACED,
    )
    with SpillWriter(job.exchange, "placed", PLACED, job.memory) as spill:
        spill.write(placed, where)
        written = spill.close()
    return {
        "placed": written,
        "counts": counts.tolist(),
        "names": vocabulary(job),
        **findings.cluster_sizes(linked, reference),
        "near": findings.near_duplicates(edges, given, label, job.problem),
        "near_leaks": findings.near_leaks(edges, given, rows),
        "sentences": findings.sentence_leaks(*flat(texts["sentences"]), given, rows) if job.pairs else {},
        "shares": findings.shares(texts, bases, found, drawn, group, ties, job),
    }


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


def _drawn(drawn: Array, group: Array, number: Array, texts: pa.RecordBatch, job: Job) -> Array:
    """The splits of those texts that are `drawn`, int8."""
    chosen, rows = np.flatnonzero(drawn), texts["rows"].to_numpy().astype(np.int64)
    heads, members = np.unique(group[chosen], return_inverse=True)
    if job.config.splits.split == "hash" or job.problem == "regression":
        return splits.by_hash(number[heads], *job.fractions)[members]
    classes = _classes(_ranks(texts["label"])[chosen], members, rows[chosen])
    sizes = np.bincount(members, rows[chosen]).astype(np.int64)
    return splits.stratified(number[heads], classes, sizes, *job.fractions)[members]


def _ranks(label: pa.Array) -> npt.NDArray[np.int64]:
    """Labels → their numbers in the order of their characters, whatever the order of rows; null is the last."""
    coded = label.dictionary_encode()
    ranks = np.argsort(np.argsort(coded.dictionary.to_pylist()))
    return np.append(ranks, len(ranks))[coded.indices.fill_null(len(ranks)).to_numpy()]


def _classes(number: Array, members: Array, rows: Array) -> Array:
    """The class of each group: the one that most of its rows have; of several, the first."""
    pairs, inverse = np.unique(np.stack([members, number]), axis=1, return_inverse=True)
    weight = np.bincount(inverse.reshape(-1), rows)
    best = np.lexsort((pairs[1], -weight, pairs[0]))
    classes: Array = pairs[1][best[np.diff(pairs[0][best], prepend=-1) != 0]]
    return classes


def vocabulary(job: Job) -> list[str]:
    """The labels, in order; raises `RunError` where there are none, or what was found could be something else."""
    if job.names:
        return list(job.names.values())
    found = labels.found_in(job.index("read"))
    labels.refuse_many(found, f"--label_column={job.label_columns[0]}", labels.NUMBER)
    if job.problem == "multi_label" and not found:
        raise RunError(
            f"no row has a label in {job.label_columns[0]!r}: every list there that could be read is empty; nothing "
            "was published. Is it another column (--label_column)? To learn that none applies, name the --labels"
        )
    spellings.refuse_spellings(found, job.label_columns[0])
    if job.problem == "multi_label" or job.config.labels.problem == "auto":
        why = labels.doubt(found, f"--label_column={job.label_columns[0]}", job.problem == "multi_label")
        if why is not None:
            raise RunError(f"nothing was published: {why}")
    return labels.vocabulary(set(spellings.one_spelling(found).values()))


def _refuse_equal_ids(lists: pa.Array, stays: Array) -> None:
    ids, owner = flat(lists)
    ids = ids[stays[owner]]
    different, counts = np.unique(ids, return_counts=True)
    if len(different) < len(ids):
        raise RunError(
            f"--id_column: {int((counts > 1).sum()):,} ids are those of several rows that stay; an id must name one "
            "row (leave the option out, and rows are named by their content)"
        )
