"""Options of `python -m pipelines.evaluate`."""

from dataclasses import dataclass, field

from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.classify import LossOptions, ModelOptions, ReadOptions
from seqcls_beam.config.option import check, option
from seqcls_beam.config.prepare import check_label_columns


@dataclass(frozen=True, kw_only=True)
class EvaluateReadOptions(ReadOptions):
    """Reading records."""

    naming = (*("text_column", "text_pair_column", "id_column"), *("label_column", "label_columns", "slice_by"))

    # What is kept follows from other options, and the worst rows always say where they came from.
    keep_columns: tuple[str, ...] | None = None
    keep_source: bool = False


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """What is evaluated, where not --input: rows that are prepared, or that have their answers."""

    data: str | None = option(
        "output folder of pipelines.prepare: a model is run on the tokens that lie there (default: none)",
        default=None,
        metavar="FOLDER",
        often=True,
    )
    split: str | None = option(
        "the split of --data (default: test, or validation where there is no test)",
        default=None,
        choices=("train", "validation", "test"),
        often=True,
    )
    labeled: tuple[str, ...] = option(
        "output folder of pipelines.classify, or Parquet files, with answers and gold labels: no model is run; may be "
        "given several times",
        default=(),
        metavar="PATTERN",
        often=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.split is not None and self.data is None:
            raise ValueError(f"--split={self.split} is for --data")


@dataclass(frozen=True, kw_only=True)
class GoldOptions:
    """Gold labels."""

    label_column: str = option(
        "column that holds the gold label, or for a regression the number", default="label", often=True
    )
    label_separator: str | None = option(
        "character between the gold labels of a row that has several; a column of lists needs none", default=None
    )
    label_columns: tuple[str, ...] | None = option(
        "columns that each hold 0 or 1 (or true or false) for the label of the model they are named after, "
        "comma-separated, instead of --label_column; --labels may say what they stand for, as COLUMN:NAME",
        default=None,
        metavar="NAMES",
    )
    labels: tuple[str, ...] | None = option(
        "what stands in the column for the model's labels, comma-separated, each NAME, or VALUE:NAME, where several "
        "values may have one name; other values are rejected (default: the model's names; or their numbers from 0, "
        "unless a name has a digit)",
        default=None,
        metavar="NAMES",
    )

    def __post_init__(self) -> None:
        check(self)
        check_label_columns(self.label_columns, self.label_column, self.label_separator)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured."""

    positive_label: str | None = option(
        "of two labels the one that F1, AUC and average precision speak of (default: the last)", default=None
    )
    ordinal: bool = option(
        "the labels are steps of a scale, in their order: also the mean error in steps and the quadratic kappa",
        default=False,
    )
    slice_by: tuple[str, ...] | None = option(
        "columns for whose every value metrics are given, comma-separated", default=None, metavar="NAMES"
    )
    worst: int = option("rows with the largest losses that are shown", default=20, minimum=0, maximum=10_000)
    bootstrap: int = option(
        "replicates behind a 95 % confidence interval (0: none); where rows must be drawn one by one, for several "
        "labels and regressions, at most 200",
        default=1000,
        minimum=0,
        maximum=100_000,
    )
    seed: int = option("what the replicates are drawn from", default=0, minimum=0, maximum=2**63 - 1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """Gates: a metric beyond its limit makes the exit code 3, once everything is shown and written."""

    min_accuracy: float | None = option("accuracy", default=None, minimum=0, maximum=1)
    min_f1: float | None = option("macro F1", default=None, minimum=0, maximum=1)
    min_positive_f1: float | None = option("F1 of the positive label, of two", default=None, minimum=0, maximum=1)
    min_micro_f1: float | None = option("micro F1, of several labels", default=None, minimum=0, maximum=1)
    min_auc: float | None = option("area under the ROC curve, of two labels", default=None, minimum=0, maximum=1)
    min_map: float | None = option("mean average precision, of several labels", default=None, minimum=0, maximum=1)
    min_pearson: float | None = option("Pearson correlation, of a regression", default=None, minimum=-1, maximum=1)
    min_spearman: float | None = option("Spearman correlation, of a regression", default=None, minimum=-1, maximum=1)
    max_mse: float | None = option("mean squared error, of a regression", default=None, minimum=0)
    max_ece: float | None = option("expected calibration error", default=None, minimum=0, maximum=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ReportOptions(LossOptions):
    """The report."""

    output: str | None = option(
        "folder for evaluation.json and report.html, local or of any fsspec protocol (default: the terminal only)",
        default=None,
        metavar="FOLDER",
        often=True,
    )
    overwrite: bool = option("replace an evaluation that lies there", default=False)
    max_unlabelled: float = option(
        "fraction of rows that may have no gold label; above it the command fails", default=1.0, minimum=0, maximum=1
    )

    report_texts: int = option(
        "whether the worst rows have their texts in the report, in evaluation.json and on the screen (1), or only "
        "where they stand (0)",
        default=1,
        minimum=0,
        maximum=1,
    )
    promote: bool = option(
        "where every gate passes, name the checkpoint in LATEST, a file in the folder that it lies in: who takes that "
        "folder as --model takes this one from then on",
        default=False,
    )
    only_check: bool = option(
        "look whether the options are right and the rows are there, and end: the model need not be there yet",
        default=False,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.overwrite and self.output is None:
            raise ValueError("--overwrite is for --output")
        if self.promote and self.output is None:
            raise ValueError("--promote needs --output: what speaks for the model is published first")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of `python -m pipelines.evaluate`."""

    read: ReadOptions
    answers: AnswerOptions
    gold: GoldOptions
    model: ModelOptions
    measure: MeasureOptions
    gates: GateOptions
    report: ReportOptions
    platforms: TellOptions = field(default_factory=TellOptions)

    def __post_init__(self) -> None:
        if self.model.dtype == "fastest":
            raise ValueError(
                "--dtype=fastest is of pipelines.classify, which says what it takes: name the precision to be measured"
            )


_WITHOUT_FILES = ("output", "overwrite", "max_rejected", "min_rows", "max_unlabelled", "report_texts", "only_check")
"""Of the report, where no files are read that may be damaged."""

UNIT_BYTES = 4 * 2**20  # test sets are small: many units, so that several workers have some
TAKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "input": {},
    "data": {
        "read": ("batch_rows", "unit_bytes"),
        "gold": (),
        "model": (
            *("model", "revision", "problem_type", "threshold"),
            *("device", "dtype", "threads", "batch_tokens", "compile"),
        ),
        "report": (*_WITHOUT_FILES, "promote"),
    },
    "labeled": {
        "read": ("text_column", "text_pair_column", "id_column", "batch_rows", "unit_bytes"),
        "model": ("threshold",),
        "report": _WITHOUT_FILES,
    },
}
"""The options of a group that say something of a source, by source; where a group is not named, all do."""
