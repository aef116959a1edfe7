"""What an output folder has that no version names, and how it is removed without harm to anybody who is at work.

A living run's attempt changes, if only by its lease. One that has not for `lease.EXPIRES` seconds is taken for dead,
and yet its process may wake. Where the number that it is for is taken it can publish nothing, and it is removed. Where
that is the next one, no living run wants it either, or it stays; then the number is taken first, by a version that says
what the newest says (`commit.bar`).

Files of claims that are over are emptied, and their names stay (`claims.empty`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seqcls_beam import storage
from seqcls_beam.runs import claims, commit, lease, pieces
from seqcls_beam.runs.run import Placed, RunError, attempts, label_folders
from seqcls_beam.runs.store import OVER, Store, store_of
from seqcls_beam.runs.table import partitions, read_newest
from seqcls_beam.runs.versions import (
    NOTHING,
    PART,
    STAGE,
    Version,
    newest,
    read_version,
    stage_name,
)
from seqcls_beam.schema import PARTITION

_ATTEMPT = re.compile(r".+-v(\d+)")


@dataclass(frozen=True)
class Leftover:
    """One thing that no version names, or a partition that is too old."""

    name: str  # relative to the output folder
    partition: str
    why: str
    files: int
    bytes: int
    idle: float | None  # seconds since something in it changed
    removable: bool
    number: int = 0  # the version that an attempt is for
    whole_partition: bool = False


def look(output: str, before: str | None = None) -> list[Leftover]:
    """What would be removed, and what is left alone and why, by name. Touches nothing.

    `before` is a date: whole partitions of earlier ones are listed too. Raises `RunError` for an output of another
    layout, or a folder that holds none.
    """
    store = store_of(storage.absolute(output))
    known = partitions(store)
    if not known and not store.names("_attempts") and not pieces.is_stream(store):
        read_newest(store)
        raise RunError(f"{output} holds nothing that a command published, and no attempt at it")
    now = lease.clock(store)
    found: list[Leftover] = []
    for partition in sorted({*known, *(name for name in store.names("_attempts") if "=" in name)}):
        found += _attempts(store, partition, now)
        found += _parts(store, partition)
    if "" not in known:
        found += _attempts(store, "", now)
    found += [*_half_pieces(store, now), *_old(store, known, before), *_claims(store)]
    return sorted(found, key=lambda each: each.name)


def remove(output: str, found: list[Leftover], placed: Placed | None = None) -> Iterator[tuple[Leftover, str | None]]:
    """Remove what was found removable; each with None, or the reason why it stays after all.

    `placed` is told of partitions that are taken away, or that others left half published, as by `commit.publish`.
    """
    store = store_of(storage.absolute(output))
    done: dict[str, int] = {}
    for each in found:
        if not each.removable:
            continue
        try:
            at = newest(store, each.partition)
            if at != done.get(each.partition):
                # Only below a version that was carried out is every attempt a leftover.
                at = done[each.partition] = commit.recover(store, each.partition, placed)
            yield each, _remove(store, each, at, placed)
        except OSError as error:
            yield each, f"{type(error).__name__}: {error}"
    for folder in [*(f"_attempts/{each}" for each in store.names("_attempts") if "=" in each), "_attempts"]:
        storage.remove_if_empty(store.uri(folder))


def _remove(store: Store, each: Leftover, at: int, placed: Placed | None) -> str | None:
    """Remove one thing, where version `at` was carried out; or say why not."""
    if each.number > at or each.whole_partition:
        if _is_busy(store, each.partition, at):
            return "a run is at work there, and would be shut out"
        if each.whole_partition:
            return _take_back(store, each.partition, at, placed)
        if not commit.bar(store, each.partition, at, stage_name(each.partition, at + 1), NOTHING):
            return "another run was published meanwhile: look again"
    if each.name == claims.FOLDER:
        claims.empty(store)
    elif not each.name.startswith("_attempts/"):
        store.remove([each.name])
    elif each.name.startswith(f"_attempts/{OVER}"):
        storage.remove(store.uri(each.name))
    else:
        store.discard(each.name)
    return None


_AT_WORK = "a run at work: left alone"


def _is_busy(store: Store, partition: str, at: int) -> bool:
    """Whether a living run may want the next version."""
    found = _attempts(store, partition, lease.clock(store))
    return any(each.number > at and each.why == _AT_WORK for each in found)


def _attempts(store: Store, partition: str, now: float) -> list[Leftover]:
    """Attempts and stages of a partition. Those of the next version stay while any of them changes."""
    folder = attempts(partition)
    at = newest(store, partition)
    version = read_version(store, partition, at)[0] if at else None
    needed = (version.stage, version.work) if version is not None and store.is_open(version.stage) else ()
    found = []
    for name in store.names(folder):
        uri = f"{folder}/{name}"
        if uri in needed or (not partition and "=" in name):
            continue  # any start, and `remove`, carries that version out
        files, size, changed = lease.usage(store.uri(uri))
        idle = max(0.0, now - changed) if changed is not None else None
        stage, attempt = STAGE.fullmatch(name), _ATTEMPT.fullmatch(name)
        number = int(stage[1]) if stage else int(attempt[1]) if attempt else 0
        if name.startswith(OVER):
            found.append(Leftover(uri, partition, "was being removed", files, size, idle, True))
        elif not number:
            found.append(Leftover(uri, partition, "not of this program: left alone", files, size, idle, False))
        elif stage and number <= at:
            found.append(Leftover(uri, partition, "can never be published", files, size, idle, True, number))
        elif idle is not None and lease.is_living(store.uri(uri), idle):
            found.append(Leftover(uri, partition, _AT_WORK, files, size, idle, False, number))
        else:
            found.append(Leftover(uri, partition, "a run that is dead", files, size, idle, True, number))
    if any(each.number > at and each.why == _AT_WORK for each in found):
        waits = "a run that is dead: left alone until the one at work ends"
        found = [replace(each, why=waits, removable=False) if _is_next(each, at) else each for each in found]
    return found


def _is_next(each: Leftover, at: int) -> bool:
    return each.removable and each.number > at


def _parts(store: Store, partition: str) -> Iterator[Leftover]:
    """Files that stand among the parts of a partition, and are none of the newest version."""
    at = newest(store, partition)
    if not at:
        return
    version, manifest = read_version(store, partition, at)
    if manifest["kind"] not in ("classify", "nothing"):
        return
    for folder in label_folders(partition):
        for name in store.names(folder):
            path = f"{folder}/{name}"
            if path in version.named or name.startswith((".", "_")) or (not partition and "=" in name):
                continue
            part = PART.fullmatch(name)
            files, size, _ = lease.usage(store.uri(path))
            if part is not None and int(part[1]) <= at:
                yield Leftover(path, partition, "a part of an earlier version", files, size, None, True)
            else:
                yield Leftover(path, partition, "not of this program: left alone", files, size, None, False)


def _half_pieces(store: Store, now: float) -> Iterator[Leftover]:
    """What writers of pieces left under way; a piece itself is somebody's rows until it is sealed."""
    for name in store.names(pieces.SCRATCH):
        path = f"{pieces.SCRATCH}/{name}"
        files, size, changed = lease.usage(store.uri(path))
        idle = max(0.0, now - changed) if changed is not None else None
        if files and (idle is None or idle < lease.EXPIRES):
            yield Leftover(path, "", "a piece that is being written: left alone", files, size, idle, False)
        elif files:
            yield Leftover(path, "", "half a piece, of a process that is dead", files, size, idle, True)


