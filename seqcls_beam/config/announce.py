"""Options of every command that publishes, for platforms that are told of it, and of `python -m pipelines.announce`."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class TellOptions:
    """Platforms that are told of a run (docs/platforms.md)."""

    openlineage: str | None = option(
        "events of OpenLineage: the URL of a server such as Marquez, or a file that gets a line for each; the flag "
        "alone, or env: what OPENLINEAGE_URL or openlineage.yml says",
        default=None,
        metavar="URL",
        bare="env",
    )
    prometheus: str | None = option(
        "figures of the run as a file in this folder, which node_exporter's textfile collector reads",
        default=None,
        metavar="FOLDER",
    )
    otlp: str | None = option(
        "the same figures to a collector of OpenTelemetry, over HTTP, such as http://host:4318; the flag alone, or "
        "env: what OTEL_EXPORTER_OTLP_ENDPOINT says",
        default=None,
        metavar="URL",
        bare="env",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PlatformOptions(TellOptions):
    """Platforms that are told of a run (docs/platforms.md)."""

    iceberg: str | None = option(
        "Iceberg table that has exactly the published rows, NAMESPACE.TABLE or CATALOG:NAMESPACE.TABLE, of a catalog "
        "that pyiceberg is configured for",
        default=None,
        metavar="TABLE",
    )
    bigquery: str | None = option(
        "write the definition of the job that loads the rows into this table, PROJECT.DATASET.TABLE; nothing is sent",
        default=None,
        metavar="TABLE",
    )


@dataclass(frozen=True, kw_only=True)
class AnnounceOptions:
    """What is told again."""

    output: str = option("folder that a command published into", metavar="OUT", positional=True)
    run_date: str | None = option(
        "one night, YYYY-MM-DD (default: the newest version of every partition)", default=None, metavar="DATE"
    )

    def __post_init__(self) -> None:
        check(self)
