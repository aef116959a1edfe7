"""Options of every command: what is shown of a failure."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class DebugOptions:
    """A failure."""

    debug: bool = option(
        "show where in the program it came from, and what Beam and its workers log of it", default=False
    )

    def __post_init__(self) -> None:
        check(self)
