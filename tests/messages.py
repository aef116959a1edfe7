"""PREDICTION batches of messages made by hand, for tests of what comes after the model of a stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from seqcls_beam.schema import MESSAGE, MESSAGE_KEY, PREDICTION, REJECT_VALUE, Mark

LABELS = ["negative", "positive"]
MODEL = "0123456789ab" + "c" * 52


@dataclass(frozen=True)
class Message:
    """A message as it was labelled, or rejected."""

    id: str
    time: int  # of the event, microseconds since 1970
    published: int = 0
    key: str | None = None
    rejected: bool = False
    text: str = ""


def predictions(
    messages: Sequence[Message],
    keyed: bool = False,
    model: str = MODEL,
    labels: Sequence[str] = LABELS,
    keep: Sequence[tuple[str, pa.DataType]] = (("text", pa.string()),),
) -> pa.RecordBatch:
    """PREDICTION. The label is the second where the time is odd; kept columns have the text, or its length."""
    good = [not each.rejected for each in messages]
    fields = [*(pa.field(*each) for each in keep), *MESSAGE, *([MESSAGE_KEY] if keyed else [])]
    kept: list[list[object]] = [
        [(each.text if kind == pa.string() else len(each.text)) if not each.rejected else None for each in messages]
        for _, kind in keep
    ]
    values = [*kept, *([getattr(each, name) for each in messages] for name in ("id", "time", "published"))]
    values += [[each.key for each in messages]] if keyed else []
    arrays = [pa.array(column, field.type) for column, field in zip(values, fields, strict=True)]
    score = [np.float32(0.5 + each.time % 97 / 200) for each in messages]
    reject = {"stage": "read", "reason": "invalid_json", "detail": "no"}
    best = [each.time % 2 for each in messages]
    columns = {
        "source": pa.DictionaryArray.from_arrays(pa.array([0] * len(good), pa.int32()), pa.array(["pubsub"])),
        "position": pa.array([each.time for each in messages], pa.int64()),
        "keep": pa.StructArray.from_arrays(arrays, fields=fields),
        "reject": pa.array(
            [
                None if ok else {**reject, "raw": b"{" + each.id.encode()}
                for ok, each in zip(good, messages, strict=True)
            ],
            REJECT_VALUE,
        ),
        "tokens": pa.array(
            [len(each.text) if ok else None for ok, each in zip(good, messages, strict=True)], pa.int32()
        ),
        "truncated": pa.array([False if ok else None for ok in good], pa.bool_()),
        "label": pa.DictionaryArray.from_arrays(
            pa.array([number if ok else None for ok, number in zip(good, best, strict=True)], pa.int32()),
            pa.array(labels, pa.string()),
        ),
        "score": pa.array([s if ok else None for ok, s in zip(good, score, strict=True)], pa.float32()),
        "scores": pa.array(
            [([1 - s, s] if of else [s, 1 - s]) if ok else None for ok, s, of in zip(good, score, best, strict=True)],
            pa.list_(pa.float32()),
        ),
    }
    assert columns["label"].type == PREDICTION[0].type
    engine = {"labels": list(labels), "checkpoint": model, "problem": "single_label"}
    return Mark(unit=0, units=0, engine=engine).on(pa.RecordBatch.from_pydict(columns))
