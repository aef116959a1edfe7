"""Prepare fine-tuning data: labelled records → cleaned, deduplicated, leak-free, split, tokenised shards.

python -m pipelines.prepare --input reviews.jsonl --text_column=review --label_column=stars --output=prepared
python -m pipelines.prepare --input_train train.tsv --input_test test.tsv --output=prepared
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines import dataflow, engines, submitted
from pipelines.command import (
    EPILOG,
    already_published,
    finish,
    flags,
    say,
    versions,
)
from pipelines.ending import exit_code, planning
from pipelines.options import UsageError, name_runner, parse, parser
from pipelines.reporting import with_page
from pipelines.running import Engine, run_pipeline, told_in, unless_service
from pipelines.sight import ensure_seen, folder_of
from pipelines.terminal import prepare as terminal
from pipelines.workers import tell_of_idle, threads_per_worker
from seqcls_beam.config.dataflow import DataflowOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.prepare import (
    CleanOptions,
    LabelOptions,
    PrepareConfig,
    PrepareOutputOptions,
    PrepareReadOptions,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)
from seqcls_beam.config.step import StepOptions
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.plan import plan
from seqcls_beam.preparation.tasks import begin
from seqcls_beam.transforms.prepare import Prepare

GROUPS: dict[str, type] = {
    "read": PrepareReadOptions,
    "inputs": SplitInputOptions,
    "labels": LabelOptions,
    "clean": CleanOptions,
    "splits": SplitOptions,
    "shards": ShardOptions,
    "output": PrepareOutputOptions,
    "step": StepOptions,
    "debug": DebugOptions,
}

UNIT_BYTES = 8 * 2**20  # a unit is a minute of cleaning and tokenising or so: many small ones keep all workers busy


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        made = parser("pipelines.prepare", (__doc__ or "").strip(), EPILOG, GROUPS, unit_bytes=UNIT_BYTES)
        given, beam_options = parse(made, argv, GROUPS)
        runner = name_runner(beam_options)
        config = configured(given)
        inputs = {"input": config.read.input, **asdict(config.inputs), "decontaminate": config.clean.decontaminate}
        dataflow.refuse_unseen(runner, **inputs, output=[config.output.output])
        engine = Engine(runner, beam_options, argv, StepOptions(**given["step"]).step_timeout)
        dataflow.configure(beam_options, runner, DataflowOptions())
        engines.configure(beam_options, runner)
        job, units, size = plan(config, threads_per_worker(beam_options))
    if already_published(job.run, with_page(terminal.summary, runner)):
        return submitted.nothing(beam_options)
    _launch(job, units, size, engine)
    return 0


def configured(given: dict[str, dict[str, Any]]) -> PrepareConfig:
    """Flags by group → options; raises `UsageError` or `ValueError`."""
    inputs = SplitInputOptions(**given["inputs"])
    rows = [*inputs.input_train, *inputs.input_validation, *inputs.input_test]
    if not rows and not given["read"].get("input"):
        raise UsageError("--input is missing (or --input_train, --input_validation, --input_test)")
    if "output" not in given["output"]:
        raise UsageError("--output is missing: name the folder to publish into")
    read = {"unit_bytes": UNIT_BYTES, "input": (), **given["read"]}
    return PrepareConfig(
        read=PrepareReadOptions(**read),
        inputs=inputs,
        labels=LabelOptions(**given["labels"]),
        clean=CleanOptions(**given["clean"]),
        splits=SplitOptions(**given["splits"]),
        shards=ShardOptions(**given["shards"]),
        output=PrepareOutputOptions(**given["output"]),
    )


def build(root: beam.Pipeline, job: Job) -> None:
    """The pipeline."""
    root | Prepare(job)


def _launch(job: Job, units: list[pa.RecordBatch], size: int, engine: Engine) -> None:
    """Run the pipeline, and show the manifest of what it published."""
    read = [units[each.first]["path"][0].as_py() for each in job.sources]
    ensure_seen(engine, job.run.output, input=read, model=[folder_of(job.tokenizer)])

    def start() -> None:
        for remark in job.remarks:
            say(remark, 0)
        tell_of_idle(engine.runner, engine.options, len(units))
        say(terminal.begun(job, size, begin(job, units, _facts(job, engine.runner))), 0)

    def work() -> None:
        name = submitted.name_of("prepare", job.run)
        with told_in(job.run.progress) as reader, unless_service(engine.runner, terminal.watching(job)):
            run_pipeline(engine.options, partial(build, job=job), name, reader, engine.step_timeout)

    finish(job.run, start, work, with_page(terminal.summary, engine.runner), dataflow.is_dataflow(engine.runner))


def _facts(job: Job, runner: str) -> dict[str, Any]:
    """What the manifest says beyond what the workers saw. No environment, no flags of the runner: they hold secrets."""
    return {
        "started": time.time(),
        "command": " ".join(["python -m pipelines.prepare", *flags(job.config)]),
        "runner": runner,
        "versions": versions("apache-beam", "pyarrow", "numpy", "scipy", "ftfy", "tokenizers", "transformers"),
    }


if __name__ == "__main__":
    sys.exit(main())
