"""The work of `pipelines.classify`: files → labelled Parquet; nights one after the other, partitions labelled again."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines import dataflow, engines, interrupts, streaming, submitted
from pipelines.announcing import facts_of, placing, placing_here, published, with_platforms, witnessed
from pipelines.command import flags, say, versions, warn
from pipelines.ending import exit_code, planning
from pipelines.interrupts import noted
from pipelines.planning import planner
from pipelines.planning.runs import refuse_other
from pipelines.precision import advise, in_one_precision, refuse_elsewhere
from pipelines.publishing import already_published, finish
from pipelines.reporting import report, with_page
from pipelines.runners import beam_options as of_beam
from pipelines.runners import name_runner
from pipelines.running import Engine, run_pipeline, told_in, unless_service
from pipelines.sight import ensure_seen, folder_of
from pipelines.terminal import classify as terminal
from pipelines.terminal.rows import watching
from pipelines.usage import UsageError
from pipelines.workers import one_worker_per_gpu, tell_of_idle, threads_per_worker, workers
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import Where
from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.plan import PlanOptions
from seqcls_beam.config.step import StepOptions
from seqcls_beam.reading.units import plan_units
from seqcls_beam.runs import claims, publication
from seqcls_beam.runs.accounting import refuse_unread
from seqcls_beam.runs.due import due
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.nights import made_of
from seqcls_beam.runs.plan import first_sequences, how_read, plan, plan_again
from seqcls_beam.runs.run import Run, RunError, begin, finished_units
from seqcls_beam.runs.table import Published
from seqcls_beam.schema import classes_of
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize, WriteLabeled


def stream(given: dict[str, dict[str, Any]], words: list[str]) -> int:
    """Label messages as they arrive; the exit code. `words` are Beam's."""
    with planning():
        beam_options = of_beam(words)
        planned = streaming.plan(given, name_runner(beam_options), beam_options)
    return streaming.run(planned, beam_options)


def tell(config: ClassifyConfig, given: dict[str, dict[str, Any]], words: list[str]) -> int:
    """Say what the run would take; the exit code. A job's project and bucket are not asked for."""
    with planning():
        beam_options = of_beam(words)
        runner = name_runner(beam_options)
        options, gpu = PlanOptions(**given["plan"]), DataflowOptions(**given["dataflow"]).gpu
    return planner.tell(config, options, gpu, runner, beam_options)


def label(config: ClassifyConfig, given: dict[str, dict[str, Any]], words: list[str]) -> int:
    """Label files; the exit code."""
    with planning():
        beam_options = of_beam(words)
        runner = name_runner(beam_options)
        run = config.run
        step_timeout = StepOptions(**given["step"]).step_timeout
        engine = Engine(runner, beam_options, words, step_timeout, platforms.named(config.platforms, run.output))
        refuse_elsewhere(config, runner, beam_options)
        dataflow.refuse_unseen(runner, input=config.read.input, output=[run.output])
        device = dataflow.configure(beam_options, runner, DataflowOptions(**given["dataflow"]), config.model.device)
        engines.configure(beam_options, runner)
        config = replace(config, model=replace(config.model, device=device))
        nights = [replace(config, run=replace(run, run_date=str(night))) for night in due(run)] if run.only_new else []
        if beam_options.view_as(GoogleCloudOptions).template_location and (run.relabel or len(nights) > 1):
            what = "--relabel" if run.relabel else f"{len(nights):,} nights"
            raise UsageError(f"{what} may be several jobs, and --template_location is the place of one: name one date")
    if run.relabel:
        return _relabel(config, engine)
    if len(nights) > 1:
        return _nights(nights, engine)
    # What is launched as a template does not come back here.
    return _label(nights[0] if nights else config, engine) or submitted.nothing(beam_options)


