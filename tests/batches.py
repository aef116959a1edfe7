"""PREDICTION batches made by hand, for tests of what comes after the model."""

import numpy as np
import pyarrow as pa

from seqcls_beam.schema import PREDICTION, REJECT_VALUE, Mark, record

KEEP = pa.schema([("id", pa.int64()), ("text", pa.string())])
LABELS = ["negative", "positive"]
DIGEST = "0123456789abcdef" * 4


def predictions(unit: int, units: int, ids: range, rejected: frozenset[int] = frozenset(), **mark) -> pa.RecordBatch:
    """Rows with the given ids; those in `rejected` are rejects. The label of row i is positive where i is odd."""
    good = [i not in rejected for i in ids]
    score = [np.float32((i % 97) / 97) for i in ids]
    arrays = [
        pa.array(["corpus.jsonl"] * len(ids)).dictionary_encode(),
        pa.array([100 * i for i in ids], pa.int64()),
        pa.array([f"text {i}" if ok else None for i, ok in zip(ids, good, strict=True)], pa.string()),
        pa.array(
            [{"id": i, "text": f"text {i}"} if ok else None for i, ok in zip(ids, good, strict=True)],
            pa.struct(list(KEEP)),
        ),
        pa.array(
            [
                None if ok else {"stage": "read", "reason": "invalid_json", "detail": "no", "raw": b"{%d" % i}
                for i, ok in zip(ids, good, strict=True)
            ],
            REJECT_VALUE,
        ),
        pa.array([LABELS[i % 2] if ok else None for i, ok in zip(ids, good, strict=True)]).cast(PREDICTION[0].type)
        if ids
        else pa.array([], PREDICTION[0].type),
        pa.array([s if ok else None for s, ok in zip(score, good, strict=True)], pa.float32()),
        pa.array([[1 - s, s] if ok else None for s, ok in zip(score, good, strict=True)], pa.list_(pa.float32())),
        pa.array([i % 11 if ok else None for i, ok in zip(ids, good, strict=True)], pa.int32()),
        pa.array([i % 13 == 0 if ok else None for i, ok in zip(ids, good, strict=True)], pa.bool_()),
    ]
    names = [*record(KEEP, pair=False).names, *(field.name for field in PREDICTION), "tokens", "truncated"]
    batch = pa.RecordBatch.from_arrays(arrays, names)
    engine = {"labels": LABELS, "problem": "single_label", "checkpoint": DIGEST}
    return Mark(unit=unit, units=units, engine=engine, **mark).on(batch)


def unit_batches(unit: int, units: int, rows: range, batch_rows: int, rejected: frozenset[int] = frozenset()):
    """A whole unit, cut into batches."""
    starts = list(range(rows.start, rows.stop, batch_rows)) or [rows.start]
    for sequence, start in enumerate(starts):
        cut = range(start, min(start + batch_rows, rows.stop))
        last = sequence == len(starts) - 1
        inputs = [{"path": "corpus.jsonl", "size": 9, "version": "1", "start": 0, "end": -1, "rows": len(rows)}]
        inputs = [{**each, "format": "jsonl", "compression": "", "losses": []} for each in inputs]
        yield predictions(
            unit,
            units,
            cut,
            rejected,
            sequence=sequence,
            last=last,
            rows=cut.stop - rows.start,
            inputs=inputs if last else [],
            seconds={"read": 0.5},
        )
