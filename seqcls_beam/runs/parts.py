"""PREDICTION batches of one unit → its Parquet parts and its record.

Row groups are cut by rows and bytes alone, never by how rows arrived in batches, so a part's bytes depend on its
rows only. A part is written under a name nobody else uses; the unit's record, written last, says which parts count.
Knows one unit; what a run does with many is in `run.py` and `commit.py`.
"""

import hashlib
import secrets
import time
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.model.answers import answers, why
from seqcls_beam.rows import row_bytes
from seqcls_beam.runs.columns import listed
from seqcls_beam.runs.histograms import Histograms
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import REJECT, Mark, labeled

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 64 * 2**20
"""A row group ends at whichever comes first: what query engines like to read at once, and a bound on our memory."""

_REPEATED = ("label", "labels", "model", "source", "source_file", "stage", "reason")


class PartWriter:
    """One Parquet file being written: batches of `schema` in, row groups out."""

    def __init__(self, uri: str, schema: pa.Schema, metadata: dict[str, str] | None = None) -> None:
        self._uri = uri
        self._schema = schema.with_metadata(metadata)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = self._rows = 0
        self._open = ExitStack()
        self._sink = Digesting(self._open.enter_context(storage.creating(uri)))
        # A dictionary pays for names that repeat; texts and probabilities hardly ever do.
        names = [each.name for each in schema if each.name in _REPEATED]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression="zstd",
            use_dictionary=[f"{name}.list.element" if name == "labels" else name for name in names],
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        batch = batch.replace_schema_metadata(self._schema.metadata)
        while batch.num_rows:
            # What still fits into the row group that waits; into an empty one a row of any size.
            sizes = row_bytes(batch).cumsum()
            room = int(np.searchsorted(sizes, ROW_GROUP_BYTES - self._waiting_bytes))
            take = min(max(room, 0 if self._waiting else 1), ROW_GROUP_ROWS - self._waiting_rows, batch.num_rows)
            if take:
                self._waiting.append(batch.slice(0, take))
                self._waiting_rows += take
                self._waiting_bytes += int(sizes[take - 1])
            batch = batch.slice(take)
            if batch.num_rows or self._waiting_rows == ROW_GROUP_ROWS:
                self._flush()

    def close(self) -> dict[str, Any]:
        """Finish the file; its `name` (within its folder), `rows`, `bytes` and `sha256`."""
        self._flush()
        self._writer.close()
        self._open.close()
        return {
            "name": self._uri.rsplit("/", 1)[-1],
            "rows": self._rows,
            "bytes": self._sink.bytes,
            "sha256": self._sink.digest.hexdigest(),
        }

    def abandon(self, error: BaseException) -> None:
        """Give up, because of `error`; what was written so far is no Parquet file."""
        self._sink.muted = True  # or the Parquet writer would try to end the file
        self._writer.close()
        self._open.__exit__(type(error), error, error.__traceback__)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), ROW_GROUP_ROWS)
            self._rows += self._waiting_rows
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


def fresh_name(prefix: str) -> str:
    """A name for a part that nobody else uses.

    A bundle may be running twice at once: each try writes its own file, and the record names one.
    """
    return f"{prefix}-{secrets.token_hex(8)}.parquet"


