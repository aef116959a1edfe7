"""What files show of a column of labels before any row is worked on: its types, names of classes, the first rows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.preparation.labels import check_kind, is_label
from seqcls_beam.reading.footers import Column, classes_in, columns_of
from seqcls_beam.reading.formats.columns import TYPES
from seqcls_beam.reading.formats.pieces import LOOKED_AT, SAMPLED
from seqcls_beam.reading.records import Layout, plan_layout, read_unit
from seqcls_beam.rows import is_list
from seqcls_beam.schema import Mark, told

ROWS = 1000  # of a file that are looked at
FOOTERS = 1000  # Parquet files whose footer is looked at: each is some requests to a store
_FEW = 10  # classes that an option is shown with
_OFF_AND_ON = {("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("off", "on")}


def first_rows(layout: Layout, files: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """UNIT rows of whole files → the first good rows of the first files that have some, RECORD."""
    layout = replace(layout, options=replace(layout.options, batch_rows=ROWS))
    some = 0
    for number in range(min(len(files), LOOKED_AT)):
        unit = Mark(unit=0, units=1).on(files.slice(number, 1).replace_schema_metadata(None))
        batch = next(read_unit(unit, layout))
        good = batch.filter(pc.is_null(batch["reject"]))
        if len(good):
            yield good
            some += 1
        if some == SAMPLED:
            return


def check_kinds(kinds: list[pa.DataType], option: str) -> None:
    """Raise `ValueError` for types of a column that hold no labels, or not the same ones."""
    for kind in kinds:
        check_kind(kind, option)
    said = ", ".join(sorted({str(kind) for kind in kinds}))
    if len({is_list(kind) for kind in kinds}) > 1:
        raise ValueError(f"{option} holds {said}: lists in some files, and single values in others")
    _check_booleans([kind.value_type if is_list(kind) else kind for kind in kinds], option)


def check_formats(layout: Layout, files: pa.RecordBatch, column: str, option: str) -> None:
    """Raise `ValueError` where a column is of booleans in files of one format and not in those of another.

    A layout has the type that the first files have.
    """
    formats = pc.unique(files["format"])
    kinds = [layout.keep.field(column).type]
    for each in formats if len(formats) > 1 else ():
        with suppress(ValueError):  # whoever reads the files says that they lack it
            kinds.append(
                plan_layout(files.filter(pc.equal(files["format"], each)), layout.options).keep.field(column).type
            )
    _check_booleans([kind for kind in kinds if not is_list(kind)], option)


def _check_booleans(kinds: list[pa.DataType], option: str) -> None:
    some = [kind for kind in kinds if not pa.types.is_null(kind)]
    if len({pa.types.is_boolean(kind) for kind in some}) > 1:
        raise ValueError(
            f"{option} holds {', '.join(sorted(set(map(str, some))))}: whether true is 1 or a label of its own cannot "
            "be told; write all files alike, in one format"
        )


def requests(names: Iterable[str], files: pa.RecordBatch, read: ReadOptions) -> tuple[str, ...]:
    """Names of columns → `keep_columns` that mean them, and not NAME:TYPE; raises `ValueError` for one that is none."""
    made = []
    for name in dict.fromkeys(names):
        plain, _, kind = name.rpartition(":")
        if name != "*" and not (plain and kind in TYPES):
            made.append(name)
            continue
        there = plan_layout(files, replace(read, keep_columns=("*",))).keep
        if name not in there.names:
            raise ValueError(
                f"no column {name!r} in the first files; the columns there are {', '.join(map(repr, there.names))}: "
                "give a name alone, without a type"
            )
        kinds = {each: known for known, each in TYPES.items()}
        made.append(f"{name}:{kinds.get(there.field(name).type, 'string')}")
    return tuple(made)


def check_flags(schema: pa.Schema, columns: tuple[str, ...]) -> None:
    """Raise `ValueError` for a column of a type that cannot hold 0 and 1."""
    for name in columns:
        if not is_label(schema.field(name).type):
            raise ValueError(
                f"--label_columns: {name!r} holds {schema.field(name).type}, and not 0 or 1 (true or false)"
            )


def decided(columns: tuple[str, ...], asked: tuple[str, ...] | None) -> set[str]:
    """The columns of 0 and 1 of which --labels says, as COLUMN:NAME, what 1 stands for."""
    return {each.split(":", 1)[0] for each in asked or () if ":" in each} & set(columns)


def refuse_flag_names(uri: str, column: str, classes: tuple[str, ...] | None) -> None:
    """Raise `ValueError` where a file calls 0 and 1 in a column for a label otherwise than no and yes, or the like."""
    if classes is None or _are_flags(column, classes):
        return
    raise ValueError(
        f"--label_columns: {storage.without_password(uri)} calls the classes in {column!r} {told(classes)}: whether a "
        "row has the label where 1 stands, as without such names, or where the names say so, cannot be told. "
        f"--labels={column}:NAME, beside the other columns, says that 1 stands for NAME; for the other reading write 1 "
        "where the label is meant"
    )


def _are_flags(column: str, classes: tuple[str, ...]) -> bool:
    """Whether names of classes say that 1 is the label of a column."""
    plain = tuple(each.strip().casefold() for each in classes)
    return plain in _OFF_AND_ON or (len(set(plain)) == 2 == len(plain) and plain[1] == column.strip().casefold())


def read_by_number(
    files: pa.RecordBatch, columns: tuple[str, ...], asked: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[str]]:
    """Columns of 0 and 1, each for a label → (those that files do not call alike; sentences for the user).

    Where they are called alike, whoever reads a later file rejects rows that it calls otherwise. Raises `ValueError`
    for names that could mean that 0 is the label, unless --labels says what 1 stands for.
    """
    paths = files.filter(pc.equal(files["format"], "parquet"))["path"].to_pylist()
    found = _footers(paths[:FOOTERS])
    unlike = [name for name in columns if len({classes_in(schema, name) for _, schema in found}) > 1]
    if unlike and len(paths) > FOOTERS:
        found = _footers(paths)
    known = decided(columns, asked)
    remarks = []
    for column in columns:
        called = [(uri, names) for uri, schema in found if (names := classes_in(schema, column)) is not None]
        if column not in known:
            for uri, names in called:
                refuse_flag_names(uri, column, names)
            if called and len(paths) < len(files):
                unlike.append(column)
        for uri, names in [each for each in called if not _are_flags(column, each[1])][:1]:
            remarks.append(
                f"{storage.without_password(uri)} calls the classes in {column!r} {told(names)}: --labels says what 1 "
                "stands for"
            )
    return tuple({*unlike, *known}), remarks


def _footers(uris: list[str]) -> list[tuple[str, pa.Schema]]:
    """Files that have rows → what their columns are; those that cannot be read are left out."""

    def footer(uri: str) -> list[tuple[str, pa.Schema]]:
        fs, path = storage.connect(uri)
        try:
            with fs.open(path, "rb") as file:
                parquet = pq.ParquetFile(file)
                return [(uri, parquet.schema_arrow)] if parquet.metadata.num_rows else []
        except (OSError, pa.ArrowException, UnicodeDecodeError):
            return []  # the reader says what is wrong with it

    with ThreadPoolExecutor(16) as pool:  # each is some requests to a store
        return [each for found in pool.map(footer, uris) for each in found]


def check_files(files: pa.Table, column: str) -> list[Column]:
    """UNIT rows → what the first Parquet files of each batch say of a column; raises as `check_kinds` does."""
    parquet = [batch.filter(pc.equal(batch["format"], "parquet"))["path"] for batch in files.to_batches()]
    found = columns_of([path for paths in parquet for path in paths.to_pylist()[:FOOTERS]], column)
    if found:
        check_kinds([each.type for each in found], f"--label_column={column}")
    return found


def class_names(files: pa.Table, found: list[Column], column: str) -> tuple[str, ...] | None:
    """The names that files have for the class numbers in a column, given what `check_files` found; None for none.

    Raises `ValueError` where files do not have the same ones, or one name for two classes.
    """
    named = next((each for each in found if each.classes is not None), None)
    if named is None or named.classes is None:
        return None
    if len(set(named.classes)) < len(named.classes):
        raise ValueError(
            f"--label_column={column}: {storage.without_password(named.uri)} calls its classes "
            f"{told(named.classes)}, and a name is there twice. Say what each number is called with "
            "--labels=0:NAME,1:NAME,…"
        )
    others = [(each.uri, each.classes) for each in found if each.classes != named.classes]
    plain = files.filter(pc.not_equal(files["format"], "parquet"))["path"].to_pylist()
    for uri, classes in [*others, *((path, None) for path in plain)]:
        labels = ",".join(f"{number}:{name}" for number, name in enumerate(named.classes[:_FEW]))
        other = f"calls its classes {told(classes)}" if classes else "has no names for what stands there"
        raise ValueError(
            f"--label_column={column}: {storage.without_password(named.uri)} calls its classes "
            f"{told(named.classes)}, and {storage.without_password(uri)} {other}. Say what stands for what in all "
            f"files, such as --labels={labels}{',…' if len(named.classes) > _FEW else ''}"
        )
    return named.classes
