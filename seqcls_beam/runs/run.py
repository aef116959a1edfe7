"""A run and its attempt: what it is called, where its unfinished work lies, what of it is done.

    OUT/_attempts/[run_date=2026-11-20/]<run_id>-v1/
      lease          renewed as long as the run is worked on
      run.json       what the launcher knew: command, options, model, versions
      plan.parquet   the units
      records/       one JSON a finished unit; it names the parts that count
      labels/, rejects/   parts, under names nobody else uses
      progress/       how far each worker is

A run that is started again finds its attempt by its id, and redoes only the units without a record.
"""

import errno
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.reading import units
from seqcls_beam.runs.store import OVER, Store, store_of
from seqcls_beam.schema import PARTITION, WINDOW, Mark


class RunError(RuntimeError):
    """The run published nothing, for a reason its user can act on; no password is said with it."""

    def __init__(self, said: str) -> None:
        super().__init__(storage.without_secrets(said))


Placed = Callable[[str, int, dict[str, Any]], None]
"""Is told of a version, (partition, number, manifest), when all its files have their names, and before those that it
replaces go."""

_RESERVED = (OVER, "publish-", ".", "_")
"""How names begin that stand beside attempts."""


@dataclass(frozen=True)
class Run:
    """One run into one output folder. The same id means the same output, so an attempt can be taken up again."""

    output: str  # the folder; made absolute, for a worker may have another working folder
    run_id: str
    overwrite: bool = False
    limits: LossOptions = field(default_factory=LossOptions)  # what of the input may be missing
    publishes: tuple[str, ...] = ()  # names in `output`, of a run that is no labelling; nobody else may have them
    partition: str = ""  # of the table, run_date=2026-11-20 or window=20261120T100000Z; "" where it has none
    follows: int | None = None  # the version that was the newest when the run began; None: when it is published
    secret: tuple[str, ...] = ()  # URIs of the input that hold keys: the graph brings them to workers, and no file does
    kind: str = "classify"  # the command whose output it is; one kind never replaces another
    placed: Placed | None = field(default=None, compare=False, repr=False)  # of its version, and others it carries out

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", storage.absolute(self.output))
        if not _is_name(self.run_id or "-") or "=" in self.run_id or self.run_id.startswith(_RESERVED):
            raise ValueError(
                f"run_id={self.run_id!r}: expected a name without / and =, which does not begin as ours do"
            )
        key, _, value = self.partition.partition("=")
        if self.partition and (key not in (PARTITION, WINDOW) or not _is_name(value) or "=" in value):
            raise ValueError(f"partition={self.partition!r}: expected {PARTITION}=…, {WINDOW}=… or nothing")

    @property
    def targets(self) -> tuple[str, ...]:
        """What it publishes below `output`: folders of its partition, or names."""
        return label_folders(self.partition) if self.kind == "classify" else self.publishes

    @property
    def attempt(self) -> str:
        """Folder of the unfinished work."""
        return storage.join(self.output, self.work)

    @property
    def work(self) -> str:
        """The same, relative to the output folder.

        It is for one version: no process publishes from there once that number is taken.
        """
        return f"{attempts(self.partition)}/{self.run_id}-v{(self.follows or 0) + 1}"

    @property
    def lease(self) -> str:
        """File that is written again as long as the run is alive."""
        return storage.join(self.attempt, "lease")

    @property
    def plan(self) -> str:
        """File of the saved units."""
        return storage.join(self.attempt, "plan.parquet")

    @property
    def facts(self) -> str:
        """File of what the launcher knew of the run."""
        return storage.join(self.attempt, "run.json")

    @property
    def progress(self) -> str:
        """Folder in which workers tell how far they are."""
        return storage.join(self.attempt, "progress")

    def records(self, stage: str = "") -> str:
        """Folder of the records of finished units, or of finished tasks of a stage where a run has several."""
        return storage.join(self.attempt, "records", *([stage] if stage else []))

    def record(self, unit: int, stage: str = "") -> str:
        """File of the record of a unit or task; there once that is finished."""
        return storage.join(self.records(stage), f"{unit:05d}.json")


def attempts(partition: str) -> str:
    """The folder of a partition's attempts and stages."""
    return "/".join(filter(None, ["_attempts", partition]))


def label_folders(partition: str) -> tuple[str, str]:
    """The folders of a partition's labelled and of its rejected rows."""
    labels, rejects = ("/".join(filter(None, [folder, partition])) for folder in ("labels", "_rejects"))
    return labels, rejects


def short(run_id: str) -> str:
    """Eight hex digits for a run: the first of its id, or of a digest of an id that is no digest itself."""
    digest = re.fullmatch("[0-9a-f]{32}", run_id)
    return run_id[:8] if digest else hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()