def _label(config: ClassifyConfig, engine: Engine) -> int:
    """Label what there is, or of a night what is new; the exit code."""
    with planning():
        job = plan(config, lambda job: in_one_precision(job, engine.options), placing_here(config.run.output))
    if config.run.only_new and not job.files.num_rows:
        return _nothing_new(job, engine)
    show = with_page(partial(terminal.summary, texts=bool(config.run.report_texts)), engine.runner)
    if not already_published(job.run, with_platforms(show, engine.platforms)):
        _launch(job, engine, show)
    return 0


def _nights(nights: list[ClassifyConfig], engine: Engine) -> int:
    """Make several nights, one after the other, whatever becomes of each; 0, or 1 where one failed."""
    first, last = nights[0].run.run_date, nights[-1].run.run_date
    say(f"{len(nights):,} nights are to be made, from {first} to {last}", 0)
    failed: dict[str, int] = {}
    for config in nights:
        say(f"the night of {config.run.run_date}", 0)
        code = exit_code(lambda _, config=config: _label(config, engine), engine.words)  # type: ignore[misc]
        if code > 128:
            return code
        if code:
            failed[str(config.run.run_date)] = code
    if failed:
        usage = len(failed) == len(nights) and set(failed.values()) == {2}  # the same again would end the same
        return say(f"{len(failed):,} of {len(nights):,} nights failed: {', '.join(failed)}", 2 if usage else 1)
    return 0


def _nothing_new(job: Job, engine: Engine) -> int:
    """Publish a version without rows for a date that has none; the exit code."""
    for remark in job.remarks:
        warn(remark)
    say("nothing new to label: earlier runs under --output cover every file that --input finds", 0)
    # What says that rows were taken away says of which files, and these stay covered.
    if (now := publication.current(job.run)) is not None:
        return _shown(job.run, now, engine.runner, engine.platforms)
    if made_of(job.run):
        return 0
    if claims.at_work(job.run):
        return say(f"another start of {job.run.partition} is at work: nothing is published", 0)
    refuse_unread(job.run.limits, [], 0, "; nothing was published")
    facts = facts_of(engine.platforms)
    try:
        run = replace(job.run, placed=placing(job.run.output))  # it is told below, and that said
        publication.publish_empty(run, {**_facts(job, engine.runner, 0), **facts})
    except RunError:
        if publication.current(publication.follow(job.run)) is None:
            raise
        return say(f"another start published {job.run.partition} meanwhile", 0)
    say(f"{job.run.partition} is published without rows", 0)
    now = publication.current(publication.beside(job.run))
    return _shown(job.run, now, engine.runner, engine.platforms) if now is not None else 0


def _shown(run: Run, now: Published, runner: str, where: Where) -> int:
    """See to the page of a night without work, that of the run that made it, and to platforms; the exit code."""
    with noted():
        report(replace(run, run_id=now.version.run_id), runner)
        published(run, now.manifest, where)
    return 0


def _relabel(config: ClassifyConfig, engine: Engine) -> int:
    """Replace partitions that another model labelled, one after the other; 1 where one could not be.

    Raises `RunError` where nothing is there that this command labelled.
    """
    # Each when its turn comes, which may be hours later.
    again = plan_again(config, placed=placing_here(config.run.output))
    show = with_page(partial(terminal.summary, texts=bool(config.run.report_texts)), engine.runner)
    failed = found = 0
    while True:
        interrupts.check()  # one may have come while the partition before was shown
        with planning():
            partition, job = next(again, ("", None))
        if job is None:
            break
        found += 1
        try:
            if isinstance(job, str):
                raise RunError(job)
            say(f"{partition or 'the table'} is labelled again", 0)
            with planning():
                job = in_one_precision(job, engine.options)
            _launch(job, engine, show)
        except RunError as error:
            failed = say(f"{partition or 'the table'} stays as it is: {error}", 1)
    if not found:
        refuse_other(config.run.output)
        say("nothing to label again: no other model labelled what is under --output", 0)
    return failed


