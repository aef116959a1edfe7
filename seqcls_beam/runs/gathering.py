"""Rows of pieces, as they were chosen → the parts of a window, and what is told of them.

Pieces are read again for every slice of the order that has rows of them; what is in memory at once is a slice, not the
window. Parts, as row groups in them, are cut by rows and bytes alone, never by pieces or slices.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.rows import row_bytes
from seqcls_beam.runs import pieces
from seqcls_beam.runs.distinct import Numbers, Rows
from seqcls_beam.runs.histograms import Histograms
from seqcls_beam.runs.parts import ROW_GROUP_ROWS, PartWriter, fresh_name
from seqcls_beam.runs.windows import microseconds
from seqcls_beam.schema import MESSAGE, MESSAGE_KEY, MODEL, PREDICTION_MULTI_LABEL, PUBSUB, REJECT, TOKENS

PART_ROWS = 16 * ROW_GROUP_ROWS
PART_BYTES = 256 * 2**20
"""A part ends at whichever comes first."""

SLICE_ROWS = 2**19
SLICE_BYTES = 64 * 2**20
"""What is gathered at once."""

_SEVERAL = [field.name for field in (*PREDICTION_MULTI_LABEL, *TOKENS[2:], MODEL)]
"""The last columns of LABELED of a stream where the model assigns several labels."""


@dataclass(frozen=True)
class Source:
    """A piece, as far as it is known before its rows are read."""

    uri: str
    shape: pa.Schema  # of LABELED
    row_bytes: float  # on the average


@dataclass
class Gathered:
    """The parts of a window, and what is counted of its new rows."""

    labels: list[dict[str, Any]] = field(default_factory=list)  # as PartWriter tells them, and `shape`
    rejects: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    truncated: int = 0
    label_counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    histograms: list[dict[str, list[int]]] = field(default_factory=list)  # of some rows each, by a key of EDGES


def gather(folder: str, sources: list[Source], shapes: list[pa.Schema], rows: Rows, empty: bool) -> Gathered:
    """Write the rows, in their order, as parts into folders `labels` and `rejects` of an attempt.

    Rows with different columns go into different parts; `shapes` are what columns there are. `empty` asks for a part of
    labels even where no row has any. Raises `Damaged`, `FileNotFoundError` where a piece is gone, and `OSError`.
    """
    made = Gathered()
    for number, shape in enumerate(shapes):
        mine = np.flatnonzero(~rows.rejected & (rows.shapes == number))
        if len(mine) or (empty and number == 0 and rows.rejected.all()):
            batches = _slices(sources, rows.take(mine), shape.names)
            written = _written(f"{folder}/labels", shape, batches, made, _labeled)
            name = hashlib.blake2b(shape.serialize(), digest_size=6).hexdigest()
            made.labels += [{**part, "shape": name} for part in written]
    for keyed in (False, True):
        those = [number for number, shape in enumerate(shapes) if (MESSAGE_KEY.name in shape.names) == keyed]
        mine = np.flatnonzero(rows.rejected & np.isin(rows.shapes, those))
        if len(mine):
            schema = pa.schema([*REJECT, *MESSAGE, *([MESSAGE_KEY] if keyed else [])])
            batches = _slices(sources, rows.take(mine), [*schema.names[len(REJECT) :], "reject"])
            made.rejects += _written(f"{folder}/rejects", schema, batches, made, _rejected)
    return made


def _written(
    folder: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    made: Gathered,
    counted: Callable[[pa.RecordBatch, pa.Schema, Gathered], pa.RecordBatch],
) -> list[dict[str, Any]]:
    """The rows as parts with these columns."""
    parts = _Parts(folder, schema)
    try:
        for batch in batches:
            parts.write(counted(batch, schema, made))
        return parts.close()
    except BaseException as error:
        parts.abandon(error)
        raise


def _slices(sources: list[Source], rows: Rows, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows with some of their columns, in order."""
    ends = np.cumsum(np.array([each.row_bytes for each in sources])[rows.pieces])
    low = 0
    while low < len(rows):
        full = int(np.searchsorted(ends, (ends[low - 1] if low else 0.0) + SLICE_BYTES))
        high = min(max(full, low + 1), low + SLICE_ROWS, len(rows))
        those, places = rows.pieces[low:high], rows.places[low:high]
        order = np.argsort((those.astype(np.int64) << 32) | places)
        found, begins = np.unique(those[order], return_index=True)
        wanted = zip(found.tolist(), np.split(places[order], begins[1:]), strict=True)
        taken = storage.each(partial(_taken, sources, columns), list(wanted))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        (batch,) = pa.concat_tables(taken).combine_chunks().to_batches()
        yield batch.take(pa.array(back))
        low = high


