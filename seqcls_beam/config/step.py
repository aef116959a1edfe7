"""Options of commands that run a pipeline to its end: when it has none."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """A run that stands still."""

    step_timeout: float = option(
        "seconds after which a run ends with code 1 where what a worker has in hand, or all of them, gave no sign of "
        "life; 0: never",
        default=3600.0,
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)
