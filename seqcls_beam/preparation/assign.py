"""Sixth stage, one task: texts and edges → the split of every text, and its place in the output.

It takes some 360 bytes a text, for 10 million texts 4 GB. Rows and texts themselves are not read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import clusters, findings, labels, splits
from seqcls_beam.preparation.blocks import offsets_of
from seqcls_beam.preparation.clusters import Edges
from seqcls_beam.preparation.components import components
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.texts import TEXT
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
    found, reason = _without_leaks(given, reason, linked, (reason == "") & ~reference, "near_leak", job)
    reason[~reference & (reason == "") & np.isin(linked, linked[reference])] = "contaminated"
    alive = (reason == "") & ~reference
    group, drawn = _groups(texts, linked, alive, job)
    found, reason = _without_leaks(np.where(alive, found, splits.NONE), reason, group, alive, "group_leak", job)
    stays = (reason == "") & ~reference
    _refuse_equal_ids(texts["ids"], stays)
    found = _split(found, stays, group, drawn, texts["label"], rows, job)

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
        "names": _vocabulary(job),
        **findings.cluster_sizes(linked, reference),
        "near": findings.near_duplicates(edges, given, label, job.problem),
        "near_leaks": findings.near_leaks(edges, given, rows),
        "sentences": findings.sentence_leaks(*_flat(texts["sentences"]), given, rows) if job.pairs else {},
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


def _without_leaks(
    found: Array, reason: Array, owner: Array, counted: Array, why: str, job: Job
) -> tuple[Array, Array]:
    """Splits and reasons: of the texts that `owner` puts together, those without a split join the highest one there.

    Those in a lower split go, where leaks are removed. Only texts that are `counted` matter and are changed.
    """
    top = np.full(len(found), splits.NONE)
    np.maximum.at(top, owner[counted], found[counted])
    top = top[owner]
    below = counted & (top > found) & (found != splits.NONE)
    if job.removes_leaks:
        reason = np.where(below, why, reason)
    return np.where(counted & (found == splits.NONE), top, found), reason


def _groups(
    texts: pa.RecordBatch, linked: Array, alive: Array, job: Job
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """(the lowest text of each one's group; the number its split is drawn from), among those that are `alive`.

    Groups are clusters joined with what the user groups by, and with sentences in common. The number is that of the
    group's value where there is one, so that rows which come later under it change nothing.
    """
    count = len(linked)
    value, owner = _flat(texts["groups"])
    named, users = value[alive[owner]], owner[alive[owner]]
    if job.config.splits.group_sentences:
        sentences, speakers = _flat(texts["sentences"])
        value = np.concatenate([named, sentences[alive[speakers]]])
        owner = np.concatenate([users, speakers[alive[speakers]]])
    else:
        value, owner = named, users
    different, place = np.unique(value, return_inverse=True)
    there = np.flatnonzero(alive)
    # Nodes are texts, then clusters, then values: of a group the lowest is a text.
    first = np.concatenate([there, owner])
    second = np.concatenate([count + linked[there], 2 * count + place])
    group = components(2 * count + len(different), first, second)[:count]
    drawn = texts["chance"].to_numpy()[group]
    if len(users):
        lowest = np.full(count, np.iinfo(np.uint64).max)
        np.minimum.at(lowest, group[users], named)
        with_value = np.zeros(count, bool)
        with_value[group[users]] = True
        drawn = np.where(with_value[group], lowest[group], drawn)
    return group, drawn


def _split(found: Array, stays: Array, group: Array, drawn: Array, label: pa.Array, rows: Array, job: Job) -> Array:
    """Splits, with those drawn that were not given."""
    validation, test = job.fractions
    taken = job.given & (found == splits.TRAIN) & (validation + test > 0)
    chosen = np.flatnonzero(stays & ((found == splits.NONE) | taken))
    if not len(chosen):
        return found
    heads, members = np.unique(group[chosen], return_inverse=True)
    if job.config.splits.split == "hash" or job.problem == "regression":
        made = splits.by_hash(drawn[heads], validation, test)
    else:
        classes = _classes(_ranks(label)[chosen], members, rows[chosen])
        sizes = np.bincount(members, rows[chosen]).astype(np.int64)
        made = splits.stratified(drawn[heads], classes, sizes, validation, test)
    found = found.copy()
    found[chosen] = made[members]
    return found


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


def _vocabulary(job: Job) -> list[str]:
    """The labels, in order."""
    asked = job.config.labels.labels
    if asked is not None:
        return labels.pinned(asked)[0]
    counts = [each for record in job.index("read") for each in record["label_counts"]]
    labels.refuse_many({name for _, name, _ in counts}, job.config.labels.label_column)
    names = {name for split, name, _ in counts if split != str(splits.TEST)}
    tested = {name for split, name, _ in counts if split == str(splits.TEST)}
    # GLUE writes -1 for the labels of a test set that it keeps to itself.
    return labels.vocabulary(names | (tested - {"-1"}))


def _refuse_equal_ids(lists: pa.Array, stays: Array) -> None:
    ids, owner = _flat(lists)
    ids = ids[stays[owner]]
    different, counts = np.unique(ids, return_counts=True)
    if len(different) < len(ids):
        raise RunError(
            f"--id_column: {int((counts > 1).sum()):,} ids are those of several rows that stay; an id must name one "
            "row (leave the option out, and rows are named by their content)"
        )


def _flat(lists: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """list<uint64> [texts] → (what is in them, one after the other; the text that each stands in)."""
    sizes = lists.value_lengths().fill_null(0).to_numpy()
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lists)), sizes)
