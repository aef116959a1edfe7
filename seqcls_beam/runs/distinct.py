"""Which rows of pieces become rows of a window: each message once, and none that the window holds.

Two rows are the same message if they have the same id or the same key; so are two that a third one joins. Of those that
are the same one that was labelled stays before one that was rejected, then the one that was published first, then the
one with the lower id, then, where one message was labelled twice, by model and columns.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from seqcls_beam import storage
from seqcls_beam.runs.windows import microseconds
from seqcls_beam.schema import MESSAGE_KEY, MODEL

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_TEXT = pa.large_string()  # the ids of a window may be more than 2 GiB
_READ = ("message_id", "event_time", "publish_time", MODEL.name, "reject.reason")


@dataclass
class Rows:
    """What is known of rows before they are read, one after the other as they stand in the pieces."""

    ids: pa.Array
    keys: pa.Array
    times: Numbers  # of events, microseconds since 1970
    published: Numbers
    rejected: Flags
    models: pa.Array
    shapes: npt.NDArray[np.signedinteger]  # number of the piece's columns, among those that there are
    pieces: npt.NDArray[np.int32]
    places: npt.NDArray[np.int32]  # of a row in its piece

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: Numbers) -> "Rows":
        """Some of the rows, in the order given."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        at = pa.array(rows)
        return Rows(
            self.ids.take(at),
            self.keys.take(at),
            self.times[rows],
            self.published[rows],
            self.rejected[rows],
            self.models.take(at),
            self.shapes[rows],
            self.pieces[rows],
            self.places[rows],
        )


@dataclass
class Held:
    """The messages that a window holds already."""

    ids: pa.Array
    keys: pa.Array


def known(piece: pq.ParquetFile) -> list[str]:
    """The columns of a piece that are read of every row."""
    keyed = [MESSAGE_KEY.name] if MESSAGE_KEY.name in piece.schema_arrow.names else []
    return [*_READ, *keyed]


def together(tables: list[pa.Table], shapes: list[int]) -> Rows:
    """`known` columns of pieces, in their order → their rows; `shapes` are numbers of their columns."""
    sizes = [len(each) for each in tables]
    times, published = (
        np.concatenate([microseconds(each[name]) for each in tables]) for name in ("event_time", "publish_time")
    )
    reasons = [each["reject"].is_valid().to_numpy() for each in tables]
    return Rows(
        _joined([each["message_id"] for each in tables]),
        _joined([_keys(each) for each in tables]),
        times,
        published,
        np.concatenate(reasons),
        pc.dictionary_encode(_joined([each[MODEL.name] for each in tables])),
        np.repeat(np.array(shapes, np.int32), sizes),
        np.repeat(np.arange(len(tables), dtype=np.int32), sizes),
        np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
    )


def held(uris: list[str]) -> Held:
    """The messages that parts of labels or rejects hold. Raises `FileNotFoundError` where one is gone."""
    tables = storage.each(_held, uris)
    return Held(_joined([each["message_id"] for each in tables]), _joined([_keys(each) for each in tables]))


def chosen(rows: Rows, there: Held) -> Numbers:
    """The rows that are new, by (event time, id)."""
    kept = np.flatnonzero(_stay(rows, there))
    return kept[_order(rows.times[kept], rows.ids.take(pa.array(kept)))]


def _stay(rows: Rows, there: Held) -> Flags:
    stays = np.ones(len(rows), bool)
    named = [_numbered(rows.ids), _numbered(rows.keys)]
    taken = np.zeros(len(rows), bool)
    for values, of in ((rows.ids, there.ids), (rows.keys, there.keys)):
        if len(of):
            taken |= pc.is_in(values, of.drop_null(), skip_nulls=True).to_numpy(zero_copy_only=False)
    doubtful = taken.copy()
    for numbers in named:
        doubtful |= (numbers >= 0) & (np.bincount(numbers[numbers >= 0], minlength=1)[numbers] > 1)
    some = np.flatnonzero(doubtful)
    if not len(some):
        return stays
    message = _messages([numbers[some] for numbers in named])
    gone = np.zeros(message.max() + 1, bool)
    gone[message[taken[some]]] = True
    few = rows.take(some)
    ranks = [few.places, few.pieces, few.shapes, _ranked(few.models.dictionary_decode()), _ranked(few.ids)]
    order = np.lexsort([*ranks, few.published, few.rejected, message])
    first = np.concatenate([[True], np.diff(message[order]) > 0])
    stays[some] = False
    winners = order[first]
    stays[some[winners]] = ~gone[message[winners]]
    return stays


def _messages(named: list[Numbers]) -> Numbers:
    """Numbers of names by row, -1 for none, of several kinds → a number for each message: rows that share any name."""
    size, after = len(named[0]), len(named[0])
    sides = []
    for numbers in named:
        rows = np.flatnonzero(numbers >= 0)
        _, local = np.unique(numbers[rows], return_inverse=True)
        sides.append((rows, after + local))
        after += int(local.max(initial=-1)) + 1
    one, other = (np.concatenate([side[which] for side in sides]) for which in (0, 1))
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(after, after))
    return np.asarray(connected_components(graph, directed=False)[1][:size], np.int64)


def _order(times: Numbers, ids: pa.Array) -> Numbers:
    """The order of rows by (time, id)."""
    order = np.argsort(times, kind="stable")
    same = np.diff(times[order]) == 0
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    if len(tied):
        rows = order[tied]
        few = pa.table({"time": times[rows], "id": ids.take(pa.array(rows))})
        order[tied] = rows[pc.sort_indices(few, [("time", "ascending"), ("id", "ascending")]).to_numpy()]
    return order


def _numbered(values: pa.Array) -> Numbers:
    """A number for each value, the same for the same, -1 for null."""
    if values.null_count == len(values):
        return np.full(len(values), -1, np.int64)
    return np.asarray(pc.fill_null(pc.dictionary_encode(values).indices, -1).to_numpy(), np.int64)


def _ranked(values: pa.Array) -> Numbers:
    """The place of each value among those that there are, -1 for null."""
    encoded = pc.dictionary_encode(values)
    places = np.append(np.zeros(len(encoded.dictionary), np.int64), -1)
    places[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    return np.asarray(places[pc.fill_null(encoded.indices, -1).to_numpy()])


def _joined(columns: list[pa.ChunkedArray]) -> pa.Array:
    chunks = [chunk.cast(_TEXT) for column in columns for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], _TEXT)


def _keys(table: pa.Table) -> pa.ChunkedArray:
    if MESSAGE_KEY.name in table.column_names:
        keys = table[MESSAGE_KEY.name]
        return pc.if_else(pc.equal(keys, ""), None, keys)  # an empty one would make one message of many
    return pa.chunked_array([pa.nulls(len(table), pa.string())])


def _held(uri: str) -> pa.Table:
    fs, path = storage.connect(uri)
    with fs.open(path, "rb") as file:
        part = pq.ParquetFile(file)
        names = ["message_id", *([MESSAGE_KEY.name] if MESSAGE_KEY.name in part.schema_arrow.names else [])]
        return part.read(names)
