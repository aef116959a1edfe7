"""Verified parts and their records → a published run: all of it, or nothing.

1. An intent is written beside the attempts, only if there is none: from here on the run is decided, and whoever
   finds the intent finishes it. Of two runs at once one writes it; the other fails.
2. Parts are moved to their published names. On a local disk a folder that is new appears with all its parts at once.
3. `_MANIFEST.json` is created (or, with `overwrite`, replaced), which publishes the run.
4. The parts of a run that was replaced, the attempt and the intent are removed.

Every step can be repeated, so a crash anywhere leaves the old state or is rolled forward by the next start. The
protocol is that of Hadoop's manifest committer with the job's success file as the only truth.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.runs.manifest import NAME, build_manifest, part_name, read_manifest, short
from seqcls_beam.runs.run import Run, RunError

TRIES = 3  # of carrying an intent out, before the last one, whose error is raised


def publish(run: Run, records: list[dict[str, Any]]) -> None:
    """Publish the verified records of all units.

    Raises `RunError`, with nothing published, where a unit is missing, too many rows were rejected, or another run
    was published there meanwhile.
    """
    records = sorted(records, key=lambda record: int(record["unit"]))
    units = records[0]["units"] if records else 0
    missing = set(range(units)) - {record["unit"] for record in records}
    if not records or missing or len(records) != units:
        raise RunError(f"{len(missing)} of {units} units have no record; start the run again to make them")
    try:
        facts = orjson.loads(storage.read(run.facts))
    except FileNotFoundError:
        facts = {}  # A pipeline of the user's own: the records say it all.
    manifest = build_manifest(run.run_id, records, facts)
    refuse_rejected(run, manifest["rows"]["in"], manifest["rows"]["rejected_by_reason"])
    moves = [
        {
            "from": storage.join("_attempts", run.run_id, folder, record[folder]["name"]),
            "to": part_name(folder, record["unit"], record["units"], run.run_id),
            "bytes": record[folder]["bytes"],
        }
        for record in records
        for folder in ("labels", "rejects")
        if record[folder]
    ]
    publish_parts(run, manifest, moves)


def publish_parts(run: Run, manifest: dict[str, Any], moves: list[dict[str, Any]]) -> None:
    """Move files of the attempt to where they are published, and write the manifest.

    A move is {"from", "to", "bytes"}, both paths below the output folder. The manifest names every file that is
    published under `parts` or `rejects`, each with `path` and `bytes`. Raises `RunError`.
    """
    current = read_manifest(run.output)
    if is_published(run.output, run.run_id):
        return  # by an earlier try of this step, or by another process that runs the same
    if current is not None and not run.overwrite:
        raise RunError(_taken(run, current))
    kept = {move["to"] for move in moves}
    intent = {
        "run_id": run.run_id,
        "replaces": current["run_id"] if current else None,
        "moves": moves,
        "swaps": _swaps(run.output, kept, current) if current else [],
        "removes": [each["path"] for each in _files(current) if each["path"] not in kept] if current else [],
        "manifest": manifest,
    }
    try:
        created = storage.put_if_absent(_intent(run.output), orjson.dumps(intent), scratch=run.attempt)
    except OSError:
        if is_published(run.output, run.run_id):
            return  # and the attempt is gone, by another process that runs the same
        raise
    if not created:
        found = _read_intent(run.output)
        if found is None and is_published(run.output, run.run_id):
            return
        if found is None or found["run_id"] != run.run_id:
            raise RunError(f"another run is being published into {run.output} at this moment; nothing of this one was")
        intent = found  # left by an earlier try of this step
    if not _roll_forward(run.output, intent):
        raise RunError(_taken(run, read_manifest(run.output) or {"run_id": "?"}))


def _swaps(output: str, kept: set[str], current: dict[str, Any]) -> list[str]:
    """Folders on a local disk that are replaced whole: new files have names of old ones, and no other file is there."""
    if not storage.is_local(output):
        return []
    old = {each["path"] for each in _files(current)}
    folders = {path.rpartition("/")[0] for path in kept & old} - {""}
    there = {each: [uri.rsplit("/", 1)[-1] for uri in storage.files(storage.join(output, each))] for each in folders}
    return sorted(each for each in folders if all(f"{each}/{name}" in old for name in there[each]))


def recover(output: str) -> None:
    """Finish a publication that was interrupted, if there is one."""
    intent = _read_intent(output)
    if intent is None:
        storage.remove_if_empty(storage.join(output, "_attempts"))
    else:
        _roll_forward(output, intent)


def unpublishable(run: Run) -> str | None:
    """Why the run could not be published into its output folder as that stands; None if it could."""
    current = read_manifest(run.output)
    if current is not None:
        return None if run.overwrite else _taken(run, current)
    for name in run.publishes:
        uri = storage.join(run.output, name)
        if _holds_anything(uri) or storage.size(uri):
            return (
                f"--output={run.output}: the files of {name} are not of a run, since there is no {NAME}; name another "
                "folder or move it away"
            )
    return None


def damage(output: str, manifest: dict[str, Any]) -> str | None:
    """What of a published run is no longer there; None if every part is, with its size."""
    for part in _files(manifest):
        size = storage.size(storage.join(output, part["path"]))
        if size != part["bytes"]:
            return f"{part['path']} " + ("is gone" if size is None else f"has {size} bytes instead of {part['bytes']}")
    return None


def _files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that a manifest names, each with `path` and `bytes`."""
    return [*manifest["parts"], *manifest["rejects"], *([manifest["card"]] if "card" in manifest else [])]


