"""Prepare fine-tuning data: labelled records → cleaned, deduplicated, leak-free, split, tokenised shards.

python -m pipelines.prepare --input reviews.jsonl --text_column=review --label_column=stars --output=prepared
python -m pipelines.prepare --input_train train.tsv --input_test test.tsv --output=prepared
"""

import sys
import time
from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from rich import filesize

import seqcls_beam
from pipelines import display, prepared
from pipelines.command import EPILOG, already_published, exit_code, finish, flags, say, threads_per_worker, versions
from pipelines.options import UsageError, name_runner, parse, parser
from seqcls_beam import storage
from seqcls_beam.config import (
    CleanOptions,
    LabelOptions,
    OutputOptions,
    PrepareConfig,
    ReadOptions,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)
from seqcls_beam.model.checkpoints import resolve_tokenizer
from seqcls_beam.preparation import splits
from seqcls_beam.preparation.job import Job, Source
from seqcls_beam.preparation.labels import pinned
from seqcls_beam.preparation.tasks import begin
from seqcls_beam.reading.records import Layout, plan_layout
from seqcls_beam.reading.units import list_files, plan_units
from seqcls_beam.runs import commit
from seqcls_beam.runs.manifest import short
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.prepare import Prepare

GROUPS: dict[str, type] = {
    "read": ReadOptions,
    "inputs": SplitInputOptions,
    "labels": LabelOptions,
    "clean": CleanOptions,
    "splits": SplitOptions,
    "shards": ShardOptions,
    "output": OutputOptions,
}

UNIT_BYTES = 8 * 2**20  # a unit is a minute of cleaning and tokenising or so: many small ones keep all workers busy
_SMALLEST = 2**20  # bytes of input that are worth a partition of their own …
_USUAL = 16  # … up to so many
_GROWTH = {"parquet": 4, "gz": 5, "bz2": 6, "xz": 6, "zst": 5}
_HELD = 24  # bytes in a task for a byte of text: short texts have twenty bands, of 28 bytes and more while sorted


def build(root: beam.Pipeline, job: Job) -> None:
    """The pipeline."""
    root | Prepare(job)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    try:
        made = parser(
            "pipelines.prepare", (__doc__ or "").strip(), EPILOG, GROUPS, keep_columns=SUPPRESS, unit_bytes=UNIT_BYTES
        )
        given, _, beam_options = parse(made, argv, GROUPS)
        runner = name_runner(beam_options)
        job, plan, size = prepare(configured(given), threads_per_worker(beam_options))
    except (ValueError, FileNotFoundError) as error:
        return say(str(error), 2)
    except (OSError, ImportError) as error:
        return say(f"{type(error).__name__}: {error}", 1)
    if already_published(job.run, prepared.summary):
        return 0
    return _launch(job, plan, size, runner, beam_options)


def prepare(config: PrepareConfig, threads: int = 0) -> tuple[Job, list[pa.RecordBatch], int]:
    """Find the tokenizer and the files, and name the run: (job, its units, bytes of input).

    Finishes a publication that a crash interrupted. Raises `ValueError` or `FileNotFoundError` for what cannot be used.
    """
    tokenizer = resolve_tokenizer(config.shards.model, config.shards.revision)
    length = config.shards.max_length or tokenizer.max_length
    if length > tokenizer.max_length:
        raise ValueError(f"--max_length={length}: {tokenizer.name} reads at most {tokenizer.max_length}")
    if config.labels.labels is not None:
        pinned(config.labels.labels)
    if config.clean.languages:
        _require_languages()
    output = storage.absolute(config.output.output)
    commit.recover(output)
    named = [
        (config.read.input, splits.NONE),
        (config.inputs.input_train, splits.TRAIN),
        (config.inputs.input_validation, splits.VALIDATION),
        (config.inputs.input_test, splits.TEST),
        (config.clean.decontaminate, splits.REFERENCE),
    ]
    sources: list[Source] = []
    units: list[pa.RecordBatch] = []
    files: list[pa.RecordBatch] = []
    for patterns, split in named:
        if patterns:
            listed = list_files(replace(config.read, input=patterns))
            inside = [path for path in listed["path"].to_pylist() if path.startswith(f"{output}/")]
            if inside:
                raise ValueError(f"{inside[0]} lies in --output={output}: a run would read what a run wrote")
            sources.append(Source(len(units), split, _layout(config, patterns, listed, split)))
            units += plan_units(listed, config.read.unit_bytes)
            files.append(listed)
    plan = [Mark(unit=number, units=len(units)).on(unit) for number, unit in enumerate(units)]
    rows = [row for listed in files for row in listed.to_pylist()]
    size = sum(row["size"] for row in rows)
    partitions = _partitions(rows, config.shards.partition_bytes)
    problem = _problem(config, sources)
    if problem == "regression" and config.splits.split == "stratified":
        raise ValueError("--split=stratified is for classes, and --problem=regression has none")
    run_id = identity(
        pa.Table.from_batches(files).combine_chunks().to_batches()[0] if size else files[0],
        command="prepare",
        tokenizer=tokenizer.digest,
        config={**asdict(config), "output": None},
        sources=[[each.first, each.split, [[f.name, str(f.type)] for f in each.layout.keep]] for each in sources],
        version=seqcls_beam.__version__,
    )
    run = Run(
        output, run_id, config.output.overwrite, config.output.max_rejected, publishes=("data", "rejects", "README.md")
    )
    job = Job(config, tokenizer, run, tuple(sources), len(plan), partitions, problem, length, threads)
    if sum(job.fractions) >= 1:
        raise ValueError(f"shares of {job.fractions[0]:g} and {job.fractions[1]:g} leave nothing to train with")
    if problem != "single_label" and any(
        each.split != splits.REFERENCE and config.labels.label_column not in each.layout.keep.names for each in sources
    ):
        raise ValueError(f"--label_column={config.labels.label_column}: the test files lack it")
    return job, plan, size


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
        read=ReadOptions(**read),
        inputs=inputs,
        labels=LabelOptions(**given["labels"]),
        clean=CleanOptions(**given["clean"]),
        splits=SplitOptions(**given["splits"]),
        shards=ShardOptions(**given["shards"]),
        output=OutputOptions(**given["output"]),
    )


