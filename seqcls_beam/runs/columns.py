"""Which columns a table has over all its partitions: what goes together, and what a further run writes.

The types of two partitions go together where every value of one is, as it stands, a value of the other's:

- null, of a column without a value, and any type;
- integers with a sign, or without one, of different widths: the wider;
- types of Arrow that are one type of Parquet, as string and large_string: either;
- any two, where no row of one partition has a value: that of the other. So a column that was written as a string for
  want of a value, or a partition without rows, decides nothing.

Class numbers go together where one list of names begins with the other. A column that only one of them has goes with
anything; two whose names only case tells apart do not. Knows names and types; who has which is told by manifests.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.reading.records import Layout
from seqcls_beam.runs.run import RunError
from seqcls_beam.schema import PREDICTION, PREDICTION_MULTI_LABEL, classes_of, labeled, told, with_classes

_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
_ASKED = {**dict.fromkeys(_SIGNED, "int64"), "string": "string", "double": "float64", "bool": "bool"}
"""A type as Arrow calls it → what to ask --keep_columns for, so that it goes with that."""

_LIST = re.compile(r"list<[^:<>]*: ")
_ELEMENTS = re.compile(r"list<(\w+): (.+)>")
_NULL, _MULTI_LABEL = "null", "multi_label"


class Column(NamedTuple):
    """A column of a partition."""

    name: str
    type: str  # as Arrow writes it
    classes: tuple[str, ...] | None = None  # what its numbers are called
    empty: bool = False  # no row has a value


class Shape(NamedTuple):
    """What the rows of a partition look like."""

    where: str  # what sentences call it
    problem: str | None  # of the model; None: not known, or there are no rows
    columns: list[Column]

    @property
    def blank(self) -> bool:
        """Whether there are no rows."""
        return self.problem is None and all(each.empty for each in self.columns)


class Conflict(NamedTuple):
    """Two that do not go together."""

    told: str  # what is on either side, in a sentence without its end
    column: Column | None = None  # as it was there before; None: the models are of different kinds


@dataclass(frozen=True)
class Fitted:
    """A layout whose columns go with those of a table."""

    layout: Layout
    said: tuple[str, ...] = ()


def listed(schema: pa.Schema, empty: Collection[str] = ()) -> list[dict[str, Any]]:
    """LABELED → what a manifest says under `columns`: name, type and, of class numbers, `classes`, of each.

    So are columns of which no row has a value, where that is known: `empty`.
    """
    return [
        {
            "name": each.name,
            "type": each.type,
            **({"classes": each.classes} if each.classes is not None else {}),
            **({"empty": True} if each.empty else {}),
        }
        for each in _columns(schema, empty)
    ]


def of_all(units: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What `listed` says of each unit of a run → of all of it: empty is what is so in each. Raises `RunError`."""
    try:
        empty = set.intersection(*({each["name"] for each in columns if each.get("empty")} for columns in units))
        return [{**each, "empty": True} if each["name"] in empty else _but_empty(each) for each in units[0]]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"the records of the unfinished run tell of columns {list(units)!r:.80}, which this program did not write; "
            "remove the run's folder under _attempts, and start again"
        ) from error


def _but_empty(column: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in column.items() if key != "empty"}


