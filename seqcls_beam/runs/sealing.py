"""Sealing: the pieces of a window → a version of its partition, in which every message is one row.

    OUT/labels/window=20261120T100000Z/part-00000-of-00001-v1-<run8>.parquet

Rows are sorted by (event time, message id), so that the same rows are the same bytes whatever pieces they came in. What
comes for a window that is sealed becomes an amendment, the next version: it names the parts that were there, and others
beside them with the rows that are new. Pieces go when the version that has their rows was carried out. Two sealers of
the same pieces are the same run; one whose pieces were sealed by another meanwhile looks again.

An amendment costs what the window has become: the ids of all its parts are read, and its version names all of them. So
whoever seals again and again has patience, and lets late rows come together.
"""

import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.runs import distinct, histograms, pieces, remembered, windows
from seqcls_beam.runs.distinct import Rows
from seqcls_beam.runs.gathering import Gathered, Source, gather
from seqcls_beam.runs.lease import alive
from seqcls_beam.runs.manifest import KEYS, LABELLED, iso
from seqcls_beam.runs.publication import current, follow, publish_files
from seqcls_beam.runs.run import Run, RunError, attempts, label_folders, open_attempt
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.table import Published
from seqcls_beam.runs.versions import FORMAT_VERSION, newest, part_name, read_version

_TRIES = 50
"""Of a window that others seal, or whose pieces they remove, again and again."""

_HASHED_ROWS = 65_536
_SKEW = 60.0
"""Seconds that another machine's clock may be ahead."""
_ATTEMPT = re.compile(r"[0-9a-f]{32}-v(\d+)")


@dataclass(frozen=True)
class Sealed:
    """What became of a window."""

    window: str  # the partition, such as window=20261120T100000Z
    version: int | None = None  # that was published; None: it held all messages already, or `fault`
    labeled: int = 0  # rows that are new
    rejected: int = 0
    duplicates: int = 0  # rows of messages that are there once
    amended: int = 0  # how often the window was published after the first time
    pieces: int = 0  # that are gone now
    fault: str | None = None  # why it is not sealed: its pieces are all there
    platforms: Mapping[str, str] = field(default_factory=dict)  # that its manifest says are told of it, and where


