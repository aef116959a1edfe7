"""Tell platforms of what a folder holds: those that its runs name, and those that are named here.

python -m pipelines.announce OUT
python -m pipelines.announce OUT --run_date=2026-11-20
python -m pipelines.announce gs://bucket/labelled --openlineage=http://marquez:5000 --iceberg=lake:reviews.labels
"""

import sys
from collections.abc import Sequence

from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_folder
from seqcls_beam.config.announce import AnnounceOptions, PlatformOptions
from seqcls_beam.config.debug import DebugOptions

GROUPS: dict[str, type] = {"announce": AnnounceOptions, "platforms": PlatformOptions, "debug": DebugOptions}

EPILOG = """\
of every partition the newest version is told; who was told of it before is told the same once more, which changes
nothing there

exit codes: 0 all were told; 1 failed, or a platform could not be told of some version; 2 wrong usage, as where no
platform is named and none is remembered
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv), after="start it again")


def _main(argv: list[str]) -> int:
    with planning():
        given = parse_folder("announce", (__doc__ or "").strip(), EPILOG, argv, GROUPS)
        options, named = AnnounceOptions(**given["announce"]), PlatformOptions(**given["platforms"])
    with loading():  # for a second, which --help and wrong usage do without
        from pipelines import telling

    with planning():
        partitions, where = telling.look(options, named)
    return telling.tell(options.output, partitions, where)


if __name__ == "__main__":
    sys.exit(main())
