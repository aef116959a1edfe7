"""Rows of a pipeline of the user's own: in, FromRows, and out again, ToRows."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.portability.api import schema_pb2
from apache_beam.pvalue import PCollection
from apache_beam.transforms.util import GroupIntoBatches
from apache_beam.typehints.arrow_type_compatibility import arrow_schema_from_beam_schema
from apache_beam.typehints.schemas import schema_from_element_type
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from seqcls_beam.model.answers import rows
from seqcls_beam.reading.rows import MAX_HELD, Held, RowLayout, row_layout
from seqcls_beam.reading.values import of_type
from seqcls_beam.schema import Mark

Batches = PCollection[pa.RecordBatch]


@dataclass
class FromRows(beam.PTransform[PCollection[Any], Batches]):
    """Rows of any step → RECORD batches, bounded or not.

    A row is a dict, a Beam Row, a named tuple, a dataclass or a string, which is a text; a `pa.RecordBatch` or a
    `pa.Table` is many rows, and a data frame raises `TypeError`. A row without a text that can be labelled is rejected
    as by ReadRecords, and so is an element that is no row: none of these raises. Its bytes, `raw`, are the row as JSON,
    or those of an element that is `bytes`.

    `text`, `text_pair` and `id` name columns; the id is kept, and the columns of `keep`, each NAME or NAME:TYPE
    (string, int64, float64, bool). Without TYPE it is that of the element type, if it has a Beam schema, or of the
    batch; else a string, and what is none is kept as JSON. A value of another type than the column's rejects its row,
    and so does one of which no string says all; one that is absent is null, and so are None, NA and NaT of pandas, and
    NaN in a column whose type is known and no float.

    A batch has `batch_rows` rows at most, of one window, in the order they came, and fewer where they are more than
    32 MiB. It ends with its bundle. With `max_latency`, in seconds, rows of several bundles share a batch and wait for
    it no longer than that: for streams whose bundles have a few rows each. It costs the order, and a shuffle by Beam's
    GroupIntoBatches. The timer is the runner's; FnApiRunner lets it fire when a bundle ends.

    `source` of RECORD is the name given here, and `position` the row's event time in microseconds since 1970. A batch's
    timestamp is the earliest of its rows', and with `max_latency` that of Beam's group. The rows belong to no unit of
    a run, so `WriteLabeled` refuses them: `ToRows` gives them to any sink of Beam's.

    Raises `TypeError` or `ValueError` when it is made, for an argument that cannot be; and `ValueError` when the
    pipeline is built, for a column that cannot be and for elements known to be `bytes`.
    """

    text: str = "text"
    id: str | None = None
    text_pair: str | None = None
    keep: Iterable[str] = ()
    source: str = "rows"
    batch_rows: int = 8192
    max_latency: float | None = None

    def __post_init__(self) -> None:
        for name in ("text", "source"):
            setattr(self, name, of_type(name, getattr(self, name), str))
        for name in ("id", "text_pair"):
            setattr(self, name, of_type(name, getattr(self, name), str, type(None)))
        if isinstance(self.keep, str):
            raise ValueError(f"keep={self.keep!r}: expected several names, as in keep=({self.keep!r},)")
        if isinstance(self.keep, bytes | Mapping) or not isinstance(self.keep, Iterable):
            raise TypeError(f"keep={self.keep!r} is a {type(self.keep).__name__}: expected a tuple of names")
        self.keep = tuple(of_type("a name of keep", each, str) for each in self.keep)
        self.batch_rows = of_type("batch_rows", self.batch_rows, int)
        if self.batch_rows < 1:
            raise ValueError(f"batch_rows={self.batch_rows}: expected at least 1")
        self.max_latency = of_type("max_latency", self.max_latency, float, type(None))
        if self.max_latency is not None and not 0 < self.max_latency < math.inf:
            raise ValueError(f"max_latency={self.max_latency}: expected seconds, more than 0")
        self._layout({})

    def expand(self, rows: PCollection[Any]) -> Batches:
        """Gather, in the bundle or in Beam's state."""
        kind = rows.element_type
        if kind is bytes:
            raise ValueError("the elements are bytes: make rows of them first, as beam.Map(json.loads) does of JSON")
        layout = self._layout(_schema(kind))
        if self.max_latency is None:
            return rows | "Batch" >> beam.ParDo(_Batch(layout, self.batch_rows)).with_output_types(pa.RecordBatch)
        if kind in (pa.RecordBatch, pa.Table):
            raise ValueError("max_latency gathers rows, and the elements are batches already: leave it out")
        keyed = beam.typehints.Tuple[bytes, beam.typehints.Tuple[int, kind]]
        groups = (
            rows
            | "Stamp" >> beam.ParDo(_Stamp()).with_output_types(keyed)
            | "Group" >> GroupIntoBatches.WithShardedKey(self.batch_rows, self.max_latency)
        )
        return groups | "Batch" >> beam.ParDo(_BatchGroup(layout, self.batch_rows)).with_output_types(pa.RecordBatch)

    def _layout(self, types: dict[str, pa.DataType]) -> RowLayout:
        kept = [*([self.id] if self.id is not None else []), *self.keep]
        return row_layout(self.text, self.text_pair, kept, self.source, types)


