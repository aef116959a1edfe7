"""PREDICTION → what a program reads of it: columns as in LABELED, and rows of Python values."""

from typing import Any

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.rows import in_python
from seqcls_beam.schema import MODEL, REJECT, SOURCE, Mark, labeled, model_name, renamed


def answers(predictions: pa.RecordBatch) -> pa.RecordBatch:
    """PREDICTION → LABELED, row for row: a rejected row is there too, and all but MODEL and SOURCE is null in it.

    Raises `ValueError` for other batches.
    """
    names = predictions.schema.names
    if "scores" not in names:
        raise ValueError(f"these are no PREDICTION batches, which Classify gives: they have the columns {names}")
    kept = pa.schema(list(predictions.schema.field("keep").type))
    mark = Mark.of(predictions)
    schema = labeled(kept, "labels" in names, mark.sourced)
    model = pa.repeat(pa.scalar(model_name(mark.engine), MODEL.type), len(predictions))
    others = {**dict(zip(names, predictions.columns, strict=True)), **sources(predictions), MODEL.name: model}
    columns = [*predictions["keep"].flatten(), *(others[name] for name in schema.names[len(kept) :])]
    plain = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns]
    return pa.RecordBatch.from_arrays(plain, schema=schema)


def rows(predictions: pa.RecordBatch) -> list[dict[str, Any]]:
    """PREDICTION → a dict a row, in order: what `answers` has, and `reject`.

    `reject` is None, or in a row that has no answer a dict with the columns of REJECT. A kept column of that name
    becomes `input_reject`. What of a value Python has not, such as a year past 9999, is a string, as
    `rows.value_in_python` makes it. Raises `ValueError` as `answers`.
    """
    table = answers(predictions)
    names = [each.name for each in renamed(table.schema, ["reject"])]
    reject = pa.StructArray.from_arrays(why(predictions), fields=list(REJECT), mask=predictions["reject"].is_null())
    columns = [in_python(column) for column in (*table.columns, reject)]
    return [dict(zip([*names, "reject"], row, strict=True)) for row in zip(*columns, strict=True)]


def why(predictions: pa.RecordBatch) -> list[pa.Array]:
    """The columns of REJECT, row for row: null, but for SOURCE, in a row that is no reject."""
    return [*sources(predictions).values(), *predictions["reject"].flatten()]


def sources(predictions: pa.RecordBatch) -> dict[str, pa.Array]:
    """Where rows came from, under the names of SOURCE."""
    names = [storage.without_password(each) for each in predictions["source"].dictionary.to_pylist()]
    found = [pa.array(names, pa.string()).take(predictions["source"].indices), predictions["position"]]
    return dict(zip((field.name for field in SOURCE), found, strict=True))
