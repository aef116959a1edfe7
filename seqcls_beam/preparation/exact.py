"""Second stage: rows of one key → which of them stay. What stays is a text, and is given its bands."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import copies, minhash, splits
from seqcls_beam.preparation.examples import example, key_of
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests, duplicate_key
from seqcls_beam.preparation.rejects import Rejects
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

TEXT = pa.schema(
    [
        ("order", pa.uint64()),
        ("chance", pa.uint64()),
        ("split", pa.int8()),  # given, or NONE, or REFERENCE
        ("rows", pa.int32()),  # that have this text; 0 for a reference
        ("label", pa.string()),  # of its first row, as text: what classes a stratified split looks at
        ("groups", pa.list_(pa.uint64())),
        ("sentences", pa.list_(pa.uint64())),  # digests of the keys of a pair's sentences; empty for single texts
        ("ids", pa.list_(pa.uint64())),  # digests of the ids of its rows
    ]
)
"""One row per text that stays, in the order of the output. Its number is partition << 32 | row."""

ROWS = pa.schema([("row", pa.int32()), ("text", pa.int32())])
"""One row per row that stays: its place in the partition, and the row of TEXT it belongs to."""

KEY = pa.schema([("key", pa.string())])
"""One row per row of TEXT: its duplicate key."""

BAND = pa.schema([("hash", pa.uint64()), ("beside", pa.uint64()), ("text", pa.uint64()), ("size", pa.int32())])
"""One row per band of a text: `beside` tells of its next bands, `size` the number of its different shingles."""

_TEXTS = 1 << 14  # given their bands at once …
_BYTES = 1 << 22  # … or of this many bytes, of which each takes 35 while that is done


def load(job: Job, partition: int) -> pa.RecordBatch:
    """All EXAMPLE rows of a partition, in the order of the units."""
    return gather(job.exchange, [record["spill"] for record in job.index("read")], partition, example(job))


def find_exact(partition: int, job: Job) -> dict[str, Any]:
    """A partition of EXAMPLE → which rows stay, the texts they are, and the bands of those."""
    with ExitStack() as open_:
        return _find_exact(partition, job, open_)


def _find_exact(partition: int, job: Job, open_: ExitStack) -> dict[str, Any]:
    rejects = open_.enter_context(Rejects(job, "exact", partition))
    texts, places, keys, bands = (
        open_.enter_context(SpillWriter(job.exchange, f"{name}-{partition:05d}", schema, job.memory))
        for name, schema in (("texts", TEXT), ("rows", ROWS), ("keys", KEY), ("bands", BAND))
    )
    rows = load(job, partition)
    counts: dict[str, Any] = {"duplicate_rows": 0, "conflict_groups": 0, "leaks": {}}
    if len(rows):
        chosen, counts = _choose(rows, job, rejects)
        made = _texts(rows, chosen, job)
        kept, owner = chosen.rows[chosen.stays], chosen.text[chosen.stays]
        texts.write(made, np.zeros(len(made), np.int64))
        places.write(
            pa.RecordBatch.from_arrays([pa.array(kept, pa.int32()), pa.array(owner, pa.int32())], schema=ROWS),
            np.zeros(len(kept), np.int64),
        )
        if job.near != "off":
            first = np.flatnonzero(np.diff(owner, prepend=-1))
            _bands(rows, kept[first], partition, job, keys, bands)
    return {
        "texts": texts.close(),
        "rows": places.close(),
        "keys": keys.close(),
        "bands": bands.close(),
        "rejects": rejects.close(),
        "counts": counts,
    }


class _Chosen(NamedTuple):
    """Rows that stay and their copies, in the order of the output."""

    rows: Array  # places in the partition
    text: Array  # that each belongs to, from 0
    split: Array  # of each; a row without one has that of its copies
    stays: npt.NDArray[np.bool_]


def _choose(rows: pa.RecordBatch, job: Job, rejects: Rejects) -> tuple[_Chosen, dict[str, Any]]:
    """(what stays; what was found)."""
    order, chance = rows["order"].to_numpy(), rows["chance"].to_numpy()
    split = rows["split"].to_numpy().astype(np.int64)
    by_key = np.lexsort((chance, order))
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(order[by_key]) != 0) | (np.diff(chance[by_key]) != 0)
    group = np.cumsum(new) - 1
    content = np.zeros(len(rows), np.uint64)
    several = by_key[np.bincount(group)[group] > 1]
    if len(several):
        content[several] = _content(rows.take(pa.array(several)), job)
    split[by_key] = copies.joined(group, split[by_key])
    # Whoever comes first of a key stays: of the highest split, then by content, never by where it was read.
    by_key = np.lexsort((content, -split, chance, order))
    split = split[by_key]
    label = _codes(rows["label"])[by_key]
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
    _report(rows, by_key, group, reason, rejects)

    stays = (reason == "") & (real | (job.near != "off"))
    # Of a reference one row is enough: the first of its key.
    stays &= real | (np.diff(group, prepend=-1) != 0)
    # A copy that went leaves its groups to the text. Where leaks are only reported a key is a text in each split.
    there = stays | (reason == "duplicate")
    new_text = (np.diff(group[there], prepend=-1) != 0) | (np.diff(split[there], prepend=-9) != 0)
    return _Chosen(by_key[there], np.cumsum(new_text) - 1, split[there], stays[there]), counts


def _report(rows: pa.RecordBatch, by_key: Array, group: Array, reason: Array, rejects: Rejects) -> None:
    gone = np.flatnonzero(reason != "")
    if not len(gone):
        return
    # The row that is named is the first of the key: it has the highest priority, though it may have gone as well.
    first = np.searchsorted(group, group[gone])
    others = rows.take(pa.array(by_key[first]))
    told = [
        f"{reason_} of {id_ if id_ is not None else f'{source}, position {position}'}"
        for reason_, id_, source, position in zip(
            (_SAID[each] for each in reason[gone]),
            others["id"].to_pylist(),
            others["source"].to_pylist(),
            others["position"].to_pylist(),
            strict=True,
        )
    ]
    rejects.add(rows.take(pa.array(by_key[gone])), pa.array(reason[gone], pa.string()), told)


_SAID = {
    "leak": "a copy",
    "contaminated": "a copy",
    "duplicate": "a copy",
    "conflicting_labels": "a copy with another label",
}


def _codes(labels: pa.Array) -> Array:
    """Labels → a number for each different one; a label that is not there is -1."""
    codes: Array = pc.fill_null(label_names(labels).dictionary_encode().indices.cast(pa.int64()), -1).to_numpy()
    return codes


def label_names(labels: pa.Array) -> pa.Array:
    """Labels of any problem as strings: what tells classes apart."""
    if pa.types.is_list(labels.type):
        return pc.binary_join(labels, "\0")
    return labels.cast(pa.string())


def _content(rows: pa.RecordBatch, job: Job) -> Array:
    """A digest of what rows hold, uint64 [rows]."""
    names = [name for name in ("text", "text_pair") if name in rows.schema.names]
    columns = [label_names(rows["label"]), rows["id"], *(rows[name] for name in names)]
    if job.config.splits.group_by:
        columns.append(pc.binary_join(rows["groups"].cast(pa.list_(pa.string())), "\0"))
    parts = zip(*(pc.fill_null(column.cast(pa.binary()), b"").to_pylist() for column in columns), strict=True)
    joined = b"".join([hashlib.blake2b(b"\x01".join(part), digest_size=8).digest() for part in parts])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def _texts(rows: pa.RecordBatch, chosen: _Chosen, job: Job) -> pa.RecordBatch:
    kept, owner = chosen.rows[chosen.stays], chosen.text[chosen.stays]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    heads = rows.take(pa.array(kept[first]))
    split = chosen.split[chosen.stays][first]
    counts = np.where(split == splits.REFERENCE, 0, np.diff(np.append(first, len(owner))))
    seed = job.config.splits.seed
    if job.pairs:
        two = [digests(duplicate_key(heads[name], job.key_steps), seed)[:, 0] for name in ("text", "text_pair")]
        sentences = _lists(np.arange(len(heads) + 1) * 2, np.stack(two, axis=1).reshape(-1))
    else:
        sentences = _lists(np.zeros(len(heads) + 1, np.int64), np.empty(0, np.uint64))
    return pa.RecordBatch.from_arrays(
        [
            heads["order"],
            heads["chance"],
            pa.array(split, pa.int8()),
            pa.array(counts, pa.int32()),
            label_names(heads["label"]),
            _union(rows["groups"].take(pa.array(chosen.rows)), np.flatnonzero(np.diff(chosen.text, prepend=-1))),
            sentences,
            _ids(rows["id"].take(pa.array(kept)), first, seed),
        ],
        schema=TEXT,
    )


def _union(groups: pa.Array, first: Array) -> pa.Array:
    """The groups of the rows of each text, joined."""
    counts = pc.fill_null(pc.list_value_length(groups), 0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(counts)])
    return _lists(ends[np.append(first, len(counts))], groups.flatten().to_numpy())


def _ids(ids: pa.Array, first: Array, seed: int) -> pa.Array:
    there = ids.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(there)])
    return _lists(ends[np.append(first, len(ids))], digests(ids.drop_null(), seed)[:, 0])


def _lists(offsets: Array, values: Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.uint64()))


def _bands(rows: pa.RecordBatch, heads: Array, partition: int, job: Job, keys: SpillWriter, bands: SpillWriter) -> None:
    for some in _runs(rows, heads, job):
        key = key_of(rows.take(pa.array(heads[some])), job)
        keys.write(pa.RecordBatch.from_arrays([key], schema=KEY), np.zeros(len(key), np.int64))
        # A text of less than one window is near to itself alone, and its copies were found.
        long = np.flatnonzero(pc.binary_length(key).to_numpy() >= 5)
        if not len(long):
            continue
        values, offsets = minhash.shingles(key.take(pa.array(long)))
        hashes = minhash.bands(minhash.signatures(values, offsets))
        sizes = np.diff(minhash.as_sets(values, offsets)[1])
        numbers = (np.uint64(partition) << np.uint64(32)) | (some.start + long).astype(np.uint64)
        made = pa.RecordBatch.from_arrays(
            [
                pa.array(hashes.reshape(-1)),
                pa.array(minhash.next_bands(hashes).reshape(-1)),
                pa.array(np.repeat(numbers, minhash.BANDS)),
                pa.array(np.repeat(sizes, minhash.BANDS), pa.int32()),
            ],
            schema=BAND,
        )
        bands.write(made, job.partition(hashes.reshape(-1)))


def _runs(rows: pa.RecordBatch, heads: Array, job: Job) -> Iterator[slice]:
    """`heads` in runs that are worked on at once."""
    sizes = sum(
        pc.binary_length(rows[name]).to_numpy()[heads].astype(np.int64)
        for name in ("text", "text_pair")[: 1 + job.pairs]
    )
    ends, low = np.cumsum(sizes), 0
    while low < len(heads):
        before = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _BYTES, side="right")))
        yield slice(low, min(high, low + _TEXTS))
        low = min(high, low + _TEXTS)
