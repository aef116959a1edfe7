"""`--plan` of pipelines.classify: what a run of files would take, from the options that the run has."""

import re
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow.compute as pc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, WorkerOptions

from pipelines import outcome, voice
from pipelines.as_json import write_json
from pipelines.command import say, warn
from pipelines.dataflow import GPU_DISK_GB, accelerator, is_dataflow, refuse_contrary, refuse_unseen
from pipelines.ending import planning
from pipelines.planning import results
from pipelines.planning.hours import Hours, hours
from pipelines.planning.measure import measured
from pipelines.planning.prices import Prices, Worker
from pipelines.planning.runs import Planned, planned
from pipelines.planning.sample import Sample, Work, sample
from pipelines.planning.speed import Speed, described, work_of
from pipelines.planning.written import ensure_apart
from pipelines.terminal import plan as terminal
from pipelines.usage import UsageError
from pipelines.workers import threads_per_worker, workers
from seqcls_beam import storage
from seqcls_beam.config import ModelOptions
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.config.dataflow import GPUS, DataflowOptions
from seqcls_beam.config.plan import PlanOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.plan import first_sequences
from seqcls_beam.runs.run import short

SEVERAL = (1, 4, 16)
"""Workers that are told of where nobody says how many there are."""
DISK_GB = 25
"""Of a worker of Dataflow for batches, which shuffles elsewhere, unless --disk_size_gb says otherwise."""

NOT_INCLUDED = (
    "start-up of workers (machine, image, driver, model), waiting for machines, tries that fail, requests to stores "
    "and their traffic: not measured"
)


class _Machine(NamedTuple):
    """What the workers are."""

    remote: bool  # other machines than this one
    gpu: str | None  # as Google Cloud names it
    paid: Worker | None  # None where nobody says which machine it is


class _Known(NamedTuple):
    """What is known of speeds: of the worker's, and of this machine's where that is another one."""

    worker: Speed | str  # or why not
    here: Speed | str | None = None


def tell(
    config: ClassifyConfig, options: PlanOptions, gpu: str | None, runner: str, beam_options: PipelineOptions
) -> int:
    """Say what a run would take, and write nothing but what --plan_json asks for; the exit code."""
    with planning():
        if options.plan_json == voice.now.json == "-":
            raise UsageError(
                "--plan_json=- and --json both take the standard output, and --json has the plan: leave one out"
            )
        if config.model.dtype == "fastest":
            raise UsageError(
                "--plan times one precision, and which one --dtype=fastest takes is found when the run starts: name one"
            )
        refuse_unseen(runner, input=config.read.input, output=[config.run.output])
        refuse_contrary(beam_options, runner, DataflowOptions(gpu=gpu), config.model.device)
        ensure_apart(config, options)
        prices = Prices(options.prices)
        measurements = results.read(options.plan_speed) if options.plan_speed else None
        machine = _machine(prices, gpu, runner, beam_options)
        runs, code = planned(config)
        for remark in dict.fromkeys(remark for run in runs for remark in run.job.remarks):
            warn(remark)
        works = [each for run in runs for each in run.left]
        if works:
            found = _told(runs, works, measurements, prices, machine, options, beam_options)
        else:
            if runs:
                say("every unit is done: the run only has to publish them", 0)
            seen, known = Sample(0, [], whole=True), _Known("no unit is left to label")
            found = _found(runs, config.model, None, seen, known) | _cost(prices, machine)
    outcome.add(plan=found)
    if options.plan_json:
        write_json(options.plan_json, found)
    if works:
        terminal.told(found, options.plan_json)
    return code


def _told(
    runs: list[Planned],
    works: list[Work],
    measurements: list[Speed] | None,
    prices: Prices,
    machine: _Machine,
    options: PlanOptions,
    beam_options: PipelineOptions,
) -> dict[str, Any]:
    """All that is told of runs that have units to label."""
    job = runs[0].job
    threads = job.config.model.threads or threads_per_worker(beam_options)
    job = replace(job, config=replace(job.config, model=replace(job.config.model, threads=threads)))
    with terminal.watching() as news:
        seen = sample(works, job.checkpoint, job.config.model, options.plan_rows, news.sampling)
        if not sum(seen.tokens()):
            known = _Known("the sample has no text")
        elif measurements is None:
            news.timing()
            known = _here(job, runs, seen, machine)
        else:
            known = _Known(_of_file(measurements, job, seen, machine))
    found = _found(runs, job.config.model, job.checkpoint, seen, known) | _cost(prices, machine)
    if isinstance(known.worker, Speed):
        counts = _counts(beam_options, max(len(run.left) for run in runs))
        seconds = seen.all_tokens().value / known.worker.tokens_per_second
        found["hours"] = _hours(runs, seconds, counts, found["price"]["hour"])
    return found


def _machine(prices: Prices, gpu: str | None, runner: str, beam_options: PipelineOptions) -> _Machine:
    """Whoever names a machine does not mean this one, be it of that kind."""
    worker = beam_options.view_as(WorkerOptions)
    for flag in ("max_num_workers", "disk_size_gb"):
        if (getattr(worker, flag) or 0) < 0:
            raise UsageError(f"--{flag}={getattr(worker, flag)}: expected 1 or more")
    gpus = 1 if gpu else 0
    name = worker.machine_type or GPUS.get(gpu or "")
    if name and not gpu:
        gpu, gpus = prices.gpus(name)
    if asked := accelerator(beam_options):
        gpu, gpus = _asked(asked)
    disk = worker.disk_size_gb or (GPU_DISK_GB if gpu else DISK_GB)
    paid = Worker(name, float(disk), gpu, gpus) if name else None
    return _Machine(is_dataflow(runner) or gpu is not None or name is not None, gpu, paid)


