"""Parquet that needs no reader of records: prepared shards, and rows with answers.

A unit's row groups → batches with a `Mark`; for shards TOKENS, so that a model can be run on them as they are.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.model.predictions import FIRST
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.preparation.sampled import refuse_flag_names
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.footers import classes_in, labels_of
from seqcls_beam.reading.formats.pieces import CHUNK, Piece
from seqcls_beam.reading.formats.row_groups import MAX_ROW_BYTES, decoded
from seqcls_beam.reading.records import MAX_BATCH_BYTES
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import REJECT_VALUE, TOKENS, Mark, told

SOURCE, POSITION = "seqcls_beam.source", "seqcls_beam.position"
"""Columns that are put beside those of a file, under names that no column of a user has: its URI, and the row in it."""


@dataclass(frozen=True)
class Files:
    """Parquet files, and what is read of them. Small, picklable: it travels to the workers."""

    paths: tuple[str, ...]  # URIs or patterns
    columns: tuple[str, ...]
    batch_rows: int
    unit_bytes: int
    labels: tuple[str, ...] | None = None  # that every file must be for, in the order of its scores
    named: bool = False  # whether a file without the names of its labels is refused: `classify` writes them
    classes: tuple[tuple[str, tuple[str, ...] | None], ...] = ()  # columns, and what every file must call their numbers
    flags: tuple[str, ...] = ()  # columns of 0 and 1, which no file may call otherwise than no and yes, or the like


def listed(files: Files, option: str = "labeled") -> pa.RecordBatch:
    """UNIT rows of the files that an option named; raises `FileNotFoundError` for a pattern that matches none."""
    return list_files(ReadOptions(input=files.paths, input_format="parquet"), option)


def planned(files: Files) -> Iterator[pa.RecordBatch]:
    """The units."""
    yield from plan_units(listed(files), files.unit_bytes)


def read(unit: pa.RecordBatch, files: Files) -> Iterator[pa.RecordBatch]:
    """UNIT → batches of the columns, with SOURCE and POSITION beside them; the last has `last` set.

    A unit without rows has no batch. Raises `RunError` for a file that is damaged, without one of the columns, or for
    other labels, and `InputChanged` where it is gone, or another one before, while or after it is read.
    """
    mark = Mark.of(unit)
    sequence = rows = 0
    inputs: list[dict[str, Any]] = []
    waiting: pa.RecordBatch | None = None
    spent = 0
    began = time.perf_counter()
    for piece in unit.to_pylist():
        inputs.append({**piece, "rows": 0})
        for batch, size in _batches(piece, files):
            if waiting is not None:
                now = replace(mark, sequence=sequence, rows=rows, bytes=spent)
                yield now.spent("read", time.perf_counter() - began).on(waiting)
                began = time.perf_counter()
                sequence += 1
            waiting, spent = batch, size
            inputs[-1]["rows"] += len(batch)
            rows += len(batch)
    if waiting is not None:
        now = replace(mark, sequence=sequence, last=True, rows=rows, bytes=spent, inputs=inputs)
        yield now.spent("read", time.perf_counter() - began).on(waiting)


def first_values(uri: str, column: str, rows: int) -> pa.Array:
    """The first values of a column of a file: `rows`, or fewer; raises what reading them does."""
    files = Files((uri,), (column,), rows, 0)
    fs, path = storage.connect(uri)
    with fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(file)
        groups = range(parquet.num_row_groups)
        parts = (part for group in groups for part in _decoded(parquet, file, group, files, uri))
        for batch in _joined(parts, rows):
            return batch[column]
    return pa.nulls(0, pa.string())


def _batches(piece: dict[str, Any], files: Files) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows of a piece, and the bytes of the file that they take, all rows alike."""
    uri, own = piece["path"], Piece(**piece)
    try:
        with own.open() as file:
            parquet = pq.ParquetFile(file)
            missing = [name for name in files.columns if name not in parquet.schema_arrow.names]
            if missing:
                raise RunError(f"{uri} has no column {missing[0]!r}, which the first file has")
            _check_labels(labels_of(parquet.schema_arrow), files, uri)
            if parquet.metadata.num_rows:
                _check_classes(parquet.schema_arrow, files, uri)
            end = parquet.num_row_groups if piece["end"] < 0 else piece["end"]
            groups = range(piece["start"], end)
            position = sum(parquet.metadata.row_group(group).num_rows for group in range(piece["start"]))
            share = piece["size"] / max(parquet.metadata.num_rows, 1)
            parts = (part for group in groups for part in _decoded(parquet, file, group, files, uri))
            for batch in _joined(parts, files.batch_rows):
                yield _placed(batch, uri, position), int(share * len(batch))
                position += len(batch)
        own.verify(file)
    except FileNotFoundError:
        raise own.gone() from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{uri} cannot be read: {' '.join(str(error).split())}") from error


