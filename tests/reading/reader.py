"""Reading made short for tests: files → the rows that the reader makes of them."""

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import fsspec
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import detect
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.schema import UNIT, Mark


def files(*paths: Any, **options: Any) -> pa.RecordBatch:
    """UNIT rows of whole files."""
    rows = []
    for path in map(os.fspath, paths):
        format, compression = detect(path, options.get("input_format", "auto"))
        fs, name = fsspec.core.url_to_fs(path)
        info = fs.info(name)
        row = {"path": path, "format": format, "compression": compression, "start": 0, "end": -1}
        rows.append({**row, "size": info["size"], "version": storage.version(info)})
    return pa.RecordBatch.from_pylist(rows, UNIT)


def cut(unit: pa.RecordBatch, bounds: list[int]) -> pa.RecordBatch:
    """One whole file → pieces of it."""
    (row,) = unit.to_pylist()
    pairs = pairwise(bounds)
    return pa.RecordBatch.from_pylist([{**row, "start": start, "end": end} for start, end in pairs], UNIT)


def batches(*paths: Any, bounds: list[int] | None = None, **options: Any) -> list[pa.RecordBatch]:
    """Files → their RECORD batches, read as one unit."""
    return list(read_one_by_one(*paths, bounds=bounds, **options))


def read_one_by_one(*paths: Any, bounds: list[int] | None = None, **options: Any) -> Iterator[pa.RecordBatch]:
    """As `batches`, without holding those that were taken."""
    whole = files(*paths, **options)
    layout = plan_layout(whole, ReadOptions(input=tuple(map(os.fspath, paths)), **options))
    unit = cut(whole, bounds) if bounds else whole
    yield from read_unit(Mark(unit=0, units=1).on(unit), layout)


def rows(*paths: Any, **options: Any) -> list[dict[str, Any]]:
    """Files → their rows."""
    return [row for batch in batches(*paths, **options) for row in batch.to_pylist()]


def brief(*paths: Any, **options: Any) -> list[tuple[Any, ...]]:
    """Files → (position, text), or (position, reason, raw) of rejected rows."""
    return [
        (row["position"], row["text"])
        if row["reject"] is None
        else (row["position"], row["reject"]["reason"], row["reject"]["raw"])
        for row in rows(*paths, **options)
    ]


def stored(data: bytes, name: str) -> str:
    """Bytes → the URI of a file in memory that holds them."""
    uri = f"memory://reading/{name}"
    fs, path = fsspec.core.url_to_fs(uri)
    fs.pipe_file(path, data)
    return uri
