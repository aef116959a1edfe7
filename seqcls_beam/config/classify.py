"""Options of `python -m pipelines.classify`; other commands that read, classify or publish take the same groups."""

from dataclasses import dataclass, field
from typing import ClassVar

from seqcls_beam.config.announce import PlatformOptions
from seqcls_beam.config.dates import check_forms, has_date, parse_dates
from seqcls_beam.config.option import check, option

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
"""That a run may have in the end."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Reading records."""

    naming: ClassVar[tuple[str, ...]] = ("text_column", "text_pair_column", "id_column", "keep_columns")
    """The options that name columns, of the command that takes these: sentences advise no others."""

    input: tuple[str, ...] = option(
        "files to read: paths or patterns (*, **, ?, [..]), local or of any fsspec protocol such as gs://; "
        "a folder means the files in it, - the standard input; may be given several times",
        metavar="PATTERN",
        often=True,
    )
    exclude: tuple[str, ...] = option(
        "files that --input finds and that are no input: patterns of names, or of paths below what --input names; may "
        "be given several times",
        default=(),
        metavar="PATTERN",
    )
    input_format: str = option(
        "format of the files; auto goes by the extension: .txt .jsonl .ndjson .csv .tsv, each also as .gz .bz2 .xz "
        ".zst, and .parquet",
        default="auto",
        choices=("auto", "text", "jsonl", "csv", "tsv", "parquet"),
    )
    txt: str = option(
        "what a row of a .txt file is: each of its lines, or the whole file",
        default="lines",
        choices=("lines", "files"),
    )
    encoding: str = option(
        "encoding of text, jsonl, csv and tsv files, such as utf-8, utf-16, latin-1 or cp1252",
        default="utf-8",
        metavar="NAME",
    )
    text_column: str = option("column that holds the text", default="text", often=True)
    text_pair_column: str | None = option(
        "column that holds the second sentence of a pair (default: single texts)", default=None
    )
    id_column: str | None = option("column that identifies a row; always kept", default=None, often=True)
    keep_columns: tuple[str, ...] | None = option(
        "columns that pass through to the output, comma-separated, each NAME or NAME:TYPE (string, int64, float64, "
        "bool); '*' keeps all that the first files have, '' none (default: all of Parquet, else the id and the texts)",
        default=None,
        metavar="NAMES",
        may_be_empty=True,
        often=True,
    )
    column_names: tuple[str, ...] | None = option(
        "names for the columns of csv and tsv files that have no header, comma-separated (default: the first row "
        "is the header)",
        default=None,
        metavar="NAMES",
    )
    delimiter: str | None = option(
        "character between the fields of csv and tsv files, '\\t' for a tab (default: , for csv, a tab for tsv)",
        default=None,
        metavar="CHAR",
    )
    quote: str | None = option(
        "quote character of csv and tsv fields; '' reads quotes as text (default: \" for csv, '' for tsv)",
        default=None,
        metavar="CHAR",
        may_be_empty=True,
    )
    keep_source: bool = option(
        "keep where a row came from, in the columns source_file and source_position (of text files it always is)",
        default=False,
    )
    batch_rows: int = option("rows per batch that travels through the pipeline", default=8192, minimum=1)
    unit_bytes: int = option(
        "input bytes per unit of work; where rows are labelled, unit i becomes part i of the output (0: a 256th of the "
        "input, but 1 MiB at least and 64 MiB at most)",
        default=0,
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)
        sign = "\t" if self.delimiter == "\\t" else self.delimiter
        separating = sign or {"csv": ",", "tsv": "\t"}.get(self.input_format, ",\t")
        if self.quote and (len(self.quote.encode()) > 1 or self.quote in (*separating, "\r", "\n")):
            raise ValueError(f"--quote={self.quote}: expected one ASCII character that separates nothing, or nothing")
        if sign is not None:
            quote = '"' if self.quote is None else self.quote
            if len(sign) != 1 or sign in ("\r", "\n", quote) or "\ud800" <= sign <= "\udfff":
                raise ValueError(f"--delimiter={sign!r}: expected one character that ends no line and quotes nothing")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model, and how texts are fed to it."""

    model: str = option(
        "checkpoint of a sequence classifier: a local folder, an fsspec URI (gs://bucket/folder) or a Hub id; "
        "'sentiment' is the English one that comes with the package",
        default="sentiment",
        metavar="CHECKPOINT",
        often=True,
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
        "where the model runs: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one, of several the one that "
        "the fewest workers use",
        default="auto",
    )
    dtype: str = option(
        "precision of the model: auto is float32 on a CPU, and on a GPU float16 or what else passes the self-test; "
        "int8 (CPU) is refused where its labels differ from float32's on more than 0.5 % of the first rows; fastest "
        "times these and takes the fastest that keeps 99.5 % of the labels (files that pipelines.classify labels on "
        "this machine)",
        default="auto",
        choices=("auto", *PRECISIONS, "fastest"),
    )
    threads: int = option(
        "CPU threads per worker process (0: all cores, divided by the workers that run on this machine)",
        default=0,
        minimum=0,
    )
    batch_tokens: int = option("tokens per forward pass (0: 2,048 on a CPU, 65,536 on a GPU)", default=0, minimum=0)
    problem_type: str | None = option(
        "what the outputs of the model are, where its config does not say it or is wrong: as transformers names it "
        "(default: its config's; one output without a word of it is a regression)",
        default=None,
        choices=("single_label_classification", "multi_label_classification", "regression"),
    )
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

    output: str = option("folder to publish into, local or of any fsspec protocol", metavar="FOLDER", often=True)
    overwrite: bool = option(
        "replace what another run published there; it stays readable until the new one is complete", default=False
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What of the input may be missing."""

    max_rejected: float = option(
        "fraction of rows that may be rejected or lost; above it a run fails and publishes nothing, and "
        "a stream says so",
        default=0.05,
        minimum=0,
        maximum=1,
    )
    max_unreadable: int = option(
        "input files that there may be of which nothing can be read, or which end early, so that nobody knows how many "
        "rows are missing; above it the run fails",
        default=0,
        minimum=0,
    )
    min_rows: int | None = option(
        "rows that must be read; below it the run fails (default: 1 where any input file has a byte)",
        default=None,
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class RunOptions(OutputOptions, LossOptions):
    """The run and its output."""

    run_date: str | None = option(
        "logical date of a scheduled run, YYYY-MM-DD: publishes a partition, FOLDER/labels/run_date=YYYY-MM-DD; in "
        "--input {date} stands for it, or {date:%Y/%m/%d}; with --only_new also FROM..TO, one night after the other",
        default=None,
        metavar="DATE",
        often=True,
    )
    only_new: bool = option(
        "skip input files that an earlier run under the output folder labelled, or one labels at this moment, whatever "
        "its model",
        default=False,
        often=True,
    )
    catch_up: int = option(
        "before a night of --only_new, those of so many days before it that are not published, in order; and where "
        "--input has {date}, also the files that came late for nights of these days",
        default=0,
        minimum=0,
        maximum=366,
    )
    relabel: bool = option(
        "label again the partitions under the output folder that another model labelled, one by one, each from the "
        "files that it was made of",
        default=False,
    )

    report_texts: int = option(
        "whether the rows shown at the end have their texts and kept columns (1), or only ids and answers (0), as for "
        "logs",
        default=1,
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        nights = [] if self.run_date is None else parse_dates("run_date", self.run_date)
        if self.relabel and (self.only_new or self.run_date is not None or self.overwrite):
            raise ValueError(
                "--relabel replaces what is there: it goes with none of --run_date, --only_new and --overwrite"
            )
        if self.only_new and self.run_date is None:
            raise ValueError(
                "--only_new needs --run_date: new rows are published beside the old, in a folder of their own"
            )
        if not self.only_new and (len(nights) > 1 or self.catch_up):
            what = f"--catch_up={self.catch_up}" if self.catch_up else f"--run_date={self.run_date}"
            raise ValueError(f"{what} is for nights that each take what is new: give --only_new, too")


@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """A quick look: no files, no pipeline."""

    text: tuple[str, ...] = option(
        "print the probability of every label for this text and exit; may be given several times",
        default=(),
        metavar="TEXT",
        often=True,
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
    platforms: PlatformOptions = field(default_factory=PlatformOptions)

    def __post_init__(self) -> None:
        for name, patterns in (("input", self.read.input), ("exclude", self.read.exclude)):
            for pattern in filter(has_date, patterns):
                check_forms(name, pattern)
                if self.run.relabel:
                    raise ValueError(f"--{name}={pattern} has a place for a date: with --relabel write * there")
                if self.run.run_date is None:
                    raise ValueError(f"--{name}={pattern} has a place for a date: give --run_date")
