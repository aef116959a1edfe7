"""Labels: from what stands in a column to the numbers a classifier learns."""

import math
import re
from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.rows import is_list
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
        found = names(values)
        return found, pc.is_null(found)
    rows = listed(values, separator)
    sets = [None if row is None else sorted({each for each in row if each}) for row in rows]
    return pa.array(sets, pa.list_(pa.string())), pa.array([row is None for row in rows], pa.bool_())


def listed(values: pa.Array, separator: str | None) -> list[list[str | None] | None]:
    """A column of lists, or of strings to be cut at the separator → the names in each row, null for an empty one.

    A row that is empty as a whole is None.
    """
    if not is_list(values.type):
        found = names(values).to_pylist()
        return [row and [part.strip() or None for part in row.split(separator)] for row in found]
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        # By way of Python: Arrow's cast of a list view loses rows behind a null (25.0).
        values = pa.array(values.to_pylist(), pa.list_(values.type.value_type))
    flat = names(values.flatten()).to_pylist()
    lengths = pc.list_value_length(values).to_pylist()
    ends = np.cumsum([length or 0 for length in lengths]).tolist()
    return [None if length is None else flat[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def is_label(kind: pa.DataType) -> bool:
    """Whether values of this type can be labels: strings, numbers and booleans."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    checks = (*texts, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in checks)


def check_kind(kind: pa.DataType, option: str) -> None:
    """Raise `ValueError`, which names the option, for a column of a type that holds no labels."""
    if not is_label(kind.value_type if is_list(kind) else kind):
        raise ValueError(f"{option} holds {kind}: labels are strings, numbers, booleans, or lists of those")


def names(values: pa.Array) -> pa.Array:
    """Values of any plain type → strings; null where there is nothing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_decimal(values.type):
        plain = [None if each is None else format(each, "f") for each in values.to_pylist()]
        return pa.array(
            [each and (each.rstrip("0").rstrip(".") if "." in each else each) for each in plain], pa.string()
        )
    if pa.types.is_float16(values.type):  # for which Arrow has no kernels
        values = values.cast(pa.float32())
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
        integral = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 2.0**53))
        as_numbers = pc.if_else(integral, values, None).cast(pa.int64()).cast(pa.string())
        return pc.if_else(integral, as_numbers, values.cast(pa.string()))
    check_kind(values.type, "--label_column")
    found = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(found, ""), None, found)


def whole(found: pa.Array) -> pa.Array:
    """Names → the same, where one that spells a whole number as 1.0 is 1: so pandas writes a column with gaps."""
    return pc.replace_substring_regex(found, r"^(-?[0-9]+)\.0*$", r"\1")


def _numbers(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
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


def refuse_many(found: set[str], column: str) -> None:
    """Raise `RunError` where there are too many different labels to be labels."""
    if len(found) > MOST_NAMES:
        raise RunError(
            f"--label_column={column} holds more than {MOST_NAMES:,} different values: is it a number "
            "(--problem=regression), or another column?"
        )


def refuse_spellings(found: set[str], column: str) -> None:
    """Raise `RunError` where true or false is there in several spellings: they would be classes of their own."""
    spelled = sorted(each for each in found if each.casefold() in ("true", "false"))
    numbers = sorted(found & {"0", "1"})
    if len({each.casefold() for each in spelled}) < len(spelled) or (spelled and numbers):
        raise RunError(
            f"--label_column={column} holds {', '.join(map(repr, [*numbers, *spelled]))}: whether true is True, or 1, "
            "or a label of its own cannot be told; write all rows alike, or name what is there with --labels"
        )


def vocabulary(found: set[str]) -> list[str]:
    """Names that were found → in the order of their numbers if all are whole numbers, else of their characters."""
    numbers = all(re.fullmatch(r"-?\d+", each) for each in found)
    return sorted(found, key=(lambda each: (int(each), each)) if numbers else (lambda each: (0, each)))


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


def numbered(labels: pa.Array, known: list[str], problem: str) -> pa.Array:
    """Labels as `canonical` gives them → what a model is trained with; a single label that is null is -1.

    int64 class numbers; float32 [classes] of 0 and 1 as lists; float32 numbers.
    """
    if problem == "regression":
        return labels.cast(pa.float32())
    if problem == "single_label":
        return pc.fill_null(pc.index_in(labels, pa.array(known, pa.string())).cast(pa.int64()), -1)
    made = np.zeros((len(labels), len(known)), np.float32)
    rows = np.repeat(np.arange(len(labels)), pc.fill_null(pc.list_value_length(labels), 0).to_numpy())
    place = pc.index_in(labels.flatten(), pa.array(known, pa.string()))
    there = place.is_valid().to_numpy(zero_copy_only=False)
    made[rows[there], place.drop_null().to_numpy()] = 1
    offsets = pa.array(np.arange(len(labels) + 1) * len(known), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(made.reshape(-1)))
