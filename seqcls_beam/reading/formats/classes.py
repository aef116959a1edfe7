"""What class numbers are called, file by file: no value is kept under names that its own file does not have for it."""

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.reading.formats.columns import Layout, cast, shown, true_rows
from seqcls_beam.rows import is_list
from seqcls_beam.schema import classes_of, told

Classes = tuple[str, ...] | None
"""What a file calls the class numbers from 0 in a column; None where it does not say it, or has no such numbers."""

_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"


def strange(values: pa.Array, field: pa.Field, called: Classes, layout: Layout) -> dict[int, tuple[str, str]]:
    """Rows of a kept column whose value is none that the column may have beside those of other files → why.

    `called` is what their file calls the numbers. A string of a file with names is such a name by now.
    """
    name, planned = field.name, classes_of(field)
    if name in layout.numbers:
        return {}
    if name in layout.named:
        some = true_rows(pc.match_substring_regex(values, _NUMBER)) if called is None else []
        why = "is that a name, or the number of a class? This file does not say it, and others have names for theirs"
        return {row: ("wrong_type", f"{shown(name)} is {values[row].as_py()!r}: {why}") for row in some}
    if called == planned:
        return {}
    why = f"{shown(name)} has {_told(called)} in this file, and {_told(planned)} in the first"
    if called and planned and _by_one_name(values.type, called) and "keep_columns" in layout.options.naming:
        why += f"; --keep_columns={shown(name)[1:-1]}:string keeps each by its name"
    return dict.fromkeys(true_rows(values.is_valid()), ("wrong_type", why))


def by_name(
    values: pa.Array, field: pa.Field, called: Classes, layout: Layout, rejects: dict[int, tuple[str, str]]
) -> pa.Array:
    """Class numbers of a file that names them → the names, where these are kept; -1, as null, is no class."""
    if called is None or field.name not in layout.named or field.name in layout.numbers:
        return values
    if not _by_one_name(values.type, called):
        why = f"{shown(field.name)} has {_told(called)}, of which no name alone says which it is"
        rejects.update(dict.fromkeys(true_rows(values.is_valid()), ("wrong_type", why)))
        return pa.nulls(len(values), pa.string())
    numbers, unfit = cast(values, pa.int64())
    there = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(called)))
    names = pa.array(called, pa.string()).take(pc.if_else(there, numbers, None))
    for row in [*unfit, *true_rows(pc.and_(pc.invert(there), pc.not_equal(numbers, -1)))]:
        why = f"{shown(field.name)} is {values[row]}, and the classes of this file are 0 to {len(called) - 1}"
        rejects[row] = ("wrong_type", why)
    return names


def _by_one_name(kind: pa.DataType, called: tuple[str, ...]) -> bool:
    """Whether a value is one number, and has a name of its own."""
    return not is_list(kind) and len(set(called)) == len(called)


def _told(classes: Classes) -> str:
    return "no names of classes" if classes is None else f"the classes {told(classes)}"
