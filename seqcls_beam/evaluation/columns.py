"""Which columns may hold gold labels, slices and answers: by their names and types alone."""

from collections.abc import Callable, Iterable

import pyarrow as pa

from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.preparation.labels import check_kind
from seqcls_beam.rows import is_list


def require(names: Iterable[str], there: Iterable[str], option: str) -> None:
    """Raise `ValueError` for names of columns that are not there; `option` is who named them."""
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"--{option}={','.join(missing)}: no such column; those there are {quoted(there)}")


def check_kinds(schema: pa.Schema, config: EvaluateConfig, *label_columns: str) -> None:
    """Raise `ValueError` for a column of gold labels or slices of a type that cannot hold any."""
    for name in label_columns:
        check_kind(schema.field(name).type, f"--label_column={name}")
    for name in config.measure.slice_by or ():
        if not _has_text(schema.field(name).type):
            raise ValueError(
                f"--slice_by={name} holds {schema.field(name).type}: expected strings, numbers or booleans"
            )


def check_answers(schema: pa.Schema, problem: str) -> None:
    """Raise `ValueError` for answers of a type that they cannot have."""

    def holds(name: str, expected: str, *checks: Callable[[pa.DataType], bool]) -> None:
        """Check the type of a column, then that of what its lists hold."""
        if name not in schema.names:
            return
        kind = inner = schema.field(name).type
        for check in checks:
            if not check(inner):
                raise ValueError(f"--labeled has a column {name!r} of {kind}: expected {expected}")
            inner = inner.value_type if pa.types.is_nested(inner) else inner

    if problem == "regression":
        return holds("score", "numbers", _is_number)
    holds("scores", "lists of probabilities", is_list, pa.types.is_floating)
    if problem == "multi_label":
        return holds("labels", "lists of labels", is_list, _has_text)
    return holds("label", "labels", _has_text)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _has_text(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (pa.types.is_nested(kind) or binary)


def quoted(names: Iterable[str], most: int | None = None) -> str:
    """Names as they are told, of many the first `most`."""
    told = list(map(repr, names))
    return ", ".join(told[:most]) + (" …" if most is not None and len(told) > most else "")
