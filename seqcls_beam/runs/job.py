"""A labelling as it is known before it starts."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from seqcls_beam.config.classify import ClassifyConfig
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.reading.records import Layout
from seqcls_beam.runs.run import Run


@dataclass(frozen=True)
class Job:
    """All that is known of a run before it starts."""

    config: ClassifyConfig
    checkpoint: Checkpoint
    run: Run
    files: pa.RecordBatch
    layout: Layout
    skipped: int = 0  # files that were found and are known to be no data
    remarks: tuple[str, ...] = ()  # sentences to tell before it starts
    first: Sequences | None = None  # of the corpus, where int8 needs them
    fastest: dict[str, Any] | None = None  # what was found where --dtype=fastest asked
