"""Judge nights: rejects, drift and the model's worth are gates, and OUT/_APPROVED.json names the last that passed.

python -m pipelines.approve OUT
python -m pipelines.approve OUT --max_label_shift=0.1 --evaluation=gold-evaluation
python -m pipelines.approve OUT --run_date=2026-11-20 --max_label_shift=1 --max_label_psi=inf
"""

import sys
from collections.abc import Sequence

from pipelines.ending import exit_code, planning
from pipelines.interrupts import loading
from pipelines.options import parse_folder
from seqcls_beam.config.approve import ApproveOptions
from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.config.debug import DebugOptions

GROUPS: dict[str, type] = {"approve": ApproveOptions, "drift": DriftOptions, "debug": DebugOptions}

EPILOG = """\
a night that was judged is not judged again, whatever became of it, unless --run_date names it; one that passed stays
approved. The file says {partition, version, labels, run_id} of the last night that passed, and under `passed` the
version of each other one; it never goes back to an earlier date

exit codes: 0 all that was judged passed, or nothing was to be judged; 1 failed; 2 wrong usage; 3 a gate did not pass,
now or when the last night was judged, or a night stays open, because no --evaluation is of its model
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return exit_code(_main, sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    with planning():
        given = parse_folder("approve", (__doc__ or "").strip(), EPILOG, argv, GROUPS)
        options, limits = ApproveOptions(**given["approve"]), DriftOptions(**given["drift"])
    with loading():
        from pipelines import approving  # takes a second, which --help and wrong usage do without

    return approving.approve(options, limits)


if __name__ == "__main__":
    sys.exit(main())
