"""Rows that a program holds → RECORD batches, by the rules of the reader.

A row is a mapping, an object with named fields (a named tuple, a Beam Row, a dataclass) or a string, which is a text; a
`pa.RecordBatch` or `pa.Table` is many. Whatever else comes is a rejected row. Its bytes are the row as JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.blocks import Block, to_columns
from seqcls_beam.reading.formats.columns import TYPES, Layout, shown, stringy
from seqcls_beam.reading.formats.fitting import fitted
from seqcls_beam.reading.values import Rejects, as_json, as_strings, to_array
from seqcls_beam.rows import row_bytes, row_in_python
from seqcls_beam.schema import PAYLOAD, Mark, record

MAX_HELD = 32 * 2**20  # characters of the strings in rows that wait, or bytes of batches
_KNOWN, _SIZED = (str, Mapping), (str, bytes)
_TABLES = {"DataFrame", "LazyFrame", "Dataset", "IterableDataset", "RecordBatchReader", "Table", "RecordBatch"}
_TABULAR = ("columns", "column_names", "schema")


@dataclass(frozen=True)
class RowLayout:
    """What of a row is read and kept."""

    text: str
    text_pair: str | None
    keep: dict[str, pa.DataType | None]  # None: a batch's own type, and of other rows a string
    source: str  # what stands in RECORD's `source`
    whole: str | None = None  # bytes that are all of a row: its `raw`, and PAYLOAD

    @property
    def texts(self) -> list[str]:
        """The text columns: one, or two of a pair."""
        return [self.text] if self.text_pair is None else [self.text, self.text_pair]

    def of(self, types: Iterable[pa.DataType]) -> Layout:
        """The layout of RECORD, for kept columns of these types."""
        options = ReadOptions(input=("rows",), text_column=self.text, text_pair_column=self.text_pair)
        return Layout(options, pa.schema(list(zip(self.keep, types, strict=True))))


def row_layout(
    text: str, text_pair: str | None, keep: Iterable[str], source: str, types: Mapping[str, pa.DataType]
) -> RowLayout:
    """Names of columns → RowLayout; those of `keep` may be NAME:TYPE, and `types` are known of others.

    Raises `ValueError` for a type that cannot be kept.
    """
    kept: dict[str, pa.DataType | None] = {}
    for request in keep:
        name, colon, pin = request.rpartition(":")
        if request == "*" or (colon and (not name or pin not in TYPES)):
            raise ValueError(f"{request!r} is no column to keep: expected NAME or NAME:TYPE, of {', '.join(TYPES)}")
        kept[name or request] = TYPES[pin] if colon else types.get(request)
    for name in (text, *filter(None, [text_pair])):
        if kept.get(name, pa.string()) not in (None, pa.string()):
            raise ValueError(f"{name!r} is the text, which is kept as a string and not as {kept[name]}")
    return RowLayout(text, text_pair, kept, source)


@dataclass
class Held:
    """Rows that wait to fill a batch, in order; a batch has `batch_rows` at most, and fewer where rows are large."""

    layout: RowLayout
    batch_rows: int
    size: int = 0  # as MAX_HELD counts
    _count: int = 0
    _rows: list[Any] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)

    def put(self, row: Any, time: int) -> Iterator[pa.RecordBatch]:
        """Add a row, or a batch of them, with its event time in microseconds; gives what is full."""
        if isinstance(row, pa.Table):
            for batch in row.to_batches():
                yield from self.put(batch, time)
            return
        if isinstance(row, pa.RecordBatch):
            for count, size, part in _cut(row, self.layout, self.batch_rows):
                yield from self._add(part, time, count, size)
        elif tabular(type(row)):
            raise TypeError(
                f"a {type(row).__name__} is no row: hand over its tables, as pyarrow.Table.from_pandas(frame), "
                "frame.to_arrow() or dataset.with_format('arrow')[:] gives them"
            )
        else:
            row = _named(row)
            yield from self._add(row, time, 1, _weight(row))
        if self._count >= self.batch_rows or self.size > MAX_HELD:
            yield from self.take()

    def take(self) -> Iterator[pa.RecordBatch]:
        """All that waits: one batch, or several where kept columns differ in their types."""
        rows, times = self._rows, self._times
        self._rows, self._times, self._count, self.size = [], [], 0, 0
        yield from record_batches(rows, times, self.layout)

    def _add(self, row: Any, time: int, count: int, size: int) -> Iterator[pa.RecordBatch]:
        if self._rows and (self._count + count > self.batch_rows or self.size + size > MAX_HELD):
            yield from self.take()
        self._rows.append(row)
        self._times.append(time)
        self._count += count
        self.size += size


def record_batches(rows: Sequence[Any], times: Sequence[int], layout: RowLayout) -> Iterator[pa.RecordBatch]:
    """Rows, and `pa.RecordBatch`es of rows, with a time each → RECORD batches, row for row.

    One batch as long as kept columns do not change their types. `position` is the time. The `Mark` says that they
    belong to no unit (`units` is 0); its place is a digest of the rows, for what is drawn by lot.
    """
    parts: list[pa.RecordBatch] = []
    for batched, group in groupby(zip(rows, times, strict=True), key=_is_batch):
        if batched:
            parts += [_from_batch(batch, time, layout) for batch, time in group]
        else:
            some, theirs = zip(*group, strict=True)
            parts.append(_from_rows([_named(row) for row in some], theirs, layout))
    for _, same in groupby(parts, key=_types):
        columns = list(same)
        joined = pa.concat_batches(columns) if len(columns) > 1 else columns[0]
        zeros = pa.array(np.zeros(len(joined), np.int32))
        source = pa.DictionaryArray.from_arrays(zeros, pa.array([layout.source], pa.string()))
        schema = record(pa.schema(list(joined.schema.field("keep").type)), layout.text_pair is not None)
        if layout.whole is not None:
            schema = schema.append(PAYLOAD)
        place = blake2b(joined.select(["position", "text"]).serialize(), digest_size=8).digest()
        mark = Mark(
            unit=int.from_bytes(place[:4], "big") >> 1,
            units=0,
            sequence=int.from_bytes(place[4:], "big") >> 1,
            rows=len(joined),
            bytes=joined.nbytes,
        )
        yield mark.on(pa.RecordBatch.from_arrays([source, *joined.columns], schema=schema))


def tabular(kind: type) -> bool:
    """Whether values of a type are tables, of whatever library.

    Asked of the type, since a lazy frame has to work for an answer; by name and by what it has, since rows of a user's
    own may have fields of such names, and torch has a `Dataset` of anything.
    """
    named = not _TABLES.isdisjoint(each.__name__ for each in kind.__mro__)
    return named and any(hasattr(kind, each) for each in _TABULAR)


def _is_batch(pair: tuple[Any, int]) -> bool:
    return isinstance(pair[0], pa.RecordBatch)


def _types(batch: pa.RecordBatch) -> Any:
    return batch.schema.field("keep").type


def _named(row: Any) -> Any:
    """A row with named fields → a mapping; anything else as it is."""
    if type(row) in (dict, str) or isinstance(row, _KNOWN):  # the former only for speed
        return row
    try:
        if hasattr(row, "_asdict"):
            return row._asdict()
        if is_dataclass(row) and not isinstance(row, type):
            return {each.name: getattr(row, each.name) for each in fields(row)}
    except Exception:
        return row  # a field is missing: it is no row, and is rejected as one
    return row


def _weight(row: Any) -> int:
    try:
        values = (row,) if isinstance(row, str) else row.values() if isinstance(row, Mapping) else (row,)
        return 64 + sum([len(value) for value in values if isinstance(value, _SIZED)])
    except Exception:  # of an object of anybody's: it is rejected if what is read of it raises, too
        return 64


def _from_rows(rows: Sequence[Any], times: Sequence[int], layout: RowLayout) -> pa.RecordBatch:
    """Rows → RECORD without `source`."""
    rejects: Rejects = {}
    named: list[Mapping[str, Any]] = []
    needed = [*layout.texts, *layout.keep]
    for number, row in enumerate(rows):
        if isinstance(row, Mapping) and type(row) is not dict:  # what it does is its own: it is asked once
            try:
                row = {name: row.get(name) for name in needed}
            except Exception as error:
                rejects[number] = ("wrong_type", f"reading it raised {type(error).__name__}: {str(error)[:500]}")
                row = {}
        elif not isinstance(row, _KNOWN):
            found = type(row).__name__
            rejects[number] = ("wrong_type", f"neither columns with names nor a string, but of the type {found}")
        named.append({layout.text: row} if isinstance(row, str) else row if isinstance(row, Mapping) else {})
    texts = [to_array([row.get(name) for row in named], pa.string(), name, rejects) for name in layout.texts]
    keep = []
    for column, kind in layout.keep.items():
        values = [row.get(column) for row in named]
        if kind is None:
            values = as_strings(values, column, rejects)
        keep.append(to_array(values, kind or pa.string(), column, rejects))
    own = layout.whole
    raw = (lambda number: as_json(rows[number])) if own is None else (lambda number: named[number][own])
    block = Block(np.array(times, np.int64), texts, keep, rejects, raw, 0)
    columns = to_columns(block, layout.of(each.type for each in keep))
    return (
        columns if own is None else columns.append_column(PAYLOAD, pa.array([row[own] for row in named], PAYLOAD.type))
    )


def _cut(batch: pa.RecordBatch, layout: RowLayout, batch_rows: int) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """A batch → (rows, bytes, slice) of `batch_rows` and MAX_HELD at most, or a row that is larger alone."""
    sizes = row_bytes(batch)
    for name in {*layout.texts, *layout.keep} & set(batch.schema.names):
        for column in (batch.column(at) for at in batch.schema.get_all_field_indices(name)):
            if isinstance(column.type, pa.DictionaryType) and stringy(column.type.value_type):
                lengths = pc.fill_null(pc.binary_length(column.dictionary).take(column.indices), 0)
                sizes += lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    ends: npt.NDArray[np.int64] = np.cumsum(sizes)
    start = before = 0
    while start < len(batch):
        fit = int(np.searchsorted(ends, before + MAX_HELD, side="right"))
        stop = min(max(fit, start + 1), start + batch_rows, len(batch))
        yield stop - start, int(ends[stop - 1]) - before, batch.slice(start, stop - start)
        start, before = stop, int(ends[stop - 1])


def _from_batch(batch: pa.RecordBatch, time: int, layout: RowLayout) -> pa.RecordBatch:
    """A batch of any columns → RECORD without `source`."""
    rejects: Rejects = {}
    texts = [_column(batch, name, pa.string(), rejects, text=True) for name in layout.texts]
    keep = [_column(batch, name, kind, rejects, text=False) for name, kind in layout.keep.items()]
    times = np.full(len(batch), time, np.int64)
    block = Block(times, texts, keep, rejects, lambda number: as_json(row_in_python(batch, number)), 0)
    return to_columns(block, layout.of(each.type for each in keep))


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType | None, rejects: Rejects, text: bool) -> pa.Array:
    """A column under a type, or its own; rows that do not fit it are rejected."""
    places = batch.schema.get_all_field_indices(name)
    if len(places) != 1:
        fault = ("wrong_type", f"the column {shown(name)} stands {len(places)} times in the batch")
        rejects.update(dict.fromkeys(range(len(batch)) if places else (), fault))
        return pa.nulls(len(batch), kind or pa.string())
    return fitted(batch.column(places[0]), name, kind, rejects, text, "the batch")
