"""Seal the windows of a stream: what was labelled since is published, each message once.

python -m pipelines.seal OUT
python -m pipelines.seal OUT --until=2026-11-20T10:00:00Z
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pipelines import outcome
from pipelines.command import say
from pipelines.ending import exit_code, planning
from pipelines.failures import sentence
from pipelines.interrupts import check, loading, noted
from pipelines.options import parse_folder
from seqcls_beam.config.announce import PlatformOptions
from seqcls_beam.config.debug import DebugOptions
from seqcls_beam.config.seal import SealOptions

GROUPS: dict[str, type] = {"seal": SealOptions, "platforms": PlatformOptions, "debug": DebugOptions}

EPILOG = """\
it may run again, several times at once, and beside jobs that label; a row that comes for a window that is sealed is
published by the next time, as an amendment

exit codes: 0 sealed, or nothing to do; 1 failed, or some window could not be sealed; 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        given = parse_folder("seal", (__doc__ or "").strip(), EPILOG, argv, GROUPS)
        options, named = SealOptions(**given["seal"]), PlatformOptions(**given["platforms"])
    with loading():  # for a second, which --help and wrong usage do without
        from pipelines.announcing import Windows
        from pipelines.reporting import report_days
        from pipelines.terminal import seal as terminal
        from seqcls_beam.announcing import platforms
        from seqcls_beam.runs.sealing import due, seal

    with planning():
        where = platforms.named(named, options.output)
        windows = due(options.output, options.until_microseconds)
    done, untold = [], Windows(options.output, where, patience=math.inf)
    sealing = seal(options.output, options.until_microseconds, platforms=where)
    try:
        for each in terminal.watching(sealing, len(windows)):
            done.append(each)
            outcome.append("windows", **{name: fact for name, fact in asdict(each).items() if name != "platforms"})
            terminal.told(each)
            if each.version is not None:
                untold.sealed(each.window, each.platforms)
            with noted():
                untold.tell()
            check()
    except OSError as error:
        terminal.summed(done)
        return say(f"{sentence(error)}; what was not sealed waits: seal again", 1)
    finally:
        with noted():
            untold.last()
    if not done:
        return say("nothing to seal: no window has rows that wait", 0)
    terminal.summed(done)
    sealed = {each.window for each in done if each.version is not None}
    with noted():
        report_days(options.output, sealed, bool(options.report_texts))
    faults = [each.fault for each in done if each.fault is not None]
    for fault in faults:
        say(fault, 1)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
