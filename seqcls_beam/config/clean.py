"""Options of `python -m pipelines.clean`."""

from dataclasses import dataclass

from seqcls_beam.config.dates import parse_date
from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """What is looked at, and what is removed."""

    output: str = option("folder that a command published into", metavar="OUT", positional=True)
    before: str | None = option(
        "whole partitions of earlier logical dates, YYYY-MM-DD, as well; their input counts as labelled still",
        default=None,
        metavar="DATE",
    )
    remove: bool = option("remove what is listed; without it nothing is touched", default=False)

    def __post_init__(self) -> None:
        check(self)
        if self.before is not None:
            parse_date("before", self.before)
