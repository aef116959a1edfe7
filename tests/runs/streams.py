"""What a stream writes and what sealing makes of it, for tests that cut, halt and kill."""

import random
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import open_labels, storage
from seqcls_beam.runs import pieces, sealing
from seqcls_beam.schema import PREDICTION_MULTI_LABEL, Mark
from tests.messages import Message, predictions

S = 10**6
LENGTH = 300
FIRST, SECOND = "window=19700101T000000Z", "window=19700101T000500Z"


def prepared(output: Path | str) -> str:
    """A folder that a stream may append to."""
    pieces.prepare(str(output), LENGTH)
    return str(output)


def append(output: Path | str, *messages: Message, **how: Any) -> None:
    """A batch of messages, labelled."""
    pieces.append(str(output), predictions(messages, **how), LENGTH)


def seal(output: Path | str, until: int | None = None, patience: float = 0.0) -> dict[str, sealing.Sealed]:
    """Seal, and tell of every window."""
    return {each.window: each for each in sealing.seal(str(output), until, patience)}


def sealed(output: str) -> int:
    """The same as an exit code, for a process."""
    return int(any(each.fault is not None for each in seal(output).values()))


def appended(output: str, batches: list[list[Message]], seed: int) -> int:
    """Append batches one after the other, at odd moments, for a process."""
    chance = random.Random(seed)
    for batch in batches:
        append(output, *batch)
        time.sleep(chance.random() / 50)
    return 0


def ids(output: Path | str, live: bool = False) -> list[str]:
    """The ids of all labelled rows."""
    return sorted(open_labels(str(output), live).to_table(columns=["message_id"])["message_id"].to_pylist())


def rejected(output: Path | str) -> list[str]:
    """The ids of all rows that were rejected and sealed, read off the files."""
    return sorted(
        each
        for path in Path(output, "_rejects").rglob("*.parquet")
        for each in pq.read_table(path)["message_id"].to_pylist()
    )


def several(batch: pa.RecordBatch, threshold: float) -> pa.RecordBatch:
    """PREDICTION of one label → the same of a model that assigns each label whose probability reaches a threshold."""
    mark = Mark.of(batch)
    names = mark.engine["labels"]
    said = [
        None if each is None else [names[at] for at in np.argsort(each)[::-1] if each[at] >= threshold]
        for each in batch["scores"].to_pylist()
    ]
    labels = pa.array(said, pa.list_(pa.string()))
    at = batch.schema.get_field_index("label")
    many = batch.set_column(at, PREDICTION_MULTI_LABEL[0], labels).drop_columns(["score"])
    engine = {**mark.engine, "problem": "multi_label", "threshold": threshold}
    return replace(mark, engine=engine).on(many)


def content(output: Path | str, folders: Iterable[str] = ("labels", "_rejects")) -> dict[str, bytes]:
    """The bytes of all parts, by name."""
    fs, root = storage.connect(storage.absolute(str(output)))
    names = [name for folder in folders for name in fs.find(f"{root}/{folder}")]
    return {name.removeprefix(root).lstrip("/"): fs.cat_file(name) for name in names}


def left(output: Path | str) -> list[str]:
    """What is there beside parts and versions."""
    found = {name for name in content(output, [""]) if not name.startswith(("labels/", "_rejects/", "_versions/"))}
    known = ("_pieces/stream.json", "_pieces/columns/", "_pieces/models/", "_report/")
    return sorted(name for name in found if not name.startswith(known))


def short_rows(numbers: np.ndarray, times: np.ndarray) -> pa.RecordBatch:
    """PREDICTION of messages with a number each, without Python rows."""
    few = predictions([Message("x", 0)], keep=[("id", pa.int64())])
    at = pa.array(times, pa.timestamp("us", "UTC"))
    kept = [pa.array(numbers), pa.array(numbers + 10**15).cast(pa.string()), at, at]
    many = few.take(pa.array(np.zeros(len(numbers), np.int64)))
    keep = pa.StructArray.from_arrays(kept, fields=list(few.schema.field("keep").type))
    return many.set_column(many.schema.get_field_index("keep"), few.schema.field("keep"), keep)
