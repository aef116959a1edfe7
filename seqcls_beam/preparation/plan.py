"""A preparation before it starts: options → what is read, in how many tasks, under which run id."""

from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.config.prepare import LabelOptions, PrepareConfig
from seqcls_beam.model.checkpoints import resolve_tokenizer
from seqcls_beam.preparation import splits
from seqcls_beam.preparation.forms import Column, Form, form_of
from seqcls_beam.preparation.grouping import check_groups
from seqcls_beam.preparation.job import Job, Source, label_columns
from seqcls_beam.preparation.labels import pinned
from seqcls_beam.preparation.sampled import (
    check_files,
    check_flags,
    check_formats,
    check_kinds,
    class_names,
    first_rows,
    read_by_number,
    requests,
)
from seqcls_beam.reading.files import find
from seqcls_beam.reading.records import Layout, plan_layout
from seqcls_beam.reading.remarks import remarks
from seqcls_beam.reading.units import plan_units, withheld
from seqcls_beam.rows import is_list
from seqcls_beam.runs.accounting import limits
from seqcls_beam.runs.publication import follow
from seqcls_beam.runs.run import Run, identity
from seqcls_beam.schema import Mark
from seqcls_beam.version import __version__

_SMALLEST = 2**20  # bytes of input that are worth a partition of their own …
_USUAL = 16  # … up to so many
_GROWTH = {"parquet": 4, "gz": 5, "bz2": 6, "xz": 6, "zst": 5}
_SHARED = 512 * 2**20  # bytes of input from which all tasks assign: in one, 12 million short texts take 4 GB
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
        _check_names(config.labels)
    if config.clean.languages:
        _require_languages()
    output = storage.absolute(config.output.output)
    # Before the files are listed: what is published from here on is not followed but refused.
    run = follow(
        Run(
            output,
            "",
            config.output.overwrite,
            limits(config.output),
            publishes=("data", "_rejects", "README.md"),
            kind="prepare",
        )
    )
    named = [
        ("input", config.read.input, splits.NONE),
        ("input_train", config.inputs.input_train, splits.TRAIN),
        ("input_validation", config.inputs.input_validation, splits.VALIDATION),
        ("input_test", config.inputs.input_test, splits.TEST),
        ("decontaminate", config.clean.decontaminate, splits.REFERENCE),
    ]
    said: list[str] = []
    idle: set[str] | None = None  # patterns of --exclude that leave out nothing of any input
    sources: list[Source] = []
    units: list[pa.RecordBatch] = []
    files: list[pa.RecordBatch] = []
    for option, patterns, split in named:
        if patterns:
            found = find(replace(config.read, input=patterns), option)
            listed = found.files
            said += remarks(found._replace(unused=()), config.read)
            idle = set(found.unused) if idle is None else idle & set(found.unused)
            inside = [path for path in listed["path"].to_pylist() if storage.lies_in(path, output)]
            if inside:
                raise ValueError(f"{inside[0]} lies in --output={output}: a run would read what a run wrote")
            layout, told = _by_number(_layout(config, patterns, listed, split), config.labels, listed)
            said += told
            sources.append(Source(len(units), split, layout))
            units += plan_units(listed, config.read.unit_bytes, config.read.encoding)
            files.append(listed)
    if idle:
        said.append(f"--exclude={', '.join(sorted(idle))} leaves out nothing")
    for source in sources:
        if source.split != splits.REFERENCE:
            check_groups(source.layout.keep, config.splits.group_by or ())
    marked = [Mark(unit=number, units=len(units)).on(unit) for number, unit in enumerate(units)]
    rows = [row for listed in files for row in listed.to_pylist()]
    size = sum(row["size"] for row in rows)
    text = sum(row["size"] * _GROWTH.get(row["compression"] or row["format"], 1) for row in rows)
    partitions = _partitions(text, config.shards.partition_bytes)
    labelled = [
        (source, listed) for source, listed in zip(sources, files, strict=True) if source.split != splits.REFERENCE
    ]
    form, names = _labels(config.labels, labelled)
    layout = next(source.layout for source, _ in labelled if _has_labels(config.labels, source))
    problem = _problem(config.labels, form, layout)
    if problem == "regression" and config.splits.split == "stratified":
        raise ValueError("--split=stratified is for classes, and --problem=regression has none")
    run_id = identity(
        pa.Table.from_batches(files).combine_chunks().to_batches()[0] if size else files[0],
        command="prepare",
        tokenizer=tokenizer.digest,
        config=_without_patterns(config),
        form=asdict(form),
        labels=names,
        sources=[[each.first, each.split, [[f.name, str(f.type)] for f in each.layout.keep]] for each in sources],
        version=__version__,
    )
    job = Job(
        config,
        tokenizer,
        replace(run, run_id=run_id, secret=withheld(row["path"] for row in rows)),
        tuple(sources),
        len(marked),
        partitions,
        problem,
        form,
        names,
        length,
        threads,
        tuple(said),
        config.shards.assign == "all" or (config.shards.assign == "auto" and text >= _SHARED),
    )
    if sum(job.fractions) >= 1:
        raise ValueError(f"shares of {job.fractions[0]:g} and {job.fractions[1]:g} leave nothing to train with")
    if problem != "single_label" and any(not _has_labels(config.labels, source) for source, _ in labelled):
        raise ValueError(f"{_option(config.labels)}: the test files lack it")
    return job, marked, size


