"""Which columns of the input are read and kept, under which types; and values of other types brought to those.

Which columns a file has is told by the format modules.
"""

import math
import reprlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats.encodings import of
from seqcls_beam.rows import leaves, with_lists
from seqcls_beam.schema import classes_of, with_classes

_TAKEN = 2**28  # bytes reserved at once
_MANY = 20  # columns that a sentence names
MAX_KEPT = 2**14
"""Columns that may be kept, those in structs too: each takes some kilobytes in every stage, whatever stands in it."""
_NAMES = reprlib.Repr()
_NAMES.maxstring, _NAMES.fillvalue = 80, "…"

TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
"""The types that `keep_columns` may pin."""


@dataclass(frozen=True)
class Layout:
    """What every RECORD batch of a run looks like; pinned once on the launcher so that all parts agree."""

    options: ReadOptions
    keep: pa.Schema  # the kept columns, names and types
    folders: tuple[str, ...] = ()  # those of them, the last ones, that are names of folders such as lang=en
    sourced: bool = False  # what is labelled says where it came from
    numbers: tuple[str, ...] = ()  # those of which somebody says what class numbers mean, whatever files call them
    named: tuple[str, ...] = ()  # those kept as strings that are names, of class numbers, in some files
    both: tuple[str, ...] = ()  # columns that the first files have, and their folders, too

    @property
    def in_files(self) -> "Layout":
        """The same without what folders are called: what a format module reads."""
        return replace(self, keep=pa.schema(list(self.keep)[: len(self.keep) - len(self.folders)]), folders=())

    @property
    def texts(self) -> list[str]:
        """The text columns: one, or two of a pair."""
        return text_columns(self.options)

    @property
    def names(self) -> list[str]:
        """The columns that are read, texts first, each once."""
        return list(dict.fromkeys([*self.texts, *self.keep.names]))


def shown(name: str) -> str:
    """A name as sentences have it: in quotes, of a long one the beginning and the end, no sign that does not print."""
    return _NAMES.repr(name)


def listed(names: Iterable[str]) -> str:
    """Names of columns, in quotes, of many the first; "none" where there is none."""
    told = [*names]
    more = f" and {len(told) - _MANY:,} more" if len(told) > _MANY else ""
    return ", ".join(map(shown, told[:_MANY])) + more or "none"


def untyped(name: str, options: ReadOptions) -> str:
    """What to do about a column that has no one type, with an option that the command has."""
    if "keep_columns" in options.naming:
        return f"say --keep_columns={shown(name)[1:-1]}:string to keep it as text, as it is written, or leave it out"
    return "write it alike in all files, or name another one with " + _options(options.naming[2:])


