"""What does it take to say which split each text comes into: by one task, and by all of them?

    python -m benchmarks.assign [--texts 100000 1000000] [--partitions 4]

Texts are made up, without words: random digests, one of five labels, an id each, split by class. In "near" 30 % of them
are in clusters of two to eight near-duplicates that lie anywhere; in "grouped" 1 %, and each text has an author of ten
texts, so that nothing stays where it is. The real stages work on it, from after the comparison of near-duplicates
to the places of all texts. Each stage runs in a process of its own, task after task; memory is what that process took
beyond what it began with, at its peak (anonymous pages: files that are mapped are not in it).

What 1,000,000,000 texts of 100 bytes take is computed from the largest number of texts, by the text, and is named so:
with the --partition_bytes that there are by default, and with eight times as many.
"""

import argparse
import hashlib
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from benchmarks.hardware import save
from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.config.prepare import (
    CleanOptions,
    LabelOptions,
    PrepareConfig,
    PrepareOutputOptions,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)
from seqcls_beam.preparation import tasks
from seqcls_beam.preparation.assign import PLACED, pieces_of
from seqcls_beam.preparation.exchange import SpillWriter, gather
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.near import EDGE
from seqcls_beam.preparation.plan import plan
from seqcls_beam.preparation.stars import LINK
from seqcls_beam.preparation.texts import TEXT, numbers, partitions_of

MANY, BYTES = 10**9, 100  # texts to compute for, and bytes of each


def made_up(folder: Path, texts: int, partitions: int, grouped: bool) -> Job:
    """A job whose texts were compared."""
    source = folder / "in.jsonl"
    source.write_text('{"text": "a text", "label": "0"}\n')
    job, units, _ = plan(
        PrepareConfig(
            read=ReadOptions(input=(str(source),)),
            inputs=SplitInputOptions(),
            labels=LabelOptions(problem="single_label"),
            clean=CleanOptions(),
            splits=SplitOptions(split="stratified", group_by=("label",) if grouped else None),
            shards=ShardOptions(),
            output=PrepareOutputOptions(output=str(folder / "out")),
        )
    )
    job = replace(job, partitions=partitions)
    tasks.begin(job, units, {})
    chance = np.random.default_rng(0)
    order = np.sort(chance.integers(0, 2**64, texts, np.uint64))
    where = job.partition(order)
    first = np.searchsorted(where, np.arange(partitions + 1))
    number = numbers(0, np.arange(texts) - first[where]) | (where.astype(np.uint64) << np.uint64(32))
    clustered = chance.permutation(number)[: texts // 100 if grouped else texts * 3 // 10]
    ends = np.cumsum(chance.integers(2, 9, texts))
    joined = np.setdiff1d(np.arange(1, len(clustered)), ends)
    one, other = clustered[joined - 1], clustered[joined]
    low, high = np.minimum(one, other), np.maximum(one, other)
    for partition in range(partitions):
        rows = slice(first[partition], first[partition + 1])
        count = first[partition + 1] - first[partition]
        authors = chance.integers(0, max(texts // 10, 1), count * grouped).astype(np.uint64) * np.uint64(2**32 + 1)
        columns = [
            pa.array(order[rows]),
            pa.array(chance.integers(0, 2**64, count, np.uint64)),
            pa.array(np.full(count, -1, np.int8)),
            pa.array(np.ones(count, np.int32)),
            pa.array([str(i % 5) for i in range(count)]),
            pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * grouped, pa.int32()), pa.array(authors)),
            pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], pa.uint64())),
            pa.ListArray.from_arrays(
                pa.array(np.arange(count + 1), pa.int32()), pa.array(chance.integers(0, 2**64, count, np.uint64))
            ),
        ]
        some = partitions_of(high) == partition
        edges = [low[some], high[some], chance.uniform(0.8, 1, int(some.sum()))]
        for stage, what, schema, made in (("exact", "texts", TEXT, columns), ("compare", "edges", EDGE, edges)):
            with SpillWriter(job.exchange, f"{what}-{partition:05d}", schema, job.memory) as spill:
                batch = pa.RecordBatch.from_arrays([pa.array(each) for each in made], schema=schema)
                spill.write_own(batch)
                record = orjson.dumps({what: spill.close()})
            storage.put(job.run.record(partition, stage), record, scratch=job.run.attempt)
    storage.put(job.index_uri("labels"), orjson.dumps([str(i) for i in range(5)]), scratch=job.run.attempt)
    return job


def apart(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """(what it returns; seconds; peak MB beyond the start) of work in a process of its own; raises where it fails."""
    ours, theirs = multiprocessing.get_context("fork").Pipe()

    def measured() -> None:
        start, peak, done = anonymous(), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], anonymous())

        thread = threading.Thread(target=watch)
        thread.start()
        began = time.perf_counter()
        try:
            made = work()
        finally:
            done.set()
            thread.join()
        theirs.send((made, time.perf_counter() - began, max(peak[0] - start, 0)))

    process = multiprocessing.get_context("fork").Process(target=measured)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("a stage failed")
    found: tuple[Any, float, float] = ours.recv()
    return found


