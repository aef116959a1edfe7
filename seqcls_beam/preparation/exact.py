"""Second stage: rows of one key → which of them stay, by the policies of `copies`. What stays is a text (`texts`)."""

import hashlib
from collections import Counter
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import copies, labels, splits
from seqcls_beam.preparation.examples import load_examples
from seqcls_beam.preparation.exchange import SpillWriter
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import first_of_keys
from seqcls_beam.preparation.rejects import Rejects
from seqcls_beam.preparation.texts import BAND, KEY, ROWS, TEXT, Members, as_texts, write_bands
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]


def find_exact(partition: int, job: Job) -> dict[str, Any]:
    """A partition of EXAMPLE → which rows stay, the texts they are, and the bands of those."""
    with ExitStack() as open_:
        rejects = open_.enter_context(Rejects(job, "exact", partition))
        texts, places, keys, bands = (
            open_.enter_context(SpillWriter(job.exchange, f"{name}-{partition:05d}", schema, job.memory))
            for name, schema in (("texts", TEXT), ("rows", ROWS), ("keys", KEY), ("bands", BAND))
        )
        rows = load_examples(job, partition)
        counts: dict[str, Any] = {"duplicate_rows": 0, "conflict_groups": 0, "leaks": {}, "gone": []}
        if len(rows):
            members, counts = _choose(rows, job, rejects)
            made = as_texts(rows, members, job)
            texts.write_own(made)
            placed = [pa.array(members.rows, pa.int32()), pa.array(members.text, pa.int32())]
            places.write_own(pa.RecordBatch.from_arrays(placed, schema=ROWS))
            if job.near != "off":
                heads = members.rows[np.flatnonzero(np.diff(members.text, prepend=-1))]
                write_bands(rows, heads, partition, job, keys, bands)
        return {
            "texts": texts.close(),
            "rows": places.close(),
            "keys": keys.close(),
            "bands": bands.close(),
            "rejects": rejects.close(),
            "counts": counts,
        }


def _choose(rows: pa.RecordBatch, job: Job, rejects: Rejects) -> tuple[Members, dict[str, Any]]:
    """(what stays; what was found)."""
    by_key, group, split = _sorted(rows, job)
    label = labels.codes(rows["label"])[by_key]
    real = split != splits.REFERENCE
    counts = {
        "duplicate_rows": int(real.sum()) - len(np.unique(group[real])),
        "conflict_groups": copies.disagreeing(group[real], label[real]),
        "leaks": copies.leaks(group, split, label),
    }
    reason = np.full(len(rows), "", object)
    copies.mark_leaks(group, split, reason, job.removes_leaks)
    torn = copies.mark_conflicts(group, split, label, reason, job.conflicts)
    if job.conflicts == "fail" and len(torn):
        source, position, text = (rows[name][by_key[torn[0]]].as_py() for name in ("source", "position", "text"))
        raise RunError(
            f"{len(np.unique(group[torn])):,} texts of a part of the data have several labels (--conflicts=fail), the "
            f"first of them at {source}, position {position}: {text[:200]!r}"
        )
    if job.duplicates == "drop":
        copies.mark_twins(group, split, label, reason)
    _reject(rows, by_key, group, reason, rejects)
    counts["gone"] = _gone(rows["label"].take(pa.array(by_key)), reason, job)

    stays = (reason == "") & (real | (job.near != "off"))
    # Of a reference one row is enough: the first of its key.
    stays &= real | (np.diff(group, prepend=-1) != 0)
    # Where leaks are only reported a key is a text in each split.
    new_text = (np.diff(group[stays], prepend=-1) != 0) | (np.diff(split[stays], prepend=-9) != 0)
    return Members(by_key[stays], np.cumsum(new_text) - 1, split[stays]), counts


def _sorted(rows: pa.RecordBatch, job: Job) -> tuple[Array, Array, Array]:
    """Rows in the order in which `copies` takes them: (their places; the number of each one's key, from 0; its split).

    Whoever comes first of a key stays: of the highest split, a row that was given it before one that joins it, then by
    content, never by where it was read.
    """
    order, chance = rows["order"].to_numpy(), rows["chance"].to_numpy()
    split = rows["split"].to_numpy().astype(np.int64)
    by_key = np.lexsort((chance, order))
    group = np.cumsum(first_of_keys(order[by_key], chance[by_key])) - 1
    joins = split == splits.NONE
    split[by_key] = copies.joined(group, split[by_key])
    content = np.zeros(len(rows), np.uint64)
    several = by_key[np.bincount(group)[group] > 1]
    if len(several):
        content[several] = _content(rows.take(pa.array(several)), job)
    by_key = np.lexsort((content, joins, -split, chance, order))
    return by_key, group, split[by_key]


def _content(rows: pa.RecordBatch, job: Job) -> npt.NDArray[np.uint64]:
    """A digest of what rows hold."""
    columns = [labels.as_names(rows["label"]), rows["id"], *(rows[name] for name in job.text_columns)]
    if job.config.splits.group_by:
        columns.append(pc.binary_join(rows["groups"].cast(pa.list_(pa.string())), "\0"))
    parts = zip(*(pc.fill_null(column.cast(pa.binary()), b"").to_pylist() for column in columns), strict=True)
    joined = b"".join([hashlib.blake2b(b"\x01".join(part), digest_size=8).digest() for part in parts])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def _gone(label: pa.Array, reason: Array, job: Job) -> list[list[Any]]:
    """How many rows of a label go, and why: [[label, reason, rows]]."""
    if job.problem == "regression":
        return []
    found: Counter[tuple[str, str]] = Counter()
    for why in np.unique(reason[reason != ""]).tolist():
        some = label.filter(pa.array(reason == why))
        some = some.flatten() if job.problem == "multi_label" else some
        for each in pc.value_counts(some.drop_null()).to_pylist():
            found[each["values"], why] += each["counts"]
    return [[*key, count] for key, count in sorted(found.items())]


def _reject(rows: pa.RecordBatch, by_key: Array, group: Array, reason: Array, rejects: Rejects) -> None:
    gone = np.flatnonzero(reason != "")
    if not len(gone):
        return
    # The row that is named is the first of the key: it has the highest priority, though it may have gone as well.
    first = np.searchsorted(group, group[gone])
    others = rows.take(pa.array(by_key[first]))
    told = [
        f"{'a copy with another label' if why == 'conflicting_labels' else 'a copy'} of "
        + (id_ if id_ is not None else f"{source}, position {position}")
        for why, id_, source, position in zip(
            reason[gone],
            others["id"].to_pylist(),
            others["source"].to_pylist(),
            others["position"].to_pylist(),
            strict=True,
        )
    ]
    rejects.add(rows.take(pa.array(by_key[gone])), pa.array(reason[gone], pa.string()), told)
