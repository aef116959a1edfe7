"""Files → units of work.

A unit is some megabytes of input that are read, classified and written as one part: a run of small files, a byte range
of a large line file, or some row groups of a large Parquet file. The plan is made once, before anything runs, from
names and sizes alone (and the footers of large Parquet files, and whether a server gives parts of a file): whoever
works then, the parts are the same. Knows no contents.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.reading.formats import splittable
from seqcls_beam.schema import UNIT, Mark

MAX_PIECES = 1000
"""Files per unit at most: opening a file in a bucket costs tens of milliseconds whatever its size."""

_USUAL = 256  # units: for many workers to have several each
_PLACE = "secret"
_SMALLEST, _LARGEST = 2**20, 64 * 2**20


def plan_units(files: pa.RecordBatch, unit_bytes: int, encoding: str = "utf-8") -> list[pa.RecordBatch]:
    """UNIT rows of whole files → units of `unit_bytes`, in input order; each batch carries its `Mark`.

    0 is a 256th of all bytes, but 1 MiB at least and 64 MiB at most. `encoding` is that of the lines.
    """
    rows = files.to_pylist()
    unit_bytes = unit_size(files, unit_bytes)
    with ThreadPoolExecutor(16) as pool:  # for the footers of large Parquet files, each some requests to a store
        pieces = [piece for cut in pool.map(lambda row: _cut(row, unit_bytes, encoding), rows) for piece in cut]
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


def unit_size(files: pa.RecordBatch, unit_bytes: int) -> int:
    """UNIT rows of whole files → bytes of a unit, where `unit_bytes` leaves them open (0)."""
    return unit_bytes or min(_LARGEST, max(_SMALLEST, -(-(pc.sum(files["size"]).as_py() or 0) // _USUAL)))


def whole(units: list[pa.RecordBatch], unit_bytes: int) -> list[dict[str, Any]]:
    """The UNIT rows of files that are larger than a unit of `unit_bytes`, and are in one since they cannot be cut."""
    pieces = [unit.slice(0, 1).to_pylist()[0] for unit in units if unit.num_rows == 1]
    return [row for row in pieces if row["size"] > unit_bytes and not row["start"] and row["end"] < 0]


def withheld(paths: Iterable[str]) -> tuple[str, ...]:
    """Of URIs those that hold a password or a key, each once, in order."""
    there = dict.fromkeys(paths)
    return tuple(each for each in there if not storage.is_local(each) and storage.without_password(each) != each)


def save_plan(units: list[pa.RecordBatch], uri: str, secret: Sequence[str] = ()) -> None:
    """Units → a Parquet file, one row per piece, in order. Of the `secret` URIs it has the place there, and no key."""
    numbers = pa.array([index for index, unit in enumerate(units) for _ in range(unit.num_rows)], pa.int64())
    table = pa.Table.from_batches(units, UNIT).append_column("unit", numbers)
    if secret:
        places = {each: place for place, each in enumerate(secret)}
        paths = table["path"].to_pylist()
        kept = [storage.without_password(each) if each in places else each for each in paths]
        table = table.set_column(0, "path", pa.array(kept, pa.string()))
        table = table.append_column(_PLACE, pa.array([places.get(each) for each in paths], pa.int64()))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=10_000, compression="zstd")
    storage.put(uri, sink.getvalue().to_pybytes())


def load_plan(uri: str, units: int, secret: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """The units of a saved plan, in order, reading a row group at a time; `secret` as when it was saved."""
    fs, path = storage.connect(uri)
    with fs.open(path, "rb") as file:
        index, rest = 0, UNIT.append(pa.field("unit", pa.int64())).empty_table()
        for batch in pq.ParquetFile(file).iter_batches():
            rest = pa.concat_tables([rest, _whole(pa.Table.from_batches([batch]), secret)])
            numbers = rest["unit"].to_numpy()
            # The last number may go on in the next row group.
            while index < numbers[-1]:
                yield _unit(rest, numbers, index, units)
                index += 1
            rest = rest.slice(int(numbers.searchsorted(index)))
        while index < units:
            yield _unit(rest, rest["unit"].to_numpy(), index, units)
            index += 1


def _whole(rows: pa.Table, secret: Sequence[str]) -> pa.Table:
    """Rows of a saved plan, with the URIs that it does not have in their places."""
    if _PLACE not in rows.column_names:
        return rows
    places = rows[_PLACE].combine_chunks()
    paths = pc.coalesce(pa.array(secret, pa.string()).take(places), rows["path"].combine_chunks())
    return rows.set_column(0, "path", paths).drop_columns(_PLACE)


def _unit(plan: pa.Table, numbers: Any, index: int, units: int) -> pa.RecordBatch:
    first, last = numbers.searchsorted([index, index + 1])
    rows = plan.slice(int(first), int(last - first)).drop_columns("unit").combine_chunks().to_batches()[0]
    return Mark(unit=index, units=units).on(rows.replace_schema_metadata(None))


def _cut(row: dict[str, Any], unit_bytes: int, encoding: str) -> list[tuple[dict[str, Any], int]]:
    """A file → its pieces, each with the bytes it weighs."""
    size = row["size"]
    if size <= unit_bytes or not splittable(row["format"], row["compression"], encoding):
        return [(row, size)]
    try:
        fs, path = storage.connect(row["path"])
        if storage.is_web(row["path"]) and not fs.info(path)["ranges"]:
            return [(row, size)]
        if row["format"] != "parquet":
            if getattr(fs, "encodes", False) and storage.packing(fs.info(path)):
                return [(row, size)]  # compressed, although its name does not say so
            starts = range(0, size, unit_bytes)
            return [({**row, "start": at, "end": min(at + unit_bytes, size)}, unit_bytes) for at in starts]
        with fs.open(path, "rb") as file:
            groups = _group_sizes(pq.ParquetFile(file).metadata)
    except (OSError, ValueError, pa.ArrowException):
        return [(row, size)]  # The reader says what is wrong with it.
    pieces: list[tuple[dict[str, Any], int]] = []
    total = sum(groups)
    for group, part in enumerate(groups):
        weight = size * part // total
        if pieces and pieces[-1][1] + weight <= unit_bytes:
            piece, before = pieces[-1]
            pieces[-1] = ({**piece, "end": group + 1}, before + weight)
        else:
            pieces.append(({**row, "start": group, "end": group + 1}, weight))
    return pieces or [(row, size)]


def _group_sizes(footer: pq.FileMetaData) -> list[int]:
    """Decoded bytes of each row group, 1 at least: in proportion, what it has of the file.

    The columns would say it to the byte, and end the process where one is encrypted.
    """
    return [max(1, footer.row_group(number).total_byte_size) for number in range(footer.num_row_groups)]
