"""The columns of a version, out of the footer of one of its parts: all parts of a labelling have the same."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.announcing.published import Announced, PlatformError


def part_of(announced: Announced) -> dict[str, Any] | None:
    """The part whose columns are those of the version: the last that has rows, else the last; None where none is.

    The last, since what a window was amended by is behind what it had, and may have columns more.
    """
    parts = [part for part in announced.manifest.get("parts", []) if part["path"].endswith(".parquet")]
    return next((part for part in reversed(parts) if part.get("rows")), parts[-1] if parts else None)


def schema_of(announced: Announced) -> pa.Schema | None:
    """What the part says its columns are; None where there is no part. Raises `PlatformError`."""
    part = part_of(announced)
    if part is None:
        return None
    uri = storage.join(storage.absolute(announced.output), part["path"])
    try:
        fs, path = storage.connect(uri)
        with fs.open(path, "rb") as file:
            return pq.read_schema(file)
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise PlatformError(
            f"{uri} cannot be read, which says what columns there are ({type(error).__name__}: {said}): put it back, "
            "or make the run again"
        ) from error