def build(root: beam.Pipeline, job: Job) -> None:
    """The pipeline: one fused stage from the files to the parts, then verify and commit."""
    told = job.run.progress
    (
        root
        | ReadRecords(job.config.read, job.run, job.layout, told)
        | Tokenize(job.checkpoint, job.config.model)
        | Classify(job.checkpoint, job.config.model, told, job.first)
        | WriteLabeled(job.run, told)
    )


def _launch(job: Job, engine: Engine, show: Callable[[Run, dict[str, Any]], None]) -> None:
    """Run the pipeline, and show the manifest of what it published."""
    runner, beam_options = engine.runner, engine.options
    ensure_seen(engine, job.run.output, input=job.files["path"].to_pylist()[:1], model=[folder_of(job.checkpoint)])
    units = plan_units(job.files, job.config.read.unit_bytes, job.config.read.encoding)
    one_worker_per_gpu(runner, job.config.model.device, engine.words, beam_options, len(units))
    job = _with_threads(job, beam_options)
    size = pc.sum(job.files["size"]).as_py()
    facts = {**_facts(job, runner, len(units)), **facts_of(engine.platforms)}

    def start() -> None:
        begin(job.run, units, facts)
        publication.ensure_open(job.run)
        for remark in job.remarks:
            warn(remark)
        for share in terminal.shares(job, units, workers(beam_options)):
            warn(share)
        tell_of_idle(runner, beam_options, len(units))
        say(terminal.begun(job, len(units), finished_units(job.run, len(units))), 0)
        if not beam_options.view_as(GoogleCloudOptions).template_location:  # which nobody has started
            begins()

    def work() -> None:
        run = replace(job.run, placed=placing(job.run.output))  # in workers, which tell nobody that they could not
        ready = replace(job, run=run, first=first_sequences(job, units))
        name = submitted.name_of("classify", job.run)
        with told_in(job.run.progress) as reader, unless_service(runner, watching(reader, size)):
            run_pipeline(engine.options, partial(build, job=ready), name, reader, engine.step_timeout)

    def tell(run: Run, manifest: dict[str, Any]) -> None:
        show(run, manifest)
        advise(job, manifest, runner, beam_options)
        published(run, manifest, engine.platforms)

    with witnessed(job.run, engine.platforms, lambda: {**facts, "inputs": job.files.to_pylist()}) as begins:
        finish(job.run, start, work, tell, dataflow.is_dataflow(runner))


def _facts(job: Job, runner: str, units: int) -> dict[str, Any]:
    """What the manifest says beyond what the workers saw. No environment, no flags of the runner: they hold secrets."""
    return {
        "units": units,
        "started": time.time(),
        "command": " ".join(["python -m pipelines.classify", *flags(job.config)]),
        "runner": runner,
        "versions": versions("apache-beam", "torch", "transformers", "pyarrow"),
        "model": {
            "name": storage.without_password(job.checkpoint.name),
            "revision": job.checkpoint.revision,
            "digest": job.checkpoint.digest,
            "files": job.checkpoint.files,
            "problem": job.checkpoint.problem,
            "reading": job.checkpoint.reading,
            "labels": job.checkpoint.labels,
        },
        **({"fastest": job.fastest} if job.fastest else {}),
        "threshold": job.config.model.threshold if job.checkpoint.problem == "multi_label" else None,
        "max_tokens": job.config.model.max_length or job.checkpoint.max_length,
        "overflow": job.config.model.overflow,
        **({} if job.config.run.report_texts else {"report_texts": 0}),
        "read": how_read(job.config.read),
        "skipped": job.skipped,
        "columns": [
            {
                "name": each.name,
                "type": str(each.type),
                **({"classes": list(names)} if (names := classes_of(each)) else {}),
            }
            for each in job.layout.keep
        ],
    }


def _with_threads(job: Job, beam_options: PipelineOptions) -> Job:
    """The job with its share of the machine's cores, unless the user said how many threads each worker has."""
    threads = job.config.model.threads or threads_per_worker(beam_options)
    return replace(job, config=replace(job.config, model=replace(job.config.model, threads=threads)))
