"""Options of `python -m pipelines.report`."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is shown, and where."""

    output: str = option("folder that a command published into", metavar="OUT", positional=True)
    which: str | None = option(
        "one partition, such as run_date=2026-11-20, or one day of a stream, day=2026-11-20 (default: the last, or all "
        "that there is)",
        default=None,
        metavar="NAME",
    )
    page: str | None = option(
        "file for the page, local or of any fsspec protocol (default: below OUT/_report, with an index where there are "
        "several nights)",
        default=None,
        metavar="FILE",
        flag="output",
    )
    report_texts: int = option(
        "whether the page may show texts (1), unless the run was told to keep them back, or only numbers (0)",
        default=1,
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.page == "-":
            raise ValueError("--output=-: a page is a file for a browser; name one, such as report.html")
