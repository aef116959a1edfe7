"""Pieces: what a stream has labelled and nobody has sealed, a Parquet file a batch and window.

    OUT/_pieces/stream.json                          the length of its windows
    OUT/_pieces/columns/<digest>.arrow               columns that some job writes, so that the next one's fit
    OUT/_pieces/window=20261120T100000Z/<digest>.parquet
    OUT/_pieces/scratch/                             what is being written

A piece has good and rejected rows as they came, the columns of LABELED and `reject`. Its name is a digest of which
messages are in it, which of them were rejected, by which model, and under which columns. So a batch that runs twice
writes one piece, what another model says of it is another, of which sealing chooses as of any copies, and whoever
removes one by its name, however late, removes only rows of these messages.
"""

import hashlib
from functools import partial
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.model.answers import answers
from seqcls_beam.runs import windows
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import EARLIER
from seqcls_beam.runs.versions import FOLDER as VERSIONS
from seqcls_beam.schema import MESSAGE, MODEL, REJECT_VALUE, WINDOW, Mark, labeled

FOLDER = "_pieces"
SCRATCH = f"{FOLDER}/scratch"
_STREAM, _COLUMNS = f"{FOLDER}/stream.json", f"{FOLDER}/columns"
_FORMAT_VERSION = 1

_TRIES = 20
"""Of writing a piece whose folder a sealer removes at that moment, since it was empty."""

_LABELS = b"seqcls_beam.labels"
_OWN = ("label", "labels.list.element", MODEL.name, "reject.stage", "reject.reason")
"""Columns whose values repeat."""


class Appended(NamedTuple):
    """What a batch added to a window."""

    window: str
    rows: int  # rejected ones among them
    rejected: int


class Damaged(Exception):
    """A piece that cannot be read, in a sentence."""


def prepare(output: str, window: int, columns: pa.Schema | None = None) -> None:
    """Make a folder one that a stream with windows of so many seconds may append to; again, as often as you like.

    `columns` are those of LABELED of the stream. Raises `RunError` for a folder that holds something else, for windows
    of another length, and for columns of other types than a job before had: both are named. Raises `OSError` where
    nothing can be written.
    """
    top = storage.absolute(output)
    store = store_of(top)
    for name in store.names(VERSIONS):
        if not name.startswith(f"{WINDOW}="):
            raise RunError(f"--output={output} holds {VERSIONS}/{name}, which is of no stream: name another folder")
    for name in EARLIER:
        if store.exists(name):
            raise RunError(f"--output={output} holds {name}, of an earlier layout: name another folder")
    storage.ensure_writable(store.uri(FOLDER))
    said = orjson.dumps({"format_version": _FORMAT_VERSION, WINDOW: window})
    storage.put_if_absent(store.uri(_STREAM), said, store.uri(SCRATCH))
    there = length(store)
    if there != window:
        raise RunError(
            f"--window={window}: {output} has windows of {there} seconds, and a row would be in two; give "
            f"--window={there}, or name another folder"
        )
    if columns is not None:
        _agree(store, output, columns)
    for folder in (store.uri(FOLDER), top, top.rpartition("/")[0]):
        storage.sync(folder)


def is_stream(store: Store) -> bool:
    """Whether a folder is one that a stream appends to."""
    return store.exists(_STREAM)


def length(store: Store) -> int:
    """Seconds of a window of a stream's folder. Raises `RunError` where it is none, or its file is damaged."""
    data = store.read(_STREAM)
    if data is None:
        raise RunError(f"{store.uri('')} holds no pieces of a stream, which pipelines.classify --subscription writes")
    try:
        said = orjson.loads(data)
        if said["format_version"] == _FORMAT_VERSION and isinstance(said[WINDOW], int) and said[WINDOW] > 0:
            return int(said[WINDOW])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise RunError(f"{store.uri(_STREAM)} is none of this program's: it must say how long windows are")


def append(output: str, predictions: pa.RecordBatch, window: int) -> list[Appended]:
    """PREDICTION rows with the fields of MESSAGE in `keep` → a piece for each window, durable when this returns.

    `window` is the length of windows in seconds. Raises `OSError` where a piece cannot be written; those of other
    windows may be there then, and the batch can be appended again.
    """
    store = store_of(storage.absolute(output))
    rows = _columns(predictions)
    cuts = windows.cut(rows["event_time"], window)
    wholes = len(cuts) == 1

    def write(cut: tuple[str, np.ndarray]) -> Appended:
        name, of = cut
        piece = rows if wholes else rows.take(pa.array(of))
        _put(store, name, piece)
        return Appended(name, len(piece), len(piece) - piece["reject"].null_count)

    done = storage.each(write, cuts)
    storage.sync(store.uri(FOLDER))  # folders of windows may be new
    return done


def listed(store: Store) -> dict[str, list[str]]:
    """Window → the names of its pieces, relative to the output folder; both sorted, windows by time."""
    found = [name for name in store.names(FOLDER) if windows.start_of(name) is not None]
    there = dict(zip(found, storage.each(partial(listed_of, store), found), strict=True))
    return {
        name: there[name] for name in sorted(filter(there.get, there), key=lambda name: windows.start_of(name) or 0)
    }