def _asked(option: str) -> tuple[str, int]:
    """(accelerator, how many a worker has) of what Beam's options ask for, whose parts come in any order."""
    parts = dict(part.partition(":")[::2] for part in option.partition("=")[2].split(";"))
    kind, count = parts.get("type"), parts.get("count", "1")
    if not kind or not re.fullmatch("[1-9][0-9]{0,2}", count):
        raise UsageError(f"{option}: expected {option.partition('=')[0]}=type:nvidia-l4;count:1;install-nvidia-driver")
    return kind, int(count)


def _here(job: Job, runs: list[Planned], seen: Sample, machine: _Machine) -> _Known:
    """This machine's speed, timed now: the worker's where the worker is this machine."""
    unknown = "nobody measured it: --plan_speed=FILE takes what --plan_json writes on such a machine"
    try:
        first = first_sequences(job, runs[0].units)
        here = measured(seen, job.checkpoint, job.config.model, job.config.read.batch_rows, first)
    except ValueError as error:  # the engine's: a worker may have what this machine lacks
        if not machine.remote:
            raise
        return _Known(unknown, str(error))
    return _Known(unknown, here) if machine.remote else _Known(here)


def _of_file(found: list[Speed], job: Job, seen: Sample, machine: _Machine) -> Speed | str:
    model = job.config.model
    device = None if model.device == "auto" else model.device.partition(":")[0]
    if machine.remote:
        device = "cuda" if machine.gpu else "cpu"
    length = sum(seen.tokens()) / max(1, seen.rows - seen.rejected)
    size, digest = work_of(job.checkpoint), job.checkpoint.digest
    return results.chosen(found, device, machine.gpu, model.dtype, size, digest, length)


def _found(
    runs: list[Planned], options: ModelOptions, checkpoint: Checkpoint | None, seen: Sample, known: _Known
) -> dict[str, Any]:
    """What is told of the runs, the sample and the speeds, as JSON has it."""
    whole = isinstance(known.worker, Speed) and known.worker.whole
    return {
        "format_version": 1,
        "kind": "plan",
        "runs": [
            {
                "run_id": short(run.job.run.run_id),
                "partition": run.job.run.partition,
                "files": run.job.files.num_rows,
                "bytes": pc.sum(run.job.files["size"]).as_py(),
                "units": len(run.units),
                "units_left": len(run.left),
            }
            for run in runs
        ],
        "sample": {
            "rows": seen.rows,
            "tokens": sum(seen.tokens()),
            "rejected": seen.rejected,
            "truncated": seen.truncated,
            "units": seen.units,
            "units_left": sum(len(run.left) for run in runs),
            "whole": seen.whole,
        },
        "rows": seen.all_rows()._asdict(),
        "tokens": seen.all_tokens()._asdict(),
        "model": {
            "name": storage.without_password(checkpoint.name if checkpoint else options.model),
            "digest": checkpoint.digest if checkpoint else None,
            "work": work_of(checkpoint) if checkpoint else None,
        },
        "speed": described(known.worker) if isinstance(known.worker, Speed) else None,
        "not_measured": known.worker if isinstance(known.worker, str) else None,
        "here": described(known.here) if isinstance(known.here, Speed) else None,
        "not_measured_here": known.here if isinstance(known.here, str) else None,
        "hours": [],
        "not_included": NOT_INCLUDED if whole else f"reading, writing, {NOT_INCLUDED}",
    }


def _cost(prices: Prices, machine: _Machine) -> dict[str, Any]:
    price = prices.hour(machine.paid) if machine.paid else None
    return {
        "worker": machine.paid.__dict__ if machine.paid else None,
        "price": {
            "hour": price if isinstance(price, float) else None,
            "unknown": price if isinstance(price, str) else None,
            "currency": prices.currency,
            "date": prices.date,
            "region": prices.region,
            "source": prices.source,
            "file": storage.without_password(prices.file),
        },
    }


def _counts(beam_options: PipelineOptions, units: int) -> list[int]:
    """How many workers are told of; one more than there are units has nothing to do."""
    said = beam_options.view_as(WorkerOptions).max_num_workers
    if not said and beam_options.view_as(DirectOptions).direct_running_mode == "multi_processing":
        said = workers(beam_options)
    return sorted({min(each, units) for each in ((1, said) if said else SEVERAL)})


def _hours(runs: list[Planned], seconds: float, counts: list[int], price: float | None) -> list[dict[str, Any]]:
    """`seconds` are those of all units on one worker; each has its share by its bytes."""
    sizes = [[max(1, work.bytes) for work in run.left] for run in runs]
    share = seconds / 3600 / sum(map(sum, sizes))
    units = [[size * share for size in each] for each in sizes]
    found = []
    for count in counts:
        each = Hours(count, hours(units, count))
        cost = None if price is None else each.worker_hours * price
        found.append({"workers": count, "hours": each.hours, "worker_hours": each.worker_hours, "price": cost})
    return found
