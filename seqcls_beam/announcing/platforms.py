"""Which platforms there are, and telling each of a version, whatever becomes of the others.

Where a run tells stands in its manifest, under `platforms`, so that it can be told again by whoever has the folder. A
manifest is input like any other: what is read of it is looked at before anything is done.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.announcing import tables
from seqcls_beam.announcing.published import Announced, NotThere, PlatformError, Unread, brief
from seqcls_beam.config.announce import PlatformOptions, TellOptions
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.runs.commit import recover
from seqcls_beam.runs.manifest import iso
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.store import Store, store_of
from seqcls_beam.runs.versions import newest, read_version
from seqcls_beam.signs import shown

KEY = "platforms"
NAMES = tuple(flag(each) for each in option_fields(PlatformOptions))
"""All that there are, in the order in which they are told."""

Where = Mapping[str, str]
"""Platform → where it is, as its flag has it, or, as a `Remembered`, a manifest."""


class Remembered(str):
    """A place that a manifest alone names, whoever wrote that: nothing of value is sent there, and no table is made."""

    __slots__ = ()


LISTED = Remembered()
"""The Iceberg tables that were told of an output, where no other is named."""

_ON_DISK = ("openlineage", "prometheus")
"""Of these a place may be a folder or a file."""
_BUCKETS = ("gs://", "gcs://")
_KEYS = {
    "openlineage": ("OPENLINEAGE_API_KEY",),
    "otlp": tuple(
        f"OTEL_EXPORTER_OTLP_{of}{what}"
        for what in ("HEADERS", "CLIENT_CERTIFICATE", "CLIENT_KEY")
        for of in ("METRICS_", "")
    ),
}
"""Variables of the environment with keys that are for whom a flag names."""
_EVENT = b'{"event'
_OF_TABLES = ("iceberg", "bigquery")
_LABELLED = ("classify", "nothing")
"""Kinds of versions that are a table's, the second one of a partition that was taken away."""
EVALUATION = "evaluation.json"
_LONGEST = 4096  # signs of a place that a manifest names
_LEAST = 5.0  # seconds for an Iceberg table after others that took theirs


def named(options: TellOptions, output: str) -> dict[str, str]:
    """Platform → where, of those that were named, as a manifest has them: places on a disk are absolute.

    Raises `ValueError` where one is misspelled, holds a secret, has no use for what is in `output`, or needs a package
    that is not here.
    """
    found = {
        flag(each): _absolute(flag(each), value)
        for each in option_fields(type(options))
        if (value := getattr(options, each.name)) is not None
    }
    if "bigquery" in found and not storage.absolute(output).startswith(_BUCKETS):
        raise ValueError(
            f"--bigquery={found['bigquery']}: BigQuery loads from gs:// alone, and --output="
            f"{storage.without_password(output)} is not there: name a folder in a bucket"
        )
    for name, where in found.items():
        if storage.without_password(where) != where:
            raise ValueError(
                f"--{name}={storage.without_password(where)} holds a password or a key, which would be published with "
                "the run: leave it out of the flag (docs/platforms.md says where it belongs)"
            )
        try:
            _module(name).ensure(where)
        except PlatformError as error:
            said = str(error)
            raise ValueError(said if f"--{name}" in said else f"--{name}={where}: {said}") from error
    return found


def _absolute(name: str, where: str) -> str:
    if name not in _ON_DISK or where == "env" or not storage.is_local(where):
        return where
    return storage.absolute(where)


