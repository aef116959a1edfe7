"""The columns of a version, out of the footers of its parts: one of each shape, of which all but windows have one."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.announcing.published import Announced, PlatformError
from seqcls_beam.runs.columns import File, unified
from seqcls_beam.runs.run import RunError


def parts_of(announced: Announced) -> list[dict[str, Any]]:
    """Parts that have all columns of the version among them; none where none is a table."""
    parts = [part for part in announced.manifest.get("parts", []) if part["path"].endswith(".parquet")]
    with_rows = [part for part in parts if part.get("rows")]
    return list({part.get("shape"): part for part in with_rows or parts}.values())


def schema_of(announced: Announced) -> pa.Schema | None:
    """What parts say that columns are; None where there is no part. Raises `PlatformError`."""
    found = [File(part["path"], None, _schema(announced, part)) for part in parts_of(announced)]
    if len(found) < 2:
        return found[0].schema if found else None
    try:
        return unified(announced.output, found)
    except RunError as error:
        raise PlatformError(str(error)) from error


def _schema(announced: Announced, part: dict[str, Any]) -> pa.Schema:
    uri = storage.join(announced.opened, part["path"])
    try:
        if storage.is_local(uri):
            storage.ensure_file(uri)  # a pipe would be waited for
        fs, path = storage.connect(uri)
        with fs.open(path, "rb") as file:
            return pq.read_schema(file)
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise PlatformError(
            f"{uri} cannot be read, which says what columns there are ({type(error).__name__}: {said}): put it back, "
            "or make the run again"
        ) from error