@dataclass
class ToRows(beam.PTransform[Batches, PCollection[dict[str, Any]]]):
    """PREDICTION batches → dicts, one a row and none left out, as the sinks of Beam take them.

    A dict has the kept columns, then `label`, `score` and `scores` (or `labels` and `scores`), `tokens`, `truncated`,
    `model` and `reject`. That is None where the row is labelled; else the rest but `model` is None, and `reject` is a
    dict of `source`, `position`, `stage`, `reason`, `detail` and `raw`, the row's bytes. A kept column with one of
    these names, or `run_date`, becomes `input_<name>`. `scores` are in the checkpoint's order.

    Rows are in the batch's window. Those of FromRows have their own timestamp again, but none before the batch's. In
    the worker raises `ValueError` for batches that are no PREDICTION, or have lost their `Mark`.
    """

    def expand(self, predictions: Batches) -> PCollection[dict[str, Any]]:
        """One step."""
        return predictions | "Rows" >> beam.ParDo(_Rows()).with_output_types(dict[str, Any])


class _Batch(beam.DoFn):
    """Rows → RECORD batches, window by window, none held beyond its bundle."""

    def __init__(self, layout: RowLayout, batch_rows: int) -> None:
        self._layout = layout
        self._batch_rows = batch_rows
        self._held: dict[Any, Held] = {}
        self._size = 0

    def start_bundle(self) -> None:
        """Nothing is left of a bundle that failed."""
        self._held, self._size = {}, 0

    def process(
        self, row: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        """Hold a row, and hand on what is full."""
        held = self._held.setdefault(window, Held(self._layout, self._batch_rows))
        self._size -= held.size
        for batch in held.put(row, timestamp.micros):
            yield _placed(batch, window)
        self._size += held.size
        if self._size > MAX_HELD:  # by many windows at once
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on the rest."""
        for window, held in self._held.items():
            for batch in held.take():
                yield _placed(batch, window)
        self.start_bundle()


def _placed(batch: pa.RecordBatch, window: Any) -> WindowedValue:
    """At the time of the earliest row: later than the watermark, which has waited for all of the bundle."""
    return WindowedValue(batch, Timestamp(micros=pc.min(batch["position"]).as_py()), (window,))


class _Stamp(beam.DoFn):
    """Rows → rows with their event time, which Beam forgets in a group; under one key, which Beam shards."""

    def process(self, row: Any, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[tuple[bytes, tuple[int, Any]]]:
        """One each."""
        yield b"", (timestamp.micros, row)


class _BatchGroup(beam.DoFn):
    """Groups of rows with their event times → RECORD batches."""

    def __init__(self, layout: RowLayout, batch_rows: int) -> None:
        self._layout = layout
        self._batch_rows = batch_rows

    def process(
        self,
        group: tuple[Any, Iterable[tuple[int, Any]]],
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[WindowedValue]:
        """One, or several where rows are large."""
        held = Held(self._layout, self._batch_rows)
        place = min(timestamp, window.max_timestamp())  # Beam's timer says the window's end, which is no time in it
        for time, row in group[1]:
            for batch in held.put(row, time):
                yield WindowedValue(batch, place, (window,))
        for batch in held.take():
            yield WindowedValue(batch, place, (window,))


class _Rows(beam.DoFn):
    """PREDICTION → dicts."""

    def process(
        self,
        predictions: pa.RecordBatch,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[WindowedValue]:
        """Row by row."""
        times = None if Mark.of(predictions).units else predictions["position"].to_pylist()
        for number, row in enumerate(rows(predictions)):
            own = timestamp if times is None else max(timestamp, Timestamp(micros=times[number]))
            yield WindowedValue(row, own, (window,), pane)


def _schema(kind: Any) -> dict[str, pa.DataType]:
    """The columns of an element type that has a Beam schema, and their types in Arrow, where it has one."""
    try:
        schema = schema_from_element_type(kind)
    except Exception:  # no row, or one with an annotation that Beam knows nothing of
        return {}
    types = {}
    for field in schema.fields:
        try:
            types[field.name] = arrow_schema_from_beam_schema(schema_pb2.Schema(fields=[field])).field(0).type
        except (NotImplementedError, TypeError, ValueError):
            continue  # a time, a decimal: kept as a string
    return types
