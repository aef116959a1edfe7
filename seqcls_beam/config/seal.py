"""Options of `python -m pipelines.seal`."""

import datetime
import re
from dataclasses import dataclass

from seqcls_beam.config.option import check, option

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
"""As RFC 3339 writes a time."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, kw_only=True)
class SealOptions:
    """Which windows are sealed."""

    output: str = option("folder that a stream is labelled into", metavar="OUT", positional=True)
    until: str | None = option(
        "only windows that end by then, such as 2026-11-20T10:00:00Z (default: all that have rows; what comes later "
        "amends them)",
        default=None,
        metavar="TIME",
    )
    report_texts: int = option(
        "whether the pages of the days that are sealed show texts (1), or only ids and answers (0)",
        default=1,
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        check(self)
        _ = self.until_microseconds

    @property
    def until_microseconds(self) -> int | None:
        """`until` in microseconds since 1970; raises `ValueError` where it is no time."""
        if self.until is None:
            return None
        try:
            if _TIME.fullmatch(self.until) is None:
                raise ValueError("it has no date, no time or no time zone")
            moment = datetime.datetime.fromisoformat(self.until.upper())
        except ValueError as error:
            raise ValueError(f"--until={self.until}: expected a time such as 2026-11-20T10:00:00Z ({error})") from error
        return (moment - _EPOCH) // datetime.timedelta(microseconds=1)
