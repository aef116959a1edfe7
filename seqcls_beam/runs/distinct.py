"""Which rows of pieces become rows of a window: each message once, and none that the window holds.

Two labelled rows are the same message if they have the same id or the same key; so are two that a third one joins. Of
those that are the same the one stays that was published first, then the one with the lower id, then, where one message
was labelled twice, by model and columns. A message of which the window holds a labelled row stays out.

A reject is known by its id alone, since what has no label stands for nothing but its own payload: two of one key are
two. It stays out where its id was labelled, or rejected before. It never keeps a labelled row out, so that no good row
depends on when somebody sealed: a message that was rejected, sealed and then labelled has a row of each kind.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.runs import pieces
from seqcls_beam.runs.pieces import Damaged
from seqcls_beam.runs.windows import bounds, microseconds, told
from seqcls_beam.schema import MESSAGE, MESSAGE_KEY, MODEL, REJECT_VALUE

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_TEXT = pa.large_string()  # the ids of a window may be more than 2 GiB
_READ = (*(field.name for field in MESSAGE), MODEL.name, "reject.reason")
_DUE = (*MESSAGE, MODEL, pa.field("reject", REJECT_VALUE))


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

    ids: pa.Array  # of labelled rows
    keys: pa.Array
    rejected: pa.Array  # ids of rejects


def opened(uri: str, window: str, length: int, whole: bool = False) -> tuple[pq.ParquetFile, pa.Table]:
    """A piece of a window of `length` seconds, and its rows: of all columns, or of those that tell rows apart.

    Raises `FileNotFoundError` where it is gone, and `Damaged`, also where its rows are not of this window.
    """
    piece = pieces.opened(uri)
    schema = piece.schema_arrow
    keyed = [MESSAGE_KEY] if MESSAGE_KEY.name in schema.names else []
    for due in (*_DUE, *keyed):
        there = [field.type for field in schema if field.name == due.name]
        if there != [due.type]:
            raise Damaged(f"{uri} is no piece of a stream: {due.name} is {there[0] if there else 'missing'}")
    table = pieces.read(piece, uri, None if whole else [*_READ, *(field.name for field in keyed)])
    for field in MESSAGE:
        if missing := table[field.name].null_count:
            raise Damaged(f"{uri} is no piece of a stream: {missing:,} of its rows have no {field.name}")
    times, (start, end) = microseconds(table["event_time"]), bounds(window, length)
    if len(times) and not start <= int(times.min()) <= int(times.max()) < end:
        other = times[(times < start) | (times >= end)]
        raise Damaged(
            f"{uri} has {len(other):,} rows of other windows, such as one of {told(int(other[0]))}: it was moved; move "
            "it back to the folder of its window"
        )
    return piece, table


def together(tables: list[pa.Table], shapes: list[int]) -> Rows:
    """Rows of pieces as they were opened, in their order; `shapes` are numbers of the columns of pieces."""
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


def held(labels: list[str], rejects: list[str]) -> Held:
    """The messages that parts hold. Raises `FileNotFoundError` where one is gone, and `Damaged`."""
    labeled, rejected = storage.each(_held, labels), storage.each(_held, rejects)
    ids, rejected_ids = (_joined([each["message_id"] for each in tables]) for tables in (labeled, rejected))
    return Held(ids, _joined([_keys(each) for each in labeled]), rejected_ids)


def chosen(rows: Rows, there: Held) -> Numbers:
    """The rows that are new, by (event time, id)."""
    kept = np.flatnonzero(_stay(rows, there))
    return kept[_order(rows.times[kept], rows.ids.take(pa.array(kept)))]


def mended(rows: Rows, there: Held) -> int:
    """How many labelled rows there are of messages that were rejected before."""
    return int((is_in(rows.ids, there.rejected) & ~rows.rejected).sum())


def is_in(values: pa.Array, others: pa.Array) -> Flags:
    """Which values are among others; a null is not."""
    if not len(others):
        return np.zeros(len(values), bool)
    return np.asarray(pc.is_in(values, others.drop_null(), skip_nulls=True).to_numpy(zero_copy_only=False))


def _stay(rows: Rows, there: Held) -> Flags:
    stays = ~(rows.rejected & is_in(rows.ids, there.rejected))
    named = [_numbered(rows.ids), np.where(rows.rejected, -1, _numbered(rows.keys))]
    taken = is_in(rows.ids, there.ids) | (is_in(rows.keys, there.keys) & ~rows.rejected)
    doubtful = taken.copy()
    for numbers in named:
        doubtful |= (numbers >= 0) & (np.bincount(numbers[numbers >= 0], minlength=1)[numbers] > 1)
    some = np.flatnonzero(doubtful & stays)
    if not len(some):
        return stays
    message = _messages([numbers[some] for numbers in named])
    gone = np.zeros(message.max() + 1, bool)
    gone[message[taken[some]]] = True
    few = rows.take(some)
    ranks = [few.places, few.pieces, few.shapes, _ranked(few.models.dictionary_decode()), _ranked(few.ids)]
    # A reject has but its id to share, and so stays only where all that share it are rejects.
    order = np.lexsort([*ranks, few.published, few.rejected, message])
    first = np.concatenate([[True], np.diff(message[order]) > 0])
    stays[some] = False
    winners = order[first]
    stays[some[winners]] = ~gone[message[winners]]
    return stays


def _messages(named: list[Numbers]) -> Numbers:
    """Numbers of names by row, -1 for none, of several kinds → a number for each message: rows that share any name."""
    # Here and not above: it takes longer to import than all else that publishes a run, which has no windows.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

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
    try:
        with fs.open(path, "rb") as file:
            part = pq.ParquetFile(file)
            names = ["message_id", *([MESSAGE_KEY.name] if MESSAGE_KEY.name in part.schema_arrow.names else [])]
            return part.read(names).select(names)
    except FileNotFoundError:
        raise
    except Exception as error:  # not of Arrow alone: names of damaged bytes break Python's codecs
        raise Damaged(f"{uri}, which is sealed, cannot be read: {' '.join(str(error).split())}") from error
