"""Patterns → files → units of work.

A unit is some megabytes of input that are read, classified and written as one part: a run of small files, a byte range
of a large line file, or some row groups of a large Parquet file. The plan is made once, before anything runs, from
names and sizes alone (and the footers of large Parquet files): whoever works then, the parts are the same. Knows no
contents.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import detect, splittable
from seqcls_beam.schema import UNIT, Mark

MAX_PIECES = 1000
"""Files per unit at most: opening a file in a bucket costs tens of milliseconds whatever its size."""

_USUAL = 256  # units: for many workers to have several each
_SMALLEST, _LARGEST = 2**20, 64 * 2**20


def list_files(options: ReadOptions) -> pa.RecordBatch:
    """Patterns → UNIT rows, one per whole file: pattern by pattern, within a pattern by name, each file once.

    Raises `FileNotFoundError` naming a pattern that matches nothing, `ValueError` for an unknown extension or where
    there is no pattern.
    """
    if not options.input:
        raise ValueError("--input is empty: name at least one file or pattern")
    rows: dict[str, dict[str, Any]] = {}
    for pattern in options.input:
        found = _match(pattern)
        if not found:
            raise FileNotFoundError(f"--input={pattern} matches no file")
        for uri, info in found:
            if uri not in rows:
                format, compression = detect(uri, options.input_format)
                rows[uri] = {
                    "path": uri,
                    "format": format,
                    "compression": compression,
                    "start": 0,
                    "end": -1,
                    "size": int(info["size"]),
                    "version": storage.version(info),
                }
    return pa.RecordBatch.from_pylist(list(rows.values()), UNIT)


def plan_units(files: pa.RecordBatch, unit_bytes: int) -> list[pa.RecordBatch]:
    """UNIT rows of whole files → units of `unit_bytes`, in input order; each batch carries its `Mark`.

    0 is a 256th of all bytes, but 1 MiB at least and 64 MiB at most.
    """
    rows = files.to_pylist()
    unit_bytes = unit_bytes or min(_LARGEST, max(_SMALLEST, -(-sum(row["size"] for row in rows) // _USUAL)))
    with ThreadPoolExecutor(16) as pool:  # for the footers of large Parquet files, each some requests to a store
        pieces = [piece for cut in pool.map(lambda row: _cut(row, unit_bytes), rows) for piece in cut]
    units: list[list[dict[str, Any]]] = []
    filled = 0
    for piece, weight in pieces:
        if not units or filled + weight > unit_bytes or len(units[-1]) == MAX_PIECES:
            units.append([])
            filled = 0
        units[-1].append(piece)
        filled += weight
    return [
        Mark(unit=index, units=len(units)).on(pa.RecordBatch.from_pylist(unit, UNIT))
        for index, unit in enumerate(units)
    ]


def save_plan(units: list[pa.RecordBatch], uri: str) -> None:
    """Units → a Parquet file, one row per piece, in order."""
    numbers = pa.array([index for index, unit in enumerate(units) for _ in range(unit.num_rows)], pa.int64())
    table = pa.Table.from_batches(units, UNIT).append_column("unit", numbers)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=10_000, compression="zstd")
    storage.put(uri, sink.getvalue().to_pybytes())


def load_plan(uri: str, units: int) -> Iterator[pa.RecordBatch]:
    """The units of a saved plan, in order, reading a row group at a time."""
    fs, path = storage.connect(uri)
    with fs.open(path, "rb") as file:
        index, rest = 0, UNIT.append(pa.field("unit", pa.int64())).empty_table()
        for batch in pq.ParquetFile(file).iter_batches():
            rest = pa.concat_tables([rest, pa.Table.from_batches([batch])])
            numbers = rest["unit"].to_numpy()
            # The last number may go on in the next row group.
            while index < numbers[-1]:
                yield _unit(rest, numbers, index, units)
                index += 1
            rest = rest.slice(int(numbers.searchsorted(index)))
        while index < units:
            yield _unit(rest, rest["unit"].to_numpy(), index, units)
            index += 1


def _unit(plan: pa.Table, numbers: Any, index: int, units: int) -> pa.RecordBatch:
    first, last = numbers.searchsorted([index, index + 1])
    rows = plan.slice(int(first), int(last - first)).drop_columns("unit").combine_chunks().to_batches()[0]
    return Mark(unit=index, units=units).on(rows.replace_schema_metadata(None))


def _match(pattern: str) -> list[tuple[str, dict[str, Any]]]:
    pattern = storage.absolute(pattern)
    fs, path = storage.connect(pattern)
    # A name is tried as it stands first, so that a file called "a[1].txt" can be named.
    found = fs.find(path, detail=True) if fs.exists(path) else fs.glob(path, detail=True)
    stem = _stem(path)
    # Names that begin with _ or . are no data, unless they are asked for: _SUCCESS, _attempts/, .part.crc
    asked = path.rsplit("/", 1)[-1].startswith(("_", "."))
    rows = []
    for name, info in found.items():
        if not asked and name != path and _hidden(name[len(stem) :]):
            continue
        if info.get("islink"):
            info = fs.info(name)  # what it points to
        if info.get("type", "file") == "file":
            rows.append((fs.unstrip_protocol(name) if "://" in pattern else name, info))
    return sorted(rows, key=lambda row: row[0])


def _stem(path: str) -> str:
    """The folder that a pattern names outright."""
    plain = path[: min((path.find(sign) for sign in "*?[" if sign in path), default=len(path))]
    return plain[: plain.rfind("/") + 1] if plain != path else path


def _hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _cut(row: dict[str, Any], unit_bytes: int) -> list[tuple[dict[str, Any], int]]:
    """A file → its pieces, each with the bytes it weighs."""
    size = row["size"]
    if size <= unit_bytes or not splittable(row["format"], row["compression"]):
        return [(row, size)]
    if row["format"] != "parquet":
        starts = range(0, size, unit_bytes)
        return [({**row, "start": at, "end": min(at + unit_bytes, size)}, unit_bytes) for at in starts]
    try:
        fs, path = storage.connect(row["path"])
        with fs.open(path, "rb") as file:
            footer = pq.ParquetFile(file).metadata
    except (OSError, pa.ArrowException):
        return [(row, size)]  # The reader says what is wrong with it.
    pieces: list[tuple[dict[str, Any], int]] = []
    for group in range(footer.num_row_groups):
        columns = footer.row_group(group)
        weight = sum(columns.column(i).total_compressed_size for i in range(columns.num_columns))
        if pieces and pieces[-1][1] + weight <= unit_bytes:
            piece, before = pieces[-1]
            pieces[-1] = ({**piece, "end": group + 1}, before + weight)
        else:
            pieces.append(({**row, "start": group, "end": group + 1}, weight))
    return pieces or [(row, size)]
