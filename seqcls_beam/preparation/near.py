"""Third to fifth stage: bands → pairs worth comparing → the keys of both texts → edges between near-duplicates.

A pair's texts lie in two partitions. The key of the first is sent to the partition of the second, once for all pairs
it has there, and is compared there.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import minhash
from seqcls_beam.preparation.blocks import blocks, offsets_of
from seqcls_beam.preparation.exchange import SpillWriter, gather, read
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.texts import BAND, KEY, partitions_of, rows_of
from seqcls_beam.runs import progress

Array = npt.NDArray[Any]

PAIR = pa.schema([("first", pa.uint64()), ("second", pa.uint64())])
# The key is there where a text comes first in a run of its pairs, and null in the rest of the run.
SENT = pa.schema([*PAIR, ("key", pa.string())])
EDGE = pa.schema([*PAIR, ("similarity", pa.float64())])

_BYTES = 1 << 22  # of keys that are compared at once
_SLACK = 1e-12  # rounding of a similarity, which is a quotient of two integers


def find_pairs(partition: int, job: Job) -> dict[str, Any]:
    """A partition of BAND → PAIR, by the partition of the first text."""
    rows = _gathered(job, "exact", "bands", partition, BAND)
    hashes, beside, texts, sizes = (rows[name].to_numpy() for name in BAND.names)
    first, second, fullest = minhash.candidates(hashes, beside, texts, sizes, job.config.clean.similarity)
    with SpillWriter(job.exchange, f"pairs-{partition:05d}", PAIR, job.memory) as spill:
        spill.write(_batch(PAIR, first, second), partitions_of(first))
        return {"pairs": spill.close(), "fullest": fullest}


def send_keys(partition: int, job: Job) -> dict[str, Any]:
    """Pairs whose first text is in a partition → SENT, by the partition of the second text."""
    rows = _gathered(job, "pairs", "pairs", partition, PAIR)
    first, second = minhash.unique_pairs(rows["first"].to_numpy(), rows["second"].to_numpy())
    with SpillWriter(job.exchange, f"sent-{partition:05d}", SENT, _BYTES) as spill:
        if len(first):
            keys = _keys(job, partition)
            target = partitions_of(second)
            order = np.lexsort((second, first, target))
            first, second, target = first[order], second[order], target[order]
            leads = np.concatenate([[True], (np.diff(first) != 0) | (np.diff(target) != 0)])
            places = rows_of(first)
            sizes = 16 + leads * pc.binary_length(keys).to_numpy()[places].astype(np.int64)
            for low, high in blocks(offsets_of(sizes), _BYTES, len(first)):
                part = slice(low, high)
                leads[low] = True  # what was written may be sorted into the file on its own
                sent = keys.take(pa.array(places[part], mask=~leads[part]))
                spill.write(_batch(SENT, first[part], second[part], sent), target[part])
        return {"sent": spill.close(), "pairs": len(first)}


def compare(partition: int, job: Job) -> dict[str, Any]:
    """Pairs whose second text is in a partition → EDGE: those that are as similar as asked, exactly."""
    keys, compared = None, 0
    with SpillWriter(job.exchange, f"edges-{partition:05d}", EDGE, job.memory) as spill:
        # Each batch begins with a key.
        for rows in read(job.exchange, job.pieces("keys", "sent", partition)):
            keys = _keys(job, partition) if keys is None else keys
            first, second = rows["first"].to_numpy(), rows["second"].to_numpy()
            one = np.cumsum(rows["key"].is_valid().to_numpy(zero_copy_only=False)) - 1
            there, other = np.unique(rows_of(second), return_inverse=True)
            found = minhash.similarities(
                minhash.as_sets(*minhash.shingles(rows["key"].drop_null())),
                minhash.as_sets(*minhash.shingles(keys.take(pa.array(there)))),
                one,
                other,
            )
            near = found >= job.config.clean.similarity - _SLACK
            compared += len(first)
            spill.write_own(_batch(EDGE, first[near], second[near], found[near]))
            progress.report(job.run.progress)  # of texts that are much alike there are many pairs
        return {"edges": spill.close(), "compared": compared}


def _gathered(job: Job, stage: str, what: str, partition: int, schema: pa.Schema) -> pa.RecordBatch:
    return gather(job.exchange, job.pieces(stage, what, partition), schema)


def _keys(job: Job, partition: int) -> pa.Array:
    """The keys of the texts of a partition, in their order."""
    return gather(job.exchange, job.own("exact", "keys", partition), KEY)["key"]


def _batch(schema: pa.Schema, *columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(each) for each in columns], schema=schema)
