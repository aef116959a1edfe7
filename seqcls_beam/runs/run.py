"""A run and its attempt: what it is called, where its unfinished work lies, what of it is done.

    OUT/_MANIFEST.json                    the published run
    OUT/_attempts/_INTENT.json            a publication under way
    OUT/_attempts/<run_id>/run.json       what the launcher knew: command, options, model, versions
    OUT/_attempts/<run_id>/plan.parquet   the units
    OUT/_attempts/<run_id>/records/       one JSON a finished unit; it names the parts that count
    OUT/_attempts/<run_id>/labels/, rejects/   parts, under names nobody else uses

A run that is started again finds its attempt by its id and redoes only the units without a record.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.reading import units
from seqcls_beam.schema import Mark


class RunError(RuntimeError):
    """The run published nothing, for a reason its user can act on."""


@dataclass(frozen=True)
class Run:
    """One run into one output folder. The same id means the same output, so an attempt can be taken up again."""

    output: str  # the folder; made absolute, for a worker may have another working folder
    run_id: str
    overwrite: bool = False
    max_rejected: float = 0.05  # fraction of rows; above it nothing is published
    publishes: tuple[str, ...] = ("labels",)  # names in `output`; one that is there without a manifest is not ours

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", storage.absolute(self.output))

    @property
    def attempt(self) -> str:
        """Folder of the unfinished work."""
        return storage.join(self.output, "_attempts", self.run_id)

    @property
    def plan(self) -> str:
        """File of the saved units."""
        return storage.join(self.attempt, "plan.parquet")

    @property
    def facts(self) -> str:
        """File of what the launcher knew of the run."""
        return storage.join(self.attempt, "run.json")

    def records(self, stage: str = "") -> str:
        """Folder of the records of finished units, or of finished tasks of a stage where a run has several."""
        return storage.join(self.attempt, "records", *([stage] if stage else []))

    def record(self, unit: int, stage: str = "") -> str:
        """File of the record of a unit or task; there once that is finished."""
        return storage.join(self.records(stage), f"{unit:05d}.json")


def identity(inputs: pa.RecordBatch, **what: Any) -> str:
    """Whole files (UNIT rows) and everything else that decides the output → run id, 32 hex digits of blake2b."""
    rows = [[row["path"], row["size"], row["version"]] for row in inputs.to_pylist()]
    said = orjson.dumps({"inputs": rows, **what}, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def begin(run: Run, plan: list[pa.RecordBatch], facts: dict[str, Any]) -> int:
    """Write the plan and the facts of a run into its attempt; how many of its units are done already.

    Raises `RunError` where the output folder cannot be written.
    """
    try:
        storage.ensure_writable(run.attempt)
        storage.put(run.facts, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        units.save_plan(plan, run.plan)
    except OSError as error:
        raise RunError(f"--output={run.output} cannot be written: {error}") from error
    return sum(1 for _ in _finished(run, len(plan)))


def pending_units(run: Run) -> Iterator[pa.RecordBatch]:
    """The units of the saved plan that have no record yet, in order. Raises `RunError` where the attempt is gone."""
    facts = orjson.loads(_read_own(run, run.facts))
    finished = set(_finished(run, facts["units"]))
    for unit in units.load_plan(run.plan, facts["units"]):
        if Mark.of(unit).unit not in finished:
            yield unit


def save_record(run: Run, record: dict[str, Any]) -> None:
    """Write the record that makes a unit finished."""
    storage.put(run.record(record["unit"]), orjson.dumps(record), scratch=run.attempt)


def recorded_units(run: Run, fresh: Iterable[int]) -> Iterator[int]:
    """Numbers of all units with a record, ascending: those finished just now, `fresh`, and those of earlier starts."""
    numbers = set(fresh)
    numbers.update(_unit_number(uri) for uri in storage.files(run.records()))
    yield from sorted(numbers)


def verified_record(run: Run, unit: int) -> dict[str, Any]:
    """The record of a unit, after its parts were read back and found as it says: size, sha256, rows.

    A damaged part takes its record away, so that the next start makes the unit again, and raises `RunError`; so does a
    record that is gone.
    """
    record: dict[str, Any] = orjson.loads(_read_own(run, run.record(unit)))
    for folder in ("labels", "rejects"):
        if record[folder]:
            uri = storage.join(run.attempt, folder, record[folder]["name"])
            wrong = part_damage(uri, record[folder])
            if wrong:
                storage.remove(run.record(unit))
                raise RunError(f"{uri} {wrong}; nothing was published. Start the run again: it makes this unit anew")
    return record


def _read_own(run: Run, uri: str) -> bytes:
    try:
        return storage.read(uri)
    except FileNotFoundError:
        raise RunError(f"{uri} is gone: another process removed the attempt, or published it meanwhile") from None


def part_damage(uri: str, part: dict[str, Any]) -> str | None:
    """What is wrong with a part, read back whole: its size, its sha256 or its rows; None if nothing is."""
    digest, size = hashlib.sha256(), 0
    try:
        fs, path = storage.connect(uri)
        with fs.open(path, "rb") as file:
            while block := file.read(8 * 2**20):
                digest.update(block)
                size += len(block)
            if size != part["bytes"]:
                return f"has {size} bytes where {part['bytes']} were written"
            if digest.hexdigest() != part["sha256"]:
                return "does not have the bytes that were written"
            file.seek(0)
            rows = pq.ParquetFile(file).metadata.num_rows
    except FileNotFoundError:
        return "is gone"
    return None if rows == part["rows"] else f"has {rows} rows where {part['rows']} were written"


def _finished(run: Run, planned: int) -> Iterator[int]:
    """Numbers of units whose record names parts that are there; what is in those is checked before they are published.

    A record of another plan is removed. The same run may be planned otherwise: a large Parquet file whose footer cannot
    be read for a moment is not cut.
    """
    there = {
        folder: {uri.rsplit("/", 1)[-1] for uri in storage.files(storage.join(run.attempt, folder))}
        for folder in ("labels", "rejects")
    }
    for uri in storage.files(run.records()):
        record = orjson.loads(storage.read(uri))
        if record["units"] != planned:
            storage.remove(uri)
        elif all(record[folder] is None or record[folder]["name"] in there[folder] for folder in there):
            yield _unit_number(uri)


def _unit_number(uri: str) -> int:
    return int(uri.rsplit("/", 1)[-1].removesuffix(".json"))