class UnitWriter:
    """The parts of one unit: `labels` always, `rejects` where there are any, and the record that names them."""

    def __init__(self, folder: str, first: pa.RecordBatch) -> None:
        """`folder` is that of the attempt; `first` any batch of the unit, since all have the same columns.

        Its mark's `engine` must have `labels`.
        """
        mark = Mark.of(first)
        if not mark.units:
            raise RunError(
                "these rows belong to no unit of a run (FromRows makes such batches), so they cannot be published as "
                "one: hand them to a sink of Beam's behind ToRows, or write them to files and read those by ReadRecords"
            )
        self._folder = folder
        self._unit = mark.unit
        self._names: list[str] = mark.engine["labels"]
        schema = labeled(pa.schema(list(first.schema.field("keep").type)), "labels" in first.schema.names, mark.sourced)
        metadata = {"seqcls_beam.labels": orjson.dumps(self._names).decode()}
        self._schema = schema
        self._labels = PartWriter(self._new_part("labels"), schema, metadata)
        self._rejects: PartWriter | None = None
        self._next = 0
        self._empty = set(schema.names)  # columns of which no row had a value yet
        self._tokens = self._truncated = 0
        self._reasons: dict[str, int] = {}
        self._label_counts = np.zeros(len(self._names), np.int64)
        self._histograms = Histograms(len(self._names), "labels" in first.schema.names)
        self._seconds: dict[str, float] = {}
        self._engine: dict[str, Any] = {}

    def write(self, batch: pa.RecordBatch) -> dict[str, Any] | None:
        """Add the next batch of the unit; with its last one, the unit's record.

        Raises `RuntimeError` where batches are missing or out of order, since then the runner has split the unit, and
        where rows are missing or too many.
        """
        mark, started = Mark.of(batch), time.perf_counter()
        if mark.sequence != self._next:
            raise RuntimeError(
                f"unit {mark.unit}: batch {mark.sequence} came where {self._next} was due; the steps between "
                "ReadRecords and WriteLabeled must keep a unit's batches together and in order (no shuffle, no Flatten)"
            )
        self._next += 1
        bad = pc.is_valid(batch["reject"])
        rejected = pc.sum(bad).as_py() or 0
        if rejected:
            self._write_rejects(batch.filter(bad))
            batch = batch.filter(pc.invert(bad))
        if batch.num_rows:
            rows = answers(batch)
            self._labels.write(rows)
            self._empty -= {name for name in self._empty if rows[name].null_count < len(rows)}
            self._count(batch)
        for stage, seconds in mark.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        self._engine = mark.engine or self._engine
        self._seconds["write"] = self._seconds.get("write", 0.0) + time.perf_counter() - started
        return self._finish(mark) if mark.last else None

    def abandon(self, error: BaseException) -> None:
        """Give up the unit; its files are left without a record, so they do not count."""
        for part in (self._labels, self._rejects):
            if part is not None:
                part.abandon(error)

    def _new_part(self, folder: str) -> str:
        return storage.join(self._folder, folder, fresh_name(f"{self._unit:05d}"))

    def _write_rejects(self, batch: pa.RecordBatch) -> None:
        if self._rejects is None:
            self._rejects = PartWriter(self._new_part("rejects"), REJECT)
        rejects = pa.RecordBatch.from_arrays(why(batch), schema=REJECT)
        self._rejects.write(rejects)
        for each in pc.value_counts(rejects["reason"]).to_pylist():
            self._reasons[each["values"]] = self._reasons.get(each["values"], 0) + each["counts"]

    def _count(self, batch: pa.RecordBatch) -> None:
        self._tokens += pc.sum(batch["tokens"]).as_py()
        self._truncated += pc.sum(batch["truncated"]).as_py()
        if "label" in batch.schema.names:
            labels = batch["label"]
            named = pc.index_in(labels.dictionary, pa.array(self._names)).to_numpy()[labels.indices.to_numpy()]
            top = batch["score"].to_numpy()
        else:
            named = pc.index_in(batch["labels"].flatten(), pa.array(self._names)).to_numpy()
            top = batch["scores"].flatten().to_numpy().reshape(-1, len(self._names)).max(axis=1)
        self._label_counts += np.bincount(named, minlength=len(self._names))
        self._histograms.add(top, batch["tokens"].to_numpy())

    def _finish(self, mark: Mark) -> dict[str, Any]:
        """The record: `labels` and `rejects` (None where there are none) as `PartWriter.close` tells them, and sums."""
        started = time.perf_counter()
        labels = self._labels.close()
        rejects = self._rejects.close() if self._rejects else None
        rejected = rejects["rows"] if rejects else 0
        if labels["rows"] + rejected != mark.rows:
            raise RuntimeError(
                f"unit {mark.unit}: {mark.rows} rows were read, but {labels['rows']} labelled and {rejected} rejected "
                "arrived at the writer; a step between dropped or added rows (reject a row, do not drop it)"
            )
        self._seconds["write"] += time.perf_counter() - started
        return {
            "unit": mark.unit,
            "units": mark.units,
            "labels": labels,
            "rejects": rejects,
            "rows": mark.rows,
            "reasons": self._reasons,
            "tokens": self._tokens,
            "truncated": self._truncated,
            "label_counts": dict(zip(self._names, self._label_counts.tolist(), strict=True)),
            **self._histograms.counts,
            "inputs": mark.inputs,
            "seconds": self._seconds,
            "engine": self._engine,
            "columns": listed(self._schema, self._empty),
        }


class Digesting:
    """A file that hashes and counts what is written through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0
        self.closed = self.muted = False

    def write(self, data: bytes) -> int:
        """Write, unless muted."""
        if self.muted:
            return len(data)
        self.digest.update(data)
        self.bytes += len(data)
        self._file.write(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self.bytes

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Take no more; whoever opened the file closes it."""
        self.closed = True
