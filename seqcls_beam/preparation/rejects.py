"""Rows that a task leaves out, filed under `rejects/` with the reason."""

from collections import Counter
from typing import Any, Self

import pyarrow as pa

from seqcls_beam import storage
from seqcls_beam.preparation.job import Job
from seqcls_beam.runs.parts import PartWriter, fresh_name
from seqcls_beam.schema import REJECT


class Rejects:
    """The rejects of one task: a part, if there are any, and how many there are by reason."""

    def __init__(self, job: Job, stage: str, task: int) -> None:
        self._uri = storage.join(job.run.attempt, "rejects", fresh_name(f"{stage}-{task:05d}"))
        self._stage = stage
        self._part: PartWriter | None = None
        self._reasons: Counter[str] = Counter()

    def add(self, rows: pa.RecordBatch, reason: str | pa.Array, detail: str | list[str] | pa.Array) -> None:
        """Add rows that have `source`, `position` and their text as `raw` or `text`."""
        if not rows.num_rows:
            return
        count = rows.num_rows
        reasons = pa.array([reason] * count, pa.string()) if isinstance(reason, str) else reason
        details = pa.array([detail] * count if isinstance(detail, str) else detail, pa.string())
        raw = rows["raw" if "raw" in rows.schema.names else "text"].cast(pa.binary())
        stage = pa.array([self._stage] * count, pa.string())
        self.add_columns([rows["source"], rows["position"], stage, reasons, details, raw])

    def add_columns(self, columns: list[pa.Array]) -> None:
        """Add rows as REJECT has them."""
        if not len(columns[0]):
            return
        if self._part is None:
            self._part = PartWriter(self._uri, REJECT)
        self._part.write(pa.RecordBatch.from_arrays(columns, schema=REJECT))
        self._reasons.update(columns[3].to_pylist())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._part:
            self._part.abandon(error)

    def close(self) -> dict[str, Any]:
        """Finish: {"part": …, "reasons": …}, for the task's record."""
        return {"part": self._part.close() if self._part else None, "reasons": dict(self._reasons)}
