"""Sixth stage, one task: texts and edges → the split of every text, and its place in the output.

It takes some 360 bytes a text, for 10 million texts 4 GB. Rows and texts themselves are not read.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import labels, splits
from seqcls_beam.preparation.components import components, leaders
from seqcls_beam.preparation.exact import TEXT
from seqcls_beam.preparation.exchange import SpillWriter, gather, read_partition
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.preparation.stars import read_links
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

PLACED = pa.schema(
    [
        ("split", pa.int8()),  # of splits.NAMES; NONE: its rows go, for …
        ("reason", pa.string()),
        ("detail", pa.string()),
        # The digest of the first text of its cluster of near-duplicates; null where it is in none.
        ("cluster", pa.string()),
    ]
)
"""One row per row of TEXT, by partition."""

Edges = tuple[Array, Array, Array]
"""(first, second, similarity) of near-duplicates, texts numbered over all partitions."""


def assign(_: int, job: Job) -> dict[str, Any]:
    """TEXT of all partitions and EDGE → PLACED; the record says how many rows of each split each partition has."""
    records = job.index("exact")
    parts = [gather(job.exchange, [record["texts"]], 0, TEXT) for record in records]
    bases = np.concatenate([[0], np.cumsum([len(each) for each in parts])]).astype(np.int64)
    texts = pa.Table.from_batches(parts, TEXT).combine_chunks()
    given = texts["split"].to_numpy().astype(np.int64)
    rows = texts["rows"].to_numpy().astype(np.int64)
    reference = given == splits.REFERENCE
    edges = _edges(job, bases)
    linked = _linked(job, bases, *edges[:2])
    reason = _thinned(edges, given, texts["label"].combine_chunks(), job)
    found, reason = _without_leaks(given, reason, linked, "near_leak", job)
    spoiled = ~reference & (reason == "") & np.isin(linked, linked[reference])
    reason[spoiled] = "contaminated"
    alive = (reason == "") & ~reference
    group, drawn = _groups(texts, linked, alive, job)
    found, reason = _without_leaks(np.where(alive, found, splits.NONE), reason, group, "group_leak", job, alive)
    stays = (reason == "") & ~reference
    _refuse_equal_ids(_flat(texts["ids"])[np.repeat(stays, _sizes(texts["ids"]))])
    found = _split(found, stays, group, drawn, texts, rows, job)

    counts = np.zeros((len(records), len(splits.NAMES)), np.int64)
    where = np.repeat(np.arange(len(records)), np.diff(bases))
    np.add.at(counts, (where[stays], found[stays]), rows[stays])
    placed = pa.RecordBatch.from_arrays(
        [
            pa.array(np.where(stays, found, splits.NONE).astype(np.int8)),
            pa.array(reason, pa.string()),
            _details(texts, edges, reason, stays | reference),
            _names(texts, _clusters(edges, linked, given, job)),
        ],
        schema=PLACED,
    )
    with SpillWriter(job.exchange, "placed", PLACED, job.memory) as spill:
        spill.write(placed, where)
        written = spill.close()
    members = np.bincount(linked[~reference], minlength=len(given))
    return {
        "placed": written,
        "counts": counts.tolist(),
        "names": _vocabulary(job),
        "clusters": int((members > 1).sum()),
        "clustered_texts": int(members[members > 1].sum()),
        "largest_cluster": int(members.max(initial=0)) if (members > 1).any() else 0,
        "near": _near_report(edges, given, texts["label"].combine_chunks(), job),
        "near_leaks": _near_leaks(edges, given, rows),
        "sentences": _sentence_leaks(texts, given, rows) if job.pairs else {},
    }


def _linked(job: Job, bases: Array, first: Array, second: Array) -> npt.NDArray[np.int64]:
    """The lowest text of each one's cluster: found here, or by the rounds before.

    Raises `RunError` where those were too few.
    """
    rounds = job.config.clean.linking_rounds
    if not rounds or job.near == "off":
        return components(int(bases[-1]), first, second)
    linked = np.arange(bases[-1])
    for partition in range(job.partitions):
        node, neighbour = (_over_all(each, bases) for each in read_links(job, f"small {rounds}", partition))
        inner = neighbour < node
        linked[node[inner]] = neighbour[inner]
    if (linked[linked] != linked).any() or (linked[first] != linked[second]).any():
        raise _too_few(rounds)
    return linked


def _too_few(rounds: int) -> RunError:
    return RunError(f"--linking_rounds={rounds} were too few for the clusters of near-duplicates here; give more")


def _over_all(texts: Array, bases: Array) -> npt.NDArray[np.int64]:
    """Numbers of texts → numbers over all partitions."""
    within = (texts & np.uint64(0xFFFFFFFF)).astype(np.int64)
    found: npt.NDArray[np.int64] = bases[(texts >> np.uint64(32)).astype(np.int64)] + within
    return found


def _thinned(edges: Edges, given: Array, names: pa.Array, job: Job) -> Array:
    """Why a text goes, "" if it stays: of near-duplicates of one label, where they are dropped, all but one that leads.

    Those given as validation or test rows stay.
    """
    reason = np.full(len(given), "", object)
    if job.near == "drop":
        codes = names.dictionary_encode().indices.fill_null(-1).to_numpy()
        alike = (codes[edges[0]] == codes[edges[1]]) & (given[edges[0]] < splits.REFERENCE)
        alike &= given[edges[1]] < splits.REFERENCE
        lead = _led(edges[0][alike], edges[1][alike], given, job)
        fixed = (given == splits.TEST) | (given == splits.VALIDATION)
        reason[(lead != np.arange(len(given))) & ~fixed] = "near_duplicate"
    return reason


def _led(first: Array, second: Array, given: Array, job: Job) -> npt.NDArray[np.int64]:
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


def _clusters(edges: Edges, linked: Array, given: Array, job: Job) -> Array:
    """The first text of each one's cluster, as it is published."""
    if job.config.clean.linkage == "component":
        return linked
    lead = _led(edges[0], edges[1], given, job)
    lowest = np.full(len(given), len(given))
    np.minimum.at(lowest, lead, np.arange(len(given)))
    return lowest[lead]


