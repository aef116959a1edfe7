"""The page of a run, at the end of it: nothing that is published waits for it, or fails with it."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.command import LOCAL, say
from pipelines.engines import is_prism
from pipelines.failures import sentence
from pipelines.terminal import report as terminal
from seqcls_beam.runs.run import Run


def report(run: Run, runner: str) -> None:
    """Write the page of a run that this machine made, and say where it is; a warning where it cannot be.

    Whoever sends a run elsewhere may be anywhere, and writes its page with `pipelines.report`.
    """
    if runner != LOCAL and not is_prism(runner):
        return
    with _warned():
        from seqcls_beam.reports import writing  # takes part of a second, and only runs that were made need it

        terminal.written(writing.write(run.output, run.partition))


def report_days(output: str, windows: list[str]) -> None:
    """Write the pages of the days of windows that were sealed, and say where their index is; likewise."""
    if not windows:
        return
    with _warned():
        from seqcls_beam.reports import writing  # as above

        terminal.written(writing.write_days(output, windows))


@contextmanager
def _warned() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        say(f"warning: no report was written: {sentence(error)}", 0)
