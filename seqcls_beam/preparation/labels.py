"""Labels: from what stands in a column to the numbers a classifier learns."""

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation import splits
from seqcls_beam.rows import is_list
from seqcls_beam.runs.run import RunError

MOST_NAMES = 10_000
"""A column with more different values is no column of labels."""

_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
NUMBER = "a number (--problem=regression)"
"""For `refuse_many`, of the command that has this option."""

_FOR_NOTHING = {"nan", "none", "null", "nil", "nat", "na", "n/a", "<na>", "#n/a", r"\n"}
_USUAL = ",;|"  # characters that stand between labels, and seldom in the name of one …
_OTHERS = "\t/&+ "  # … and those that do
_VECTOR = re.compile(r"[01](?:([ \t,;|]?)[01](?:\1[01])*)")


def canonical(values: pa.Array, problem: str) -> tuple[pa.Array, pa.Array]:
    """A column → (its labels; which rows have none that can be read, bool).

    Labels are string for `single_label`; float64, finite as float32, for `regression`. An empty string is no label.
    """
    if problem == "regression":
        return _numbers(values)
    found = names(values)
    return found, pc.is_null(found)


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
    return pc.replace_substring_regex(found, f"^{_WHOLE.pattern}$", r"\1")


def whole_name(name: str) -> str:
    """As `whole`."""
    found = _WHOLE.fullmatch(name)
    return found[1] if found else name


def is_whole(name: str) -> bool:
    """Whether a name spells a whole number."""
    return _WHOLE.fullmatch(name) is not None


def is_number(name: str) -> bool:
    """Whether a name spells a number, in decimals, with a point or a comma."""
    return _NUMBER.fullmatch(name.replace(",", ".")) is not None


def is_fraction(name: str) -> bool:
    """Whether a name spells a number that is not whole."""
    return is_number(name) and not float(name.replace(",", ".")).is_integer()


def _numbers(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        numbers = values.cast(pa.float64(), safe=False)  # beyond 2^53 the nearest, as it is learned
    else:
        numbers = pa.array([_number(each) for each in values.cast(pa.string()).to_pylist()], pa.float64())
    numbers = pc.if_else(pc.is_finite(numbers.cast(pa.float32())), numbers, None)  # as they are learned
    return numbers, pc.is_null(numbers)


def _number(text: str | None) -> float | None:
    # Python's float would take 1_5 and digits of any script.
    return float(text) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def no_numbers(values: pa.Array, missing: pa.Array) -> dict[int, str]:
    """Of the rows of a column that are `missing` for `regression` those in which something stands, and what."""
    found = {}
    for row in pc.indices_nonzero(pc.and_(missing, pc.is_valid(values))).to_pylist():
        value = values[row].as_py()
        # A nan of a float column is what pandas has for nothing.
        if not (isinstance(value, float) and math.isnan(value)) and str(value).strip():
            found[row] = str(value).strip()
    return found


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


def refuse_many(found: set[str], said: str, number: str = "a number") -> None:
    """Raise `RunError` where there are too many different labels to be labels.

    `said` is where they stand, `number` what to call a number that they may be.
    """
    if len(found) > MOST_NAMES:
        raise RunError(
            f"{said} holds more than {MOST_NAMES:,} different values: is it {number}, or is the label in another "
            "column?"
        )


def found_in(read: list[dict[str, Any]]) -> set[str]:
    """Records of the stage read → the labels that were found, as they are spelled there."""
    counts = [each for record in read for each in record["label_counts"]]
    names = {name for split, name, _ in counts if split != str(splits.TEST)}
    tested = {name for split, name, _ in counts if split == str(splits.TEST)}
    # GLUE writes -1 for the labels of a test set that it keeps to itself.
    return names | {each for each in tested if whole_name(each) != "-1"}


def for_nothing(found: Iterable[str]) -> str:
    """What is said of names of classes that programs write where there is no value; empty where there are none."""
    like = sorted(each for each in found if each.casefold() in _FOR_NOTHING)
    if not like:
        return ""
    return f", {', '.join(map(repr, like))} among them (where no label is meant by it, name the others with --labels)"


def doubt(found: set[str], option: str, several: bool) -> str | None:
    """What else labels that were found under an option could be than names, and what decides; None where nothing.

    Of rows that have `several` labels, or one each.
    """
    numbers = [each for each in found if is_number(each)]
    broken = min(filter(is_fraction, numbers), default=None)
    many = 2 * len(numbers) > len(found)  # beside something for a value that is missing, or none such
    if several:
        return soft(broken, option) if many and broken is not None else None
    vectors = {each for each in found if _VECTOR.fullmatch(each)}
    if 2 * len(vectors) > len(found) and len(set(map(len, vectors))) == 1:
        told = _vector(vectors, option)
        if told is not None:
            return told
    if many and broken is not None:
        comma = f"; written with a point), several labels of a row ({_separator(',')}" if "," in broken else ""
        return (
            f"{option} holds numbers that are not whole, such as {broken!r}: are these numbers to be learned "
            f"(--problem=regression{comma}), or names of classes (--problem=single_label)?"
        )
    name, sign = _apart(found)
    if sign:
        return (
            f"{option} holds {name!r}, and each part of it as a label of its own: does such a row have several labels "
            f"({_separator(sign)}), or is this the name of one (--problem=single_label)?"
        )
    return None


def soft(share: str, option: str) -> str:
    """What is said of lists with a number that is not whole."""
    return (
        f"{option} holds lists with {share}: shares or probabilities of labels are not learned from. Give 0 or 1 for "
        f"each label, or the labels that a row has; if {share} is the name of one, name them all with --labels"
    )


def _vector(found: set[str], option: str) -> str | None:
    """What is said of names that are 0 and 1 in one length; None where they may well be whole numbers."""
    shown = min(found)
    signs = {each.strip("01")[:1] for each in found}
    if len(signs) > 1:
        return None
    sign = signs.pop()
    if not sign and (len(shown) == 2 or shown[0] != "0" or max(each.count("1") for each in found) < 2):
        return None
    count = len(shown) if not sign else len(shown) // 2 + 1
    how = _separator(sign) if sign else "write a character between them, and name it with --label_separator"
    return (
        f"{option} holds {shown!r} and the like: do these say 0 or 1 for each of {count} labels ({how}), or are they "
        "names of classes (--problem=single_label)?"
    )


def _apart(found: set[str]) -> tuple[str, str]:
    """(a name whose parts, between a character, are names of their own; the character), empty where there is none."""
    for sign in _USUAL + _OTHERS:
        parts = {each: {part.strip() for part in each.split(sign)} for each in found if sign in each}
        made = [each for each, some in parts.items() if len(some) > 1 and some <= found]
        if made and (sign in _USUAL or len(made) == len(parts)):
            return min(made), sign
    return "", ""


def _separator(sign: str) -> str:
    return "--problem=multi_label --label_separator=" + ("$'\\t'" if sign == "\t" else shlex.quote(sign))


def vocabulary(found: set[str]) -> list[str]:
    """Names that were found → in the order of their numbers if all are whole numbers, else of their characters."""
    numbers = all(re.fullmatch(r"-?[0-9]+", each) for each in found)
    return sorted(found, key=(lambda each: (Decimal(each), each)) if numbers else (lambda each: (0, each)))


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
