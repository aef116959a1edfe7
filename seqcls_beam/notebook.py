"""Labelling in plain Python, without Beam and without files: texts in memory → a table."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import orjson
import pyarrow as pa

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.answers import answers
from seqcls_beam.model.checkpoints import Checkpoint, resolve
from seqcls_beam.model.predictions import classify, first_sequences
from seqcls_beam.model.tokens import check, tokenize
from seqcls_beam.reading.rows import Held, RowLayout, record_batches, row_layout, tabular
from seqcls_beam.reading.values import bare, of_type

BATCH_ROWS = 8192
_END = object()


def label(
    texts: Iterable[Any],
    model: str | os.PathLike[str] = "sentiment",
    *,
    text_pairs: Iterable[Any] | None = None,
    **options: Any,
) -> pa.Table:
    """Texts, or pairs of them → a table, row for row in their order: what the model says of each.

    `texts` is a list, a column of pandas, polars or pyarrow, or anything that yields strings in an order; None, NaN and
    NA are missing texts. `model` is a folder, a URI, a Hub id or "sentiment"; `options` are the fields of
    `config.ModelOptions`, such as `max_length`, `dtype` or `device`. A path of `pathlib` is a folder, whatever it is
    called. The last model is kept, and not loaded again for the same files and options; for int8 one is loaded at
    every call, since it is fitted to the texts.

    Columns: `label` (string), `score` (float32, its probability) and `scores` (list<float32>, of every label), or
    `labels` and `scores` of a multi-label model; `tokens` (int32) and `truncated` (bool); `model` (string, as in the
    files of a run); and `reject`: null, or in a row that cannot be labelled, and whose other columns but `model` are
    null, a struct of `stage`, `reason`, `detail` and `raw`.
    In the schema's metadata `seqcls_beam.labels` are the names of the labels in the order of `scores`, a JSON list, and
    `seqcls_beam.reading` is what the model's outputs were taken for, where its config leaves a choice.

    Raises `TypeError` for one string, a set or a whole table in place of a column, and for an option that does not
    exist or has a value of another type; `ValueError` for options that cannot be met and for columns of unequal
    lengths; `CheckpointError` for a model that cannot be used, `EngineError` where its device or precision cannot be
    had, and `RuntimeError` where it fails on more than 16 rows of 8,192.
    """
    path = isinstance(model, os.PathLike)
    asked = ModelOptions(**_typed({"model": os.fspath(model) if path else model, **options}))
    columns = {"text": texts, **({} if text_pairs is None else {"text_pair": text_pairs})}
    for name, column in columns.items():
        _check_column(f"{name}s", column)
    checkpoint = resolve(Path(asked.model) if path else asked.model, asked.revision, asked.problem_type)
    check(checkpoint, asked, text_pairs is not None)
    layout = row_layout("text", "text_pair" if text_pairs is not None else None, (), "texts", {})
    rows = _rows(columns)
    tables: list[pa.RecordBatch] = []
    classifier = None
    for records in _records(rows, layout):
        if classifier is None:
            classifier = _loaded(checkpoint, asked, records)
        (predictions,) = classify([tokenize(records, checkpoint, asked)], classifier, checkpoint, asked)
        tables.append(answers(predictions).append_column("reject", predictions["reject"]))
    return pa.Table.from_batches(tables).replace_schema_metadata(
        {"seqcls_beam.labels": orjson.dumps(checkpoint.labels), "seqcls_beam.reading": checkpoint.reading}
    )


def _typed(options: dict[str, Any]) -> dict[str, Any]:
    """Options as Python has them; raises `TypeError` for those that do not exist or are of another type."""
    known = {each.name: get_args(each.type) or (each.type,) for each in fields(ModelOptions)}
    if unknown := set(options) - set(known):
        there = ", ".join(name for name in known if name != "model")
        raise TypeError(f"label() has no option {', '.join(sorted(unknown))}; those there are {there}")
    return {name: of_type(name, value, *known[name]) for name, value in options.items()}


def _check_column(name: str, column: Any) -> None:
    """Raise `TypeError` for what yields no values in an order, or rows of a table."""
    kind = type(column)
    no_column = isinstance(column, str | bytes | bytearray | memoryview | Mapping | set | frozenset | pa.Scalar)
    if no_column or tabular(kind) or getattr(column, "ndim", 1) != 1:
        raise TypeError(f"{name} is a {kind.__name__}: expected a list or a column of texts, in their order")
    try:
        iter(column)
    except TypeError as error:
        raise TypeError(f"{name} is a {kind.__name__}: expected a list or a column of texts") from error


def _records(rows: Iterator[dict[str, Any]], layout: RowLayout) -> Iterator[pa.RecordBatch]:
    """Rows → RECORD batches, at least one."""
    held, none = Held(layout, BATCH_ROWS), True
    for row in rows:
        none = False
        yield from held.put(row, 0)
    yield from held.take()
    if none:
        (missing,) = record_batches([{}], [0], layout)
        yield missing.slice(0, 0)


def _rows(columns: dict[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Columns → rows; raises `ValueError` where one ends before the other."""
    for number, values in enumerate(zip_longest(*columns.values(), fillvalue=_END)):
        if any(value is _END for value in values):
            raise ValueError(f"texts and text_pairs: one has {number} values, and the other more")
        yield dict(zip(columns, map(bare, values), strict=True))


def _loaded(checkpoint: Checkpoint, options: ModelOptions, records: pa.RecordBatch) -> Any:
    """The model; for int8 one that is fitted to the first of these records."""
    # Here and not above: importing this room must not import torch.
    from seqcls_beam.model.engine import loaded

    first = first_sequences([records], checkpoint, options) if options.dtype == "int8" else None
    return loaded(checkpoint, options, first)
