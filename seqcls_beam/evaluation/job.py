"""An evaluation before it starts: what `sources` found, and what of the options fits it."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import is_list, quoted
from seqcls_beam.evaluation.counting.tally import Asked
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.gold import Gold, countable, values_of
from seqcls_beam.evaluation.parquet import Files
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.reading.records import Layout


@dataclass(frozen=True)
class Job:
    """All that is known of an evaluation before it starts."""

    config: EvaluateConfig
    kind: Kind
    sheet: Sheet
    size: int  # bytes of the files
    data: dict[str, Any]  # what evaluation.json says of them
    checkpoint: Checkpoint | None = None  # the model that is run
    layout: Layout | None = None  # of files that are read as records
    files: Files | None = None  # of Parquet that is read as it is
    first: Sequences | None = None  # of the corpus, where int8 needs them
    rejected: dict[str, int] = field(default_factory=dict)  # rows by reason that are not in the files any more
    truncations: bool = True  # whether it is known which texts were longer than the model reads
    remarks: tuple[str, ...] = ()  # sentences for the user


def asked(config: EvaluateConfig, problem: str, labels: tuple[str, ...]) -> Asked:
    """What is to be counted of labels like these; raises `ValueError` for an option that does not fit them."""
    measure = config.measure
    if measure.positive_label is not None and (problem != "single_label" or len(labels) != 2):
        raise ValueError(f"--positive_label={measure.positive_label} is for one of two labels a row")
    if measure.positive_label is not None and measure.positive_label not in labels:
        raise ValueError(f"--positive_label={measure.positive_label}: the labels are {quoted(labels)}")
    if measure.ordinal and problem != "single_label":
        raise ValueError(f"--ordinal is for one label a row, and this is a {problem} model")
    return Asked(
        problem,
        labels,
        config.model.threshold,
        measure.slice_by or (),
        measure.worst,
        measure.bootstrap,
        measure.seed,
    )


def gold(config: EvaluateConfig, problem: str, labels: tuple[str, ...], kind: pa.DataType, named: bool = True) -> Gold:
    """How gold labels in a column of this type are read; raises `ValueError` where they do not fit the problem.

    `named` says whether somebody named the labels in their order: only then may a gold label be its label's number.
    """
    values = _values(config, problem, labels)
    separator = _separator(config, problem, kind)
    return Gold(problem, labels, values, separator, or_numbers=named and countable(labels, config.gold.labels))


def _values(config: EvaluateConfig, problem: str, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if problem != "regression":
        return values_of(labels, config.gold.labels)
    if config.gold.labels not in (None, labels):
        raise ValueError("--labels is for classes, and this is a regression")
    return ()


def _separator(config: EvaluateConfig, problem: str, kind: pa.DataType) -> str | None:
    """The separator of gold labels; raises `ValueError` where the column does not fit the problem."""
    name, separator = config.gold.label_column, config.gold.label_separator
    lists = is_list(kind)
    if problem == "multi_label":
        if not lists and separator is None:
            raise ValueError(
                f"--label_column={name} holds {kind}, and the model gives several labels a row: name a "
                "--label_separator, or a column of lists"
            )
    elif lists or separator is not None:
        raise ValueError(f"--label_column={name}: the model is a {problem} one, and has one answer a row")
    return None if lists else separator


def inputs(files: pa.RecordBatch) -> list[dict[str, Any]]:
    """UNIT rows of whole files → what is told of them: path, size, version."""
    rows = files.select(["path", "size", "version"]).to_pylist()
    return [{**row, "path": storage.without_password(row["path"])} for row in rows]


def total_bytes(files: pa.RecordBatch) -> int:
    """UNIT rows of whole files → their bytes."""
    return pc.sum(files["size"]).as_py() or 0