def _decoded(parquet: Any, file: Any, group: int, files: Files, uri: str) -> Iterator[pa.RecordBatch]:
    """The rows of a row group, some megabytes at a time, as plain types; raises `RunError` for a row too large."""
    row = 0
    for batch, large in decoded(parquet, file, {}, group, list(files.columns), CHUNK):
        for number, size in large.items():
            raise RunError(
                f"{uri}, row {row + number} of row group {group}: {size:,} bytes in the columns that are read, and at "
                f"most {MAX_ROW_BYTES:,} are; leave the row out, or its longest column"
            )
        yield pa.RecordBatch.from_arrays(list(map(_plain, batch.columns)), names=batch.schema.names)
        row += len(batch)


def _plain(column: pa.Array) -> pa.Array:
    """Without a dictionary, and with offsets of 32 bits."""
    values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def _joined(parts: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in order, `rows` at a time; fewer in the last, and where they have more than `MAX_BATCH_BYTES`."""
    some: list[pa.RecordBatch] = []
    count = size = 0
    for part in parts:
        while len(part):
            some.append(part.slice(0, rows - count))
            count, size = count + len(some[-1]), size + some[-1].nbytes
            part = part.slice(len(some[-1]))
            if count == rows or size > MAX_BATCH_BYTES:
                yield pa.concat_batches(some) if len(some) > 1 else some[0]
                some, count, size = [], 0, 0
    if some:
        yield pa.concat_batches(some) if len(some) > 1 else some[0]


def _check_labels(labels: tuple[str, ...] | None, files: Files, uri: str) -> None:
    """Raise `RunError` where scores of the files would be for different labels."""
    if files.labels is None or labels == files.labels or (labels is None and not files.named):
        return
    told = "does not name its labels" if labels is None else f"has the labels {', '.join(map(repr, labels))}"
    raise RunError(
        f"{uri} {told}, and the other files have {', '.join(map(repr, files.labels))}: evaluate them one by one"
    )


def _check_classes(schema: pa.Schema, files: Files, uri: str) -> None:
    """Raise `RunError` where numbers in a column would mean others than those of the other files."""
    for column in files.flags:
        try:
            refuse_flag_names(uri, column, classes_in(schema, column))
        except ValueError as error:
            raise RunError(str(error)) from None
    for column, names in files.classes:
        found = classes_in(schema, column)
        if found != names:
            both = [told(each) if each else "nothing" for each in (found, names)]
            raise RunError(
                f"{uri} calls the classes in {column!r} {both[0]}, and the other files {both[1]}: evaluate them one by "
                "one, or say with --labels what each number means, as VALUE:NAME"
            )


def _placed(batch: pa.RecordBatch, uri: str, position: int) -> pa.RecordBatch:
    """Rows with where each comes from."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    source = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(batch), np.int32)), pa.array([uri]))
    columns |= {SOURCE: source, POSITION: pa.array(np.arange(position, position + len(batch)))}
    return pa.RecordBatch.from_pydict(columns)


def as_tokens(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a shard → TOKENS, one window a row, with its other columns in `keep`.

    Where the texts are not there the ids are kept in their place. No row is truncated: they were when prepared.
    """
    size = len(rows)
    kept = [name for name in rows.schema.names if name not in (SOURCE, POSITION, "token_type_ids")]
    if "text" in kept:
        kept.remove("input_ids")
    lengths = rows["input_ids"].value_lengths()
    columns = {
        "source": rows[SOURCE],
        "position": rows[POSITION],
        "text": rows["text"] if "text" in kept else pa.nulls(size, pa.string()),
        "keep": pa.StructArray.from_arrays([rows[name] for name in kept], kept),
        "reject": pa.nulls(size, REJECT_VALUE),
        **{name: _windows(rows[name]) for name in ("input_ids", "token_type_ids") if name in rows.schema.names},
        "tokens": lengths.cast(pa.int32()),
        "truncated": pa.array(np.zeros(size, bool)),
    }
    types = {field.name: field.type for field in TOKENS}
    arrays = [column.cast(types[name]) if name in types else column for name, column in columns.items()]
    return Mark.of(rows).on(pa.RecordBatch.from_arrays(arrays, names=list(columns)))


def first_sequences(files: Files) -> Sequences:
    """The first 1,152 rows of shards, for int8, packed as `model.predictions.first_sequences` packs texts."""
    found = []
    rows = 0
    for unit in planned(files):
        for batch in read(unit, files):
            found.append(batch.slice(0, FIRST - rows))
            rows += len(found[-1])
            if rows == FIRST:
                break
        if rows == FIRST:
            break
    lists = pa.concat_arrays([batch["input_ids"] for batch in found])
    types = None
    if "token_type_ids" in found[0].schema.names:
        types = pa.concat_arrays([batch["token_type_ids"] for batch in found]).flatten().to_numpy()
    offsets = np.append(0, np.cumsum(lists.value_lengths().to_numpy())).astype(np.int64)
    return lists.flatten().to_numpy(), offsets, types


def _windows(lists: pa.ListArray) -> pa.ListArray:
    """Rows of ids → rows of one window of ids."""
    return pa.ListArray.from_arrays(pa.array(np.arange(len(lists) + 1, dtype=np.int32)), lists)
