"""The page of a run, at the end of it: nothing that is published waits for it, or fails with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines import outcome
from pipelines.command import LOCAL, warn
from pipelines.failures import sentence
from pipelines.runners import is_prism
from pipelines.terminal import report as terminal
from seqcls_beam.runs.run import Run

Show = Callable[[Run, dict[str, Any]], None]
"""Shows the manifest of a run."""


def with_page(show: Show, runner: str) -> Show:
    """Show a manifest, and then write the page of its run: while signals are noted, as `command.finish` has it."""

    def both(run: Run, manifest: dict[str, Any]) -> None:
        show(run, manifest)
        report(run, runner)

    return both


def report(run: Run, runner: str) -> None:
    """Write the page of a run that this machine made, unless it is there, and say where; a warning where it cannot be.

    Whoever sends a run elsewhere may be anywhere, and writes its page with `pipelines.report`.
    """
    if runner != LOCAL and not is_prism(runner):
        return
    with _warned():
        from seqcls_beam.reports import writing  # takes part of a second, and only runs that were made need it

        there = writing.there(run.output, run.partition, run.run_id)
        outcome.last("runs", report=terminal.written(there or writing.write(run.output, run.partition)))


def report_days(output: str, windows: set[str], texts: bool, tell: bool = True) -> None:
    """Write the pages of the days of windows that were sealed, and `tell` where their index is; likewise."""
    if not windows:
        return
    with _warned():
        from seqcls_beam.reports import writing  # as above

        place = writing.write_days(output, windows, texts)
        if tell:
            outcome.add(report=terminal.written(place))


@contextmanager
def _warned() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        warn(f"warning: no report was written: {sentence(error)}")
