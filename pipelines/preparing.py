"""The work of `pipelines.prepare`: labelled records → shards."""

import time
from dataclasses import asdict
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipelines import dataflow, engines, submitted
from pipelines.announcing import facts_of, with_platforms, witnessed
from pipelines.command import flags, say, versions, warn
from pipelines.ending import planning
from pipelines.publishing import already_published, finish
from pipelines.reporting import with_page
from pipelines.runners import beam_options as of_beam
from pipelines.runners import name_runner
from pipelines.running import Engine, run_pipeline, told_in, unless_service
from pipelines.sight import ensure_seen, folder_of
from pipelines.terminal import prepare as terminal
from pipelines.workers import tell_of_idle, threads_per_worker
from seqcls_beam.announcing import platforms
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.prepare import PrepareConfig
from seqcls_beam.config.step import StepOptions
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.plan import plan
from seqcls_beam.preparation.tasks import begin
from seqcls_beam.transforms.prepare import Prepare


def prepare(config: PrepareConfig, given: dict[str, dict[str, Any]], words: list[str]) -> int:
    """Prepare; the exit code. `words` are Beam's."""
    with planning():
        beam_options = of_beam(words)
        runner = name_runner(beam_options)
        inputs = {"input": config.read.input, **asdict(config.inputs), "decontaminate": config.clean.decontaminate}
        dataflow.refuse_unseen(runner, **inputs, output=[config.output.output])
        step_timeout = StepOptions(**given["step"]).step_timeout
        engine = Engine(
            runner, beam_options, words, step_timeout, platforms.named(config.platforms, config.output.output)
        )
        dataflow.configure(beam_options, runner, DataflowOptions())
        engines.configure(beam_options, runner)
        job, units, size = plan(config, threads_per_worker(beam_options))
    if already_published(job.run, with_platforms(with_page(terminal.summary, runner), engine.platforms)):
        return submitted.nothing(beam_options)
    _launch(job, units, size, engine)
    return 0


def build(root: beam.Pipeline, job: Job) -> None:
    """The pipeline."""
    root | Prepare(job)


def _launch(job: Job, units: list[pa.RecordBatch], size: int, engine: Engine) -> None:
    """Run the pipeline, and show the manifest of what it published."""
    read = [units[each.first]["path"][0].as_py() for each in job.sources]
    ensure_seen(engine, job.run.output, input=read, model=[folder_of(job.tokenizer)])

    facts = {**_facts(job, engine.runner), **facts_of(engine.platforms)}

    def start() -> None:
        for remark in job.remarks:
            warn(remark)
        tell_of_idle(engine.runner, engine.options, len(units))
        say(terminal.begun(job, size, begin(job, units, facts)), 0)
        if not engine.options.view_as(GoogleCloudOptions).template_location:  # which nobody has started
            begins()

    def work() -> None:
        name = submitted.name_of("prepare", job.run)
        with told_in(job.run.progress) as reader, unless_service(engine.runner, terminal.watching(job)):
            run_pipeline(engine.options, partial(build, job=job), name, reader, engine.step_timeout)

    show = with_platforms(with_page(terminal.summary, engine.runner), engine.platforms)
    with witnessed(job.run, engine.platforms, lambda: {**facts, "inputs": _inputs(units)}) as begins:
        finish(job.run, start, work, show, dataflow.is_dataflow(engine.runner))


def _inputs(units: list[pa.RecordBatch]) -> list[dict[str, Any]]:
    """The files of units, each once."""
    rows = (row for unit in units for row in unit.select(["path", "size", "version"]).to_pylist())
    return list({row["path"]: row for row in rows}.values())


def _facts(job: Job, runner: str) -> dict[str, Any]:
    """What the manifest says beyond what the workers saw. No environment, no flags of the runner: they hold secrets."""
    return {
        "started": time.time(),
        "command": " ".join(["python -m pipelines.prepare", *flags(job.config)]),
        "runner": runner,
        "versions": versions("apache-beam", "pyarrow", "numpy", "scipy", "ftfy", "tokenizers", "transformers"),
    }
