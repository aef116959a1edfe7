"""Write a page for people of what a command published: what to act on first, then what it is made of.

python -m pipelines.report OUT
python -m pipelines.report OUT --which=run_date=2026-11-20
python -m pipelines.report gs://bucket/labelled --output=report.html
"""

import sys
from collections.abc import Sequence

from pipelines import outcome
from pipelines.command import say
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_folder
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.report import ReportOptions

GROUPS: dict[str, type] = {"report": ReportOptions, "debug": DebugOptions}

EPILOG = """\
runs on this machine write their pages themselves; of what was published from elsewhere this command does it

exit codes: 0 written; 1 failed, as where nothing is published; 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv), after="start it again")


def _main(argv: list[str]) -> int:
    with planning():
        given = parse_folder("report", (__doc__ or "").strip(), EPILOG, argv, GROUPS)
        options = ReportOptions(**given["report"])
    with loading():  # for a second, which --help and wrong usage do without
        from pipelines.terminal import report as terminal
        from seqcls_beam import storage
        from seqcls_beam.reports import found, writing

    with planning():
        folder = found.look(options.output)
    texts = bool(options.report_texts)
    if options.page is None:
        place = writing.write_in(folder, options.which or "", texts)
    else:
        place = storage.absolute(options.page)
        storage.ensure_puts(place)
        storage.put(place, writing.page(folder, options.which or writing.last(folder), texts).encode())
    outcome.add(report=terminal.written(place))
    return say("open it in a browser; it needs nothing beside it", 0)


if __name__ == "__main__":
    sys.exit(main())