def listed_of(store: Store, window: str) -> list[str]:
    """The names of a window's pieces, relative to the output folder, sorted."""
    names = store.names(f"{FOLDER}/{window}")
    return [f"{FOLDER}/{window}/{name}" for name in names if name.endswith(".parquet") and not name.startswith(".")]


def opened(uri: str) -> pq.ParquetFile:
    """A piece, read whole. Raises `FileNotFoundError` where it is gone, and `Damaged`."""
    try:
        data = storage.read(uri)
    except FileNotFoundError:
        raise
    except Exception as error:  # of a store's client: no two of them raise the same
        raise Damaged(f"{uri} cannot be read: {' '.join(str(error).split())}") from error
    try:
        piece = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{uri} cannot be read: {' '.join(str(error).split())}") from error
    missing = {*(field.name for field in MESSAGE), MODEL.name, "reject"} - {*piece.schema_arrow.names}
    if missing or _LABELS not in (piece.schema_arrow.metadata or {}):
        raise Damaged(f"{uri} is no piece of a stream: it has no {min(missing, default=_LABELS.decode())}")
    return piece


def read(piece: pq.ParquetFile, uri: str, columns: list[str] | None = None) -> pa.Table:
    """Columns of a piece that was opened; all where none are named. Raises `Damaged`."""
    try:
        return piece.read(columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{uri} cannot be read: {' '.join(str(error).split())}") from error


def update(digest: hashlib.blake2b, texts: pa.Array) -> None:
    """Add strings to a digest, one from the other; null is the empty one."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    digest.update(lengths.astype("<i4").tobytes())
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), pc.fill_null(texts, ""))
    digest.update(pc.binary_join(whole, "")[0].as_buffer())


def _columns(predictions: pa.RecordBatch) -> pa.RecordBatch:
    """PREDICTION → the rows of a piece."""
    said, engine = answers(predictions), Mark.of(predictions).engine
    kept = pa.schema(list(predictions.schema.field("keep").type))
    schema = labeled(kept, "labels" in predictions.schema.names, streamed=True).append(pa.field("reject", REJECT_VALUE))
    model = pa.array([str(engine.get("checkpoint", ""))[:12]] * len(said), pa.string())
    metadata = {_LABELS: orjson.dumps(list(engine["labels"]))}
    return pa.RecordBatch.from_arrays(
        [*said.columns, model, predictions["reject"]], schema=schema.with_metadata(metadata)
    )


def _put(store: Store, window: str, piece: pa.RecordBatch) -> None:
    """Write a piece, unless the same messages are there already, whole."""
    digest = hashlib.blake2b(digest_size=16)
    for texts in (piece["message_id"], piece["model"]):
        update(digest, texts)
    digest.update(np.packbits(piece["reject"].is_valid().to_numpy(zero_copy_only=False)).tobytes())
    digest.update(piece.schema.serialize())
    data = _encoded(piece)
    name = f"{FOLDER}/{window}/{digest.hexdigest()}"
    number = 0
    for _ in range(_TRIES):
        uri = store.uri(f"{name}{f'-{number}' if number else ''}.parquet")
        try:
            # What is there counts for these messages, so it is looked at: a disk may have lost half of it.
            if storage.put_if_absent(uri, data, store.uri(SCRATCH)) or _holds(uri, piece):
                return
            number += 1
        except FileNotFoundError:  # a sealer removed the folder, which was empty, or the piece, which was sealed
            continue
        except OSError:
            raise
        except Exception as error:  # of a store's client: no two of them raise the same
            raise OSError(f"{uri} cannot be written: {type(error).__name__}: {error}") from error
    raise OSError(f"{store.uri(name)}.parquet cannot be written: its folder goes again and again")


def _holds(uri: str, piece: pa.RecordBatch) -> bool:
    try:
        there = read(opened(uri), uri)
    except Damaged:
        return False
    ids = there["message_id"].combine_chunks()
    return bool(ids.equals(piece["message_id"]) and there["reject"].null_count == piece["reject"].null_count)


def _encoded(piece: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_batches([piece]),
        sink,
        row_group_size=max(len(piece), 1),
        compression="zstd",
        use_dictionary=[name for name in _OWN if name.split(".")[0] in piece.schema.names],
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def _agree(store: Store, output: str, columns: pa.Schema) -> None:
    """Leave word of the columns of a job, unless another one has a column with another type."""
    plain = columns.remove_metadata()
    data = plain.serialize().to_pybytes()
    name = f"{_COLUMNS}/{hashlib.blake2b(data, digest_size=8).hexdigest()}.arrow"
    # Written before others are read: of two jobs that start at once one at least sees the other.
    new = storage.put_if_absent(store.uri(name), data, store.uri(SCRATCH))
    for other in store.names(_COLUMNS):
        there = store.read(f"{_COLUMNS}/{other}")
        found = pa.ipc.read_schema(pa.py_buffer(there)) if there is not None else plain
        for field in plain:
            at = found.get_field_index(field.name)
            if at >= 0 and found.field(at).type != field.type:
                if new:
                    storage.remove_file(store.uri(name))
                raise RunError(
                    f"--output={output}: column {field.name!r} would be {field.type}, and rows of the stream that are "
                    f"there have {found.field(at).type}: give the column that type, or name another folder"
                )
