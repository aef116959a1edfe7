"""What a Parquet file says of itself, before a row of it is read."""

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage


def schema_of(uri: str) -> pa.Schema:
    """The columns of a Parquet file; raises `ValueError` where it is none."""
    fs, path = storage.connect(uri)
    try:
        with fs.open(path, "rb") as file:
            return pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{uri} is no Parquet file ({error})") from error


def labels_of(schema: pa.Schema) -> tuple[str, ...] | None:
    """The labels that a file names as those of its scores, in their order; None where it names none."""
    named = (schema.metadata or {}).get(b"seqcls_beam.labels")
    return tuple(map(str, orjson.loads(named))) if named else None
