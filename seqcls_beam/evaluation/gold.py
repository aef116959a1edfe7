"""Gold labels: from what stands in a column to the numbers of the model's labels."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation.forms import Form
from seqcls_beam.preparation.labels import numbered, whole
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

_SHOWN = 80  # characters of a value that is of no form
_DIGITS = 18  # enough to tell that a number is no label's place

NAMES, NUMBERS = "names", "numbers from 0"
"""How a value may be read: as what was named for a label, or, where there is no such name, as the label's number."""


class Read(NamedTuple):
    """A column of gold labels, read. Rows that are missing or unknown have any number."""

    gold: Array  # as in `Outcomes`
    missing: Array  # bool [rows]: there is no label
    unknown: dict[int, str]  # rows whose label is none of the model's → what stands there
    ways: dict[str, Array]  # NAMES, NUMBERS → the rows, int64, in which values were read so; absent where none were
    first: dict[str, str]  # and the first such value
    span: tuple[int, int] | None = None  # the lowest and highest whole number, where it may be a label's


@dataclass(frozen=True)
class Gold:
    """How gold labels are read."""

    problem: str
    labels: tuple[str, ...]  # the model's
    values: tuple[tuple[str, str], ...] = ()  # what stands in the column → the model's label
    separator: str | None = None
    form: Form | None = None  # without, plain labels, or those that `separator` cuts apart
    of_shards: bool = False  # the column holds what a model is trained with: class numbers, -1 for no label, and so on
    or_numbers: bool = False  # a value that is none of `values` may be a label's number from 0

    @property
    def way(self) -> str:
        """How the column is read where it holds no value that says: NAMES, NUMBERS, "mapped" or "numbers"."""
        if self.problem == "regression":
            return "numbers"
        if self.of_shards:
            return NUMBERS
        if self.form is not None and self.form.places and not self.form.undecided:
            return self.form.said
        return NAMES if all(value == name for value, name in self.values) else "mapped"

    def column(self, columns: dict[str, pa.Array], name: str, prefix: str = "") -> pa.Array:
        """Columns by name → what `read` takes: the one of this name, or a struct of those that hold a label each."""
        if self.form is None or not self.form.columns:
            return columns[prefix + name]
        return pa.StructArray.from_arrays([columns[prefix + each] for each in self.form.columns], self.form.columns)

    def read(self, column: pa.Array) -> Read:
        """A column as `column` gives it → its labels.

        Raises `RunError` for numbers of a shard that are none of the model's labels.
        """
        if self.of_shards:
            return self._read_shards(column)
        form = self.form if self.form is not None else Form(self.separator)
        plain, missing, wrong = form.read(column, self.problem, {value for value, _ in self.values})
        gone = missing.to_numpy(zero_copy_only=False)
        if self.problem == "regression":
            unknown = {row: shown(column, row) for row in wrong}
            return Read(pc.fill_null(plain, 0.0).to_numpy().astype(np.float32), gone, unknown, {}, {})
        several = self.problem == "multi_label"
        flat = plain.flatten() if several else plain
        lengths = pc.fill_null(pc.list_value_length(plain), 0).to_numpy() if several else np.ones(len(plain), np.int64)
        owner = np.repeat(np.arange(len(plain)), lengths)
        names, by = self._named(flat)
        # Of vectors the places are known, whatever their names look like.
        ways = {} if form.places else {way: np.unique(owner[rows]) for way, rows in by.items()}
        first = {way: flat[int(by[way][0])].as_py() for way in ways}
        span = _span(flat) if self.or_numbers and not form.places else None
        strange = np.flatnonzero(pc.and_(pc.is_valid(flat), pc.is_null(names)).to_numpy(zero_copy_only=False))
        told = flat.take(pa.array(strange)).to_pylist()
        if several:
            names = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths)), pa.int32()), names)
        gold = numbered(names, list(self.labels), self.problem)
        # Of several in a row the first.
        unknown = dict(zip(owner[strange][::-1].tolist(), told[::-1], strict=True))
        unknown |= {row: shown(column, row) for row in wrong}
        return Read(self._array(gold), gone, unknown, ways, first, span)

    def _named(self, flat: pa.Array) -> tuple[pa.Array, dict[str, Array]]:
        """Values → (the labels that they mean, null for none; which were read in which way, where any were)."""
        # A whole number may be written as pandas writes a column with gaps: 1.0.
        plain = whole(flat)
        values = pa.array([value for value, _ in self.values], pa.string())
        place = pc.coalesce(pc.index_in(flat, values), pc.index_in(plain, whole(values)))
        names = pa.array([name for _, name in self.values], pa.string()).take(place)
        by = {NAMES: place}
        if self.or_numbers:
            digits = pa.array([str(number) for number in range(len(self.labels))], pa.string())
            by[NUMBERS] = pc.if_else(pc.is_null(place), pc.index_in(plain, digits), None)
            names = pc.coalesce(names, pa.array(self.labels, pa.string()).take(by[NUMBERS]))
        rows = {way: np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False)) for way, found in by.items()}
        return names, {way: found for way, found in rows.items() if len(found)}

    def _read_shards(self, column: pa.Array) -> Read:
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        size = len(self.labels)
        if self.problem == "single_label":
            gold = pc.fill_null(column, -1).to_numpy()
            strange = gold[(gold < -1) | (gold >= size)]
            if len(strange):
                raise RunError(
                    f"the column 'labels' of the shards holds class number {strange[0]}, and the model has {size:,} "
                    f"labels, 0 to {size - 1:,}: the shards are not those that the manifest speaks of"
                )
            return Read(np.maximum(gold, 0), gold < 0, {}, {}, {})
        if self.problem == "multi_label":
            lengths = pc.unique(pc.list_value_length(column.drop_null())).to_pylist()
            flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
            if lengths not in ([], [size]) or not np.isin(flat, (0, 1)).all():
                raise RunError(
                    f"the column 'labels' of the shards must hold {size:,} numbers a row, each 0 or 1, one for each of "
                    "the model's labels: the shards are not those that the manifest speaks of"
                )
            filled = np.zeros((len(column), size), np.float32)
            filled[~missing] = flat.reshape(-1, size)
            return Read(filled, missing, {}, {}, {})
        gold = pc.fill_null(column, 0.0).to_numpy()
        if not np.isfinite(gold).all():
            raise RunError("the column 'labels' of the shards holds values that are no finite numbers")
        return Read(gold, missing, {}, {}, {})

    def _array(self, numbers: pa.Array) -> Array:
        if self.problem == "multi_label":
            return np.asarray(numbers.flatten().to_numpy(zero_copy_only=False)).reshape(-1, len(self.labels))
        return np.asarray(numbers.to_numpy(zero_copy_only=False))


