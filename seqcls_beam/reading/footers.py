"""What a Parquet file says of itself, before a row of it is read."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.rows import is_list
from seqcls_beam.schema import classes_of


class Column(NamedTuple):
    """A column of a file with rows."""

    uri: str
    type: pa.DataType
    classes: tuple[str, ...] | None  # the names that the file has for class numbers from 0


def schema_of(uri: str) -> pa.Schema:
    """The columns of a Parquet file; raises `ValueError` where it is none, or none that is read here."""
    fs, path = storage.connect(uri)
    try:
        with fs.open(path, "rb") as file:
            return pa.schema(pq.read_schema(file))  # names that are no UTF-8, types that Python has not
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, storage.StoreError) or getattr(error, "errno", None) is not None:
            raise  # of the store or the disk, and not of what stands there
        said = " ".join(str(error).split())
        raise ValueError(f"{storage.without_password(uri)} is no Parquet file that can be read ({said})") from error


def labels_of(schema: pa.Schema) -> tuple[str, ...] | None:
    """The labels that a file names as those of its scores, in their order; None where it names none."""
    named = (schema.metadata or {}).get(b"seqcls_beam.labels")
    return tuple(map(str, orjson.loads(named))) if named else None


def columns_of(uris: Sequence[str], name: str) -> list[Column]:
    """A column of Parquet files, in order; files that cannot be read, lack it or have no rows are left out."""
    with ThreadPoolExecutor(16) as pool:  # each is some requests to a store
        return [found for found in pool.map(lambda uri: _column(uri, name), uris) if found is not None]


def _column(uri: str, name: str) -> Column | None:
    fs, path = storage.connect(uri)
    try:
        with fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
            if schema.names.count(name) != 1 or not parquet.metadata.num_rows:
                return None
            return Column(uri, schema.field(name).type, classes_in(schema, name))
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None  # the reader says what is wrong with it


def classes_in(schema: pa.Schema, name: str) -> tuple[str, ...] | None:
    """What a file calls the class numbers in a column; None where it has no such column, or twice.

    `classify` says it in the column's metadata; the library `datasets` in those of the file, of a `ClassLabel` or a
    list of them.
    """
    if len(schema.get_all_field_indices(name)) != 1:
        return None
    field = schema.field(name)
    kind = field.type.value_type if is_list(field.type) else field.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):  # doubles are what pandas makes of gaps
        return None
    try:
        if (own := classes_of(field)) is not None:
            return own
        found: Any = orjson.loads((schema.metadata or {})[b"huggingface"])
        found = found["info"]["features"][name]
        while isinstance(found, list) or "feature" in found:
            found = found[0] if isinstance(found, list) else found["feature"]
        names = found["names"] if found["_type"] == "ClassLabel" else None
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None