def anonymous() -> float:
    """MB of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def staged(job: Job, order: list[str]) -> dict[str, dict[str, float]]:
    """What each stage took: seconds, MB at the peak of a task, bytes that it wrote."""
    found = {}
    before = _written(job)
    for stage in order:

        def work(stage: str = stage) -> None:
            for task in tasks.pending_tasks(job, stage):
                tasks.do(job, stage, task)

        _, seconds, peak = apart(work)
        after = _written(job)
        if after[1] > before[1] or stage == "assign":
            found[stage] = {"seconds": round(seconds, 2), "mb": round(peak, 1), "bytes": after[0] - before[0]}
        before = after
    return found


def _written(job: Job) -> tuple[int, int]:
    """(bytes, files) of the exchange."""
    sizes = [path.stat().st_size for path in Path(job.exchange).iterdir()]
    return sum(sizes), len(sizes)


def both(texts: int, partitions: int, grouped: bool) -> dict[str, Any]:
    """One task and all tasks on the same texts; raises where they find different things."""
    with tempfile.TemporaryDirectory() as folder:
        job = apart(partial(made_up, Path(folder), texts, partitions, grouped))[0]  # so that this process stays small
        result: dict[str, Any] = {"texts": texts, "partitions": partitions}
        placed = []
        for name, shared in (("one", False), ("all", True)):
            job = replace(job, shared=shared)
            order = list(tasks.stages(job))
            after = order[order.index("compare") + 1 : order.index("shards")]
            result[name] = staged(job, after)
            placed.append(apart(partial(digest, job))[0])
            storage.remove(job.run.record(0, "assign"))
        if placed[0] != placed[1]:
            raise RuntimeError("one task and all tasks found different places")
    return {**result, **_by_text(result)}


def digest(job: Job) -> str:
    """What was found of all texts, as a digest."""
    tasks.complete(job, "assign")
    found = hashlib.blake2b()
    for partition in range(job.partitions):
        rows = gather(job.exchange, pieces_of(job.anew(), partition), PLACED)
        found.update(repr([rows[name].to_pylist() for name in PLACED.names]).encode())
    return found.hexdigest()


def _by_text(result: dict[str, Any]) -> dict[str, float]:
    """Bytes a text: of memory, of one task that has all and of one that has its share; and written between stages."""
    texts, per_task = result["texts"], result["texts"] / result["partitions"]
    peaks = {stage: each["mb"] for stage, each in result["all"].items() if stage not in ("rest", "assign")}
    return {
        "one_bytes_a_text": round(result["one"]["assign"]["mb"] * 2**20 / texts, 1),
        "all_bytes_a_text_of_the_task": round(max(peaks.values()) * 2**20 / per_task, 1),
        "all_mb_of_the_sums": result["all"]["assign"]["mb"],
        "exchanged_bytes_a_text": round(sum(each["bytes"] for each in result["all"].values()) / texts, 1),
        "one_seconds": result["one"]["assign"]["seconds"],
        "all_seconds": round(sum(each["seconds"] for each in result["all"].values()), 1),
    }


def bytes_of_a_piece(folder: Path) -> float:
    """What a piece of a file takes beside its rows."""
    many = np.arange(2000)
    with SpillWriter(str(folder), "pieces", LINK, 2**20) as spill:
        columns = [pa.array(many.astype(np.uint64))] * 2
        spill.write(pa.RecordBatch.from_arrays(columns, schema=LINK), many)
        name = spill.close()["name"]
    return (folder / name).stat().st_size / len(many) - 16


def computed(result: dict[str, Any], job: Job, partition_bytes: int, of_a_piece: float) -> dict[str, float]:
    """What many texts take, from what a text took."""
    job = replace(job, partitions=-(-24 * MANY * BYTES // partition_bytes), shared=True)
    job = replace(job, units=MANY * BYTES // (8 * 2**20))
    stages = tasks.stages(job)
    done = [stage for stage in stages if stage.removeprefix("fold ") in result["all"]]
    files = {stage: {"islands": 2, "decide": 3}.get(stage.removeprefix("fold "), 1) for stage in done}
    folded = [stage for stage in done if stage.startswith("fold ")]
    shuffled = sum(files[stage] for stage in done if stage not in (*folded, "settle", "assign"))
    moved = MANY * result["exchanged_bytes_a_text"] + shuffled * job.partitions**2 * of_a_piece
    return {
        "texts": MANY,
        "partition_bytes": partition_bytes,
        "partitions": job.partitions,
        "units": job.units,
        "texts_a_task": MANY // job.partitions,
        "mb_of_a_task": round(MANY / job.partitions * result["all_bytes_a_text_of_the_task"] / 2**20),
        "gb_of_one_task": round(MANY * result["one_bytes_a_text"] / 2**30),
        "gb_of_rows": round(MANY * result["exchanged_bytes_a_text"] / 2**30),
        "gb_of_rows_and_pieces": round(moved / 2**30),
        "stages": len(done),
        "tasks": sum(stages[stage] for stage in done),
        "files": sum(stages[stage] * files[stage] for stage in done),
        "pieces_read": job.units * job.partitions,
        "pieces_read_joined": (job.folds("read") or job.units) * job.partitions,
        "pieces_of_a_stage": job.partitions**2,
        "pieces_of_a_stage_joined": (job.folds("ties") or job.partitions) * job.partitions,
    }


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--texts", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    result: dict[str, Any] = {"measured": {}, "computed": {}}
    for name in ("near", "grouped"):
        for texts in given.texts:
            found = both(texts, given.partitions, name == "grouped")
            result["measured"][f"{name} {texts}"] = found
            print(name, {key: value for key, value in found.items() if key not in ("one", "all")}, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            job, piece = made_up(Path(folder), 100, 1, name == "grouped"), bytes_of_a_piece(Path(folder))
            result["bytes_of_a_piece"] = round(piece)
            for size in (512, 4096):
                result["computed"][f"{name} {size} MiB"] = computed(found, job, size * 2**20, piece)
                print(name, result["computed"][f"{name} {size} MiB"], flush=True)
    save("assign", result, given.out)


if __name__ == "__main__":
    main()