def identity(inputs: pa.RecordBatch, **what: Any) -> str:
    """Whole files (UNIT rows) and everything else that decides the output → run id, 32 hex digits of blake2b."""
    rows = [[row["path"], row["size"], row["version"]] for row in inputs.to_pylist()]
    said = orjson.dumps({"inputs": rows, **what}, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def take_up(store: Store, run: Run) -> None:
    """Let what an earlier start left, before another run was published, be the attempt of this one."""
    folder, _, name = run.work.rpartition("/")
    start = f"{run.run_id}-v"
    numbers = [each.removeprefix(start) for each in store.names(folder) if each.startswith(start) and each != name]
    for number in sorted((int(each) for each in numbers if each.isdigit()), reverse=True):
        if number <= (run.follows or 0) and store.adopt(f"{folder}/{start}{number}", run.work):
            return


def open_attempt(run: Run) -> None:
    """Find or make the folder of the unfinished work. Raises `RunError` where nothing could be published from it."""
    try:
        take_up(store_of(run.output), run)
        storage.ensure_writable(run.attempt)
        for name in ("_versions", *run.targets):
            _ensure_movable(run.attempt, storage.join(run.output, name))
    except OSError as error:
        raise RunError(f"--output={run.output} cannot be written: {error}") from error


def begin(run: Run, plan: list[pa.RecordBatch], facts: dict[str, Any]) -> None:
    """Open the attempt of a run, and write its plan and its facts. Raises `RunError` as `open_attempt` does."""
    open_attempt(run)
    try:
        storage.put(run.facts, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        units.save_plan(plan, run.plan, run.secret)
    except OSError as error:
        raise RunError(f"--output={run.output} cannot be written: {error}") from error


def finished_units(run: Run, planned: int) -> int:
    """How many of the planned units an earlier start has finished."""
    return sum(1 for _ in _finished(run, planned))


def done_before(run: Run, planned: int) -> set[int]:
    """Numbers of the planned units that an earlier start has finished; for who only asks, nothing is tidied."""
    return set(_finished(run, planned, tidy=False))


def pending_units(run: Run) -> Iterator[pa.RecordBatch]:
    """The units of the saved plan that have no record yet, in order. Raises `RunError` where the attempt is gone."""
    facts = read_own(run, run.facts)
    finished = set(_finished(run, facts["units"]))
    for unit in units.load_plan(run.plan, facts["units"], run.secret):
        if Mark.of(unit).unit not in finished:
            yield unit


def save_record(run: Run, record: dict[str, Any]) -> None:
    """Write the record that makes a unit finished; of a URI that holds a key, its place among those of the run."""
    places = {each: place for place, each in enumerate(run.secret)}
    if places:
        inputs = [
            {**piece, "path": storage.without_password(piece["path"]), "secret": places.get(piece["path"])}
            for piece in record["inputs"]
        ]
        record = {**record, "inputs": inputs}
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
    record = _read_record(run, run.record(unit))
    for folder in ("labels", "rejects"):
        if record[folder]:
            uri = storage.join(run.attempt, folder, record[folder]["name"])
            wrong = part_damage(uri, record[folder])
            if wrong:
                storage.remove(run.record(unit))
                raise RunError(f"{uri} {wrong}; nothing was published. Start the run again: it makes this unit anew")
    return record


def read_own(run: Run, uri: str) -> dict[str, Any]:
    """A JSON file of the attempt. Raises `RunError` where it is gone, or is not what this program writes."""
    try:
        read = orjson.loads(storage.read(uri))
    except FileNotFoundError:
        unseen = f", or it lies on a disk that {socket.gethostname()} does not see" if storage.is_local(uri) else ""
        gone = f"{uri} is gone: another process removed the attempt, or published it meanwhile"
        raise RunError(gone + unseen) from None
    except orjson.JSONDecodeError as error:
        raise RunError(f"{uri} is damaged ({error}); remove {run.attempt} and start again") from error
    if not isinstance(read, dict):
        raise RunError(f"{uri} is none of this program's; remove {run.attempt} and start again")
    return read


def _read_record(run: Run, uri: str) -> dict[str, Any]:
    """The record of a unit. Raises `RunError` as `read_own` does, and where its parts would lie elsewhere."""
    record = read_own(run, uri)
    whole = (
        isinstance(record.get("units"), int)
        and isinstance(record.get("labels"), dict)
        and isinstance(record.get("inputs"), list)
    )
    if not whole or not _is_part(record["labels"]) or not _is_part(record.get("rejects")):
        raise RunError(f"{uri} is none of this program's; remove {run.attempt} and start again")
    secrets = dict(enumerate(run.secret))
    for piece in record["inputs"] if secrets else ():
        piece["path"] = secrets.get(piece.pop("secret", None), piece["path"])
    return record


def _is_part(part: Any) -> bool:
    return part is None or (isinstance(part, dict) and _is_name(part.get("name")))


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


def _finished(run: Run, planned: int, tidy: bool = True) -> Iterator[int]:
    """Numbers of units whose record names parts that are there; what is in those is checked before they are published.

    A record of another plan is removed, if `tidy`. The same run may be planned otherwise: a large Parquet file whose
    footer cannot be read for a moment is not cut.
    """
    there = {
        folder: {uri.rsplit("/", 1)[-1] for uri in storage.files(storage.join(run.attempt, folder))}
        for folder in ("labels", "rejects")
    }
    for uri in storage.files(run.records()):
        record = _read_record(run, uri)
        if record["units"] != planned:
            if tidy:
                storage.remove(uri)
        elif all(not record.get(folder) or record[folder]["name"] in there[folder] for folder in there):
            yield _unit_number(uri)


def _unit_number(uri: str) -> int:
    return int(uri.rsplit("/", 1)[-1].removesuffix(".json"))


def _ensure_movable(folder: str, target: str) -> None:
    """Raise `OSError` where nothing can be renamed from a local folder into `target`, or where that is to be made.

    One of them may be a link to another disk. Nothing is written. In a store nothing is renamed.
    """
    if storage.is_local(folder):
        into = storage.connect(target)[1]
        while not os.path.isdir(into):
            into = os.path.dirname(into)
        if os.stat(storage.connect(folder)[1]).st_dev != os.stat(into).st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder, None, into)


def _is_name(name: Any) -> bool:
    """Whether something that was read is the name of a file in a folder, and leads nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")