def _without_leaks(
    found: Array, reason: Array, owner: Array, why: str, job: Job, among: Array | None = None
) -> tuple[Array, Array]:
    """Splits and reasons, with that of what `owner` puts together only the highest split stays; others join it."""
    counted = (reason == "") & (found != splits.REFERENCE) if among is None else among
    top = np.full(len(found), splits.NONE)
    np.maximum.at(top, owner[counted], found[counted])
    top = top[owner]
    below = counted & (top > found) & (found != splits.NONE)
    if job.removes_leaks:
        reason = np.where(below, why, reason)
    return np.where(counted & (found == splits.NONE), top, found), reason


def _groups(texts: pa.Table, linked: Array, alive: Array, job: Job) -> tuple[Array, npt.NDArray[np.uint64]]:
    """(the lowest text of each one's group; the number its split is drawn from), among those that are `alive`.

    Groups are clusters joined with what the user groups by, and with sentences in common. The number is that of the
    group's value where there is one, so that rows which come later under it change nothing.
    """
    count = len(linked)
    named = texts["groups"]
    users = np.repeat(np.arange(count), _sizes(named))
    value, owner = _flat(named), users
    if job.config.splits.group_sentences:
        sentences = texts["sentences"]
        value = np.concatenate([value, _flat(sentences)])
        owner = np.concatenate([owner, np.repeat(np.arange(count), _sizes(sentences))])
    value, owner = value[alive[owner]], owner[alive[owner]]
    different, place = np.unique(value, return_inverse=True)
    there = np.flatnonzero(alive)
    # Nodes are texts, then clusters, then values: of a group the lowest is a text.
    first = np.concatenate([there, owner])
    second = np.concatenate([count + linked[there], 2 * count + place])
    group = components(2 * count + len(different), first, second)[:count]
    drawn = texts["chance"].to_numpy()[group]
    of_users = alive[users]
    if of_users.any():
        lowest = np.full(count, np.iinfo(np.uint64).max)
        np.minimum.at(lowest, group[users[of_users]], _flat(named)[of_users])
        with_value = np.zeros(count, bool)
        with_value[group[users[of_users]]] = True
        drawn = np.where(with_value[group], lowest[group], drawn)
    return group, drawn


def _split(found: Array, stays: Array, group: Array, drawn: Array, texts: pa.Table, rows: Array, job: Job) -> Array:
    """The splits that were not given."""
    validation, test = job.fractions
    taken = job.given & (found == splits.TRAIN) & (validation + test > 0)
    chosen = np.flatnonzero(stays & ((found == splits.NONE) | taken))
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
    labels.refuse_many({name for _, name, _ in counts}, job.config.labels.label_column)
    names = {name for split, name, _ in counts if split != str(splits.TEST)}
    tested = {name for split, name, _ in counts if split == str(splits.TEST)}
    # GLUE writes -1 for the labels of a test set that it keeps to itself.
    return labels.vocabulary(names | (tested - {"-1"}))


