"""An evaluation before it starts: options → the rows and the model, found and checked to fit."""

from dataclasses import replace

from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation import gates, parquet
from seqcls_beam.evaluation.job import Job
from seqcls_beam.evaluation.sources import labeled, prepared, rows
from seqcls_beam.model import predictions
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.reading.files import find, list_files
from seqcls_beam.reading.records import read_unit
from seqcls_beam.reading.units import plan_units

_TEXTS = ("text", "text_pair", "input_ids")
"""What a worker may show of a row that is its text."""


def plan(config: EvaluateConfig, threshold: float | None = None) -> Job:
    """Find the rows and the model; raises `ValueError` or `FileNotFoundError` for what cannot be used.

    `threshold` is what --threshold said, None where it was not given: then that of the run whose answers are there.
    """
    if config.answers.data is not None:
        job = prepared.plan(config, config.answers.data)
    else:
        job = labeled.plan(config, threshold) if config.answers.labeled else rows.plan(config)
    if config.report.report_texts:
        return job
    shown = tuple(each for each in job.sheet.shown if each[0] not in _TEXTS)
    return replace(job, sheet=replace(job.sheet, shown=shown))


def look(config: EvaluateConfig) -> None:
    """Find the rows, and see that gates are for such as far as the rows tell, before there is a model.

    Raises as `plan` does.
    """
    if config.answers.data is not None:
        there, _ = prepared.found(config, config.answers.data)
        gates.check(config.gates, gates.Kind(there.problem, len(there.labels)))
    elif config.answers.labeled:
        gates.check(config.gates, plan(config).kind)
    else:
        find(config.read)


def first_sequences(job: Job) -> Sequences | None:
    """The first sequences of the corpus, where int8 needs them."""
    if job.checkpoint is None or job.config.model.dtype != "int8":
        return None
    if job.files is not None:
        return parquet.first_sequences(job.files)
    assert job.layout is not None
    units = plan_units(list_files(job.config.read), job.config.read.unit_bytes, job.config.read.encoding)
    records = (batch for unit in units for batch in read_unit(unit, job.layout))
    return predictions.first_sequences(records, job.checkpoint, job.config.model)
