"""The stages in their order, and which of their tasks are still to be done.

A task is a number of a stage. What it made is told by its record, written last; the next stage begins when every task
has one, and is handed all of them as one file, the index. A run that is started again does the tasks without a record.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.preparation import card, islands, labels, manifest, pieces, quotas, stars
from seqcls_beam.preparation.assign import assign, decide_some, settle, vocabulary
from seqcls_beam.preparation.exact import find_exact
from seqcls_beam.preparation.examples import read_examples
from seqcls_beam.preparation.fold import fold
from seqcls_beam.preparation.job import Job, folder
from seqcls_beam.preparation.near import compare, find_pairs, send_keys
from seqcls_beam.preparation.shards import write_shard
from seqcls_beam.reading import units
from seqcls_beam.reading.records import PAUSE, InputChanged
from seqcls_beam.runs import accounting, run
from seqcls_beam.runs.parts import fresh_name
from seqcls_beam.runs.publication import outcome, publish_files
from seqcls_beam.runs.run import RunError
from seqcls_beam.runs.versions import published_files, version_name
from seqcls_beam.schema import Mark

_DO: dict[str, Callable[[int, Job], dict[str, Any]]] = {
    "exact": find_exact,
    "pairs": find_pairs,
    "keys": send_keys,
    "compare": compare,
    "ties": islands.tie,
    "rest": stars.link_rest,
    "islands": islands.send,
    "groups": quotas.send_groups,
    "count": quotas.count,
    "quotas": quotas.sum_up,
    "draw": quotas.draw_range,
    "decide": decide_some,
    "settle": settle,
    "assign": assign,
    "shards": write_shard,
}

_SHUFFLED = {
    "read": ("spill",),
    "exact": ("bands",),
    "pairs": ("pairs",),
    "keys": ("sent",),
    "ties": ("links",),
    "large": ("links",),
    "small": ("links",),
    "rest": ("links",),
    "islands": ("texts", "edges"),
    "groups": ("groups",),
    "count": ("counts",),
    "quotas": ("quotas",),
    "draw": ("drawn",),
    "decide": ("sent", "ids", "sentences"),
    "assign": ("placed",),
}
"""What the tasks of a stage wrote for partitions of the next; other files are read as a whole."""


def stages(job: Job) -> dict[str, int]:
    """The stages of a job in their order, and how many tasks each has; the first reads, a unit a task."""
    found = {"read": job.units, "exact": job.partitions}
    if job.near != "off":
        found |= dict.fromkeys(["pairs", "keys", "compare"], job.partitions)
    if job.shared:
        if job.joins:
            found |= {"ties": job.partitions, **stars.stages(job), "islands": job.partitions}
        names = [*(quotas.STAGES if job.stratified else ()), "decide", "settle"]
        found |= dict.fromkeys(names, job.partitions)
    found["assign"] = 1
    made: dict[str, int] = {}
    for stage, count in found.items():
        made[stage] = count
        unread = stage == "exact" and job.near == "off"  # its bands
        if _shuffled(stage) and job.folds(stage) and not unread:
            made[f"fold {stage}"] = job.folds(stage)
    return {**made, "shards": job.config.shards.num_shards}


def _shuffled(stage: str) -> tuple[str, ...]:
    return _SHUFFLED.get(stage.removeprefix("fold ").partition(" ")[0], ())


def _over(job: Job, stage: str) -> bool:
    """Whether a stage has nothing to do any more: nodes were joined by the rounds before."""
    of = stage.removeprefix("fold ")
    return of in stars.stages(job) and stars.finished(job, of) is not None


def begin(job: Job, plan: list[pa.RecordBatch], facts: dict[str, Any]) -> int:
    """Write the plan and the facts of a job into its attempt; how many of its units were read by an earlier start.

    Raises `RunError` where the output folder cannot be written.
    """
    run.begin(job.run, plan, facts)
    return job.units - len(_pending(job, "read"))


def pending_units(job: Job) -> Iterator[pa.RecordBatch]:
    """The units that are still to be read, in order."""
    pending = set(_pending(job, "read"))
    for unit in units.load_plan(job.run.plan, job.units, job.run.secret):
        if Mark.of(unit).unit in pending:
            yield unit


def pending_tasks(job: Job, stage: str) -> list[int]:
    """The tasks of a stage that are still to be done, after all of the stage before are; writes that one's index.

    Raises `RunError` where a task before has no record, or what was read is nothing to go on with.
    """
    job = job.anew()
    order = list(stages(job))
    before = order[order.index(stage) - 1]
    if not _over(job, before):
        complete(job, before)
    if before == "read":
        _refuse_losses(job)
        vocabulary(job)
    return [] if _over(job, stage) else _pending(job, stage)


def _refuse_losses(job: Job) -> None:
    """Raise `RunError` where more could not be read than the run allows, before anything is made of the rest."""
    accounting.refuse(job.run.limits, _inputs(job, reference=False, checked=False), {}, _rejects(job))
    of_reference = _inputs(job, reference=True, checked=False)
    accounting.refuse(replace(job.run.limits, min_rows=None), of_reference, {}, _rejects(job))


def _inputs(job: Job, reference: bool, checked: bool) -> list[dict[str, Any]]:
    """What became of the files of the data, or of those that must not be learned from; `checked` as in `by_file`."""
    read = (record for record in job.index("read") if record["reference"] == reference)
    return accounting.by_file((piece for record in read for piece in record["inputs"]), checked)


def _rejects(job: Job) -> str:
    if not any(record["rejects"]["part"] for record in job.index("read")):
        return ""
    return f". The rejects lie in {storage.join(job.run.attempt, 'rejects')}"


def complete(job: Job, stage: str) -> None:
    """Write the index of a stage; raises `RunError` where a task has no record."""
    uris = [job.run.record(task, folder(stage)) for task in range(stages(job)[stage])]
    # Where files are joined next it is asked of those which pieces they have.
    joined = f"fold {stage}" in stages(job)
    try:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(partial(_record, stage=stage, joined=joined), uris))
    except FileNotFoundError as error:
        raise RunError(f"a task of the stage {stage!r} left no record ({error}); start the run again") from error
    records = [record for record, _ in found]
    for what in found[0][1]:
        names, owners = [record[what]["name"] for record in records], [owners[what] for _, owners in found]
        _put(job, f"-{what}.arrow", stage, pieces.table(names, owners, job.partitions))
    if stage == "read":
        _put(job, ".json", "labels", orjson.dumps(sorted(labels.found_in(records))))
    if stage.startswith("large "):
        left = sum(record["unfinished"] for record in records)
        _put(job, ".json", stars.left(stage), orjson.dumps([left]))
    _put(job, ".json", stage, orjson.dumps(records))


def _put(job: Job, end: str, stage: str, data: bytes) -> None:
    storage.put(job.index_uri(stage, end), data, scratch=job.run.attempt)


def _record(uri: str, stage: str, joined: bool) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.int32]]]:
    """(a record without the partitions of what was shuffled; those, which take less room)."""
    record: dict[str, Any] = orjson.loads(storage.read(uri))
    shuffled = {what: record[what].pop("partitions") for what in _shuffled(stage) if what in record}
    return record, {} if joined else {what: np.array(owners, np.int32) for what, owners in shuffled.items()}


def read_unit_of(job: Job, unit: pa.RecordBatch) -> int:
    """Do the first stage's task for a unit, twice where a file had changed that may be back; its number."""
    try:
        record = read_examples(unit, job)
    except InputChanged:
        time.sleep(PAUSE)
        record = read_examples(unit, job)
    storage.put(job.run.record(record["unit"]), orjson.dumps(record), scratch=job.run.attempt)
    return int(record["unit"])


