"""Rows of files of any format, for a model to answer: `--input`."""

from dataclasses import replace

import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import check_kinds, quoted
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.job import Job, asked, gold, inputs, total_bytes
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.tokens import check
from seqcls_beam.reading.formats.columns import TYPES
from seqcls_beam.reading.records import plan_layout
from seqcls_beam.reading.units import list_files


def plan(config: EvaluateConfig) -> Job:
    """Find the files and the model; raises `ValueError` or `FileNotFoundError` for what cannot be used."""
    read, column = config.read, config.gold.label_column
    checkpoint = resolve(config.model.model, config.model.revision)
    pairs = read.text_pair_column is not None
    check(checkpoint, config.model, pairs)
    files = list_files(read)
    texts = {"text": read.text_column, **({"text_pair": read.text_pair_column} if pairs else {})}
    shown = {**({"id": read.id_column} if read.id_column is not None else {}), **texts}
    slices = config.measure.slice_by or ()
    names = dict.fromkeys([column, *slices, *filter(None, shown.values())])
    try:
        layout = plan_layout(files, replace(read, keep_columns=_requests(tuple(names), files, read)))
    except ValueError as error:
        raise ValueError(f"{error}; --label_column={column}, --slice_by={','.join(slices)}") from error
    check_kinds(layout.keep, config, column)
    read_as = gold(config, checkpoint.problem, checkpoint.labels, layout.keep.field(column).type)
    told = (*((name, f"keep.{value}") for name, value in shown.items()), ("source", "source"), ("position", "position"))
    return Job(
        config,
        Kind(checkpoint.problem, len(checkpoint.labels)),
        Sheet(asked(config, checkpoint.problem, checkpoint.labels), read_as, column, told, kept=True),
        total_bytes(files),
        {"kind": "rows", "inputs": inputs(files)},
        checkpoint,
        layout=layout,
    )


def _requests(names: tuple[str, ...], files: pa.RecordBatch, read: ReadOptions) -> tuple[str, ...]:
    """Names of columns → `keep_columns` that mean them, and not NAME:TYPE; raises `ValueError` for one that is none."""
    made = []
    for name in names:
        plain, _, kind = name.rpartition(":")
        if name != "*" and not (plain and kind in TYPES):
            made.append(name)
            continue
        there = plan_layout(files, replace(read, keep_columns=("*",))).keep
        if name not in there.names:
            raise ValueError(
                f"no column {name!r} in the first files; the columns there are {quoted(there.names)}: give a name "
                "alone, without a type"
            )
        kinds = {each: known for known, each in TYPES.items()}
        made.append(f"{name}:{kinds.get(there.field(name).type, 'string')}")
    return tuple(made)
