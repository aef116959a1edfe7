"""The work of `pipelines.evaluate`: rows are labelled where they have no answers, and counted."""

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipelines import dataflow, engines, interrupts, outcome, voice
from pipelines.announcing import document_published, witnessed
from pipelines.command import LOCAL, flags, say, versions, warn
from pipelines.ending import planning
from pipelines.failures import explained
from pipelines.interrupts import noted
from pipelines.publishing import already_published, publish
from pipelines.runners import beam_options as of_beam
from pipelines.runners import name_runner
from pipelines.running import Engine, run_pipeline, told_in, unless_service
from pipelines.sight import ensure_seen, folder_of
from pipelines.terminal import evaluate as terminal
from pipelines.terminal.rows import watching
from pipelines.terminal.standard import ensure_shown
from pipelines.usage import UsageError
from pipelines.workers import one_worker_per_gpu, threads_per_worker
from seqcls_beam import storage
from seqcls_beam.announcing import platforms
from seqcls_beam.announcing.platforms import Where
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.evaluate import TAKEN, UNIT_BYTES, EvaluateConfig
from seqcls_beam.config.option import option_fields
from seqcls_beam.config.step import StepOptions
from seqcls_beam.evaluation import document, gates, promotion
from seqcls_beam.evaluation.evidence import Evidence
from seqcls_beam.evaluation.extras import wanted
from seqcls_beam.evaluation.job import Job
from seqcls_beam.evaluation.plan import first_sequences, look, plan
from seqcls_beam.evaluation.refusals import doubt, refuse
from seqcls_beam.runs.run import Run
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize
from seqcls_beam.transforms.evaluate import ReadParquet, SaveEvidence, Score, ShardTokens, load


