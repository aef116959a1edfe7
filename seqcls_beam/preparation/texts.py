"""Rows of one key and split are one text from the exact stage on: its row of TEXT, its key, its bands.

A text's number is its partition << 32 | its row of TEXT, uint64.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import labels, minhash, splits
from seqcls_beam.preparation.blocks import blocks, offsets_of
from seqcls_beam.preparation.examples import key_of
from seqcls_beam.preparation.exchange import SpillWriter
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.keys import digests, duplicate_key

Array = npt.NDArray[Any]

TEXT = pa.schema(
    [
        ("order", pa.uint64()),
        ("chance", pa.uint64()),
        ("split", pa.int8()),  # given, or NONE, or REFERENCE
        ("rows", pa.int32()),  # that have this text; 0 for a reference
        ("label", pa.string()),  # of its first row, as text: what classes a stratified split looks at
        ("groups", pa.list_(pa.uint64())),  # of its rows, one after the other
        ("sentences", pa.list_(pa.uint64())),  # digests of the keys of a pair's sentences; empty for single texts
        ("ids", pa.list_(pa.uint64())),  # digests of the ids of its rows
    ]
)
"""One row per text that stays, in the order of the output."""

ROWS = pa.schema([("row", pa.int32()), ("text", pa.int32())])
"""One row per row that stays: its place in the partition, and the row of TEXT it belongs to."""

KEY = pa.schema([("key", pa.string())])
"""One row per row of TEXT: its duplicate key."""

BAND = pa.schema([("hash", pa.uint64()), ("beside", pa.uint64()), ("text", pa.uint64()), ("size", pa.int32())])
"""One row per band of a text: `beside` tells of its next bands, `size` the number of its different shingles."""

_TEXTS = 1 << 14  # given their bands at once …
_BYTES = 1 << 22  # … or of this many bytes, of which each takes 35 while that is done
_LOW = np.uint64(0xFFFFFFFF)


def numbers(partition: int, rows: Array) -> npt.NDArray[np.uint64]:
    """The numbers of the texts in some rows of a partition's TEXT."""
    return (np.uint64(partition) << np.uint64(32)) | rows.astype(np.uint64)


def partitions_of(texts: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Numbers of texts → their partitions."""
    return (texts >> np.uint64(32)).astype(np.int64)


def rows_of(texts: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Numbers of texts → their rows of TEXT."""
    return (texts & _LOW).astype(np.int64)


class Members(NamedTuple):
    """The rows of a partition that stay, in the order of the output."""

    rows: Array  # places in the partition
    text: Array  # that each belongs to, from 0
    split: Array  # of each; a row without one has that of its copies


def as_texts(rows: pa.RecordBatch, members: Members, job: Job) -> pa.RecordBatch:
    """EXAMPLE of a partition → TEXT."""
    kept = members.rows
    first = np.flatnonzero(np.diff(members.text, prepend=-1))
    heads = rows.take(pa.array(kept[first]))
    split = members.split[first]
    counts = np.where(split == splits.REFERENCE, 0, np.diff(np.append(first, len(kept))))
    seed = job.config.splits.seed
    if job.pairs:
        two = [digests(duplicate_key(heads[name], job.key_steps), seed)[:, 0] for name in job.text_columns]
        sentences = _lists(np.arange(len(heads) + 1) * 2, np.stack(two, axis=1).reshape(-1))
    else:
        sentences = _lists(np.zeros(len(heads) + 1, np.int64), np.empty(0, np.uint64))
    return pa.RecordBatch.from_arrays(
        [
            heads["order"],
            heads["chance"],
            pa.array(split, pa.int8()),
            pa.array(counts, pa.int32()),
            labels.as_names(heads["label"]),
            _groups(rows["groups"].take(pa.array(kept)), first),
            sentences,
            _ids(rows["id"].take(pa.array(kept)), first, seed),
        ],
        schema=TEXT,
    )


def _groups(groups: pa.Array, first: Array) -> pa.Array:
    """The groups of the rows of each text, whose first ones are `first`: a copy that went ties nothing."""
    counts = pc.fill_null(pc.list_value_length(groups), 0).to_numpy()
    return _lists(offsets_of(counts)[np.append(first, len(counts))], groups.flatten().to_numpy())


def _ids(ids: pa.Array, first: Array, seed: int) -> pa.Array:
    there = ids.is_valid().to_numpy(zero_copy_only=False)
    return _lists(offsets_of(there)[np.append(first, len(ids))], digests(ids.drop_null(), seed)[:, 0])


def _lists(offsets: Array, values: Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.uint64()))


def flat(lists: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """list<uint64> [texts] → (what is in them, one after the other; the text that each stands in)."""
    sizes = lists.value_lengths().fill_null(0).to_numpy()
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lists)), sizes)


def write_bands(
    rows: pa.RecordBatch, heads: Array, partition: int, job: Job, keys: SpillWriter, bands: SpillWriter
) -> None:
    """EXAMPLE of a partition, and which rows are the first of its texts → KEY and BAND."""
    sizes = sum(pc.binary_length(rows[name]).to_numpy()[heads].astype(np.int64) for name in job.text_columns)
    for low, high in blocks(offsets_of(sizes), _BYTES, _TEXTS):
        key = key_of(rows.take(pa.array(heads[low:high])), job)
        keys.write_own(pa.RecordBatch.from_arrays([key], schema=KEY))
        # A text of less than one window is near to itself alone, and its copies were found.
        long = np.flatnonzero(pc.binary_length(key).to_numpy() >= minhash.WIDTH)
        if not len(long):
            continue
        shingles, offsets = minhash.shingles(key.take(pa.array(long)))
        hashes = minhash.bands(minhash.signatures(shingles, offsets))
        different = np.diff(minhash.as_sets(shingles, offsets)[1])
        made = pa.RecordBatch.from_arrays(
            [
                pa.array(hashes.reshape(-1)),
                pa.array(minhash.next_bands(hashes).reshape(-1)),
                pa.array(np.repeat(numbers(partition, low + long), minhash.BANDS)),
                pa.array(np.repeat(different, minhash.BANDS), pa.int32()),
            ],
            schema=BAND,
        )
        bands.write(made, job.partition(hashes.reshape(-1)))
