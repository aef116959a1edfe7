"""What `--group_by` makes of a column: the values that tie a row to others, and their digests."""

import pyarrow as pa

from seqcls_beam.preparation.blocks import offsets_of
from seqcls_beam.preparation.keys import as_bytes, digests
from seqcls_beam.preparation.labels import is_label, listed, names, whole
from seqcls_beam.preparation.written import like_lists, written
from seqcls_beam.rows import is_list


def check_groups(schema: pa.Schema, columns: tuple[str, ...]) -> None:
    """Raise `ValueError` for a column whose values are no single ones, nor lists of those."""
    for name in columns:
        kind = schema.field(name).type
        inner = kind.value_type if is_list(kind) else kind
        if pa.types.is_nested(inner) or (is_list(kind) and not is_label(inner)):
            raise ValueError(
                f"--group_by={name} holds {kind}: rows are grouped by strings, numbers, dates and the like, or by what "
                "stands in lists of strings, numbers or booleans"
            )


def values(column: pa.Array) -> list[list[bytes]]:
    """A column → the values that group each row: one, each of a list, which may be written as text, or none.

    As with labels 7.0 is 7, blanks around a text are no part of it, and a text without any other is none.
    """
    if is_list(column.type):
        rows = [[each for each in row or () if each is not None] for row in listed(column, None)]
    elif is_label(column.type):
        found = names(column)
        rows = [[] if each is None else [each] for each in found.to_pylist()]
        for row in like_lists(found, ()):
            # Two values in place of one tie more rows, never fewer, so a name in brackets does no harm.
            inside = written(rows[row][0])
            rows[row] = rows[row] if inside is None else [each for each in inside if each is not None]
    else:
        return [[] if each is None else [as_bytes(each)] for each in column.to_pylist()]
    spelled = iter(whole(pa.array([each for row in rows for each in row], pa.string())).to_pylist())
    return [[as_bytes(next(spelled)) for _ in row] for row in rows]


def groups(columns: list[pa.Array], seed: int) -> pa.Array:
    """Columns that group rows, one at least → the digests of their values, list<uint64>."""
    of_rows = [
        [value for number, each in enumerate(row) for value in _numbered(number, each)]
        for row in zip(*map(values, columns), strict=True)
    ]
    flat = digests(pa.array([each for row in of_rows for each in row], pa.binary()), seed)[:, 0]
    return pa.ListArray.from_arrays(
        pa.array(offsets_of([len(row) for row in of_rows]), pa.int32()), pa.array(flat, pa.uint64())
    )


def value_of(columns: list[pa.Array], digest: int, seed: int) -> tuple[int, str] | None:
    """(the column that has it, the value) of a digest, in the first row of columns; None where it is none of theirs."""
    for number, column in enumerate(columns):
        for value, numbered in zip(values(column)[0], _numbered(number, values(column)[0]), strict=True):
            if int(digests(pa.array([numbered], pa.binary()), seed)[0, 0]) == digest:
                return number, value.decode("utf-8", "replace")
    return None


def _numbered(column: int, found: list[bytes]) -> list[bytes]:
    """Values of a column, which another column's do not equal."""
    return [b"%d:" % column + each for each in found]