def evaluate(config: EvaluateConfig, given: dict[str, dict[str, Any]], words: list[str]) -> int:
    """Evaluate; the exit code. `words` are Beam's."""
    with planning():
        beam_options = of_beam(words)
        runner = name_runner(beam_options)
        if runner != LOCAL and config.report.output is None:
            raise UsageError(f"--output is missing: with --runner={runner} workers need a folder that all of them see")
        for package in ("sklearn", "scipy"):
            wanted(package)
        if beam_options.view_as(GoogleCloudOptions).template_location:
            raise UsageError("--template_location: what is counted becomes an evaluation here, when the job is done")
        answers, output = config.answers, config.report.output
        dataflow.refuse_unseen(
            runner, input=config.read.input, labeled=answers.labeled, data=[answers.data], output=[output]
        )
        step_timeout = StepOptions(**given["step"]).step_timeout
        engine = Engine(
            runner, beam_options, words, step_timeout, platforms.named(config.platforms, config.report.output or ".")
        )
        device = dataflow.configure(beam_options, runner, DataflowOptions(**given["dataflow"]), config.model.device)
        engines.configure(beam_options, runner)
        config = replace(config, model=replace(config.model, device=device))
        if config.report.only_check:
            look(config)
            return say("the options are right, and the rows are there", 0)
        job = plan(config, given["model"].get("threshold"))
        gates.check(config.gates, job.kind)
        wish = promotion.intended(job.checkpoint) if config.report.promote and job.checkpoint is not None else None
    if job.checkpoint is not None:
        units = -(-job.size // (config.read.unit_bytes or UNIT_BYTES))
        one_worker_per_gpu(runner, config.model.device, words, beam_options, units)
    found = _launch(job, engine)
    outcome.add(evaluation=found)
    with noted():
        return _judged(found, wish)


def _launch(job: Job, engine: Engine) -> dict[str, Any]:
    """Evaluate, unless that is published already; the content of evaluation.json."""
    config = job.config
    answers = config.answers
    read = {"input": config.read.input, "labeled": answers.labeled, "data": [answers.data]}
    ensure_seen(engine, config.report.output, **read, model=[folder_of(job.checkpoint)])
    output = None if config.report.output is None else storage.absolute(config.report.output)
    run = None if output is None else document.run_of(job, output)
    facts = _facts(job, engine.runner)
    if run is None:
        return _evaluated(job, engine, output, None, facts)
    if already_published(run, partial(_show, where=engine.platforms)):
        return document.published(run)
    document.begin(run)
    voice.speak_of(run.run_id)
    with witnessed(run, engine.platforms, lambda: {**facts, **_known(job)}) as begins:
        begins()
        return _evaluated(job, engine, output, run, facts)


def _known(job: Job) -> dict[str, Any]:
    """What an evaluation is of, as its document has it."""
    model = None if job.checkpoint is None else {"name": job.checkpoint.name, "digest": job.checkpoint.digest}
    return {"data": job.data, "inputs": job.data.get("inputs", []), "model": model}


def _evaluated(job: Job, engine: Engine, output: str | None, run: Run | None, facts: dict[str, Any]) -> dict[str, Any]:
    """Run the pipeline, measure, and publish where there is a run; the content of evaluation.json."""
    config = job.config
    say(terminal.begun(job), 0)
    for remark in job.remarks:
        warn(remark)
    evidence = _run(job, engine, output)
    evidence.account.reject(job.rejected)
    refuse(evidence, job)
    if doubts := doubt(evidence, config):
        warn(f"warning: {doubts}")
    found = document.assemble(job, evidence, facts)
    if run is not None:
        from seqcls_beam.reports.evaluate import document as page

        publish(run, partial(document.write, run, found, page, engine.platforms))
        outcome.append("runs", run_id=run.run_id, output=storage.without_password(run.output))
    with noted():
        terminal.summary(found, output)
        if run is not None:
            document_published(run, engine.platforms)
        if output is None:
            ensure_shown()
    return found


def _show(run: Run, _: dict[str, Any], where: Where) -> None:
    terminal.summary(document.published(run), run.output)
    document_published(run, where)


def _judged(found: dict[str, Any], wish: promotion.Promotion | None) -> int:
    """Say which gates did not pass, and promote what passed all; the exit code."""
    failed = [gate for gate in found["gates"] if not gate["passed"]]
    for gate in failed:
        say(gates.sentence(gate), 3)
    for doubtful in filter(None, [gates.unsure(gate) for gate in found["gates"] if gate["passed"]]):
        warn(f"warning: {doubtful}")
    if failed or wish is None:
        return 3 if failed else 0
    done, said = promotion.carry_out(wish)
    return say(said, 0 if done else 3)


def build(root: beam.Pipeline, job: Job, uri: str, told: str | None = None) -> None:
    """The pipeline: rows are read, labelled if need be, and counted, in one stage; then counts are added up."""
    config = job.config
    rows: Any
    if job.files is not None:
        rows = root | ReadParquet(job.files, told)
    else:
        rows = root | ReadRecords(config.read, layout=job.layout, progress=told)
    if job.checkpoint is not None:
        tokens = rows | (Tokenize(job.checkpoint, config.model) if job.layout is not None else ShardTokens())
        rows = tokens | Classify(job.checkpoint, config.model, told, job.first)
    rows | Score(job.sheet, told) | SaveEvidence(uri)


def _run(job: Job, engine: Engine, output: str | None) -> Evidence:
    """Run the pipeline; what it counted. Raises `RunError` with the one sentence behind a failure."""
    runner = engine.runner
    threads = job.config.model.threads or threads_per_worker(engine.options)
    job = replace(job, config=replace(job.config, model=replace(job.config.model, threads=threads)))
    with ExitStack() as stack:
        # Workers elsewhere see the output, those of this machine a folder of its own.
        if runner == LOCAL or output is None:
            folder = stack.enter_context(interrupts.folder())
        else:
            folder = storage.join(output, "_attempts", f"evidence-{storage.token()}")
            stack.callback(storage.remove, folder)
        uri = storage.join(folder, "evidence")
        try:
            job = replace(job, first=first_sequences(job))
            told, verb = storage.join(folder, "progress"), "labelled" if job.checkpoint is not None else "scored"
            with told_in(told) as reader, unless_service(runner, watching(reader, job.size, verb)):
                run = partial(build, job=job, uri=uri, told=told)
                run_pipeline(engine.options, run, None, reader, engine.step_timeout)
        except Exception as error:
            raise explained(error) from error
        return load(uri)


def _facts(job: Job, runner: str) -> dict[str, Any]:
    """What evaluation.json says of the call. No environment, no flags of the runner: they hold secrets."""
    packages = ("apache-beam", "numpy", "pyarrow", "scikit-learn", "scipy")
    engine = ("torch", "transformers") if job.checkpoint is not None else ()
    return {
        "started": time.time(),
        "command": _command(job.config),
        "runner": runner,
        "versions": versions(*packages, *engine),
    }


def _command(config: EvaluateConfig) -> str:
    """The command line, with the options that say something of its source."""
    source = "data" if config.answers.data is not None else "labeled" if config.answers.labeled else "input"
    idle = {
        each.name
        for group, names in TAKEN[source].items()
        for each in option_fields(type(getattr(config, group)))
        if each.name not in names
    }
    told = (flag for flag in flags(config) if flag.removeprefix("--").split("=")[0].split()[0] not in idle)
    return " ".join(["python -m pipelines.evaluate", *told])
