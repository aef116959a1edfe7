"""Options of `python -m pipelines.classify --plan`."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a run would take."""

    plan: bool = option(
        "say what the run would take, and write nothing: units, rows and tokens (of a sample), hours on one worker and "
        "on several, and what they cost",
        default=False,
    )
    plan_rows: int = option("rows that --plan reads and tokenises, spread over the input", default=16_384, minimum=1)
    plan_speed: str | None = option(
        "JSON that says how fast another device is: what --plan_json wrote there, or one of benchmarks/results "
        "(default: this machine is timed for some seconds)",
        default=None,
        metavar="FILE",
    )
    plan_json: str | None = option(
        "file for all that --plan says, as JSON, local or of any fsspec protocol; - is the standard output, and the "
        "table goes to the standard error then",
        default=None,
        metavar="FILE",
    )
    prices: str | None = option(
        "JSON with what an hour of a worker costs (default: list prices that came with the package, with their date)",
        default=None,
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.plan:
            raise ValueError("--plan_rows, --plan_speed, --plan_json and --prices are of --plan: give it, too")