def _without_patterns(config: PrepareConfig) -> dict[str, Any]:
    """The options that make the output, without those that say where files are, which the run knows by name, or who
    does what, or who is told."""
    said: dict[str, Any] = {**asdict(config), "inputs": None, "output": None}
    del said["platforms"]
    return {
        **said,
        "shards": {**said["shards"], "assign": None},
        "read": {**said["read"], "input": None, "exclude": None},
        "clean": {**said["clean"], "decontaminate": None},
    }


def _layout(config: PrepareConfig, patterns: tuple[str, ...], files: pa.RecordBatch, split: int) -> Layout:
    """The columns that are read of a source."""
    columns = label_columns(config.labels)
    names = [*columns, *(config.splits.group_by or ())]
    if split == splits.NONE and config.splits.split_column is not None:
        names.append(config.splits.split_column)
    if split == splits.REFERENCE:
        return plan_layout(files, replace(config.read, input=patterns, keep_columns=(), id_column=None))
    read = replace(config.read, input=patterns)
    # What --labels says, or a number as it is, stands above what files call their classes.
    said = config.labels.labels is not None or config.labels.problem == "regression"
    numbers = columns if said else ()
    try:
        return replace(plan_layout(files, replace(read, keep_columns=requests(names, files, read))), numbers=numbers)
    except ValueError:
        if split != splits.TEST:
            raise
        # A test set may come without its labels.
        return plan_layout(files, replace(read, keep_columns=requests(names[len(columns) :], files, read)))


def _by_number(layout: Layout, options: LabelOptions, files: pa.RecordBatch) -> tuple[Layout, list[str]]:
    """A layout in which columns of 0 and 1 are that, whatever files call it; and sentences for the user."""
    columns = options.label_columns
    if columns is None or not set(columns) <= set(layout.keep.names):
        return layout, []
    check_flags(layout.keep, columns)
    numbers, told = read_by_number(files, columns, options.labels)
    return replace(layout, numbers=numbers), told


def _has_labels(options: LabelOptions, source: Source) -> bool:
    return set(label_columns(options)) <= set(source.layout.keep.names)


def _option(options: LabelOptions) -> str:
    """The option that named the labels' columns, and what it said."""
    if options.label_columns is not None:
        return f"--label_columns={','.join(options.label_columns)}"
    return f"--label_column={options.label_column}"


def _check_names(options: LabelOptions) -> None:
    """Raise `ValueError` for --labels that name one twice, or other columns than there are."""
    columns, values = options.label_columns, pinned(options.labels or ())[1]
    if columns is not None and set(columns) != set(values):
        raise ValueError(
            f"--labels has {', '.join(map(repr, values))}, and --label_columns {', '.join(map(repr, columns))}: name "
            "each column once, as COLUMN or COLUMN:NAME"
        )


def _labels(
    options: LabelOptions, labelled: list[tuple[Source, pa.RecordBatch]]
) -> tuple[Form, tuple[str, ...] | None]:
    """(the form of the labels; as --labels, what they are called, None where neither options nor files tell).

    Raises `ValueError` for a column that holds none, or what could be read in two ways.
    """
    there = [(source.layout, listed) for source, listed in labelled if _has_labels(options, source)]
    if not there:
        raise ValueError(f"{_option(options)}: no file has it")
    if options.label_columns is not None:
        return Form(places=options.label_columns, columns=options.label_columns), options.labels
    check_kinds([layout.keep.field(options.label_column).type for layout, _ in there], _option(options))
    if options.problem == "regression":
        return Form(), None
    for layout, listed in there:
        check_formats(layout, listed, options.label_column, _option(options))
    every = pa.Table.from_batches([listed for _, listed in there])
    found = check_files(every, options.label_column)
    classes = class_names(every, found, options.label_column) if options.labels is None else None
    asked = options.labels
    if classes is not None:
        asked = tuple(f"{number}:{name}" for number, name in enumerate(classes))
    samples = [rows["keep"].field(options.label_column) for each in there for rows in first_rows(*each)]
    auto = options.problem == "auto"
    form = form_of(Column(_option(options), tuple(samples), options.label_separator, asked, auto=auto))
    return replace(form, classes=classes is not None), asked or form.places or None


def _problem(options: LabelOptions, form: Form, layout: Layout) -> str:
    asked, option = options.problem, _option(options)
    kind = layout.keep.field(label_columns(options)[0]).type
    lists = is_list(kind) or form.written
    if asked == "auto":
        several = lists or form.separator is not None or form.columns
        return "multi_label" if several else "single_label"
    if lists and asked != "multi_label":
        raise ValueError(f"--problem={asked}: {option} holds lists, {kind}")
    if asked == "multi_label" and not (lists or form.separator is not None or form.columns):
        raise ValueError(
            f"--problem=multi_label: {option} holds {kind}; name a --label_separator, or, where 0 or 1 stands there, "
            "--label_columns"
        )
    return asked


def _partitions(text: int, partition_bytes: int) -> int:
    """How many partitions so many bytes of text make."""
    return max(1, min(_USUAL, text // _SMALLEST), -(-_HELD * text // partition_bytes))


def _require_languages() -> None:
    try:
        import py3langid  # noqa: F401
    except ImportError as error:
        raise ValueError("--languages needs the package py3langid: pip install 'seqcls_beam[language]'") from error