def _span(values: pa.Array) -> tuple[int, int] | None:
    """The lowest and the highest whole number among values, each of at most its first `_DIGITS` digits."""
    plain = pc.unique(values).drop_null()
    found = pc.extract_regex(plain, r"^(?P<sign>[+-]?)0*(?P<digits>[0-9]+)(?:\.0*)?$").drop_null().to_pylist()
    numbers = [int(each["sign"] + each["digits"][:_DIGITS]) for each in found]
    return (min(numbers), max(numbers)) if numbers else None


def shown(column: pa.Array, row: int) -> str:
    """What stands in a row, in some characters."""
    value = column[row].as_py()
    told = ", ".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else str(value)
    return told if len(told) <= _SHOWN else told[: _SHOWN - 1] + "…"


def pairs_of(asked: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`--labels` → (value in the column, name of the label). Each is NAME, or VALUE:NAME.

    Several values may have one name. Raises `ValueError` for a value that is there twice.
    """
    pairs = [each.split(":", 1) if ":" in each else [each, each] for each in asked]
    twice = [value for value, count in Counter(value for value, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"--labels: the value {twice[0]!r} is there twice")
    return tuple((value, name) for value, name in pairs)


def names_of(asked: tuple[str, ...]) -> tuple[str, ...]:
    """`--labels` → the names in it, in order, each once."""
    return tuple(dict.fromkeys(name for _, name in pairs_of(asked)))


def values_of(labels: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    """`--labels`, or its absence → what may stand in the column for each of a model's labels: without, its name.

    Raises `ValueError` for a name that the model does not have.
    """
    if asked is None:
        return tuple((name, name) for name in labels)
    pairs = pairs_of(asked)
    strange = [name for name in names_of(asked) if name not in labels]
    if strange:
        raise ValueError(
            f"--labels names {', '.join(map(repr, strange))}, and the model's labels are "
            f"{', '.join(map(repr, labels))}: give VALUE:NAME with the name that the model has"
        )
    return pairs


def countable(labels: tuple[str, ...], asked: tuple[str, ...] | None) -> bool:
    """Whether a number in the column may stand for a label's place: not where `--labels` says what stands there.

    Nor where a name has a digit: "1" to "5", or "1 star" to "5 stars", are likelier to be coded from 1 than from 0.
    """
    return asked is None and not any(re.search(r"\d", name) for name in labels)
