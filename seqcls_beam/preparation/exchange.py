"""Rows between stages: every task writes one file with its rows by partition, and reads one partition of all files.

That is a shuffle whose memory is bounded on every runner, and which outlives the process: what a task wrote is there
when the run is started again. Beam's own `GroupByKey` holds all values in memory on a single machine, and gives those
of a key in no order.

A file is Arrow IPC: record batches, each of one partition. Rows of a partition come back in the order of the files and,
within one, as they were written. Which batches of which files a partition has is told by `pieces`.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from seqcls_beam import storage

_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")


class Piece(NamedTuple):
    """What is read of one file."""

    name: str
    batches: list[int] | None = None  # their numbers in the file; None for all


class SpillWriter:
    """Rows in, by partition; a file out. Holds back `limit` bytes of them, and a batch more."""

    def __init__(self, folder: str, prefix: str, schema: pa.Schema, limit: int) -> None:
        self._name = f"{prefix}-{secrets.token_hex(8)}.arrow"  # a task may run twice at once
        self.schema = schema.remove_metadata()
        self._limit = limit
        self._waiting: list[pa.RecordBatch] = []
        self._parts: list[np.ndarray] = []
        self._bytes = self._rows = 0
        self._partitions: list[int] = []
        self._closed = False
        self._opened = storage.creating(storage.join(folder, self._name))
        self._file = self._opened.__enter__()
        self._writer = pa.ipc.new_file(self._file, self.schema, options=_LZ4)

    def write(self, batch: pa.RecordBatch, partitions: np.ndarray) -> None:
        """Add rows, each with the number of its partition."""
        if batch.num_rows:
            self._waiting.append(pa.RecordBatch.from_arrays(batch.columns, schema=self.schema))
            self._parts.append(partitions)
            self._bytes += batch.nbytes
            if self._bytes > self._limit:
                self._flush()

    def write_own(self, batch: pa.RecordBatch) -> None:
        """Add rows to a file that is no shuffle: it is read as a whole."""
        self.write(batch, np.zeros(batch.num_rows, np.int64))

    def close(self) -> dict[str, Any]:
        """Finish the file; what a record says of it: its name, the partition of each batch in it, its rows."""
        self._flush()
        self._writer.close()
        self._closed = True
        self._opened.__exit__(None, None, None)
        return {"name": self._name, "partitions": self._partitions, "rows": self._rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and not self._closed:
            self._closed = True
            self._opened.__exit__(kind, error, trace)  # the file is left unfinished, and no record names it

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = pa.concat_batches(self._waiting)
        parts = np.concatenate(self._parts)
        order = np.argsort(parts, kind="stable")
        parts = parts[order]
        edges = np.flatnonzero(np.diff(parts)) + 1
        rows = rows.take(pa.array(order))
        for low, high in zip([0, *edges], [*edges, len(parts)], strict=True):
            self._writer.write_batch(rows.slice(low, high - low))
            self._partitions.append(int(parts[low]))
        self._rows += len(parts)
        self._waiting, self._parts, self._bytes = [], [], 0


def read(folder: str, pieces: Iterable[Piece]) -> Iterator[pa.RecordBatch]:
    """The rows of some pieces, file by file."""
    for each in pieces:
        with opened(storage.join(folder, each.name)) as reader:
            for i in range(reader.num_record_batches) if each.batches is None else each.batches:
                yield reader.get_batch(i)


def gather(folder: str, pieces: Iterable[Piece], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of some pieces at once, in the order of `read`; without any an empty batch of `schema`."""
    batches = list(read(folder, pieces))
    return pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], schema)


class opened:
    """An IPC file, open for reading record batches of it: mapped into memory where it is local."""

    def __init__(self, uri: str) -> None:
        fs, path = storage.connect(uri)
        self._file = pa.memory_map(path) if storage.is_local(uri) else pa.PythonFile(fs.open(path, "rb"), mode="r")

    def __enter__(self) -> Any:
        return pa.ipc.open_file(self._file)

    def __exit__(self, *_: object) -> None:
        self._file.close()