def _roll_forward(output: str, intent: dict[str, Any]) -> bool:
    """`_carry_out`, repeated where it fails."""
    for _ in range(TRIES):
        try:
            return _carry_out(output, intent)
        except OSError:
            # A store may fail for a moment, and another process that finishes the same intent takes files and folders
            # away under our hands. Every step can be repeated.
            if is_published(output, intent["run_id"]):
                return True
            time.sleep(0.2)
    return _carry_out(output, intent)


def is_published(output: str, run_id: str) -> bool:
    """Whether a run is published and whole: one that is made again because it is damaged does not count."""
    manifest = read_manifest(output)
    return manifest is not None and manifest["run_id"] == run_id and damage(output, manifest) is None


def _carry_out(output: str, intent: dict[str, Any]) -> bool:
    """Steps 2 to 4; False, with the intent taken back, where another run was published before it."""
    current = read_manifest(output)
    published = current["run_id"] if current else None
    again = intent["replaces"] == intent["run_id"]  # a damaged run is published anew
    if published != intent["replaces"] and published != intent["run_id"]:
        storage.remove(_intent(output))
        return False
    if published != intent["run_id"] or again:
        _move_parts(output, intent)
        body = orjson.dumps(intent["manifest"], option=orjson.OPT_INDENT_2)
        uri, scratch = storage.join(output, NAME), storage.join(output, "_attempts", intent["run_id"])
        if published is not None:
            storage.put(uri, body, scratch)
        elif not storage.put_if_absent(uri, body, scratch):
            now = read_manifest(output)
            if now is None or now["run_id"] != intent["run_id"]:
                storage.remove(_intent(output))
                return False
    _each(lambda path: storage.remove(storage.join(output, path)), intent["removes"])
    _discard_attempt(storage.join(output, "_attempts", intent["run_id"]))
    storage.remove(_intent(output))
    storage.remove_if_empty(storage.join(output, "_attempts"))
    return True


def _discard_attempt(attempt: str) -> None:
    """Remove an attempt, although another process of the same run may be writing into it."""
    gone = f"{attempt}.gone"
    if storage.is_local(attempt):
        storage.remove(gone)
        with suppress(FileNotFoundError):
            os.rename(attempt, gone)
        storage.remove(gone)
    else:
        storage.remove(attempt)


def _move_parts(output: str, intent: dict[str, Any]) -> None:
    # Backwards by name, so that rows come after what was rejected, and what lies in the output folder itself last.
    for folder in sorted({move["to"].rpartition("/")[0] for move in intent["moves"]}, reverse=True):
        moves = [move for move in intent["moves"] if move["to"].rpartition("/")[0] == folder]
        target = storage.join(output, folder) if folder else output
        swap = folder in intent.get("swaps", ())
        if swap or (folder and storage.is_local(output) and not _holds_anything(target)):
            # Fill a folder aside and let it appear at once.
            attempt = storage.join(output, "_attempts", intent["run_id"])
            aside = storage.join(attempt, "published")
            _each(lambda move, aside=aside: _move(output, move, aside), moves)
            made = storage.join(aside, folder)
            if swap and os.path.isdir(made):
                _put_away(target, storage.join(attempt, "replaced", folder))
            try:
                os.rename(made, target)
            except OSError:
                if not _holds_anything(target):  # unless another process that finishes the same intent was faster
                    raise
            storage.sync_folder(target)
        else:
            _each(lambda move: _move(output, move, output), moves)
            if storage.is_local(output):
                storage.sync_folder(storage.join(target, "part"))  # of any name in it


def _put_away(folder: str, aside: str) -> None:
    """Rename a folder, unless an earlier try or another process did."""
    os.makedirs(os.path.dirname(aside), exist_ok=True)
    with suppress(FileNotFoundError):
        if not os.path.isdir(aside):
            os.rename(folder, aside)


def _move(output: str, move: dict[str, Any], root: str) -> None:
    """Move a part, unless an earlier try or another process that finishes the same intent did."""
    source, target = storage.join(output, move["from"]), storage.join(root, move["to"])
    with suppress(FileNotFoundError):
        if storage.size(source) == move["bytes"]:
            storage.move(source, target)
            return
    if move["bytes"] not in (storage.size(target), storage.size(storage.join(output, move["to"]))):
        raise RunError(f"{source} is gone, and {target} is not there; the run cannot be published. Start it again")


def _holds_anything(folder: str) -> bool:
    return bool(storage.files(folder) or storage.folders(folder))


def _each(do: Any, items: list[Any]) -> None:
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(do, items):
            pass


def refuse_rejected(run: Run, rows: int, by_reason: dict[str, int]) -> None:
    """Raise `RunError` where more of `rows` rows were rejected than the run allows."""
    rejected = sum(by_reason.values())
    share = rejected / rows if rows else 0.0
    if share > run.max_rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in by_reason.items())
        raise RunError(
            f"{rejected:,} of {rows:,} rows were rejected ({share:.1%}: {reasons}), more than "
            f"--max_rejected={run.max_rejected:g} allows; nothing was published. The rejects lie in "
            f"{storage.join(run.attempt, 'rejects')}"
        )


def _taken(run: Run, current: dict[str, Any]) -> str:
    if current["run_id"] == run.run_id:
        return f"another process published this same run into {run.output} meanwhile"
    return (
        f"{run.output} holds another run ({short(current['run_id'])}, this one is {short(run.run_id)}: other input, "
        "model, options or version); name another --output, or give --overwrite to replace it"
    )


def _read_intent(output: str) -> dict[str, Any] | None:
    try:
        intent: dict[str, Any] = orjson.loads(storage.read(_intent(output)))
    except FileNotFoundError:
        return None
    return intent


def _intent(output: str) -> str:
    return storage.join(output, "_attempts", "_INTENT.json")
