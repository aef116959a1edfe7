"""An evaluation before it starts: what `sources` found, and what of the options fits it."""

from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.config.evaluate import EvaluateConfig
from seqcls_beam.evaluation.columns import quoted
from seqcls_beam.evaluation.counting.tally import Asked
from seqcls_beam.evaluation.evidence import Sheet
from seqcls_beam.evaluation.gates import Kind
from seqcls_beam.evaluation.gold import Gold, countable, values_of
from seqcls_beam.evaluation.parquet import Files
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.preparation.forms import Column, Form, form_of
from seqcls_beam.reading.records import Layout
from seqcls_beam.rows import is_list

_FEW = 10  # labels that a sentence names


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
    lost: dict[str, Any] | None = None  # what could not be read when the rows were labelled, as `runs.accounting.lost`
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


def label_columns(config: EvaluateConfig) -> tuple[str, ...]:
    """The columns that hold gold labels, as they were asked for: one, or one for each label."""
    return config.gold.label_columns or (config.gold.label_column,)


def label_option(config: EvaluateConfig) -> str:
    """The option that named them, and what it said."""
    several = config.gold.label_columns is not None
    return f"label_column{'s' * several}={','.join(label_columns(config))}"


def by_names(config: EvaluateConfig, problem: str) -> bool:
    """Whether class numbers of --label_column mean what files call them: not where --labels says it, nor of ratings."""
    return config.gold.labels is None and problem != "regression"


@dataclass(frozen=True)
class Seen:
    """What is seen of gold labels before they are read."""

    option: str  # that named their column, with its value
    kind: pa.DataType
    samples: tuple[pa.Array, ...]  # the first of them, none where they stand in a column for each label
    classes: tuple[str, ...] | None = None  # the names that the files have for class numbers


def gold(config: EvaluateConfig, problem: str, labels: tuple[str, ...] | None, seen: Seen, named: bool = True) -> Gold:
    """How gold labels are read; raises `ValueError` where they do not fit the problem, or could be read in two ways.

    Without `labels` they are read as they stand there. `named` says whether somebody named the labels in their order:
    only then may a gold label be its label's number.
    """
    options = config.gold
    if problem == "regression":
        if options.labels not in (None, labels):
            raise ValueError("--labels is for classes, and this is a regression")
        _check_several(seen, Form(options.label_separator), problem, options.label_columns)
        return Gold(problem, labels or ())
    classes = seen.classes if options.labels is None else None
    asked = options.labels
    if classes is not None:
        asked = tuple(f"{number}:{name}" for number, name in enumerate(classes))
        strange = [name for name in classes if labels is not None and name not in labels]
        if strange:
            raise ValueError(
                f"{seen.option}: the files call their classes {quoted(classes, _FEW)}, and the model's labels are "
                f"{quoted(labels or (), _FEW)}: say with --labels which number is which, as VALUE:NAME"
            )
    counted = named and labels is not None and countable(labels, asked)
    values = () if labels is None else values_of(labels, asked)
    if options.label_columns is not None:
        form = _form_of_columns(options.label_columns, values, labels)
    else:
        column = Column(seen.option, seen.samples, options.label_separator, asked, labels, counted)
        form = replace(form_of(column), classes=classes is not None)
    _check_several(seen, form, problem, options.label_columns, labels)
    return Gold(problem, labels or (), values, form=form, or_numbers=counted)


def _form_of_columns(
    columns: tuple[str, ...], values: tuple[tuple[str, str], ...], labels: tuple[str, ...] | None
) -> Form:
    """A column for each label; raises `ValueError` where the model has other labels."""
    if labels is None:
        raise ValueError("--label_columns: nothing says which labels the answers may have; name them with --labels")
    meant = {name for value, name in values if value in columns}
    unknown = [name for name in columns if name not in dict(values)]
    lacking = [name for name in labels if name not in meant]
    if unknown or lacking:
        raise ValueError(
            f"--label_columns has {quoted(columns, _FEW)}, and the model's labels are {quoted(labels, _FEW)}: a column "
            "for each is needed, of its name, or called so by --labels=COLUMN:NAME,…"
        )
    return Form(places=columns, columns=columns)


def _check_several(
    seen: Seen, form: Form, problem: str, columns: tuple[str, ...] | None, labels: tuple[str, ...] | None = None
) -> None:
    """Raise `ValueError` where a column has several labels a row and the model one, or the other way round."""
    several = is_list(seen.kind) or form.written or form.separator is not None or columns is not None
    if problem == "multi_label" and not several:
        cure = "name a --label_separator, a column of lists, or --label_columns"
        if labels is not None and len(labels) == 1:
            column = seen.option.partition("=")[2]
            cure = f"where 0 or 1 stands there, say --label_columns={column} --labels={column}:{labels[0]}; else {cure}"
        raise ValueError(f"{seen.option} holds {seen.kind}, and the model gives several labels a row: {cure}")
    if problem != "multi_label" and several:
        raise ValueError(f"{seen.option}: the model is a {problem} one, and has one answer a row")


def inputs(files: pa.RecordBatch) -> list[dict[str, Any]]:
    """UNIT rows of whole files → what is told of them: path, size, version."""
    rows = files.select(["path", "size", "version"]).to_pylist()
    return [{**row, "path": storage.without_password(row["path"])} for row in rows]


def total_bytes(files: pa.RecordBatch) -> int:
    """UNIT rows of whole files → their bytes."""
    return pc.sum(files["size"]).as_py() or 0