def _layout(config: PrepareConfig, patterns: tuple[str, ...], files: pa.RecordBatch, split: int) -> Layout:
    """The columns that are read of a source."""
    names = [config.labels.label_column, *(config.splits.group_by or ())]
    if split == splits.NONE and config.splits.split_column is not None:
        names.append(config.splits.split_column)
    if split == splits.REFERENCE:
        return plan_layout(files, replace(config.read, input=patterns, keep_columns=(), id_column=None))
    try:
        return plan_layout(files, replace(config.read, input=patterns, keep_columns=tuple(dict.fromkeys(names))))
    except ValueError:
        if split != splits.TEST:
            raise
        # A test set may come without its labels.
        return plan_layout(files, replace(config.read, input=patterns, keep_columns=tuple(names[1:])))


def _problem(config: PrepareConfig, sources: list[Source]) -> str:
    name, asked = config.labels.label_column, config.labels.problem
    types = [each.layout.keep.field(name).type for each in sources if name in each.layout.keep.names]
    if not types:
        raise ValueError(f"--label_column={name}: no file has it")
    kinds = {pa.types.is_list(each) or pa.types.is_large_list(each) for each in types}
    lists = kinds == {True}
    if len(kinds) > 1 or any(pa.types.is_nested(each) for each in types) != lists:
        raise ValueError(
            f"--label_column={name} holds {', '.join(sorted({str(each) for each in types}))}: labels are strings, "
            "numbers, booleans, or lists of those, and the same in every file"
        )
    if asked == "auto":
        return "multi_label" if lists or config.labels.label_separator is not None else "single_label"
    if lists and asked != "multi_label":
        raise ValueError(f"--problem={asked}: the column {name!r} holds lists, {types[0]}")
    if asked == "multi_label" and not lists and config.labels.label_separator is None:
        raise ValueError(f"--problem=multi_label: the column {name!r} holds {types[0]}; name a --label_separator")
    return asked


def _partitions(files: list[dict[str, Any]], partition_bytes: int) -> int:
    size = sum(row["size"] * _GROWTH.get(row["compression"] or row["format"], 1) for row in files)
    return max(1, min(_USUAL, size // _SMALLEST), -(-_HELD * size // partition_bytes))


def _require_languages() -> None:
    try:
        import py3langid  # noqa: F401
    except ImportError as error:
        raise ValueError("--languages needs the package py3langid: pip install 'seqcls_beam[language]'") from error


def _launch(job: Job, plan: list[pa.RecordBatch], size: int, runner: str, beam_options: PipelineOptions) -> int:
    display.log_to_stderr()
    done = begin(job, plan, _facts(job, runner))
    say(
        f"run {short(job.run.run_id)}: {filesize.decimal(size)} in {len(plan):,} unit{'s'[: len(plan) != 1]}"
        + (f", {done:,} of them done before" if done else ""),
        0,
    )

    def work() -> None:
        with prepared.watching(job):
            pipeline = beam.Pipeline(options=beam_options)
            build(pipeline, job)
            pipeline.run().wait_until_finish()

    prepared.summary(job.run.output, finish(job.run, work))
    return 0


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
