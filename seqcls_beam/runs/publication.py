"""A run's verified files → a published version, or the reason why not.

What is published, over what, and what is refused; the protocol itself is in `commit.py`.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from seqcls_beam import storage
from seqcls_beam.runs import commit, pieces
from seqcls_beam.runs.accounting import refuse
from seqcls_beam.runs.columns import of_all, refusal, shape
from seqcls_beam.runs.manifest import build_manifest
from seqcls_beam.runs.run import Run, RunError, attempts, label_folders, read_own, short
from seqcls_beam.runs.store import OVER, Store, store_of
from seqcls_beam.runs.table import Published, damage, partitions, read_newest, shapes
from seqcls_beam.runs.versions import (
    FOLDER,
    PART,
    STAGE,
    Version,
    is_below,
    newest,
    published_files,
    read_version,
    stage_name,
    version_name,
)
from seqcls_beam.schema import WINDOW

TOLD = {
    "classify": "labels (pipelines.classify)",
    "prepare": "prepared data (pipelines.prepare)",
    "finetune": "a model (pipelines.finetune)",
    "evaluate": "an evaluation (pipelines.evaluate)",
}


@contextmanager
def writing(output: str) -> Iterator[None]:
    """Have what a disk says against work in an output folder be a `RunError` that names it."""
    try:
        yield
    except storage.StoreError:
        raise
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "")
        raise RunError(f"--output={storage.without_password(output)} cannot be written: {error}{cure}") from error


_CURES = {
    errno.ENOSPC: ". Make room there, and start again",
    errno.EDQUOT: ". Make room there, and start again",
    errno.EROFS: ". Name a folder that can be written to",
    errno.EACCES: ". Name a folder that this user may write to",
    errno.EPERM: ". Name a folder that this user may write to",
}
"""What to do about what a disk says, as the end of a sentence."""


def follow(run: Run) -> Run:
    """The run as one that follows the newest version, after that was carried out.

    Raises `RunError` where that is no version, or cannot be carried out.
    """
    store = store_of(run.output)
    with writing(run.output):
        run = replace(run, follows=commit.recover(store, run.partition, run.placed))
    if not run.follows:
        read_newest(store, run.partition)  # refuses an output of an earlier layout
    _tidy(store, run)
    return run


def beside(run: Run) -> Run:
    """The same, for who only asks: what is half done stays so, nothing is written or removed. Raises as `follow`."""
    store = store_of(run.output)
    run = replace(run, follows=newest(store, run.partition))
    if not run.follows:
        read_newest(store, run.partition)
    return run


def ensure_open(run: Run) -> None:
    """Raise `RunError` where the version that the run is for is decided already: all its work would be in vain.

    So it is where another one took the run for dead while it was being planned. To be asked once the run has begun,
    and so gives signs of life.
    """
    store = store_of(run.output)
    if run.follows is None or not store.exists(version_name(run.partition, run.follows + 1)):
        return
    version, manifest = read_version(store, run.partition, run.follows + 1)
    if version.run_id == run.run_id and not version.bars:
        commit.carry_out(store, version, run.placed)
        store.discard(run.work)  # which was for this number alone
        raise RunError(f"another start of this same run is published into {run.output} at this moment")
    raise RunError(_beaten(run, version, manifest))


def current(run: Run) -> Published | None:
    """What the run would replace, or is already; None where nothing was published when it began."""
    if not run.follows:
        return None
    store = store_of(run.output)
    found = Published(store, *read_version(store, run.partition, run.follows))
    return None if found.manifest["kind"] == "nothing" else found


def outcome(run: Run) -> Published | None:
    """The version that this run became, even if another one has replaced it since; None if it did not."""
    store = store_of(run.output)
    commit.recover(store, run.partition, run.placed)
    now = read_newest(store, run.partition)
    if now is not None and now.version.run_id == run.run_id and damage(now) is None:
        return now
    if run.follows is not None and store.exists(version_name(run.partition, run.follows + 1)):
        version, manifest = read_version(store, run.partition, run.follows + 1)
        replaced = store.exists(version_name(run.partition, run.follows + 2))
        if version.run_id == run.run_id and not version.bars and replaced:
            return Published(store, version, manifest)
    return None


def unpublishable(run: Run) -> str | None:
    """Why the run could not be published into its output folder as that stands; None if it could."""
    store = store_of(run.output)
    now = current(run)
    key = run.partition.partition("=")[0]
    if key != WINDOW and pieces.is_stream(store):
        return f"--output={run.output} holds what a stream labelled, in windows; name another folder"
    others = [each for each in partitions(store) if each.partition("=")[0] != key]
    for each in others:
        if other := read_newest(store, each):
            if other.manifest["kind"] != run.kind:
                return _of_another_kind(run, other)
            if key == WINDOW:
                what = each or "a table without partitions"
                return f"{run.output} holds {what}, which no stream wrote: {run.partition} cannot stand beside it"
            if each.startswith(f"{WINDOW}="):
                return f"--output={run.output} holds windows of a stream, such as {each}; name another folder"
            if each:
                return f"--output={run.output} has partitions such as {each}: give a --run_date, or name another folder"
            return f"--output={run.output} is a table without partitions: leave out --run_date, or name another folder"
    if now is not None and now.manifest["kind"] != run.kind:
        return _of_another_kind(run, now)
    if now is not None and published_files(now.manifest) and now.version.run_id != run.run_id and not run.overwrite:
        return _taken(run, now)
    return _foreign(run, store, now)


def publish(run: Run, records: list[dict[str, Any]]) -> int:
    """Publish the verified records of all units; the number of the version.

    Raises `RunError`, with nothing published, where a unit is missing, too many rows were rejected, or another run
    was published there meanwhile.
    """
    records = sorted(records, key=lambda record: int(record["unit"]))
    units = records[0]["units"] if records else 0
    missing = set(range(units)) - {record["unit"] for record in records}
    if not records or missing or len(records) != units:
        raise RunError(f"{len(missing)} of {units} units have no record; start the run again to make them")
    run = run if run.follows is not None else follow(run)
    assert run.follows is not None
    facts = read_own(run, run.facts) if storage.exists(run.facts) else {}  # a pipeline of the user's own left nothing
    manifest = build_manifest(run.run_id, run.partition, run.follows + 1, records, facts)
    if all("columns" in record for record in records):
        manifest["columns"] = of_all([record["columns"] for record in records])
    where = f". The rejects lie in {storage.join(run.attempt, 'rejects')}" if manifest["rejects"] else ""
    refuse(run.limits, manifest["inputs"], manifest["rows"]["rejected_by_reason"], where)
    rejected = [record for record in records if record["rejects"]]
    moves = [
        (f"{run.work}/{of}/{record[of]['name']}", file["path"])
        for of, files, those in (("rejects", manifest["rejects"], rejected), ("labels", manifest["parts"], records))
        for record, file in zip(those, files, strict=True)
    ]
    return publish_files(run, manifest, moves)


def publish_empty(run: Run, facts: dict[str, Any]) -> int:
    """Publish a version without rows, of a run that has no input; its number. Raises `RunError`."""
    assert run.follows is not None
    with writing(run.output):
        made = build_manifest(run.run_id, run.partition, run.follows + 1, [], facts)
        return publish_files(run, made, [])


def publish_files(run: Run, manifest: dict[str, Any], moves: list[tuple[str, str]]) -> int:
    """Publish files of the attempt as the next version; its number.

    A move is (where the file lies, its published name), both relative to the output folder; no other attempt may ever
    have a file where it lies. The manifest names every published file under `parts`, `rejects` or `card`, each with
    `path` and `bytes`. Where a name is used again by the next run, that of the last move is the one without which
    readers know nothing. Raises `RunError`.
    """
    run = run if run.follows is not None else follow(run)
    assert run.follows is not None
    store, next_name = store_of(run.output), version_name(run.partition, run.follows + 1)
    now = current(run)
    if now is not None and now.version.run_id == run.run_id and damage(now) is None and not store.exists(next_name):
        return run.follows  # it is published already
    # Asked again: another run may have ended since, and a file may have come.
    reason = unpublishable(run) or _misfit(run, store, manifest)
    if reason and not store.exists(next_name):
        raise RunError(reason)
    table = run.kind == "classify"
    for place, target in moves:
        if not is_below(place, f"{run.work}/") or not is_below(target):
            raise RunError(f"{run.attempt} names {place!r}, which is not of it: remove that folder and start again")
    named = now.version.named if now else frozenset()
    for target in [] if table else [target for _, target in moves if target not in named]:
        if store.exists(target) and not store.exists(next_name):
            raise RunError(f"{store.uri(target)} is not of a run: move it away; nothing was published")
    gone = _missing(store, [place for place, _ in moves])
    if gone and not store.exists(next_name):
        raise RunError(f"{store.uri(gone)} is gone; nothing was published. Start the run again: it makes it anew")
    number = run.follows + 1
    version = Version(
        run.partition,
        number,
        run.run_id,
        stage_name(run.partition, number),
        run.work,
        tuple(moves),
        () if table else tuple(sorted(named, key=lambda name: (name != moves[-1][1], name))),
        label_folders(run.partition) if table else (),
        frozenset(each["path"] for each in published_files(manifest)),
    )
    try:
        number = commit.publish(store, version, {**manifest, "kind": run.kind}, run.placed)
    except commit.Beaten as beaten:
        _tidy(store, run)
        raise RunError(_beaten(run, *beaten.args)) from None
    _tidy(store, replace(run, follows=number))
    return number


def _misfit(run: Run, store: Store, manifest: dict[str, Any]) -> str | None:
    """Why the rows are none of the table that is there; None where they are, or it is not known what they look like."""
    mine = shape(run.partition or "this run", manifest)
    there = [each for partition, each in shapes(store).items() if partition != run.partition] if mine else []
    return refusal(run.output, mine, there) if mine else None


def _missing(store: Store, places: list[str]) -> str | None:
    """The first of some files of an attempt that is not there; the names of the others are on the disk."""
    folders = dict.fromkeys(place.rpartition("/")[0] for place in places)
    listed = {f"{folder}/{name}" for folder in folders for name in store.names(folder)}
    if storage.is_local(store.uri("")):
        storage.each(storage.sync, [store.uri(folder) for folder in folders])
    return next((each for each in places if each not in listed and not store.exists(each)), None)


def _tidy(store: Store, run: Run) -> None:
    """Remove what dead processes left that nobody can publish any more, and folders that hold nothing.

    What cannot be removed, as another user's files, stays for `pipelines.clean` to tell of.
    """
    folder = attempts(run.partition)
    over = [f"_attempts/{name}" for name in store.names("_attempts") if name.startswith(OVER)]
    stages = [(name, STAGE.fullmatch(name)) for name in store.names(folder)]
    dead = [f"{folder}/{name}" for name, stage in stages if stage and int(stage[1]) <= (run.follows or 0)]
    for name in over:
        with suppress(OSError):
            storage.remove(store.uri(name))
    for name in dead:
        with suppress(OSError):
            store.discard(name)
    for each in dict.fromkeys((folder, "_attempts")):
        storage.remove_if_empty(store.uri(each))


def _foreign(run: Run, store: Store, now: Published | None) -> str | None:
    """What stands where the run would publish and is not of a run; None if nothing is."""
    for name in ("_attempts", FOLDER, *(["labels", *run.targets] if run.kind == "classify" else [])):
        uri = store.uri(name)
        if storage.is_local(uri) and store.exists(name) and not os.path.isdir(storage.local_path(uri)):
            return f"--output={run.output}: {uri} is no folder; name another one or move it away"
    named = now.version.named if now else frozenset()
    ever = store.exists(version_name(run.partition, 1))
    for name in run.targets:
        inside = store.names(name)
        if run.kind == "classify":  # what begins so is none of the table's
            found = [each for each in inside if not each.startswith((".", "_")) and not (ever and PART.fullmatch(each))]
        else:
            found = [each for each in inside if f"{name}/{each}" not in named]
            if not inside and name not in named and storage.size(store.uri(name)):
                found = [name]
        if found:
            what = store.uri(name) if found == [name] else storage.join(store.uri(name), found[0])
            if store.exists(version_name(run.partition, (run.follows or 0) + 1)):
                return f"another run is published into {run.output} at this moment; start this one again"
            more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
            return f"--output={run.output}: {what}{more} is not of a run; name another folder or move it away"
    return None


def _of_another_kind(run: Run, found: Published) -> str:
    kind = TOLD[found.manifest["kind"]]
    return f"--output={run.output} holds {kind}, which this command does not replace; name another folder"


def _taken(run: Run, now: Published) -> str:
    return (
        f"{run.output} holds another run ({short(now.version.run_id)}, this one is {short(run.run_id)}: other input, "
        "model, options or version); name another --output, or give --overwrite to replace it"
    )


def _beaten(run: Run, version: Version, manifest: dict[str, Any]) -> str:
    where = f"{run.output} (version {version.number}{f' of {version.partition}' if version.partition else ''})"
    if manifest["kind"] == "nothing" and not version.bars:
        return f"pipelines.clean took {where} away since this run began; start it again: nothing of it was published"
    if version.bars:
        return (
            f"this run gave no sign of life for minutes, was taken for dead, and {where} was closed to it; start it "
            "again: nothing of it was published"
        )
    return (
        f"another run, {short(version.run_id)}, was published into {where} since this one began; nothing of this one "
        "was. Start it again, with --overwrite if it is to replace that"
    )