def shape(where: str, manifest: dict[str, Any]) -> Shape | None:
    """What a manifest says of its rows; None where it has none, or says nothing of them. Raises `RunError`."""
    said = manifest.get("columns")
    if manifest.get("kind", "classify") != "classify" or said is None or not manifest.get("parts"):
        return None
    rows = any(part.get("rows", 1) for part in manifest["parts"])
    try:
        found = [
            Column(
                _text(each["name"]),
                _text(each["type"]),
                tuple(each["classes"]) if "classes" in each else None,
                not rows or each.get("empty") is True,
            )
            for each in said
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{where}: 'columns' is {said!r:.80}, which no command wrote; name another folder") from error
    return Shape(where, problem_of(manifest) if rows else None, found)


def problem_of(manifest: dict[str, Any]) -> str | None:
    """What kind of model labelled a partition; None for a window of a stream, which may have rows of several."""
    for engine in (*manifest.get("engines", []), manifest.get("model")):
        if isinstance(engine, dict) and isinstance(engine.get("problem"), str):
            return str(engine["problem"])
    return None


class Table:
    """Columns of several partitions, as far as they go together."""

    def __init__(self) -> None:
        self._problem: tuple[str, str] | None = None  # and who has it
        self._columns: dict[str, tuple[Column, str]] = {}  # by a name without case; and who has this type

    def add(self, shape: Shape) -> Conflict | None:
        """One more; what of it does not go with those before, and then nothing of it counts."""
        where, problem, columns = shape
        if self._problem and problem and problem != self._problem[0]:
            kind, whose = self._problem
            return Conflict(f"{whose} has rows of a {kind} model, and {where} of a {problem} one")
        joined: dict[str, tuple[Column, str]] = {}
        for each in columns:
            before, whose = self._columns.get(each.name.casefold(), (each, where))
            both = _joined(before, each)
            if both is None:
                one, other = _told_apart(before, each)
                return Conflict(f"column {before.name!r} is {one} in {whose}, and {other} in {where}", before)
            joined[each.name.casefold()] = both, whose if both == before else where
        self._columns |= joined
        self._problem = self._problem or ((problem, where) if problem else None)
        return None

    def __iter__(self) -> Iterator[Column]:
        return (column for column, _ in self._columns.values())

    def of(self, name: str) -> tuple[Column, str] | None:
        """A column, and who has this type of it."""
        return self._columns.get(name.casefold())


def wider(one: str, other: str) -> str | None:
    """The type that holds every value of two as it stands; None where there is none, or digits would change."""
    if one == other or other == _NULL:
        return one
    if one == _NULL:
        return other
    for widths in (_SIGNED, _UNSIGNED):
        if one in widths and other in widths:
            return max(one, other, key=widths.index)
    if _stored(one) == _stored(other):
        return max(one, other, key=lambda kind: kind.count("large_"))
    return None


class File(NamedTuple):
    """The columns of a file of rows."""

    where: str  # what sentences call its partition
    problem: str | None  # of the model that labelled it; None: any
    schema: pa.Schema
    empty: Collection[str] = ()  # columns of which no row of the partition has a value


def unified(output: str, found: Sequence[File]) -> pa.Schema:
    """Files → all columns, under types that hold what is in all of them. Raises `RunError` where there are none."""
    table, fields = Table(), dict[tuple[str, str], pa.Field]()
    for where, problem, schema, empty in found:
        if conflict := table.add(Shape(where, problem, list(_columns(schema, empty)))):
            raise RunError(f"{output}: {conflict.told}, which is no one table; label one of them again")
        fields = {(each.name, str(each.type)): each for each in schema} | fields
    metadata = found[0].schema.metadata
    same = all(each.schema.metadata == metadata for each in found)  # else `scores` are in several orders
    made = [with_classes(fields[each.name, each.type], each.classes) for each in table]
    return pa.schema(made, metadata if same else None)


def refusal(output: str, mine: Shape, there: Iterable[Shape]) -> str | None:
    """Why rows cannot stand beside those of other partitions; None where they can."""
    for each in there:
        table = Table()
        table.add(each)
        if conflict := table.add(mine):
            return f"--output={output}: {conflict.told}; {_cure(conflict.column)}"
    return None


def fit(
    output: str,
    layout: Layout,
    problem: str,
    there: list[Shape],
    first: Callable[[], pa.RecordBatch],
    where: str = "this run",
) -> Fitted:
    """A layout → the one under which its rows go with those of other partitions, and what is to be told of that.

    A narrower integer is written as it is there. So is what would be a string for want of a value: a column of which
    the `first` RECORD batch, asked for where types differ, has no value. Raises `RunError` where something does not go.
    """
    table = labeled(layout.keep, problem == _MULTI_LABEL, layout.sourced)
    mine, said = list(_columns(table)), list[str]()
    for number, kept in enumerate(layout.keep):
        typed = _typed(mine[number].name, there)
        (asked,) = typed if len(typed) == 1 else ("",)
        guessed = kept.type == pa.string() and kept.name not in layout.texts and asked not in ("", "string")
        if guessed and _of(asked) is not None and not pc.any(first()["keep"].field(number).is_valid()).as_py():
            mine[number] = mine[number]._replace(type=asked)
            said.append(
                f"column {kept.name!r} has no value in the first rows: written as {asked}, as in other partitions"
            )
    if reason := refusal(output, Shape(where, problem, mine), there):
        raise RunError(reason)
    all_of_it = Table()
    for each in (Shape(where, problem, mine), *there):
        all_of_it.add(each)  # partitions that do not go together are told of to their readers
    fields = []
    for kept, own in zip(layout.keep, mine, strict=False):
        found = all_of_it.of(own.name)
        wide = _of(found[0].type) if found and found[0].type != str(kept.type) else None
        fields.append(kept if wide is None or _stored(str(wide)) == _stored(str(kept.type)) else kept.with_type(wide))
    return Fitted(replace(layout, keep=pa.schema(fields)), (*said, *_differences(mine, there)))


def _typed(name: str, there: list[Shape]) -> set[str]:
    """The types that other partitions have a column under, those with values before those without."""
    found = [each for one in there for each in one.columns if each.name == name and each.type != _NULL]
    return {each.type for each in found if not each.empty} or {each.type for each in found}


def _differences(mine: list[Column], there: list[Shape]) -> Iterator[str]:
    """What is told of columns that only one side has."""
    before = {each.name: None for one in there for each in one.columns}
    new = [each.name for each in mine if there and each.name not in before]
    lacking = [name for name in before if name not in {each.name for each in mine}]
    if new:
        yield f"columns that are not in other partitions, and null there: {', '.join(map(repr, new))}"
    if lacking:
        yield f"columns of other partitions that are not here, and null: {', '.join(map(repr, lacking))}"


def _joined(one: Column, other: Column) -> Column | None:
    if one.name != other.name:
        return None
    both = _widened(one, other)
    if both is None and (one.empty or other.empty):
        both = other if one.empty else one
    return both._replace(empty=one.empty and other.empty) if both is not None else None


def _widened(one: Column, other: Column) -> Column | None:
    kind = wider(one.type, other.type)
    if kind is None:
        return None
    if _NULL in (one.type, other.type):  # no number is called anything
        return one if other.type == _NULL else other
    names = [one.classes, other.classes]
    if one.classes is None or other.classes is None:
        return one._replace(type=kind) if names == [None, None] else None
    short, long = sorted((one.classes, other.classes), key=len)
    return Column(one.name, kind, long) if long[: len(short)] == short else None


def _told_apart(one: Column, other: Column) -> tuple[str, str]:
    """What of two columns differs, as a sentence has it."""
    if one.name != other.name:
        return one.type, f"{other.name!r}, {other.type},"
    if wider(one.type, other.type) is None:
        return one.type, other.type
    first, second = (
        f"{each.type} "
        + ("without names of classes" if each.classes is None else f"of the classes {told(each.classes)}")
        for each in (one, other)
    )
    return first, second


def _cure(column: Column | None) -> str:
    if column is None:
        return "a table has rows of one kind, also while it is labelled again: label all of it into another folder"
    ours = {field.name for field in (*PREDICTION, *PREDICTION_MULTI_LABEL)}
    asked = _ASKED.get(column.type)
    if asked and column.classes is None and column.name not in ours:
        name = column.name.removeprefix("input_")
        return f"say --keep_columns={name}:{asked} to keep it so, leave it out, or name another folder"
    return "leave it out of --keep_columns, or name another folder"


def _columns(schema: pa.Schema, empty: Collection[str] = ()) -> Iterator[Column]:
    return (Column(each.name, str(each.type), classes_of(each), each.name in empty) for each in schema)


def _stored(kind: str) -> str:
    """A type as Parquet has it: one kind of strings and of lists, whose elements have no name of their own."""
    return _LIST.sub("list<item: ", kind.replace("large_", ""))


def _of(kind: str) -> pa.DataType | None:
    """The type that Arrow writes so; None where it does not say all of it in a word, or it is no list of such."""
    if (inner := _ELEMENTS.fullmatch(kind)) is not None:
        element = _of(inner[2])
        return None if element is None else pa.list_(pa.field(inner[1], element))
    try:
        return pa.type_for_alias(kind)
    except ValueError:
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value