def with_tables(output: str, named: Where, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Who is told of a version: those that are named, and Iceberg tables.

    One that has rows which were replaced is told of what replaced them, whoever says so.
    """
    found = dict(named)
    if "iceberg" not in found:
        with suppress(PlatformError):
            found |= {name: where for name, where in remembered(manifest).items() if name == "iceberg"}
    if "iceberg" not in found and manifest.get("kind") in _LABELLED and _has_tables(output):
        found["iceberg"] = LISTED
    return found


def _has_tables(output: str) -> bool:
    try:
        return bool(tables.known(output))
    except PlatformError:  # which is said when they are told
        return True


def remembered(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Where the manifest of a version says that it is told. Raises `PlatformError` for what no command wrote."""
    said = manifest.get(KEY, {})
    if not isinstance(said, dict):
        raise PlatformError(f"`{KEY}` of the manifest is {brief(repr(said), 80)}, which no command wrote")
    for name, where in said.items():
        if name not in NAMES or not isinstance(where, str) or not where or len(where) > _LONGEST:
            has = shown(brief(f"{name}: {where!r}", 120), name=True)
            raise PlatformError(f"`{KEY}` of the manifest has {has}, which no command wrote")
    return {name: Remembered(said[name]) for name in NAMES if name in said}


def believed(output: str, manifest: Mapping[str, Any], named: Where) -> tuple[dict[str, str], list[str]]:
    """Who is told of a version, those it remembers and those named by a flag, which win; why others are not.

    Who wrote a manifest is not known: a key is sent, and a file of another kind is added to, only where a flag says so.
    """
    try:
        there = {name: where for name, where in remembered(manifest).items() if name not in named}
    except PlatformError as error:
        return with_tables(output, named, manifest), [str(error)]
    doubts = {name: doubt for name, where in there.items() if (doubt := _doubt(name, where))}
    found = {**{name: where for name, where in there.items() if name not in doubts}, **named}
    found = with_tables(output, found, manifest)
    return {name: found[name] for name in NAMES if name in found}, list(doubts.values())


def _doubt(name: str, where: str) -> str | None:
    place = shown(storage.without_password(where), name=True)[:200]
    keys = [each for each in _KEYS.get(name, ()) if os.environ.get(each)]
    if where == "env" or name not in _KEYS:
        return None
    if name == "openlineage" and storage.is_local(where):
        if not _has_others(storage.local_path(where)):
            return None
        why = "what is there is no file of events"
    elif keys:
        why = f"{keys[0]} would be used there"
    else:
        return None
    return f"its manifest names --{name}={place}, and {why}: if that is meant, give the flag"


def _has_others(path: str) -> bool:
    """Whether what is there is no file, such as a pipe that nobody reads, or does not begin as one of events does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return True
        with open(path, "rb") as file:
            return os.path.getsize(path) > 0 and file.read(len(_EVENT)) != _EVENT
    except FileNotFoundError:
        return False
    except OSError:
        return True


def tell(where: Where, announced: Announced) -> Iterator[tuple[str, str | None]]:
    """Tell each platform of a version; (its name, None or the sentence why it could not be told), as it comes."""
    for name, place in due(where, announced.manifest).items():
        yield name, _told(partial(_call, name, place, announced))


def due(where: Where, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Those platforms that have a use for a version, in order.

    Tables are of labelled rows, and a night taken away is theirs.
    """
    names = {"classify": NAMES, "nothing": _OF_TABLES}.get(
        str(manifest.get("kind")), [name for name in NAMES if name not in _OF_TABLES]
    )
    return {name: where[name] for name in names if name in where}


_KNOWN = ("run_id", "kind", "command", "versions", "inputs", "data")


def tell_of(
    where: str, output: str, partition: str, facts: Mapping[str, Any], failure: str | None = None
) -> str | None:
    """Tell OpenLineage that a run begins, or with a sentence that it failed; None, or why it could not be told.

    `facts` are what is known before a run has a manifest, as that will have them, `started` in seconds since 1970.
    """

    def tell() -> None:
        known = {name: facts[name] for name in _KNOWN if name in facts}
        known |= {"output": output, "partition": partition, "model": facts.get("model") or facts.get("base")}
        lineage = _module("openlineage")
        if failure is None:
            lineage.tell_start(where, **known, started=iso(facts["started"]))
        else:
            lineage.tell_fail(where, **known, sentence=failure)

    return _told(tell)


def _told(tell: Callable[[], object]) -> str | None:
    """Tell a platform; the sentence why it could not be. Nothing is raised: a run is published, and stays so."""
    try:
        tell()
    except PlatformError as error:
        return str(error)
    except Exception as error:  # of a library's own, or of a manifest that no command wrote
        return brief(f"{type(error).__name__}: {error}", 600)
    return None


def placed(output: str, partition: str, number: int, manifest: dict[str, Any]) -> None:
    """Have the Iceberg tables of an output let go of what a version replaces, before that is removed.

    For `commit.publish`, when all files of the version have their names; a first version replaces nothing, and is told
    when it is published. Raises `PlatformError`.
    """
    if number == 1:
        return
    where = due(with_tables(output, {}, manifest), manifest).get("iceberg")
    if where is None:
        return
    told = announced(output, partition, number, manifest)
    # Who is not there names no file.
    if why := _told(lambda: _tell_tables(where, told, leaves=True)):
        raise PlatformError(f"iceberg was not told of its files: {why}")


def placed_or_later(output: str, partition: str, number: int, manifest: dict[str, Any]) -> None:
    """The same in a worker of a command that tells again when its job is done, and then says what keeps that away."""
    with suppress(PlatformError):
        placed(output, partition, number, manifest)


def announced(output: str, partition: str, number: int, manifest: Mapping[str, Any]) -> Announced:
    """A version as platforms are told of it."""
    shown = storage.without_password(output)
    return Announced(
        output=shown, partition=partition, version=number, manifest=manifest, place=storage.absolute(output)
    )


def newest_of(output: str, partition: str) -> Announced | None:
    """The newest version of a partition, after that was carried out; None where there is none.

    Raises `RunError` for a file that is no version.
    """
    store = store_of(storage.absolute(output))
    with suppress(OSError):  # of a folder that can only be read
        recover(store, partition, partial(placed_or_later, output))
    number = newest(store, partition)
    if not number:
        return None
    _, manifest = read_version(store, partition, number)
    return announced(storage.absolute(output), partition, number, told_of(store, manifest))


def told_of(store: Store, manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with what stands of its figures in a file of their own: those of an evaluation do.

    Raises `RunError` where that file is no such thing.
    """
    if manifest["kind"] != "evaluate":
        return manifest
    data = store.read(EVALUATION)
    try:
        found = orjson.loads(data or b"null")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RunError(f"{store.uri(EVALUATION)} is no evaluation of this project: make it again, with --overwrite")
    return {**found, **manifest}


def _call(name: str, where: str, announced: Announced) -> None:
    if name == "iceberg":
        _tell_tables(where, announced)
    else:
        _module(name).tell(where, announced)


def _tell_tables(where: str, announced: Announced, leaves: bool = False) -> None:
    """Tell the table that is named, if one is, and those that were told of the output before.

    Of these one without rows of the output is left alone; it `leaves` the one that is named, too.
    """
    made, output = not isinstance(where, Remembered), announced.opened
    if where:
        try:
            tables.remember(output, where)
        except PlatformError:
            if made:
                raise
    iceberg, failed = _module("iceberg"), []
    until, read = time.monotonic() + iceberg.PATIENCE, iceberg.Reading(announced)
    for each in dict.fromkeys([*filter(None, [where]), *tables.known(output)]):
        is_named = each == where
        try:
            left = max(_LEAST, until + read.seconds - time.monotonic())
            iceberg.tell(str(each), announced, makes=is_named and made, seconds=left, read=read)
        except NotThere as error:
            failed += [str(error)] * (is_named and not leaves)
        except PlatformError as error:
            failed.append(str(error))
            if isinstance(error, Unread):
                break
    if failed:
        raise PlatformError("; ".join(failed))


def _module(name: str) -> Any:
    """What tells a platform. None is imported above: each brings a package of its own, which most machines have not."""
    return import_module(f"seqcls_beam.announcing.{_MODULES.get(name, name)}")


_MODULES = {"openlineage": "lineage"}
