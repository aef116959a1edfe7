"""Options, each written once: its help, unit, range and default.

The command line (`pipelines/options.py`) is derived from these dataclasses, and the library takes the same objects.
A wrong value raises `ValueError` while the object is built, before anything starts. Imports nothing of the project.
"""

import datetime
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any


def option(
    help: str,
    *,
    default: Any = MISSING,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
) -> Any:
    """A dataclass field with what `--help` shows and `check` enforces."""
    return field(
        default=default,
        metadata={"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "metavar": metavar},
    )


def check(options: Any) -> None:
    """Raise `ValueError` naming the first option outside its range, with the value received."""
    for each in fields(options):
        value = getattr(options, each.name)
        if value is None or not each.metadata:
            continue
        choices, low, high = (each.metadata[key] for key in ("choices", "minimum", "maximum"))
        if choices and value not in choices:
            raise ValueError(f"--{each.name}={value}: expected one of {', '.join(choices)}")
        if low is not None and not value >= low:  # so put, nan is out of range
            raise ValueError(f"--{each.name}={value}: expected at least {low:g}")
        if high is not None and value > high:
            raise ValueError(f"--{each.name}={value}: expected at most {high:g}")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Reading records."""

    input: tuple[str, ...] = option(
        "files to read: paths or patterns (*, **, ?, [..]), local or of any fsspec protocol such as gs://; "
        "a folder means the files in it; may be given several times",
        metavar="PATTERN",
    )
    input_format: str = option(
        "format of the files; auto goes by the extension: .txt .jsonl .ndjson .csv .tsv, each also as .gz .bz2 .xz "
        ".zst, and .parquet",
        default="auto",
        choices=("auto", "text", "jsonl", "csv", "tsv", "parquet"),
    )
    text_column: str = option("column that holds the text", default="text")
    text_pair_column: str | None = option(
        "column that holds the second sentence of a pair (default: single texts)", default=None
    )
    id_column: str | None = option("column that identifies a row; always kept", default=None)
    keep_columns: tuple[str, ...] | None = option(
        "columns that pass through to the output, comma-separated, each NAME or NAME:TYPE (string, int64, float64, "
        "bool); '*' keeps all that the first files have, '' none (default: all of Parquet, else the id and the texts)",
        default=None,
        metavar="NAMES",
    )
    column_names: tuple[str, ...] | None = option(
        "names for the columns of csv and tsv files that have no header, comma-separated (default: the first row "
        "is the header)",
        default=None,
        metavar="NAMES",
    )
    quote: str | None = option(
        "quote character of csv and tsv fields; '' reads quotes as text (default: \" for csv, '' for tsv)",
        default=None,
        metavar="CHAR",
    )
    batch_rows: int = option("rows per batch that travels through the pipeline", default=8192, minimum=1)
    unit_bytes: int = option(
        "input bytes per unit of work; where rows are labelled, unit i becomes part i of the output",
        default=64 * 2**20,
        minimum=1,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.quote is not None and (len(self.quote.encode()) > 1 or self.quote in (",", "\t", "\r", "\n")):
            raise ValueError(f"--quote={self.quote}: expected one ASCII character that separates nothing, or nothing")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model, and how texts are fed to it."""

    model: str = option(
        "checkpoint of a sequence classifier: a local folder, an fsspec URI (gs://bucket/folder) or a Hub id; "
        "'sentiment' is the English one that comes with the package",
        default="sentiment",
        metavar="CHECKPOINT",
    )
    revision: str | None = option("branch, tag or commit of a Hub id", default=None)
    max_length: int | None = option(
        "tokens per sequence, special tokens included (default: the checkpoint's own)", default=None, minimum=4
    )
    overflow: str = option(
        "a longer text is cut and flagged (truncate), or read in overlapping windows whose scores are pooled (window)",
        default="truncate",
        choices=("truncate", "window"),
    )
    stride: int = option("tokens that neighbouring windows share", default=64, minimum=0)
    pooling: str = option(
        "a label's score over the windows of a text: their mean or their maximum",
        default="mean",
        choices=("mean", "max"),
    )
    threshold: float = option(
        "probability from which a multi-label checkpoint assigns a label", default=0.5, minimum=0, maximum=1
    )
    device: str = option(
        "where the model runs: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one", default="auto"
    )
    dtype: str = option(
        "precision of the model: auto is float32 on a CPU, and on a GPU bfloat16 or what else passes the self-test; "
        "int8 (CPU) is refused where its labels differ from float32's on more than 0.5 % of the first rows",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    threads: int = option(
        "CPU threads per worker process (0: all cores, divided by the workers that run on this machine)",
        default=0,
        minimum=0,
    )
    batch_tokens: int = option("tokens per forward pass (0: 2,048 on a CPU, 65,536 on a GPU)", default=0, minimum=0)
    compile: bool = option(
        "compile the model for fixed shapes, one CUDA graph each (GPU): takes a minute or two per worker, and so pays "
        "from some millions of texts for each",
        default=False,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.device not in ("auto", "cpu", "cuda") and not self.device.removeprefix("cuda:").isdigit():
            raise ValueError(f"--device={self.device}: expected auto, cpu, cuda or cuda:N")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The run and its output."""

    output: str = option("folder to publish into, local or of any fsspec protocol", metavar="FOLDER")
    overwrite: bool = option(
        "replace what another run published there; it stays readable until the new one is complete", default=False
    )
    max_rejected: float = option(
        "fraction of rows that may be rejected; above it nothing is published", default=0.05, minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class RunOptions(OutputOptions):
    """The run and its output."""

    run_date: str | None = option(
        "logical date of a scheduled run, YYYY-MM-DD: publishes into FOLDER/run_date=YYYY-MM-DD", default=None
    )
    only_new: bool = option(
        "skip input files that an earlier run under the output folder labelled with the same model", default=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run_date is not None:
            try:
                valid = datetime.date.fromisoformat(self.run_date).isoformat() == self.run_date
            except ValueError:
                valid = False
            if not valid:
                raise ValueError(f"--run_date={self.run_date}: expected a date such as 2026-11-20")
        if self.only_new and self.run_date is None:
            raise ValueError(
                "--only_new needs --run_date: new rows are published beside the old, in a folder of their own"
            )


@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """A quick look: no files, no pipeline."""

    text: tuple[str, ...] = option(
        "print the probability of every label for this text and exit; may be given several times",
        default=(),
        metavar="TEXT",
    )
    text_pair: tuple[str, ...] = option("the second sentence of each --text", default=(), metavar="TEXT")

    def __post_init__(self) -> None:
        if self.text_pair and len(self.text_pair) != len(self.text):
            raise ValueError(
                f"--text was given {len(self.text)} times and --text_pair {len(self.text_pair)} times: "
                "every text needs its pair"
            )


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """Options of `python -m pipelines.classify`."""

    read: ReadOptions
    model: ModelOptions
    run: RunOptions


@dataclass(frozen=True, kw_only=True)
class SplitInputOptions:
    """Input that is split already: files of one split each, beside or instead of --input."""

    input_train: tuple[str, ...] = option("files whose rows are for training", default=(), metavar="PATTERN")
    input_validation: tuple[str, ...] = option("files whose rows are for validation", default=(), metavar="PATTERN")
    input_test: tuple[str, ...] = option("files whose rows are for testing", default=(), metavar="PATTERN")


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Labels."""

    label_column: str = option("column that holds the label", default="label")
    label_separator: str | None = option(
        "character between the labels of a row that has several; a column of lists needs none", default=None
    )
    problem: str = option(
        "what is learned: one label a row, several, or a number; auto: several where the column holds lists or a "
        "separator is given, else one",
        default="auto",
        choices=("auto", "single_label", "multi_label", "regression"),
    )
    labels: tuple[str, ...] | None = option(
        "the labels in their order, comma-separated, each NAME, or VALUE:NAME for a value that shall be called so; "
        "other labels are rejected (default: those that are found, in the order of numbers or characters)",
        default=None,
        metavar="NAMES",
    )
    conflicts: str | None = option(
        "rows of one text with different labels: those of the most frequent one stay, and none if there are two "
        "(majority), none stay (drop), all do (keep), or the run fails (default: majority; benchmark: keep)",
        default=None,
        choices=("majority", "drop", "keep", "fail"),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.label_separator == "":
            raise ValueError("--label_separator is empty: expected a character, such as ','")
        if self.problem in ("single_label", "regression") and self.label_separator is not None:
            raise ValueError(f"--problem={self.problem} has one label a row: leave out --label_separator")
        if self.problem == "regression" and self.labels is not None:
            raise ValueError("--problem=regression has no labels: leave out --labels")


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """Cleaning and duplicates."""

    profile: str = option(
        "clean: repair texts, remove duplicates and leaks; benchmark: keep bytes, rows and given splits as they are, "
        "so that scores can be compared with published ones (what would be removed is reported)",
        default="clean",
        choices=("clean", "benchmark"),
    )
    clean: tuple[str, ...] | None = option(
        "steps of cleaning, comma-separated: encoding, html, control, whitespace; '' for none (default: all; "
        "benchmark: none)",
        default=None,
        metavar="STEPS",
    )
    min_chars: int = option("characters that a text must have after cleaning", default=1, minimum=1)
    max_chars: int = option("characters that a text may have after cleaning (0: any number)", default=0, minimum=0)
    languages: tuple[str, ...] | None = option(
        "languages that texts may be in, comma-separated ISO 639-1 codes; texts under 40 characters are not judged "
        "(needs the extra 'language'; default: any)",
        default=None,
        metavar="CODES",
    )
    duplicate_key: tuple[str, ...] | None = option(
        "what two texts may differ in and still be one, comma-separated: nfkc, casefold, whitespace, punctuation "
        "(default: all but punctuation)",
        default=None,
        metavar="STEPS",
    )
    duplicates: str | None = option(
        "rows of one text and one label: one stays (drop) or all do (keep) (default: drop; benchmark: keep)",
        default=None,
        choices=("drop", "keep"),
    )
    near_duplicates: str | None = option(
        "texts nearly the same: they come into the same split (group), one of them stays (drop; those given as "
        "validation or test rows stay), or they are not looked for (off) (default: group; benchmark: off)",
        default=None,
        choices=("group", "drop", "off"),
    )
    similarity: float = option(
        "Jaccard similarity of the sets of 5-byte windows from which two texts are near-duplicates",
        default=0.8,
        minimum=0.6,
        maximum=1,
    )
    linkage: str = option(
        "near-duplicates of near-duplicates belong together (component), or every text is near to the one that leads "
        "its cluster (leader)",
        default="component",
        choices=("component", "leader"),
    )
    linking_rounds: int = option(
        "find clusters by so many rounds on all workers (0: on one worker, which holds 16 bytes for each pair of "
        "near-duplicates)",
        default=0,
        minimum=0,
        maximum=50,
    )
    decontaminate: tuple[str, ...] = option(
        "files of texts, under the same column names, that must not be learned from: rows that are or nearly are one "
        "of them are removed",
        default=(),
        metavar="PATTERN",
    )

    def __post_init__(self) -> None:
        check(self)
        for name, known in (
            ("clean", ("encoding", "html", "control", "whitespace")),
            ("duplicate_key", ("nfkc", "casefold", "whitespace", "punctuation")),
        ):
            for each in getattr(self, name) or ():
                if each not in known:
                    raise ValueError(f"--{name}={each}: expected some of {', '.join(known)}")
        if self.max_chars and self.max_chars < self.min_chars:
            raise ValueError(f"--max_chars={self.max_chars} is less than --min_chars={self.min_chars}")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Splits."""

    split_column: str | None = option(
        "column that names a row's split: train, validation (valid, val, dev) or test; rows without one are split "
        "(default: none)",
        default=None,
    )
    split: str = option(
        "how rows without a given split are split: by a hash, so that a row stays where it is when others are added, "
        "unless one is its near-duplicate (hash), or so that every class has its share in each (stratified)",
        default="hash",
        choices=("hash", "stratified"),
    )
    validation_fraction: float | None = option(
        "share of validation rows (default: 0.1, or 0 where splits are given; then it is taken from training rows)",
        default=None,
        minimum=0,
        maximum=0.9,
    )
    test_fraction: float | None = option("share of test rows, likewise", default=None, minimum=0, maximum=0.9)
    group_by: tuple[str, ...] | None = option(
        "columns whose equal values must not be in two splits, comma-separated: author, document …",
        default=None,
        metavar="NAMES",
    )
    group_sentences: bool = option("pairs that share a sentence must not be in two splits", default=False)
    seed: int = option("what the split and the order of rows are drawn from", default=0, minimum=0, maximum=2**63 - 1)

    def __post_init__(self) -> None:
        check(self)
        if (self.validation_fraction or 0) + (self.test_fraction or 0) >= 1:
            raise ValueError("--validation_fraction and --test_fraction leave nothing to train with")


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Tokens and shards."""

    model: str = option(
        "checkpoint or base model whose tokenizer is used: a local folder, an fsspec URI (gs://bucket/folder) or a Hub "
        "id; 'sentiment' is the one that comes with the package",
        default="sentiment",
        metavar="CHECKPOINT",
    )
    revision: str | None = option("branch, tag or commit of a Hub id", default=None)
    max_length: int | None = option(
        "tokens per sequence, special tokens included (default: what the model reads)", default=None, minimum=4
    )
    num_shards: int = option("files per split, of equally many rows", default=8, minimum=1, maximum=99_999)
    keep_text: bool = option("write the texts beside the tokens", default=False)
    partition_bytes: int = option(
        "bytes that a task may take for rows; memory grows with this, not with the corpus",
        default=512 * 2**20,
        minimum=2**16,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Options of `python -m pipelines.prepare`."""

    read: ReadOptions
    inputs: SplitInputOptions
    labels: LabelOptions
    clean: CleanOptions
    splits: SplitOptions
    shards: ShardOptions
    output: OutputOptions


def option_fields(group: type) -> list[Field[Any]]:
    """The options of a group, in the order `--help` shows them."""
    return [each for each in fields(group) if each.metadata]
