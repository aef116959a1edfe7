"""Rows of files of any format, for a model to answer: `--input`."""

from dataclasses import replace

import pyarrow as pa

from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import check_kinds
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.job import (
    Job,
    Seen,
    asked,
    by_names,
    gold,
    inputs,
    label_columns,
    label_option,
    total_bytes,
)
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.tokens import check
from seqcls_beam.preparation.sampled import (
    check_files,
    check_flags,
    check_formats,
    class_names,
    first_rows,
    read_by_number,
    requests,
)
from seqcls_beam.reading.files import find
from seqcls_beam.reading.records import Layout, plan_layout
from seqcls_beam.reading.remarks import remarks


def plan(config: EvaluateConfig) -> Job:
    """Find the files and the model; raises `ValueError` or `FileNotFoundError` for what cannot be used."""
    read, columns = config.read, label_columns(config)
    checkpoint = resolve(config.model.model, config.model.revision, config.model.problem_type)
    pairs = read.text_pair_column is not None
    check(checkpoint, config.model, pairs)
    listing = find(read)
    files = listing.files
    texts = {"text": read.text_column, **({"text_pair": read.text_pair_column} if pairs else {})}
    shown = {**({"id": read.id_column} if read.id_column is not None else {}), **texts}
    slices = config.measure.slice_by or ()
    names = dict.fromkeys([*columns, *slices, *filter(None, shown.values())])
    layout = plan_layout(files, replace(read, keep_columns=requests(names, files, read)))
    told: list[str] = []
    if config.gold.label_columns is not None:
        check_flags(layout.keep, columns)
        by_number, told = read_by_number(files, columns, config.gold.labels)
        layout = replace(layout, numbers=by_number)
    elif not by_names(config, checkpoint.problem):
        layout = replace(layout, numbers=columns)
    check_kinds(layout.keep, config, *columns)
    read_as = gold(config, checkpoint.problem, checkpoint.labels, _seen(config, layout, files))
    beside = (
        *((name, f"keep.{value}") for name, value in shown.items()),
        ("source", "source"),
        ("position", "position"),
    )
    return Job(
        config,
        Kind(checkpoint.problem, len(checkpoint.labels)),
        Sheet(asked(config, checkpoint.problem, checkpoint.labels), read_as, ",".join(columns), beside, kept=True),
        total_bytes(files),
        {"kind": "rows", "inputs": inputs(files)},
        checkpoint,
        layout=layout,
        remarks=(*filter(None, [checkpoint.remark]), *told, *remarks(listing, read)),
    )


def _seen(config: EvaluateConfig, layout: Layout, files: pa.RecordBatch) -> Seen:
    """What the first rows, and the files themselves, say of the gold labels."""
    column, option = config.gold.label_column, f"--{label_option(config)}"
    if config.gold.label_columns is not None:
        return Seen(option, pa.bool_(), ())
    check_formats(layout, files, column, option)
    every = pa.Table.from_batches([files])
    found = check_files(every, column)
    classes = class_names(every, found, column) if config.gold.labels is None else None
    samples = tuple(rows["keep"].field(column) for rows in first_rows(layout, files))
    return Seen(option, layout.keep.field(column).type, samples, classes)