def _options(names: Iterable[str]) -> str:
    *others, last = (f"--{name}" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def text_columns(options: ReadOptions) -> list[str]:
    """The text columns: one, or two of a pair."""
    pair = options.text_pair_column
    return [options.text_column] if pair is None else [options.text_column, pair]


def pin(options: ReadOptions, format: str, there: pa.Schema | None, where: str = "the first files") -> Layout:
    """Options + the columns of the first files → Layout.

    `there` is None where no file has columns to show (all are empty): the options are then taken at their word. `where`
    is what sentences call the files. Raises `ValueError` for a column that is not there or there twice, that has no one
    type, or that is a text of another type, and for an encoding that is none.
    """
    of(options.encoding)
    texts = text_columns(options)
    needed = [*([options.id_column] if options.id_column is not None else []), *texts]
    names, pins = _requests(options, needed, [] if there is None else there.names, format)
    if options.id_column is not None and options.id_column not in names:
        names.insert(0, options.id_column)
    for name in texts:
        if pins.get(name, pa.string()) != pa.string():
            raise ValueError(f"column {shown(name)} is asked for as {pins[name]}, and is the text, which is a string")
    if there is not None:
        # A key of JSON lines may be too rare for the sample; with its type it is taken on trust.
        trusted = set(pins) - set(needed) if format == "jsonl" else set()
        cure = other_delimiter(there.names) + quoted_names(there.names, options) if format in ("csv", "tsv") else ""
        _require([*needed, *names], there, trusted, cure, options, where)
    types = {} if there is None else {field.name: field.type for field in there}
    without = [name for name in names if name not in pins and pa.types.is_null(types.get(name, pa.string()))]
    if without:
        raise ValueError(
            f"column {shown(without[0])} of the first files has no one type that it can be kept under: its values "
            f"are of several, or objects without keys; {untyped(without[0], options)}"
        )
    kept = [pa.field(name, pins.get(name) or types.get(name, pa.string())) for name in names]
    count = sum(leaves(field.type) for field in kept)
    if count > MAX_KEPT:
        raise ValueError(
            f"{count:,} columns of {where} would be kept, such as {shown(names[-1])}, and at most {MAX_KEPT:,} "
            "can be; name those that are wanted with --keep_columns"
        )
    # As a string a class number is kept by its name; true is no number.
    numbers = [field for field in there or () if pins.get(field.name) not in (pa.string(), pa.bool_())]
    classes = {field.name: classes_of(field) for field in numbers}
    return Layout(options, pa.schema([with_classes(each, classes.get(each.name)) for each in kept]))


def _requests(
    options: ReadOptions, needed: list[str], there: list[str], format: str
) -> tuple[list[str], dict[str, pa.DataType]]:
    """Names to keep, in order, each once; and the types that were asked for."""
    if options.keep_columns is None:
        return list(dict.fromkeys(there if format == "parquet" else needed)), {}
    names: list[str] = []
    pins = {}
    for request in options.keep_columns:
        name, type = requested(request)
        if type is not None:
            pins[name] = type
        names += (there or needed) if name == "*" else [name]
    return list(dict.fromkeys(names)), pins


def requested(request: str) -> tuple[str, pa.DataType | None]:
    """One of `keep_columns` → the name, and the type where one is asked for."""
    name, _, pin = request.rpartition(":")
    return (name, TYPES[pin]) if name and pin in TYPES else (request, None)


def _require(
    names: list[str], there: pa.Schema, trusted: set[str], cure: str, options: ReadOptions, where: str
) -> None:
    known = trusted.union(there.names)
    missing = [name for name in dict.fromkeys(names) if name not in known]
    if missing:
        blanks = [name for name in there.names if name.strip() in missing]
        raise ValueError(
            f"no column {listed(missing)} in the first files; the columns there are {listed(there.names)}{cure}"
            + (f"; {shown(blanks[0])} is to be named with its blanks" if blanks else "")
            + f" (see {_options(options.naming)}"
            + (f"; types are {', '.join(TYPES)})" if "keep_columns" in options.naming else ")")
        )
    twice = [name for name, count in Counter(there.names).items() if count > 1 and name in names]
    if "" in twice:
        raise ValueError(
            f"{there.names.count('')} columns of the first file have no name"
            + ("; name the columns to keep with --keep_columns in place of '*'" * ("keep_columns" in options.naming))
        )
    if twice:
        can_go = "keep_columns" in options.naming and twice[0] not in text_columns(options)
        cure = "name the others with --keep_columns" if can_go else "call one of them otherwise"
        raise ValueError(f"column {shown(twice[0])} stands twice in {where}: its rows would be ambiguous; {cure}")


def other_delimiter(names: list[str]) -> str:
    """What to add to a complaint about the columns of a csv or tsv file that seems to have another delimiter."""
    found = [sign for sign in ";\t|," if len(names) == 1 and sign in names[0]]
    return f"; with --delimiter={found[0]!r} there are {names[0].count(found[0]) + 1}" if found else ""


def quoted_names(names: list[str], options: ReadOptions) -> str:
    """What to add to a complaint about the columns of a file whose names stand in quotes that quote nothing."""
    quoted = len(names) > 0 and all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return "; they stand in quotes, which --quote='\"' takes off" if quoted and not options.quote else ""


def plain(type: pa.DataType) -> pa.DataType:
    """The type under which a column is kept: dictionaries decoded, extensions as stored, nulls as strings …"""
    if isinstance(type, pa.DictionaryType):
        return plain(type.value_type)
    if isinstance(type, pa.BaseExtensionType):
        return plain(type.storage_type)
    if pa.types.is_null(type) or type == pa.string_view():
        return pa.string()
    return pa.binary() if type == pa.binary_view() else with_lists(type)


def stringy(kind: pa.DataType) -> bool:
    """Whether values of a type are strings, however long."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def cast(values: pa.Array, type: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Values → (values of a type, rows that do not fit it, null in the first).

    Whether a value fits never depends on the others: where Arrow refuses them together, they are halved.
    """
    if values.type == type:
        return values, []
    if pa.types.is_list_view(values.type) or pa.types.is_large_list_view(values.type):
        # Arrow's own cast takes views for lists, and so rows for their neighbours.
        values = pa.array(values.to_pylist(), pa.large_list(values.type.value_type))
    if _of_another_kind(values.type, type) or _loses_fields(values.type, type):
        return misfits(values, type)
    try:
        made = values.cast(type)
        rounded = _rounded(values, made)
        return (nulled(made, rounded) if rounded else made), rounded
    except pa.ArrowException:
        if len(values) == 1:
            return pa.nulls(1, type), [0] if values[0].is_valid else []
    half = len(values) // 2
    left, left_bad = cast(values.slice(0, half), type)
    right, right_bad = cast(values.slice(half), type)
    return pa.concat_arrays([left, right]), left_bad + [half + row for row in right_bad]


def misfits(values: pa.Array, type: pa.DataType) -> tuple[pa.Array, list[int]]:
    """What `cast` gives where no value fits: nulls, and the rows that had a value."""
    return pa.nulls(len(values), type), true_rows(values.is_valid())


def _of_another_kind(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether Arrow's cast would make what is not meant: 5 is not true, and a date is no number of days."""
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and (one.tz is None) != (other.tz is None):
        return True  # whose clock it is nobody says
    kinds = {_kind(one), _kind(other)}
    return len(kinds) > 1 and kinds <= {"time", "boolean", "number"}


def _kind(type: pa.DataType) -> str:
    if pa.types.is_temporal(type):
        return "time"
    if pa.types.is_boolean(type):
        return "boolean"
    number = pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type)
    return "number" if number else "other"


def _rounded(values: pa.Array, made: pa.Array) -> list[int]:
    """Rows whose value is another one under the new type.

    To a double it may be rounded: below 2^53 a fraction is what it always is, the nearest double, and so is what is
    written with an exponent. Digits of integers are never lost, and nothing finite becomes infinite.
    """
    if pa.types.is_floating(values.type) and pa.types.is_floating(made.type):
        return true_rows(pc.and_(pc.is_inf(made), pc.invert(pc.is_inf(values))))
    if pa.types.is_temporal(values.type) or (pa.types.is_floating(values.type) and pa.types.is_decimal(made.type)):
        same_kind = _kind(made.type) in ("time", "number")  # a string says all of it
        return true_rows(pc.not_equal(made.cast(values.type, safe=False), values)) if same_kind else []
    if _kind(values.type) == "other" and pa.types.is_boolean(made.type):
        return true_rows(pc.is_in(values, pa.array(["0", "1"], values.type)))  # numbers, as those that are no strings
    if _kind(values.type) == "other" and pa.types.is_integer(made.type):
        return true_rows(pc.match_substring(values, "x", ignore_case=True))  # hexadecimal, to Arrow alone
    if not pa.types.is_floating(made.type):
        return []
    large = pc.and_kleene(pc.greater_equal(pc.abs(made), 2.0**53), pc.invert(pc.is_nan(made)))
    return [row for row in true_rows(large) if not _exact(str(values[row].as_py()), made[row].as_py())]


def true_rows(mask: pa.Array) -> list[int]:
    """Numbers of the rows where a mask is true; where it is null it is not."""
    found: list[int] = np.flatnonzero(mask.fill_null(False).to_numpy(zero_copy_only=False)).tolist()
    return found


def _exact(written: str, number: float) -> bool:
    if math.isinf(number):
        return not any(sign.isdigit() for sign in written)  # it says that it is infinite
    return "e" in written.lower() or Decimal(written.strip()) == Decimal(number)


def _loses_fields(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether Arrow's cast would drop or invent fields of a struct, which it does without a word."""
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        names = {field.name for field in one}
        return names != {field.name for field in other} or any(
            _loses_fields(one.field(name).type, other.field(name).type) for name in names
        )
    if hasattr(one, "value_type") and hasattr(other, "value_type"):
        return _loses_fields(one.value_type, other.value_type)
    return False


def valid_utf8(values: pa.Array) -> bool:
    """Whether binary or string values are all UTF-8."""
    try:
        values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def invalid_rows(values: Iterable[bytes | None]) -> list[int]:
    """Numbers of the values that are not UTF-8."""
    bad = []
    for row, value in enumerate(values):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            bad.append(row)
    return bad


def taken(values: pa.Array, index: pa.Array) -> pa.Array:
    """Values by their numbers, as `take` has them; null where there is none.

    Arrow reserves what a value takes on average for every row, so that a long one among nulls would be terabytes.
    """
    step = max(1, _TAKEN * len(values) // max(values.nbytes, 1))
    if not len(values) or len(index) <= step:
        return values.take(index)
    return pa.concat_arrays([values.take(index.slice(low, step)) for low in range(0, len(index), step)])


def nulled(values: pa.Array, rows: Iterable[int]) -> pa.Array:
    """Values with null in some rows."""
    gone = np.zeros(len(values), bool)
    gone[list(rows)] = True
    return values.take(pa.array(np.arange(len(values)), mask=gone))
