"""The protocol of a publication: one compare-and-swap, then steps that anybody may do, any number of times.

1. Every file of the run lies in its attempt, checked. A stage is opened, a folder that no other version has.
2. The next version is created, only if it is not there. This decides. The version says which file goes where.
3. What the version before published under names that are used again is put away into the stage, and its folder there
   closed; then every file moves to its name. Between 2 and the end of 3 readers of a version find a file where it lay.
   Here whoever shows the files to others, as an Iceberg table does, is told to look at the new ones.
4. Parts of earlier versions are removed, by names that are never used twice; the attempt is put away; the stage is
   closed. Only now may a next version be decided, and only now does a run say that it is published.

Whoever wants to publish, or only starts, carries the newest version out first (`recover`), so a process that died at
any step holds up nobody. One that was halted and wakes finds that its stage is closed, or repeats what is done:
`docs/architecture.md` has the argument, `tests/runs/test_explorer.py` all interleavings.
"""

import logging
from dataclasses import replace
from typing import Any

from seqcls_beam.runs.run import Placed, RunError
from seqcls_beam.runs.store import Store
from seqcls_beam.runs.versions import PART, Version, newest, read_version
from seqcls_beam.storage import each, without_secrets

_log = logging.getLogger(__name__)


class Beaten(Exception):
    """Another version was decided since the run began: (the version, its manifest)."""


def publish(store: Store, version: Version, manifest: dict[str, Any], placed: Placed | None = None) -> int:
    """Decide the version that is next after the one its run began with, and carry it out; its number.

    Where this very run decided it already, from another process, that is carried out. An error that `placed` raises
    is warned of, and changes nothing. Raises `Beaten` where another run did, and `RunError` where files are gone.
    """
    store.open(version.stage, sorted({target.rpartition("/")[0] for _, target in version.moves}))
    decided = version
    if not store.create(version.name, version.body(manifest), version.stage):
        decided, manifest = read_version(store, version.partition, version.number)
    if decided.stage != version.stage:  # else it is this very one, though an answer may have been lost
        store.close(version.stage)
    mine = decided.run_id == version.run_id and not decided.bars
    if not mine:
        raise Beaten(decided, manifest)
    missing = carry_out(store, decided, placed)
    store.discard(version.work)  # where another process of this run decided; it was for this number alone
    if missing:
        raise RunError(f"{store.uri(missing[0])} is gone: the run is published, but without it. Make it again")
    return version.number


def carry_out(store: Store, version: Version, placed: Placed | None = None) -> list[str]:
    """Steps 3 and 4 of a version that was decided; the files that it names and that are nowhere."""
    if not store.is_open(version.stage):
        return []
    missing = _arrange(store, version)
    try:
        if placed is not None and not missing:
            _tell(placed, store, version)
    finally:  # whoever is told may be ended by a signal, and the version is decided
        for folder in version.sweeps:
            store.remove([f"{folder}/{name}" for name in store.names(folder) if _is_over(f"{folder}/{name}", version)])
        store.discard(version.work)
        store.close(version.stage)
    return missing


def arrange(store: Store, version: Version) -> None:
    """Step 3 alone, for who only reads; those before go when somebody writes, who has others told first."""
    if store.is_open(version.stage):
        _arrange(store, version)


def _arrange(store: Store, version: Version) -> list[str]:
    if version.replaces and store.is_open(version.old):
        store.put_away(version.replaces, version.old)
        store.close(version.old)
    return store.place(version.stage, version.moves)


def _tell(placed: Placed, store: Store, version: Version) -> None:
    """Say that files have their names; nothing that is published waits for whoever is told."""
    try:
        placed(version.partition, version.number, read_version(store, version.partition, version.number)[1])
    except Exception as error:
        said = without_secrets(" ".join((str(error) or type(error).__name__).split()))
        where = "/".join(filter(None, [store.uri("").rstrip("/"), version.partition]))
        _log.warning("%s is published, but %s", where, said)


def recover(store: Store, partition: str, placed: Placed | None = None) -> int:
    """Carry out the newest version of a partition, unless that was done; its number, 0 where there is none."""
    found = recovered(store, partition, placed)
    return found[0].number if found else 0


def recovered(store: Store, partition: str, placed: Placed | None = None) -> tuple[Version, dict[str, Any]] | None:
    """The same; what `read_version` says of it, None where there is none."""
    number = newest(store, partition)
    if not number:
        return None
    version, manifest = read_version(store, partition, number)
    carry_out(store, version, placed)
    return version, manifest


def bar(store: Store, partition: str, number: int, stage: str, nothing: dict[str, Any]) -> bool:
    """Decide a version that says what the newest, `number`, says; whether it was decided.

    After it no attempt that began before can be published, so what those left can be removed. `nothing` is the manifest
    where there is no version yet.
    """
    base = Version(partition, 0, nothing["run_id"], stage, stage)
    said, manifest = read_version(store, partition, number) if number else (base, nothing)
    version = replace(
        said, number=number + 1, stage=stage, work=f"{stage}/work", moves=(), replaces=(), sweeps=(), bars=True
    )
    store.open(stage, ())
    decided = store.create(version.name, version.body(manifest), stage)
    store.close(stage)
    return decided


def locate(store: Store, version: Version) -> dict[str, str]:
    """Published name → where the file is now, for the files that may not have arrived yet; empty once all have."""
    if not store.is_open(version.stage):
        return {}
    # In the order in which a file moves on, so that none is missed between two questions.
    ways = [[place, f"{version.stage}/new/{target}"] for place, target in version.moves]
    there = each(lambda way: next((name for name in way if store.exists(name)), None), ways)
    return {target: name or target for (_, target), name in zip(version.moves, there, strict=True)}


def _is_over(name: str, version: Version) -> bool:
    """Whether a file is a part of an earlier version that this one does not name. Later ones have higher numbers."""
    part = PART.fullmatch(name.rsplit("/", 1)[-1])
    return part is not None and int(part[1]) <= version.number and name not in version.named
