"""Options of `python -m pipelines.approve`."""

from dataclasses import dataclass

from seqcls_beam.config.dates import parse_dates
from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class ApproveOptions:
    """What is judged, and by what besides drift."""

    output: str = option("folder that pipelines.classify published into", metavar="OUT", positional=True)
    run_date: str | None = option(
        "judge the night of YYYY-MM-DD, or nights FROM..TO, also where that was done before (default: all that nobody "
        "judged yet)",
        default=None,
        metavar="DATE",
    )
    max_rejected: float = option(
        "fraction of a night's rows that may be rejected or lost", default=0.01, minimum=0, maximum=1
    )
    reference: str | None = option(
        "run that nights are compared with, named as for pipelines.compare (default: the last night before that passed "
        "and has rows)",
        default=None,
        metavar="RUN",
    )
    evaluation: tuple[str, ...] = option(
        "output folder of pipelines.evaluate, with gates: they must have passed, and of the model that labelled the "
        "night; may be given several times, for several models",
        default=(),
        metavar="FOLDER",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.run_date is not None:
            parse_dates("run_date", self.run_date)
