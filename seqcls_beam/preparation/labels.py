"""Labels: from what stands in a column to the numbers a classifier learns."""

import math
import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.runs.run import RunError

MOST_NAMES = 10_000
"""A column with more different values is no column of labels."""


def canonical(values: pa.Array, problem: str, separator: str | None) -> tuple[pa.Array, pa.Array]:
    """A column → (its labels; which rows have none that can be read, bool).

    Labels are string for `single_label`; list<string>, sorted and each once, for `multi_label`; float64 for
    `regression`. Numbers are written as integers where they are whole: 1.0 is label "1". An empty string is no label;
    an empty list, though, says that none applies.
    """
    if problem == "regression":
        return _numbers(values)
    if problem == "single_label":
        names = _names(values)
        return names, pc.is_null(names)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        missing = pc.is_null(values)
        lists = pa.ListArray.from_arrays(*_flat_lists(values)).to_pylist()
        rows: list[Any] = [None if gone else each for each, gone in zip(lists, missing.to_pylist(), strict=True)]
    else:
        names = _names(values)
        missing = pc.is_null(names)
        rows = [None if each is None else each.split(separator) for each in names.to_pylist()]
    sets = [None if row is None else sorted({each.strip() for each in row if each and each.strip()}) for row in rows]
    return pa.array(sets, pa.list_(pa.string())), missing


def _flat_lists(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    values = values.cast(pa.list_(values.type.value_type))
    filled = pc.if_else(pc.is_valid(values), values, pa.scalar([], values.type))
    return filled.offsets, _names(filled.values)


def _names(values: pa.Array) -> pa.Array:
    """Values of any plain type → strings; null where there is nothing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
        whole = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 2.0**53))
        as_numbers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
        return pc.if_else(whole, as_numbers, values.cast(pa.string()))
    if pa.types.is_nested(values.type):
        raise ValueError(
            f"--label_column holds {values.type}: labels are strings, numbers, booleans, or lists of those"
        )
    names = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(names, ""), None, names)


def _numbers(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64())
    else:
        numbers = pa.array([_number(each) for each in values.cast(pa.string()).to_pylist()], pa.float64())
    numbers = pc.if_else(pc.is_finite(numbers.cast(pa.float32())), numbers, None)  # as they are learned
    return numbers, pc.is_null(numbers)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def as_names(labels: pa.Array) -> pa.Array:
    """Labels as `canonical` gives them → a string for each: what tells classes apart."""
    if pa.types.is_list(labels.type):
        return pc.binary_join(labels, "\0")
    return labels.cast(pa.string())


def codes(labels: pa.Array) -> npt.NDArray[np.int64]:
    """Labels → a number for each different one, as they come; a label that is not there is -1."""
    found: npt.NDArray[np.int64] = pc.fill_null(
        as_names(labels).dictionary_encode().indices.cast(pa.int64()), -1
    ).to_numpy()
    return found


def refuse_many(names: set[str], column: str) -> None:
    """Raise `RunError` where there are too many different labels to be labels."""
    if len(names) > MOST_NAMES:
        raise RunError(
            f"--label_column={column} holds more than {MOST_NAMES:,} different values: is it a number "
            "(--problem=regression), or another column?"
        )


def vocabulary(names: set[str]) -> list[str]:
    """Names that were found → in the order of their numbers if all are whole numbers, else of their characters."""
    whole = all(re.fullmatch(r"-?\d+", each) for each in names)
    return sorted(names, key=(lambda each: (int(each), each)) if whole else (lambda each: (0, each)))


def pinned(labels: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """`--labels` → (names in order, value in the data → name). Each is NAME, or VALUE:NAME for a value called so.

    Raises `ValueError` for a name or a value that is there twice.
    """
    pairs = [each.split(":", 1) if ":" in each else [each, each] for each in labels]
    for what, all_ in (("value", [pair[0] for pair in pairs]), ("name", [pair[1] for pair in pairs])):
        twice = [each for each, count in Counter(all_).items() if count > 1]
        if twice:
            raise ValueError(f"--labels: the {what} {twice[0]!r} is there twice")
    return [pair[1] for pair in pairs], {value: name for value, name in pairs}


def numbered(labels: pa.Array, names: list[str], problem: str) -> pa.Array:
    """Labels as `canonical` gives them → what a model is trained with; a single label that is null is -1.

    int64 class numbers; float32 [classes] of 0 and 1 as lists; float32 numbers.
    """
    if problem == "regression":
        return labels.cast(pa.float32())
    if problem == "single_label":
        return pc.fill_null(pc.index_in(labels, pa.array(names, pa.string())).cast(pa.int64()), -1)
    made = np.zeros((len(labels), len(names)), np.float32)
    rows = np.repeat(np.arange(len(labels)), pc.fill_null(pc.list_value_length(labels), 0).to_numpy())
    place = pc.index_in(labels.flatten(), pa.array(names, pa.string()))
    there = place.is_valid().to_numpy(zero_copy_only=False)
    made[rows[there], place.drop_null().to_numpy()] = 1
    offsets = pa.array(np.arange(len(labels) + 1) * len(names), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(made.reshape(-1)))
