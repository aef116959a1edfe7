"""Words of Beam's flags → its options, and the engine that is meant."""

from pydoc import locate
from typing import TYPE_CHECKING, Any

from pipelines.usage import UsageError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def beam_options(words: list[str]) -> "PipelineOptions":
    """Beam's options, of the words that `parse` leaves."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(words)


def name_runner(options: "PipelineOptions") -> str:
    """Put the engine that is meant by DirectRunner by its name, and return the engine's name.

    Beam's own DirectRunner tries to download a binary and silently runs another engine where it cannot.
    Raises `UsageError` for a runner that loses data, and for one that there is not.
    """
    from apache_beam.options.pipeline_options import StandardOptions  # takes a second, and some commands need no Beam

    standard = options.view_as(StandardOptions)
    runner = standard.runner or "DirectRunner"
    if "dask" in runner.lower():
        raise UsageError(
            f"--runner={runner}: Beam's Dask runner reports success and writes nothing; use DirectRunner, a portable "
            "runner or DataflowRunner"
        )
    known = {name.lower() for name in StandardOptions.KNOWN_RUNNER_NAMES}
    if not ({runner.lower(), f"{runner.lower()}runner"} & known or ("." in runner and _is_runner(locate(runner)))):
        raise UsageError(
            f"--runner={runner}: Beam has no such runner; it has {', '.join(StandardOptions.KNOWN_RUNNER_NAMES)}"
        )
    if runner in ("DirectRunner", "SwitchingDirectRunner"):
        runner = "FnApiRunner"
    standard.runner = runner
    return str(runner)


def is_prism(runner: str) -> bool:
    """Whether a runner's name, or its path in Python, is Prism's."""
    return "prism" in runner.lower()


def _is_runner(found: Any) -> bool:
    from apache_beam.runners.runner import PipelineRunner  # as above

    return isinstance(found, type) and issubclass(found, PipelineRunner)