def _taken(sources: list[Source], columns: list[str], wanted: tuple[int, Numbers]) -> pa.Table:
    number, places = wanted
    uri = sources[number].uri
    # A name with a dot in it may bring others with it.
    table = pieces.read(pieces.opened(uri), uri, columns).select(columns).replace_schema_metadata(None)
    return table if len(places) == len(table) else table.take(pa.array(places))


def _labeled(batch: pa.RecordBatch, schema: pa.Schema, made: Gathered) -> pa.RecordBatch:
    made.tokens += pc.sum(batch["tokens"]).as_py() or 0
    made.truncated += pc.sum(batch["truncated"]).as_py() or 0
    # By their place: a kept column may have the name that the model's own has where it assigns several labels.
    several = schema.names[-len(_SEVERAL) :] == _SEVERAL
    said = batch["labels"].flatten() if several else batch["label"]
    made.label_counts.update({each["values"]: each["counts"] for each in pc.value_counts(said).to_pylist()})
    labels = len(orjson.loads(schema.metadata[b"seqcls_beam.labels"]))
    top = batch["scores"].flatten().to_numpy().reshape(-1, labels).max(axis=1) if several else batch["score"].to_numpy()
    histograms = Histograms(labels, several)
    histograms.add(top, batch["tokens"].to_numpy())
    made.histograms.append(histograms.counts)
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _rejected(batch: pa.RecordBatch, schema: pa.Schema, made: Gathered) -> pa.RecordBatch:
    why = batch["reject"].flatten()
    made.reasons.update({each["values"]: each["counts"] for each in pc.value_counts(why[1]).to_pylist()})
    source = pa.array([PUBSUB] * len(batch), pa.string())
    position = pa.array(microseconds(batch["event_time"]))
    return pa.RecordBatch.from_arrays(
        [source, position, *why, *(batch[name] for name in schema.names[len(REJECT) :])], schema=schema
    )


class _Parts:
    """Parts of one kind, one after the other."""

    def __init__(self, folder: str, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        self._closed: list[dict[str, Any]] = []
        self._writer = self._open()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        for start in range(0, len(batch), ROW_GROUP_ROWS):
            self._write(batch.slice(start, ROW_GROUP_ROWS))

    def close(self) -> list[dict[str, Any]]:
        """Finish the last part; what is told of all."""
        self._closed.append(self._writer.close())
        return self._closed

    def abandon(self, error: BaseException) -> None:
        """Give up, because of `error`."""
        self._writer.abandon(error)

    def _open(self) -> PartWriter:
        self._rows = self._bytes = 0
        name = fresh_name(f"{len(self._closed):05d}")
        return PartWriter(storage.join(self._folder, name), self._schema, self._metadata or None)

    def _write(self, batch: pa.RecordBatch) -> None:
        while len(batch):
            sizes = row_bytes(batch).cumsum()
            room = int(np.searchsorted(sizes, PART_BYTES - self._bytes, side="right"))
            take = min(max(room, 0 if self._rows else 1), PART_ROWS - self._rows, len(batch))
            if take:
                self._writer.write(batch.slice(0, take))
                self._rows += take
                self._bytes += int(sizes[take - 1])
                batch = batch.slice(take)
            if len(batch):
                self._closed.append(self._writer.close())
                self._writer = self._open()
