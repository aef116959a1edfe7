"""Preparations without Beam: planned from options, and carried out task by task."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from seqcls_beam.config import ReadOptions
from seqcls_beam.config.prepare import (
    CleanOptions,
    LabelOptions,
    PrepareConfig,
    PrepareOutputOptions,
    ShardOptions,
    SplitInputOptions,
    SplitOptions,
)
from seqcls_beam.preparation import tasks
from seqcls_beam.preparation.job import Job
from seqcls_beam.preparation.plan import plan


def planned(folder: Path, source: Path, options: dict[str, dict[str, Any]]) -> tuple[Job, list[pa.RecordBatch]]:
    """A job and its units; `options` by group, beside three shards of texts of eight tokens."""
    shards = {"num_shards": 3, "keep_text": True, "max_length": 8, **options.get("shards", {})}
    job, units, _ = plan(
        PrepareConfig(
            read=ReadOptions(input=(str(source),), **options.get("read", {})),
            inputs=SplitInputOptions(),
            labels=LabelOptions(**options.get("labels", {})),
            clean=CleanOptions(**options.get("clean", {})),
            splits=SplitOptions(**options.get("splits", {})),
            shards=ShardOptions(**shards),
            output=PrepareOutputOptions(output=str(folder)),
        )
    )
    return job, units


def carry_out(job: Job, units: list[pa.RecordBatch], until: str = "shards") -> None:
    """All stages up to one, task by task."""
    tasks.begin(job, units, {"started": 0.0})
    for unit in tasks.pending_units(job):
        tasks.read_unit_of(job, unit)
    for stage in list(tasks.stages(job))[1:]:
        for task in tasks.pending_tasks(job, stage):
            tasks.do(job, stage, task)
        if stage == until:
            return
