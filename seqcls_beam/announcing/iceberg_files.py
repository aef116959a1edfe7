"""Parts → the data files of an Iceberg table, by their footers alone: nothing is written, and no row is read.

A part has no column for its partition: the value stands in the table's metadata, beside the file, and readers take it
from there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from seqcls_beam import storage


class Part(NamedTuple):
    """A file of labelled rows, and what its footer says."""

    uri: str  # absolute, with a protocol
    bytes: int
    footer: Any  # pyarrow's FileMetaData

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.footer.schema.to_arrow_schema()


class Damaged(Exception):
    """A part is not what was published, as a sentence without its end."""


def parts(opened: str, output: str, files: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Those that have rows of the parts a manifest names, in order. Raises `Damaged`, or `OSError` of the store's.

    Their folder is `opened` by a name that may hold a password, and a table has them as files of `output`.
    """
    return list(storage.each(lambda file: _part(opened, output, file), [each for each in files if each["rows"]]))


def _part(opened: str, output: str, file: Mapping[str, Any]) -> Part:
    uri = storage.join(opened, file["path"])
    fs, path = storage.connect(uri)
    try:
        if storage.is_local(uri):
            _ensure_file(uri)
        with fs.open(path, "rb") as stream:
            size = stream.seek(0, 2)
            footer = pq.ParquetFile(stream).metadata
    except FileNotFoundError as error:
        raise Damaged(f"{storage.without_password(uri)} is gone") from error
    except pa.ArrowInvalid as error:
        raise Damaged(f"{storage.without_password(uri)} is damaged: {' '.join(str(error).split())}") from error
    if (size, footer.num_rows) != (file["bytes"], file["rows"]):
        raise Damaged(
            f"{storage.without_password(uri)} has {footer.num_rows:,} rows in {size:,} bytes, and {file['rows']:,} in "
            f"{file['bytes']:,} were published"
        )
    return Part(absolute(storage.join(output, file["path"])), size, footer)


def _ensure_file(uri: str) -> None:
    try:
        storage.ensure_file(uri)  # a pipe would be waited for
    except storage.StoreError as error:
        raise Damaged(f"{uri} is no file") from error


def absolute(uri: str) -> str:
    """A file's name as every reader of a table opens it, on the local disk, too."""
    return f"file://{storage.local_path(uri)}" if storage.is_local(uri) else uri


def data_files(parts: Iterable[Part], table: TableMetadata, partition: Record) -> Iterator[DataFile]:
    """Parts as files of a table that has all their columns, with what their footers know: counts, sizes, bounds.

    So a reader leaves out files that have nothing it looks for.
    """
    schema = table.schema()
    plan, ids = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    for part in parts:
        known = data_file_statistics_from_parquet_metadata(part.footer, plan, ids)
        yield DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=part.uri,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=part.bytes,
            sort_order_id=None,
            spec_id=table.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **known.to_serialized_dict(),
        )
