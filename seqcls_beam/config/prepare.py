"""Options of `python -m pipelines.prepare`."""

from dataclasses import dataclass, field

from seqcls_beam.config.announce import TellOptions
from seqcls_beam.config.classify import LossOptions, OutputOptions, ReadOptions
from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class PrepareReadOptions(ReadOptions):
    """Reading records."""

    naming = (
        *("text_column", "text_pair_column", "id_column"),
        *("label_column", "label_columns", "group_by", "split_column"),
    )

    # What is kept follows from other options, and where a row came from is in the rejects alone.
    keep_columns: tuple[str, ...] | None = None
    keep_source: bool = False


@dataclass(frozen=True, kw_only=True)
class SplitInputOptions:
    """Input that is split already: files of one split each, beside or instead of --input."""

    input_train: tuple[str, ...] = option("files whose rows are for training", default=(), metavar="PATTERN")
    input_validation: tuple[str, ...] = option("files whose rows are for validation", default=(), metavar="PATTERN")
    input_test: tuple[str, ...] = option("files whose rows are for testing", default=(), metavar="PATTERN")


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Labels."""

    label_column: str = option("column that holds the label", default="label", often=True)
    label_separator: str | None = option(
        "character between the labels of a row that has several; a column of lists needs none", default=None
    )
    label_columns: tuple[str, ...] | None = option(
        "columns that each hold 0 or 1 (or true or false) for the label they are named after, comma-separated, instead "
        "of --label_column; --labels may give them other names, as COLUMN:NAME",
        default=None,
        metavar="NAMES",
    )
    problem: str = option(
        "what is learned: one label a row, several, or a number; auto: several where the column holds lists or a "
        "separator is given, else one; what could be something else than names of labels, such as 2.5, is refused then",
        default="auto",
        choices=("auto", "single_label", "multi_label", "regression"),
    )
    labels: tuple[str, ...] | None = option(
        "the labels in their order, comma-separated, each NAME, or VALUE:NAME for a value that shall be called so; "
        "other labels are rejected (default: the names that Parquet files of the library datasets have for class "
        "numbers, else those that are found, in the order of numbers or characters)",
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
        check_label_columns(self.label_columns, self.label_column, self.label_separator)
        if self.problem in ("single_label", "regression"):
            for name in ("label_separator", "label_columns"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--problem={self.problem} has one label a row: leave out --{name}")
        if self.problem == "regression" and self.labels is not None:
            raise ValueError("--problem=regression has no labels: leave out --labels")


def check_label_columns(columns: tuple[str, ...] | None, column: str, separator: str | None) -> None:
    """Raise `ValueError` for columns of labels that are there twice, or beside what names labels otherwise."""
    if columns is None:
        return
    twice = [each for each in columns if columns.count(each) > 1]
    if twice:
        raise ValueError(f"--label_columns: {twice[0]!r} is there twice")
    if column != "label" or separator is not None:
        option = f"--label_column={column}" if column != "label" else f"--label_separator={separator}"
        raise ValueError(f"--label_columns has a column for each label: leave out {option}")


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
        may_be_empty=True,
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
        "what two texts may differ in and still be one, comma-separated: nfkc, casefold, whitespace, punctuation; "
        "'' for nothing (default: all but punctuation)",
        default=None,
        metavar="STEPS",
        may_be_empty=True,
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
        "unless one is its near-duplicate (hash), or so that each class has its share in each, to the nearest row: of "
        "one with too few rows, such as 4 where a tenth is asked, there are none (stratified)",
        default="hash",
        choices=("hash", "stratified"),
    )
    validation_fraction: float | None = option(
        "share of validation rows (default: 0.1, or 0 where splits are given; then it is taken from training rows)",
        default=None,
        minimum=0,
        maximum=0.9,
    )
    test_fraction: float | None = option(
        "share of test rows, likewise", default=None, minimum=0, maximum=0.9, often=True
    )
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
        often=True,
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
    assign: str = option(
        "who decides which split texts come into: one task, which holds some 360 bytes a text (one), or all tasks, "
        "each for some texts (all); auto: all from 512 MiB of input on. The output is the same",
        default="auto",
        choices=("auto", "one", "all"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PrepareOutputOptions(OutputOptions, LossOptions):
    """The run and its output."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Options of `python -m pipelines.prepare`."""

    read: ReadOptions
    inputs: SplitInputOptions
    labels: LabelOptions
    clean: CleanOptions
    splits: SplitOptions
    shards: ShardOptions
    output: PrepareOutputOptions
    platforms: TellOptions = field(default_factory=TellOptions)