def _claims(store: Store) -> Iterator[Leftover]:
    """What files of claims say that do not count any more."""
    if spent := claims.spent(store):
        why = "what nights claimed that are over: emptied, the names stay"
        yield Leftover(claims.FOLDER, "", why, len(spent), sum(spent.values()), None, True)


def _old(store: Store, known: list[str], before: str | None) -> Iterator[Leftover]:
    for partition in known:
        key, _, date = partition.partition("=")
        found = read_newest(store, partition) if before is not None and key == PARTITION and date < before else None
        if found is not None:
            files = [*found.manifest["parts"], *found.manifest["rejects"]]
            size = sum(each["bytes"] for each in files)
            name, why = label_folders(partition)[0], f"a partition before {before}"
            yield Leftover(name, partition, why, len(files), size, None, True, whole_partition=True)


def _take_back(store: Store, partition: str, at: int, placed: Placed | None) -> str | None:
    """Publish a version of a partition that has no rows; its input stays covered."""
    before = read_version(store, partition, at)[1]
    keys = ("inputs", "model", "read", "columns")
    kept: dict[str, Any] = {key: before[key] for key in keys if key in before}
    stage = stage_name(partition, at + 1)
    version = Version(partition, at + 1, "removed", stage, f"{stage}/work", sweeps=label_folders(partition))
    manifest = {**NOTHING, **kept}
    try:
        commit.publish(store, version, manifest, placed)
    except commit.Beaten:
        return "another run was published meanwhile: look again"
    return None