def do(job: Job, stage: str, task: int) -> int:
    """Do a task of a later stage; its number."""
    job = job.anew()
    if stage.startswith("fold "):
        record = fold(task, job, stage, _shuffled(stage))
    else:
        record = _DO[stage](task, job) if stage in _DO else stars.link(task, job, stage)
    storage.put(job.run.record(task, folder(stage)), orjson.dumps(record), scratch=job.run.attempt)
    return task


def finish(job: Job) -> str:
    """Publish what the stages made; the URI of the version. Raises `RunError`, with nothing published."""
    job = job.anew()
    done = outcome(job.run)
    if done is not None:  # by an earlier try of this step, or by another process that does the same
        return storage.join(job.run.output, done.version.name)
    complete(job, list(stages(job))[-1])
    made, moves = manifest.build(job, run.read_own(job.run, job.run.facts))
    reasons = made["rows"]["rejected_by_reason"]
    end = _rejects(job)
    if job.form.columns and "unknown_label" in reasons:
        end += ". Of --label_columns 0 and 1, or false and true, are read"
    accounting.refuse(job.run.limits, _inputs(job, reference=False, checked=True), reasons, end)
    manifest.refuse_untrainable(made, job)
    _refuse_damaged(job, made, moves)
    text = card.card(made).encode()
    name = fresh_name("card")
    storage.put(storage.join(job.run.attempt, name), text)
    moves.append((f"{job.run.work}/{name}", card.NAME))
    made["card"] = {"path": card.NAME, "bytes": len(text)}
    return storage.join(job.run.output, version_name("", publish_files(job.run, made, moves)))


