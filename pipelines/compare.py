"""Compare labellings: how far others lie from the first one, from their manifests alone.

python -m pipelines.compare OUT/labels/run_date=2026-11-20 OUT/labels/run_date=2026-11-21
python -m pipelines.compare last-week tonight --max_label_shift=0.1 --json=drift.json
python -m pipelines.compare OUT/_versions/00000001.json OUT
"""

import sys
from collections.abc import Sequence
from typing import Any

from pipelines import outcome
from pipelines.called import as_called
from pipelines.command import say
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_beside, parser
from pipelines.terminal.standard import ensure_shown
from pipelines.usage import UsageError
from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.config.debug import DebugOptions

GROUPS: dict[str, type] = {"drift": DriftOptions, "debug": DebugOptions}

EPILOG = """\
a change is beyond its limit where it is larger than the limit and than chance makes it once in a thousand times: the
column "at most"; "chance" is what it is on the average where nothing changed. Where chance alone may exceed a limit
there are too few rows to judge, which passes. A limit that allows everything (1 of a share, inf of a PSI) is none

exit codes: 0 within all limits; 1 failed; 2 wrong usage; 3 compared, and a change is beyond its limit, or labels are
not the same and cannot be compared
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        names, given = _given(argv)
        limits = DriftOptions(**given["drift"])
    with loading():  # for a second, which --help and wrong usage do without
        from pipelines.terminal import compare as terminal
        from seqcls_beam import storage
        from seqcls_beam.evaluation.comparison import compared, failures
        from seqcls_beam.evaluation.sample import sample
        from seqcls_beam.runs.meant import labelling

    with planning():
        first, *others = storage.each(lambda name: sample(storage.without_password(name), labelling(name)), names)
    found = compared(first, others, limits)
    outcome.add(**found)
    terminal.compared(found)
    ensure_shown()
    for run in found["runs"]:
        for why in failures(run):
            say(why, 3)
    return 0 if found["passed"] else 3


def _given(argv: list[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """What runs are named, the reference first, and the values given for each group. Raises `UsageError`."""
    made = parser("pipelines.compare", (__doc__ or "").strip(), EPILOG, GROUPS)
    made.usage = f"{made.prog} REFERENCE RUN [RUN ...] [options]"
    made.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help=as_called("output folder of pipelines.classify")
        + ", where it has no partitions or one; a folder of labels such as OUT/labels/run_date=2026-11-20; or a "
        "manifest, OUT/_versions/…/00000001.json. The first is what the others are compared with",
    )
    names, given = parse_beside(made, argv, GROUPS, "runs")
    if len(names) < 2:
        raise UsageError(f"{len(names)} runs are named, and two are needed at least: {made.usage}")
    return names, given


if __name__ == "__main__":
    sys.exit(main())