def _edges(job: Job, bases: Array) -> Edges:
    if job.near == "off":
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    spills = [record["edges"] for record in job.index("compare")]
    edges = pa.Table.from_batches(read_partition(job.exchange, spills, 0), EDGE)
    first, second = (_over_all(edges[name].to_numpy(), bases) for name in ("first", "second"))
    order = np.lexsort((second, first))
    return first[order], second[order], edges["similarity"].to_numpy()[order]


def _details(texts: pa.Table, edges: Edges, reason: Array, there: Array) -> pa.Array:
    """Of texts that go, the nearest text that stays or is a reference."""
    one, other = np.concatenate([edges[0], edges[1]]), np.concatenate([edges[1], edges[0]])
    similarity = np.concatenate([edges[2], edges[2]])
    told = (reason[one] != "") & there[other]
    one, other, similarity = one[told], other[told], similarity[told]
    order = np.lexsort((other, -similarity, one))
    best = order[np.diff(one[order], prepend=-1) != 0]
    details = np.full(len(reason), None, object)
    details[reason != ""] = "through others of its cluster or group"
    names = _digests(texts, other[best])
    for text, name, near in zip(one[best].tolist(), names, similarity[best].tolist(), strict=True):
        details[text] = f"similarity {near:.3f} with {name}"
    return pa.array(details, pa.string())


def _near_report(edges: Edges, given: Array, names: pa.Array, job: Job) -> dict[str, Any]:
    first, second, similarity = edges
    real = (given[first] != splits.REFERENCE) & (given[second] != splits.REFERENCE)
    codes = names.dictionary_encode().indices.fill_null(-1).to_numpy()
    torn = real & (codes[first] != codes[second]) & (codes[first] >= 0) & (codes[second] >= 0)
    return {
        "pairs": int(real.sum()),
        "pairs_with_other_labels": 0 if job.problem == "regression" else int(torn.sum()),
        "lowest_similarity": float(similarity[real].min()) if real.any() else None,
    }


def _near_leaks(edges: Edges, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: rows of the higher one with a near-duplicate in the lower one; of a reference rows near it."""
    first, second, _ = edges
    report = {}
    for high, low in splits.PAIRS:
        counted, against = (low, high) if high == splits.REFERENCE else (high, low)
        there = [
            one[(given[one] == counted) & (given[other] == against)]
            for one, other in ((first, second), (second, first))
        ]
        hit = np.unique(np.concatenate(there))
        if len(hit):
            report[splits.pair_name(high, low)] = int(rows[hit].sum())
    return report


def _sentence_leaks(texts: pa.Table, given: Array, rows: Array) -> dict[str, int]:
    """By pair of given splits: sentences of the higher one's rows that stand in the lower one's."""
    flat = _flat(texts["sentences"])
    owner = np.repeat(np.arange(len(given)), _sizes(texts["sentences"]))
    report = {}
    for high, low in splits.PAIRS:
        lower = np.unique(flat[given[owner] == low])
        upper = given[owner] == high
        count = int((np.isin(flat[upper], lower) * rows[owner[upper]]).sum())
        if count:
            report[splits.pair_name(high, low)] = count
    return report


def _refuse_equal_ids(ids: Array) -> None:
    different, counts = np.unique(ids, return_counts=True)
    if len(different) < len(ids):
        raise RunError(
            f"--id_column: {int((counts > 1).sum()):,} ids are those of several rows that stay; an id must name one "
            "row (leave the option out, and rows are named by their content)"
        )


def _names(texts: pa.Table, cluster: Array) -> pa.Array:
    """The digest of the first text of each one's cluster; null where it is alone."""
    shared = np.bincount(cluster, minlength=len(cluster))[cluster] > 1
    place = np.cumsum(shared) - 1
    return pa.array(_digests(texts, cluster[shared]), pa.string()).take(pa.array(place, mask=~shared))


def _digests(texts: pa.Table, some: Array) -> list[str]:
    order, chance = (texts[name].to_numpy()[some].tolist() for name in ("order", "chance"))
    return [f"{one:016x}{other:016x}" for one, other in zip(order, chance, strict=True)]


def _flat(lists: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    flat: npt.NDArray[np.uint64] = lists.combine_chunks().flatten().to_numpy()
    return flat


def _sizes(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    sizes: npt.NDArray[np.int64] = lists.combine_chunks().value_lengths().fill_null(0).to_numpy().astype(np.int64)
    return sizes