def seal(
    output: str, until: int | None = None, patience: float = 0.0, platforms: Mapping[str, str] | None = None
) -> Iterator[Sealed]:
    """Publish the windows that have pieces, by time, each when it is asked for; one that cannot be is told of.

    `until`, microseconds since 1970, leaves out windows that end after it; `patience` those whose newest version is
    younger than so many seconds; `platforms`, and where they are, stand in the manifests. Any number of processes may
    do so at once, while others append. Raises `RunError` where the folder is no stream's, and `OSError` where it cannot
    be listed.
    """
    store = store_of(storage.absolute(output))
    length = pieces.length(store)
    for name in due(output, until):
        try:
            if patience and _age(store, name) < patience:
                continue
            done = _seal(store, output, name, length, platforms or {})
        except Exception as error:  # whatever is in one window, the others are sealed
            done = Sealed(name, fault=_fault(name, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        yield done


def due(output: str, until: int | None = None) -> list[str]:
    """The windows that have pieces, by time, without those that end after `until`. Raises as `seal`."""
    store = store_of(storage.absolute(output))
    length = pieces.length(store)
    return [name for name in pieces.listed(store) if until is None or windows.bounds(name, length)[1] <= until]


def _age(store: Store, name: str) -> float:
    """Seconds since a window was published last; infinite where it never was, or by a clock that is ahead."""
    number = newest(store, name)
    manifest = read_version(store, name, number)[1] if number else {}
    if "finished" not in manifest:
        return math.inf
    age = _now() - datetime.fromisoformat(manifest["finished"]).timestamp()
    return age if age >= -_SKEW else math.inf


def _fault(name: str, why: object) -> str:
    return f"{name} cannot be sealed: {why}"


def _seal(store: Store, output: str, name: str, length: int, platforms: Mapping[str, str]) -> Sealed:
    error: Exception | None = None
    for _ in range(_TRIES):
        try:
            # Versions before pieces: who finds fewer, since another one sealed them meanwhile, is beaten.
            run = follow(Run(output, "", overwrite=True, partition=name))
            names = pieces.listed_of(store, name)
            if not names:
                return Sealed(name)
        except RunError as broken:
            return Sealed(name, fault=_fault(name, broken))
        try:
            return _published(store, run, names, length, platforms)
        except pieces.Damaged as damaged:
            return Sealed(name, fault=_fault(name, damaged))
        except FileNotFoundError as gone:  # another sealer was faster
            error = gone
        except RunError as refused:
            error = refused
            if newest(store, name) == run.follows:
                break
    return Sealed(name, fault=_fault(name, error))


class _Look(NamedTuple):
    """What a window has that is new."""

    sources: list[Source]
    shapes: list[pa.Schema]
    rows: Rows  # by (event time, id)
    seen: int  # rows of all pieces
    mended: int  # labelled rows of messages that the window holds as rejects


def _published(store: Store, run: Run, names: list[str], length: int, platforms: Mapping[str, str]) -> Sealed:
    """Publish what the pieces have that the window has not, and remove them."""
    before = current(run)
    look = _look(store, run.partition, length, names, before)
    amended = _amended(before.manifest if before else None)
    done = Sealed(run.partition, duplicates=look.seen - len(look.rows), pieces=len(names), amended=amended)
    if len(look.rows):
        run = replace(run, run_id=_identity(run, look))
        manifest, moves = _made(store, run, look, before, length)
        if told := {**_platforms(before.manifest if before else {}), **platforms}:
            manifest["platforms"] = told
        try:
            number = publish_files(run, manifest, moves)
        except RunError:
            _give_way(store, run)
            raise
        bad, amended = int(look.rows.rejected.sum()), manifest["window"].get("amended", 0)
        done = replace(
            done, version=number, labeled=len(look.rows) - bad, rejected=bad, amended=amended, platforms=told
        )
    store.remove(names)
    storage.remove_if_empty(store.uri(f"{pieces.FOLDER}/{run.partition}"))
    _tidy(store, run.partition, done.version or run.follows or 0)
    return done


def _look(store: Store, window: str, length: int, names: list[str], before: Published | None) -> _Look:
    looked = storage.each(lambda name: _known(store.uri(name), window, length), names)
    sources = [source for source, _ in looked]
    by_bytes = {source.shape.serialize().to_pybytes(): source.shape for source in sources}
    order = sorted(by_bytes)
    numbers = [order.index(source.shape.serialize().to_pybytes()) for source in sources]
    rows = distinct.together([table for _, table in looked], numbers)
    del looked
    there = distinct.held(before.uris("parts") if before else [], before.uris("rejects") if before else [])
    seen, rows = len(rows), rows.take(distinct.chosen(rows, there))
    # Columns of pieces none of whose rows stay make no difference.
    used, rows.shapes = np.unique(rows.shapes, return_inverse=True)
    shapes = [by_bytes[order[number]] for number in used]
    return _Look(sources, shapes, rows, seen, distinct.mended(rows, there))


def _known(uri: str, window: str, length: int) -> tuple[Source, pa.Table]:
    piece, table = distinct.opened(uri, window, length)
    size = sum(piece.metadata.row_group(number).total_byte_size for number in range(piece.num_row_groups))
    schema = piece.schema_arrow
    shape = pa.schema([each for each in schema if each.name != "reject"], schema.metadata)
    return Source(uri, shape, size / max(len(table), 1)), table


def _identity(run: Run, look: _Look) -> str:
    """A digest of the rows and of the version that they follow."""
    digest = hashlib.blake2b(f"{run.partition} {run.follows}".encode(), digest_size=16)
    for shape in look.shapes:
        digest.update(shape.serialize())
    rows = look.rows
    for numbers in (rows.times, rows.published, rows.shapes, rows.rejected):
        digest.update(numbers.astype("<i8").tobytes())
    for start in range(0, len(rows), _HASHED_ROWS):
        for texts in (rows.ids, rows.keys, rows.models):
            pieces.update(digest, texts.slice(start, _HASHED_ROWS).cast(pa.string()))
    return digest.hexdigest()


def _made(
    store: Store, run: Run, look: _Look, before: Published | None, length: int
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The manifest of the next version, and where its new parts lie and go."""
    open_attempt(run)
    try:
        with alive(run):
            made = gather(run.attempt, look.sources, look.shapes, look.rows, empty=before is None)
    except Exception:
        with suppress(OSError):  # nothing was decided, and nobody looks for it
            store.discard(run.work)
            _remove_empty(store, run.partition)
        raise
    number = (run.follows or 0) + 1
    manifest = _manifest(store, run, look, made, before.manifest if before else None, length)
    moves = []
    for of, folder, parts, key in zip(
        ("rejects", "labels"), label_folders(run.partition)[::-1], (made.rejects, made.labels), ("rejects", "parts"),
        strict=True,
    ):  # fmt: skip
        for at, part in enumerate(parts):
            path = part_name(folder, at, len(parts), number, run.run_id)
            moves.append((f"{run.work}/{of}/{part['name']}", path))
            manifest[key].append({"path": path, **{name: value for name, value in part.items() if name != "name"}})
    return manifest, moves


WINDOW = {
    **{key: told for key, told in KEYS.items() if key not in ("started", "command", "runner", "versions.PACKAGE")},
    "window.start": ("string", "its first moment, UTC"),
    "window.end": ("string", "the moment behind its last"),
    "window.complete": ("boolean", "it was published once, when it was over"),
    "window.amended": ("integer", "how often messages that came late were added since"),
    "messages.distinct": ("integer", "messages, each once"),
    "messages.duplicates": ("integer", "copies of these, left out"),
    "messages.first": ("string", "the earliest event time"),
    "messages.last": ("string", "the latest event time"),
    "parts[].shape": ("string", "digest of its columns: parts of one shape have the same"),
    "models.MODEL": ("object", "each model that labelled a row of it, and the engine"),
    **LABELLED,
}
"""What the manifest of a window of a stream has: (type, meaning)."""


def _manifest(
    store: Store, run: Run, look: _Look, made: Gathered, before: dict[str, Any] | None, length: int
) -> dict[str, Any]:
    """What is told of a window, without its new parts: sums over all its versions."""
    rows, (start, end) = look.rows, windows.bounds(run.partition, length)
    then: dict[str, Any] = before or {"rows": Counter(), "messages": Counter()}
    bad = int(rows.rejected.sum())
    counts = {"in": len(rows), "labeled": len(rows) - bad, "rejected": bad}
    reasons = Counter(then["rows"].get("rejected_by_reason", {})) + made.reasons
    times = [windows.told(int(time)) for time in (rows.times.min(), rows.times.max())]
    models = rows.models.filter(pa.array(~rows.rejected)).dictionary_decode().unique().to_pylist()
    makers = remembered.models(store, models)
    return {
        "format_version": FORMAT_VERSION,
        "kind": "classify",
        "run_id": run.run_id,
        "finished": iso(_now()),
        "window": {
            "start": windows.told(start),
            "end": windows.told(end),
            **({"complete": True} if before is None else {"amended": _amended(before) + 1}),
        },
        "rows": {
            **{name: then["rows"].get(name, 0) + count for name, count in counts.items()},
            "rejected_by_reason": dict(reasons.most_common()),
            "lost": 0,
            "lost_weight": "counted",
            "lost_by_reason": {},
        },
        "messages": {
            "distinct": then["messages"].get("distinct", 0) + len(rows) - look.mended,
            "duplicates": then["messages"].get("duplicates", 0) + look.seen - len(rows),
            "first": min(then["messages"].get("first", times[0]), times[0], key=windows.moment),
            "last": max(then["messages"].get("last", times[1]), times[1], key=windows.moment),
        },
        "models": {**then.get("models", {}), **{each: makers.get(each, {}) for each in sorted(models)}},
        "tokens": then.get("tokens", 0) + made.tokens,
        "truncated_rows": then.get("truncated_rows", 0) + made.truncated,
        "label_counts": dict(Counter(then.get("label_counts", {})) + made.label_counts),
        **histograms.told(
            [histograms.counts_in(then), *made.histograms], then["rows"].get("labeled", 0) + counts["labeled"]
        ),
        "seconds": {},
        "inputs": [],
        "parts": list(then.get("parts", [])),
        "rejects": list(then.get("rejects", [])),
    }


def _now() -> float:
    """Seconds since 1970."""
    return time.time()


def _platforms(manifest: dict[str, Any]) -> dict[str, str]:
    """Who was told of the version before, where that can be read."""
    said = manifest.get("platforms")
    return said if isinstance(said, dict) else {}


def _amended(manifest: dict[str, Any] | None) -> int:
    """How often a window was published after the first time."""
    return int(manifest["window"].get("amended", 0)) if manifest else 0


def _give_way(store: Store, run: Run) -> None:
    """Remove the attempt of a run that was beaten: its number is taken, by another one."""
    number = (run.follows or 0) + 1
    if newest(store, run.partition) >= number:
        decided, _ = read_version(store, run.partition, number)
        if decided.run_id != run.run_id or decided.bars:
            store.discard(run.work)


def _tidy(store: Store, partition: str, number: int) -> None:
    """Remove attempts of dead sealers at versions that were carried out, and folders that hold nothing."""
    folder = attempts(partition)
    for name in store.names(folder):
        attempt = _ATTEMPT.fullmatch(name)
        if attempt and int(attempt[1]) <= number:
            with suppress(OSError):
                store.discard(f"{folder}/{name}")
    _remove_empty(store, partition)


def _remove_empty(store: Store, partition: str) -> None:
    for each in (attempts(partition), "_attempts"):
        storage.remove_if_empty(store.uri(each))
