"""Sixth stage, one task: texts and edges → the split of every text, and its place in the output.

All that is held of a text are some 60 bytes, of an edge 24: 1e7 texts take a gigabyte or so. Rows and texts themselves
are not read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import labels, splits
from seqcls_beam.preparation.components import components, leaders
from seqcls_beam.preparation.exact import TEXT
from seqcls_beam.preparation.exchange import SpillWriter, read_partition
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.runs import RunError

Array = npt.NDArray[Any]

PLACED = pa.schema(
    [
        ("split", pa.int8()),  # of splits.NAMES; NONE: its rows go, for …
        ("reason", pa.string()),
        # The first text of its cluster of near-duplicates, as digits; null where it is in none.
        ("cluster", pa.string()),
    ]
)
"""One row per row of TEXT, by partition."""


def assign(_: int, job: Job) -> dict[str, Any]:
    """TEXT of all partitions and EDGE → PLACED; the record says how many rows of each split each partition has."""
    records = job.index("exact")
    texts = [_texts(job, record["texts"]) for record in records]
    bases = np.concatenate([[0], np.cumsum([len(each) for each in texts])]).astype(np.int64)
    all_ = pa.Table.from_batches(texts, TEXT).combine_chunks()
    given = all_["split"].to_numpy().astype(np.int64)
    rows = all_["rows"].to_numpy().astype(np.int64)
    chance = all_["chance"].to_numpy()
    _refuse_equal_ids(_flat(all_["ids"]))

    edges = _edges(job, bases)
    cluster, near_reason = _clusters(len(given), *edges, given, job)
    found = np.where(near_reason != "", splits.NONE, given)
    reason = near_reason

    group, drawn = _groups(all_, cluster, near_reason == "", chance, job)
    found, reason = _without_leaks(found, reason, cluster, group, given, job)
    free = (reason == "") & (given == splits.NONE)
    found = _split(found, free, group, drawn, all_, rows, job)

    counts = np.zeros((len(records), len(splits.NAMES)), np.int64)
    spill = SpillWriter(job.exchange, "placed", PLACED, job.memory)
    digits = _digits(all_, cluster)
    for number in range(len(records)):
        part = slice(int(bases[number]), int(bases[number + 1]))
        stays = (reason[part] == "") & (given[part] != splits.REFERENCE)
        for split in range(len(splits.NAMES)):
            counts[number, split] = rows[part][stays & (found[part] == split)].sum()
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(np.where(stays, found[part], splits.NONE).astype(np.int8)),
                pa.array(reason[part], pa.string()),
                digits.slice(part.start, part.stop - part.start),
            ],
            schema=PLACED,
        )
        spill.write(batch, np.full(len(batch), number))
    real = given != splits.REFERENCE
    members = np.bincount(cluster[real], minlength=len(given))
    return {
        "placed": spill.close(),
        "counts": counts.tolist(),
        "names": _vocabulary(job),
        "clusters": int((members > 1).sum()),
        "clustered_texts": int(members[members > 1].sum()),
        "largest_cluster": int(members.max(initial=0)) if (members > 1).any() else 0,
        "near": _near_report(edges, given, found, all_["label"].combine_chunks(), job),
        "near_leaks": _near_leaks(edges, given, rows),
        "sentences": _sentence_leaks(all_, given, rows) if job.pairs else {},
    }


def _clusters(
    texts: int, first: Array, second: Array, similarity: Array, given: Array, job: Job
) -> tuple[Array, Array]:
    """(the first text of each one's cluster; why a text goes, "" if it stays)."""
    reason = np.full(texts, "", object)
    if job.config.clean.linkage == "leader":
        rank = np.lexsort((np.arange(texts), -given))  # given test rows lead, then validation, then the first
        place = np.empty(texts, np.int64)
        place[rank] = np.arange(texts)
        lead = leaders(texts, first, second, place)
        lowest = np.full(texts, texts)
        np.minimum.at(lowest, lead, np.arange(texts))
        cluster = lowest[lead]
    else:
        cluster = components(texts, first, second)
        lead = _best(cluster, -given)
    if job.near == "drop":
        fixed = (given == splits.TEST) | (given == splits.VALIDATION) | (given == splits.REFERENCE)
        # A cluster with a reference is not thinned out: its rows go as contaminated.
        beside = np.zeros(texts, bool)
        beside[cluster[given == splits.REFERENCE]] = True
        reason[(lead != np.arange(texts)) & ~fixed & ~beside[cluster]] = "near_duplicate"
    return cluster, reason


def _best(cluster: Array, rank: Array) -> Array:
    """The text of each cluster with the lowest rank, the first of those, for each text."""
    order = np.lexsort((np.arange(len(cluster)), rank, cluster))
    new = np.concatenate([[True], np.diff(cluster[order]) != 0]) if len(order) else np.empty(0, bool)
    lead = np.empty(len(cluster), np.int64)
    lead[order] = order[new][np.cumsum(new) - 1]
    return lead


def _groups(
    texts: pa.Table, cluster: Array, alive: Array, chance: Array, job: Job
) -> tuple[Array, npt.NDArray[np.uint64]]:
    """(the lowest text of each one's group; the number its split is drawn from).

    Groups are clusters joined with what the user groups by, and with sentences in common. The number is that of the
    group's value where there is one, so that rows which come later under it change nothing.
    """
    count = len(cluster)
    nodes, ends = [], []
    named = texts["groups"]
    values = [_flat(named)]
    owners = [np.repeat(np.arange(count), _sizes(named))]
    if job.config.splits.group_sentences:
        values.append(_flat(texts["sentences"]))
        owners.append(np.repeat(np.arange(count), _sizes(texts["sentences"])))
    value, owner = np.concatenate(values), np.concatenate(owners)
    kept = alive[owner]
    value, owner = value[kept], owner[kept]
    different, place = np.unique(value, return_inverse=True)
    nodes = [np.arange(count), owner]
    ends = [cluster, count + place]
    group = components(count + len(different), np.concatenate(nodes), np.concatenate(ends))[:count]
    drawn = chance[group]
    if len(values[0]):
        lowest = np.full(count, np.iinfo(np.uint64).max)
        users = np.repeat(np.arange(count), _sizes(named))
        np.minimum.at(lowest, group[users], values[0])
        with_value = np.zeros(count, bool)
        with_value[group[users]] = True
        drawn = np.where(with_value[group], lowest[group], drawn)
    return group, drawn


def _without_leaks(
    found: Array, reason: Array, cluster: Array, group: Array, given: Array, job: Job
) -> tuple[Array, Array]:
    """Of a group in several given splits only the highest stays; rows without a split join it."""
    stays = reason == ""
    for owners, why in ((cluster, "near_leak"), (group, "group_leak")):
        top = np.full(len(given), splits.NONE)
        np.maximum.at(top, owners[stays], found[stays])
        top = top[owners]
        below = stays & (top > found) & (found != splits.NONE)
        spoiled = stays & (top == splits.REFERENCE) & (given != splits.REFERENCE)
        reason = np.where(spoiled, "contaminated", reason)
        if job.removes_leaks:
            reason = np.where(below & ~spoiled, why, reason)
        joins = stays & (found == splits.NONE) & (top > splits.NONE) & (top < splits.REFERENCE)
        found = np.where(joins, top, found)
        stays = reason == ""
    return np.where(stays, found, splits.NONE), reason


def _split(found: Array, free: Array, group: Array, drawn: Array, texts: pa.Table, rows: Array, job: Job) -> Array:
    """The splits that were not given."""
    validation, test = job.fractions
    open_ = (free & (found == splits.NONE)) | (job.given & (found == splits.TRAIN) & (validation + test > 0))
    chosen = np.flatnonzero(open_)
    if not len(chosen):
        return found
    heads, members = np.unique(group[chosen], return_inverse=True)
    if job.config.splits.split == "hash" or job.problem == "regression":
        made = splits.by_hash(drawn[heads], validation, test)
    else:
        codes = texts["label"].combine_chunks()
        classes = codes.dictionary_encode()
        order = np.argsort(np.argsort(classes.dictionary.to_pylist()))  # a number that no order of rows changes
        number = np.append(order, len(order))[classes.indices.fill_null(len(order)).to_numpy()]
        # A group counts under the class that most of its rows have; of several, under the first.
        pairs, inverse = np.unique(np.stack([members, number[chosen]]), axis=1, return_inverse=True)
        weight = np.bincount(inverse.reshape(-1), rows[chosen])
        best = np.lexsort((pairs[1], -weight, pairs[0]))
        firsts = best[np.concatenate([[True], np.diff(pairs[0][best]) != 0])]
        sizes = np.bincount(members, rows[chosen]).astype(np.int64)
        made = splits.stratified(drawn[heads], pairs[1][firsts], sizes, validation, test)
    found = found.copy()
    found[chosen] = made[members]
    return found


def _vocabulary(job: Job) -> list[str]:
    """The labels, in order."""
    asked = job.config.labels.labels
    if asked is not None:
        return labels.pinned(asked)[0]
    counts = [each for record in job.index("read") for each in record["label_counts"]]
    names = {name for split, name, _ in counts if split != str(splits.TEST)}
    tested = {name for split, name, _ in counts if split == str(splits.TEST)}
    # GLUE writes -1 for the labels of a test set that it keeps to itself.
    return labels.vocabulary(names | (tested - {"-1"}))


def _edges(job: Job, bases: Array) -> tuple[Array, Array, Array]:
    """(first, second, similarity) of near-duplicates, texts numbered over all partitions."""
    if job.near == "off":
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    spills = [record["edges"] for record in job.index("compare")]
    edges = pa.Table.from_batches(read_partition(job.exchange, spills, 0), EDGE)
    ends = [edges[name].to_numpy() for name in ("first", "second")]
    first, second = (
        bases[(each >> np.uint64(32)).astype(np.int64)] + (each & np.uint64(0xFFFFFFFF)).astype(np.int64)
        for each in ends
    )
    order = np.lexsort((second, first))
    return first[order], second[order], edges["similarity"].to_numpy()[order]


def _near_report(
    edges: tuple[Array, Array, Array], given: Array, found: Array, names: pa.Array, job: Job
) -> dict[str, Any]:
    first, second, similarity = edges
    real = (given[first] != splits.REFERENCE) & (given[second] != splits.REFERENCE)
    if job.problem == "regression" or not len(first):
        torn = 0
    else:
        codes = names.dictionary_encode().indices.fill_null(-1).to_numpy()
        torn = int((real & (codes[first] != codes[second])).sum())
    return {
        "pairs": int(real.sum()),
        "pairs_with_other_labels": torn,
        "lowest_similarity": float(similarity.min()) if len(similarity) else None,
    }


def _near_leaks(edges: tuple[Array, Array, Array], given: Array, rows: Array) -> dict[str, int]:
    """By pair of given splits: rows of the higher one with a near-duplicate in the lower one."""
    first, second, _ = edges
    report = {}
    names = {splits.REFERENCE: "reference", **dict(enumerate(splits.NAMES))}
    for high in (splits.REFERENCE, splits.TEST, splits.VALIDATION):
        for low in range(splits.TRAIN, high):
            counted = low if high == splits.REFERENCE else high
            there = [
                one[(given[one] == counted) & (given[other] == (low + high - counted))]
                for one, other in ((first, second), (second, first))
            ]
            hit = np.unique(np.concatenate(there))
            if len(hit):
                report[f"{names[high]} in {names[low]}"] = int(rows[hit].sum())
    return report


def _sentence_leaks(texts: pa.Table, given: Array, rows: Array) -> dict[str, int]:
    """By pair of given splits: sentences of the higher one's rows that stand in the lower one's."""
    flat = _flat(texts["sentences"])
    owner = np.repeat(np.arange(len(given)), _sizes(texts["sentences"]))
    report = {}
    for high in (splits.TEST, splits.VALIDATION):
        for low in range(splits.TRAIN, high):
            lower = np.unique(flat[given[owner] == low])
            upper = given[owner] == high
            count = int((np.isin(flat[upper], lower) * rows[owner[upper]]).sum())
            if count:
                report[f"{splits.NAMES[high]} in {splits.NAMES[low]}"] = count
    return report


def _refuse_equal_ids(ids: Array) -> None:
    different, counts = np.unique(ids, return_counts=True)
    if len(different) < len(ids):
        raise RunError(
            f"--id_column: {int((counts > 1).sum()):,} ids are those of several rows that stay; an id must name one "
            "row (leave the option out, and rows are named by their content)"
        )


def _digits(texts: pa.Table, cluster: Array) -> pa.Array:
    """The digest of the first text of each one's cluster, as digits; null where it is alone."""
    sizes = np.bincount(cluster, minlength=len(cluster))
    shared = sizes[cluster] > 1
    order, chance = texts["order"].to_numpy(), texts["chance"].to_numpy()
    names = [f"{order[i]:016x}{chance[i]:016x}" for i in cluster[shared]]
    place = np.cumsum(shared) - 1
    return pa.array(names, pa.string()).take(pa.array(place, mask=~shared))


def _texts(job: Job, spill: dict[str, Any]) -> pa.RecordBatch:
    batches = list(read_partition(job.exchange, [spill], 0))
    return pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], TEXT)


def _flat(lists: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    flat: npt.NDArray[np.uint64] = lists.combine_chunks().flatten().to_numpy()
    return flat


def _sizes(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    sizes: npt.NDArray[np.int64] = lists.combine_chunks().value_lengths().fill_null(0).to_numpy().astype(np.int64)
    return sizes
