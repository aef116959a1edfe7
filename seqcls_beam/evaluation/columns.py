"""Which columns may hold gold labels, slices and answers: by their names and types alone."""

from collections.abc import Callable, Iterable

import pyarrow as pa

from seqcls_beam.config.evaluate import EvaluateConfig


def require(names: Iterable[str], there: Iterable[str], option: str) -> None:
    """Raise `ValueError` for names of columns that are not there; `option` is who named them."""
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"--{option}={','.join(missing)}: no such column; those there are {quoted(there)}")


def check_kinds(schema: pa.Schema, config: EvaluateConfig, label_column: str) -> None:
    """Raise `ValueError` for a column of gold labels or slices whose values have no text of their own.

    That is bytes, and what is nested, but for lists of gold labels.
    """
    for option, names in (("label_column", (label_column,)), ("slice_by", config.measure.slice_by or ())):
        for name in names:
            kind = schema.field(name).type
            if not (_is_label(kind) or (option == "label_column" and is_list(kind))):
                raise ValueError(f"--{option}={name} holds {kind}: expected strings, numbers or booleans")


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
    holds("scores", "lists of probabilities", _is_vector, pa.types.is_floating)
    if problem == "multi_label":
        return holds("labels", "lists of labels", is_list, _is_label)
    return holds("label", "labels", _is_label)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds several values a row."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_vector(kind: pa.DataType) -> bool:
    return is_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_label(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (pa.types.is_nested(kind) or binary)


def quoted(names: Iterable[str], most: int | None = None) -> str:
    """Names as they are told, of many the first `most`."""
    told = list(map(repr, names))
    return ", ".join(told[:most]) + (" …" if most is not None and len(told) > most else "")
