"""Gold labels: from what stands in a column to the numbers of the model's labels."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation.labels import canonical, numbered, pinned

Array = npt.NDArray[Any]


class Read(NamedTuple):
    """A column of gold labels, read. Rows that are missing or unknown have any number."""

    gold: Array  # as in `Outcomes`
    missing: Array  # bool [rows]: there is no label
    unknown: dict[int, str]  # rows whose label is none of the model's → what stands there


@dataclass(frozen=True)
class Gold:
    """How gold labels are read."""

    problem: str
    labels: tuple[str, ...]  # the model's
    values: tuple[tuple[str, str], ...] = ()  # what stands in the column → the model's label
    separator: str | None = None
    numbers: bool = False  # the column holds what a model is trained with, as prepared shards do; -1 is no label

    def read(self, column: pa.Array) -> Read:
        """A column → its labels."""
        if self.numbers:
            return self._read_numbers(column)
        plain, missing = canonical(column, self.problem, self.separator)
        gone = missing.to_numpy(zero_copy_only=False)
        if self.problem == "regression":
            return Read(pc.fill_null(plain, 0.0).to_numpy().astype(np.float32), gone, {})
        flat = plain.flatten() if self.problem == "multi_label" else plain
        place = pc.index_in(flat, pa.array([value for value, _ in self.values], pa.string()))
        names = pa.array([name for _, name in self.values], pa.string()).take(place)
        strange = np.flatnonzero(pc.and_(pc.is_valid(flat), pc.is_null(place)).to_numpy(zero_copy_only=False))
        told = flat.take(pa.array(strange)).to_pylist()
        if self.problem == "multi_label":
            lengths = pc.fill_null(pc.list_value_length(plain), 0).to_numpy()
            rows = np.repeat(np.arange(len(plain)), lengths)[strange]
            names = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths)), pa.int32()), names)
        else:
            rows = strange
        gold = numbered(names, list(self.labels), self.problem)
        unknown = dict(zip(rows[::-1].tolist(), told[::-1], strict=True))  # of several in a row the first
        return Read(self._array(gold), gone, unknown)

    def _read_numbers(self, column: pa.Array) -> Read:
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        if self.problem == "single_label":
            gold = pc.fill_null(column, -1).to_numpy()
            return Read(np.maximum(gold, 0), gold < 0, {})
        return Read(self._array(column), missing, {})

    def _array(self, numbers: pa.Array) -> Array:
        if self.problem == "multi_label":
            return np.asarray(numbers.flatten().to_numpy(zero_copy_only=False)).reshape(-1, len(self.labels))
        return np.asarray(numbers.to_numpy(zero_copy_only=False))


def values_of(labels: tuple[str, ...], asked: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    """`--labels`, or its absence → what may stand in the column for each of a model's labels.

    Without `asked` that is the label's name, or its number from 0 where that is no name. Raises `ValueError` for a
    name that the model does not have.
    """
    if asked is None:
        numbers = {str(number): name for number, name in enumerate(labels)}
        return tuple({**numbers, **{name: name for name in labels}}.items())
    names, values = pinned(asked)
    strange = [name for name in names if name not in labels]
    if strange:
        raise ValueError(
            f"--labels names {', '.join(map(repr, strange))}, and the model's labels are "
            f"{', '.join(map(repr, labels))}: give VALUE:NAME with the name that the model has"
        )
    return tuple(values.items())
