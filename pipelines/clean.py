"""List what an output folder has that no version names: attempts of runs that died, parts that were replaced.

python -m pipelines.clean OUT
python -m pipelines.clean OUT --remove
python -m pipelines.clean OUT --before=2026-01-01 --remove
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from pipelines import outcome
from pipelines.command import say, warn
from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_folder
from pipelines.terminal.standard import ensure_shown
from seqcls_beam.config.clean import CleanOptions
from seqcls_beam.config.debug import DebugOptions

GROUPS: dict[str, type] = {"clean": CleanOptions, "debug": DebugOptions}

EPILOG = """\
a run that is at work is left alone: something in its attempt has changed within the last ten minutes; one that was
killed and is to be started again loses what it has finished when its attempt is removed

exit codes: 0 listed, or removed, or nothing to do; 1 failed, or something could not be removed; 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        given = parse_folder("clean", (__doc__ or "").strip(), EPILOG, argv, GROUPS)
        options = CleanOptions(**given["clean"])
    with loading():  # for a second, which --help and wrong usage do without
        from pipelines.announcing import placing_here
        from pipelines.terminal import clean as terminal
        from seqcls_beam.runs import cleaning

    with planning():
        found = cleaning.look(options.output, options.before)
    if not found:
        return say("nothing to clean: versions name all that is there", 0)
    terminal.listed(found)
    outcome.add(leftovers=[asdict(each) for each in found])
    removable = [each for each in found if each.removable]
    if not options.remove:
        ensure_shown()
        if removable:
            say("nothing was touched: --remove removes what is not left alone", 0)
        return 0
    stayed = 0
    placed = placing_here(options.output)
    for each, why in terminal.watching(cleaning.remove(options.output, found, placed), len(removable)):
        if why is not None:
            stayed += 1
            warn(f"{each.name} stays: {why}")
    outcome.add(removed=len(removable) - stayed)
    say(f"removed {len(removable) - stayed:,} of {len(removable):,}", 0)
    return 1 if stayed else 0


if __name__ == "__main__":
    sys.exit(main())
