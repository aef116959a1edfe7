"""A preparation before it starts: options → what is read, in how many tasks, under which run id."""

from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.prepare import PrepareConfig
from seqcls_beam.model.checkpoints import resolve_tokenizer
from seqcls_beam.preparation import splits
from seqcls_beam.preparation.job import Job, Source
from seqcls_beam.preparation.labels import pinned
from seqcls_beam.reading.records import Layout, plan_layout
from seqcls_beam.reading.units import list_files, plan_units
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.schema import Mark
from seqcls_beam.version import __version__

_SMALLEST = 2**20  # bytes of input that are worth a partition of their own …
_USUAL = 16  # … up to so many
_GROWTH = {"parquet": 4, "gz": 5, "bz2": 6, "xz": 6, "zst": 5}
_HELD = 24  # bytes in a task for a byte of text: short texts have twenty bands, of 28 bytes and more while sorted


def plan(config: PrepareConfig, threads: int = 0) -> tuple[Job, list[pa.RecordBatch], int]:
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
    # Before the files are listed: what is published from here on is not followed but refused.
    run = follow(
        Run(
            output,
            "",
            config.output.overwrite,
            config.output.max_rejected,
            publishes=("data", "_rejects", "README.md"),
            kind="prepare",
        )
    )
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
            inside = [path for path in listed["path"].to_pylist() if storage.lies_in(path, output)]
            if inside:
                raise ValueError(f"{inside[0]} lies in --output={output}: a run would read what a run wrote")
            sources.append(Source(len(units), split, _layout(config, patterns, listed, split)))
            units += plan_units(listed, config.read.unit_bytes)
            files.append(listed)
    marked = [Mark(unit=number, units=len(units)).on(unit) for number, unit in enumerate(units)]
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
        version=__version__,
    )
    job = Job(
        config,
        tokenizer,
        replace(run, run_id=run_id),
        tuple(sources),
        len(marked),
        partitions,
        problem,
        length,
        threads,
    )
    if sum(job.fractions) >= 1:
        raise ValueError(f"shares of {job.fractions[0]:g} and {job.fractions[1]:g} leave nothing to train with")
    if problem != "single_label" and any(
        each.split != splits.REFERENCE and config.labels.label_column not in each.layout.keep.names for each in sources
    ):
        raise ValueError(f"--label_column={config.labels.label_column}: the test files lack it")
    return job, marked, size


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
