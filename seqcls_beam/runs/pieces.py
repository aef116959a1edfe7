"""Pieces: what a stream has labelled and nobody has sealed, a Parquet file a batch and window.

    OUT/_pieces/window=20261120T100000Z/<digest>.parquet
    OUT/_pieces/scratch/                             what is being written

A piece has good and rejected rows as they came, the columns of LABELED and `reject`. Its name is a digest of which
messages are in it, which of them were rejected, by which model, and under which columns. So a batch that runs twice
writes one piece, what another model says of it is another, of which sealing chooses as of any copies, and whoever
removes one by its name, however late, removes only rows of these messages.

What the folder knows of its stream as a whole is in `runs.remembered`.
"""

import hashlib
import os
import socket
from functools import partial
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.answers import answers
from seqcls_beam.runs import remembered, windows
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import EARLIER
from seqcls_beam.runs.versions import FOLDER as VERSIONS
from seqcls_beam.schema import MESSAGE, MODEL, REJECT_VALUE, WINDOW, Mark, labeled

FOLDER, SCRATCH = remembered.FOLDER, remembered.SCRATCH
models = remembered.models

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


def check(output: str, window: int, columns: pa.Schema | None = None, source: SourceOptions | None = None) -> None:
    """Whether a stream with windows of so many seconds may append to a folder; nothing is left there but `_pieces`.

    `columns` are those of LABELED of the stream. Raises `RunError` for a folder that holds something else, for a window
    or attributes other than those of the jobs before, and for columns of other types than the rows that are there: both
    are named. Raises `OSError` where nothing can be written.
    """
    top = storage.absolute(output)
    path = storage.local_path(top) if storage.is_local(top) else ""
    if os.path.lexists(path) and not os.path.isdir(path):
        what = "a link to nothing" if os.path.islink(path) and not os.path.exists(path) else "no folder"
        raise RunError(f"--output={output} is {what}: name a folder")
    store = store_of(top)
    try:
        for name in store.names(VERSIONS):
            if not name.startswith(f"{WINDOW}="):
                raise RunError(f"--output={output} holds {VERSIONS}/{name}, which is of no stream: name another folder")
        for name in EARLIER:
            if store.exists(name):
                raise RunError(f"--output={output} holds {name}, of an earlier layout: name another folder")
        storage.ensure_writable(store.uri(FOLDER))
    except storage.StoreError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise type(error)(f"--output={output}: {store.uri(FOLDER)} cannot be written: {why}") from error
    if _begun(store):
        remembered.differ(output, remembered.known(store), _facts(window, None, source))
    if columns is not None:
        remembered.same_types(store, output, columns)


def prepare(
    output: str,
    window: int,
    columns: pa.Schema | None = None,
    topic: str | None = None,
    source: SourceOptions | None = None,
) -> bool:
    """Make a folder one that a stream may append to; again, as often as you like. Raises as `check`.

    Says whether all its messages are known to be of one topic, since ids are unique within a topic only: a `topic` of
    None is not known, and where the folder does not say one yet, it does from now on. Raises `RunError` for another
    topic than the folder has.
    """
    check(output, window, columns, source)
    top = storage.absolute(output)
    store = store_of(top)
    late = remembered.agree(store, output, _facts(window, topic, source))
    for folder in (store.uri(FOLDER), top, top.rpartition("/")[0]):
        storage.sync(folder)
    return topic is not None and "topic" not in late


def ensure_begun(output: str) -> None:
    """Raise `RunError` where no stream has begun in a folder: a worker may have another one of that name."""
    if not store_of(storage.absolute(output)).exists(remembered.STREAM):
        raise RunError(
            f"--output={output}: no stream has begun there, as {socket.gethostname()} sees it: give a bucket, or a "
            "folder that all machines mount under that name"
        )


def is_stream(store: Store) -> bool:
    """Whether a folder is one that a stream appends to."""
    return store.exists(remembered.STREAM) or any(windows.start_of(name) is not None for name in store.names(FOLDER))


def length(store: Store) -> int:
    """Seconds of a window of a stream's folder. Raises `RunError` where it is none, or its file is damaged or gone."""
    said = _begun(store)
    if not said:
        top = store.uri("").rstrip("/")
        raise RunError(f"{top} holds no pieces of a stream, which pipelines.classify --subscription writes")
    return int(said[WINDOW])


def _begun(store: Store) -> remembered.Facts:
    """What was said when a stream began; nothing where none did. Raises `RunError` where windows outlive that."""
    said = remembered.begun(store)
    if said:
        return said
    there = listed(store) or any(name.startswith(f"{WINDOW}=") for name in store.names(VERSIONS))
    if there and not (said := remembered.begun(store)):  # one may have begun since
        raise RunError(remembered.missing(store))
    return said


def _facts(window: int, topic: str | None, source: SourceOptions | None) -> remembered.Facts:
    facts: remembered.Facts = {WINDOW: window}
    if topic is not None:
        facts["topic"] = topic
    if source is not None:
        facts |= {"timestamp_attribute": source.timestamp_attribute, "id_attribute": source.id_attribute}
    return facts


def append(output: str, predictions: pa.RecordBatch, window: int, told: set[bytes] | None = None) -> list[Appended]:
    """PREDICTION rows with the fields of MESSAGE in `keep` → a piece for each window, durable when this returns.

    `window` is the length of windows in seconds; `told` holds what columns and models this process has left word of in
    this folder, and grows: looking again for each batch costs a store several requests. Raises `OSError` where a piece
    cannot be written; those of other windows may be there then, and the batch can be appended again. Raises `RunError`
    where rows are there whose columns have other types.
    """
    store = store_of(storage.absolute(output))
    rows = _columns(predictions)
    if not len(rows):
        return []
    columns = pa.schema([each for each in rows.schema if each.name != "reject"])
    engine = Mark.of(predictions).engine
    word = columns.serialize().to_pybytes() + orjson.dumps(engine, option=orjson.OPT_SORT_KEYS)
    if told is None or word not in told:
        # Before there are rows, so that none is there of which nobody knows what made it.
        remembered.leave_columns(store, output, columns)
        remembered.leave_model(store, engine)
        if told is not None:
            told.add(word)
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
    except OSError as error:
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
    said = answers(predictions)
    kept = pa.schema(list(predictions.schema.field("keep").type))
    schema = labeled(kept, "labels" in predictions.schema.names, streamed=True).append(pa.field("reject", REJECT_VALUE))
    metadata = {_LABELS: orjson.dumps(list(Mark.of(predictions).engine["labels"]))}
    return pa.RecordBatch.from_arrays([*said.columns, predictions["reject"]], schema=schema.with_metadata(metadata))


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