def _refuse_damaged(job: Job, made: dict[str, Any], moves: list[tuple[str, str]]) -> None:
    """Take the records of files away that have not the size they had, so that the next start makes them again."""
    due = {each["path"]: each["bytes"] for each in published_files(made)}
    sizes = storage.each(storage.size, [storage.join(job.run.output, place) for place, _ in moves])
    wrong = {
        place.rsplit("/", 1)[-1] for (place, target), size in zip(moves, sizes, strict=True) if size != due[target]
    }
    if not wrong:
        return
    for stage in stages(job):
        for number, record in enumerate([] if _over(job, stage) else job.index(stage)):
            if _files(record) & wrong:
                storage.remove(job.run.record(number, folder(stage)))
    raise RunError(
        f"{len(wrong)} files of {job.run.attempt} are not as they were written, {min(wrong)} for one; nothing was "
        "published. Start the run again: it makes them anew"
    )


def done(job: Job, stage: str) -> int:
    """How many tasks of a stage have a record; all, where it turned out to have nothing to do."""
    count = sum(uri.endswith(".json") for uri in storage.files(job.run.records(folder(stage))))
    due = stages(job)[stage]
    return due if count < due and _over(job.anew(), stage) else count


def _pending(job: Job, stage: str) -> list[int]:
    """Tasks without a record that counts: one of this plan, whose files are there."""
    there = {
        uri.rsplit("/", 1)[-1]
        for folder in (job.exchange, *(storage.join(job.run.attempt, each) for each in ("data", "rejects")))
        for uri in storage.files(folder)
    }
    finished = set()
    for uri in storage.files(job.run.records(folder(stage))):
        if uri.endswith(".json"):
            record = run.read_own(job.run, uri)
            if stage == "read" and record["units"] != job.units:
                # A large Parquet file whose footer could not be read is planned as one unit: nothing of that counts.
                for each in stages(job):
                    storage.remove(job.run.records(folder(each)))
                return list(range(job.units))
            if _files(record) <= there:
                finished.add(int(uri.rsplit("/", 1)[-1].removesuffix(".json")))
    return [task for task in range(stages(job)[stage]) if task not in finished]


def _files(record: Any) -> set[str]:
    """The files that a record names: whatever has a name and rows."""
    if isinstance(record, list):
        return set().union(*map(_files, record))
    if not isinstance(record, dict):
        return set()
    own = {record["name"]} if "name" in record and "rows" in record else set()
    return own.union(*map(_files, record.values()))
