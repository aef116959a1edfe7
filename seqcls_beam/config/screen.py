"""Options of every command: how it speaks, and where its options stand."""

from dataclasses import dataclass

from seqcls_beam.config.option import check, option


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """What is shown."""

    quiet: bool = option(
        "nothing on the standard output, and on the standard error warnings and errors alone", default=False
    )
    json: str | None = option(
        "one JSON object of what became of it, also of a failure, on the standard output, and all else on the standard "
        "error; or in a file, local or of any fsspec protocol (docs/terminal.md)",
        default=None,
        metavar="FILE",
        bare="-",
    )
    log_level: str | None = option(
        "show sentences and lines of the log from this level on, those of Beam and its workers too (default: sentences "
        "of this program, and warnings)",
        default=None,
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )
    log_json: bool = option(
        "the standard error as JSON, an object a line: time, level, logger, message, run_id", default=False
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Options in a file."""

    config: str | None = option(
        "YAML or JSON file with options, a key for each flag, Beam's among them; a flag on the command line wins "
        "(docs/terminal.md)",
        default=None,
        metavar="FILE",
    )
    save_config: str | None = option(
        "file to write the options into that were given, as --config takes them: YAML, or JSON where it ends in .json",
        default=None,
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        check(self)


COMMON: dict[str, type] = {"screen": ScreenOptions, "files": FileOptions}
"""What every command has besides its own."""
