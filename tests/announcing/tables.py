"""Versions of labelled tables that are really published, and an Iceberg catalog in a file."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.announcing.published import Announced
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs.parts import PartWriter, fresh_name
from seqcls_beam.runs.publication import follow, publish, publish_files
from seqcls_beam.runs.run import Placed, Run, open_attempt, verified_record
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.versions import FORMAT_VERSION, newest, part_name, read_version
from tests.runs.attempts import write_run

WHERE = "nights:sentiment.reviews"


def catalog(monkeypatch, folder: Path) -> dict[str, str]:
    """Configure the catalog `nights`; what pyiceberg is told of it, for who opens it otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}
    for key, value in told.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__NIGHTS__{key.upper()}", value)
    return told


def night(out: Path, letter: str, partition: str = "", units: int = 2, placed: Placed | None = None) -> Announced:
    """Publish a run of so many units of ten rows each, one of which is rejected, over what is there."""
    run = follow(Run(str(out), letter * 32, True, LossOptions(max_rejected=1), partition=partition, placed=placed))
    write_run(run, units, frozenset({1}))
    publish(run, [verified_record(run, unit) for unit in range(units)])
    return newest_of(out, partition)


def killed_night(out: Path, letter: str, partition: str = "") -> None:
    """The same by a process that is killed when files have their names, and those before are still there."""
    pid = os.fork()
    if pid == 0:
        try:
            night(out, letter, partition, placed=lambda *_: os._exit(7))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def rows_of(
    out: Path,
    letter: str,
    tables: list[pa.Table],
    partition: str = "",
    placed: Placed | None = None,
    keep: Sequence[dict[str, Any]] = (),
) -> Announced:
    """Publish tables as they are, one part each, beside parts that were there and are kept."""
    run = follow(Run(str(out), letter * 32, True, partition=partition, placed=placed))
    open_attempt(run)
    folder = "/".join(filter(None, ["labels", partition]))
    parts, moves = [], []
    for at, table in enumerate(tables):
        place = f"{run.work}/labels/{fresh_name('part')}"
        writer = PartWriter(storage.join(str(out), place), table.schema)
        for batch in table.to_batches():
            writer.write(batch)
        made = writer.close()
        path = part_name(folder, at, len(tables), (run.follows or 0) + 1, run.run_id)
        shape = hashlib.sha256(table.schema.serialize()).hexdigest()
        parts.append({"path": path, "shape": shape, **{key: made[key] for key in ("rows", "bytes", "sha256")}})
        moves.append((place, path))
    manifest = {"format_version": FORMAT_VERSION, "kind": "classify", "parts": [*keep, *parts], "rejects": []}
    publish_files(run, manifest, moves)
    return newest_of(out, partition)


def newest_of(out: Path, partition: str = "") -> Announced:
    """The newest version of a partition."""
    store = store_of(str(out))
    return version_of(out, partition, newest(store, partition))


def version_of(out: Path, partition: str, number: int) -> Announced:
    """Any version of a partition."""
    _, manifest = read_version(store_of(str(out)), partition, number)
    return Announced(output=str(out), partition=partition, version=number, manifest=manifest)


def by_id(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table of `night`, by their ids."""
    return sorted(table.to_pylist(), key=lambda row: (str(row.get("run_date")), row["id"]))
