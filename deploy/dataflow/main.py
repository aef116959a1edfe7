"""What the launcher of a template starts: one command, with the template's parameters as its flags."""

import os
import sys
from collections.abc import Sequence

from seqcls_beam.__main__ import main

_LABELS = "--labels="


def words(given: Sequence[str]) -> list[str]:
    """What the launcher gives, with labels of the job as `--label=`, which Beam takes, too.

    The launcher gives them as `--labels=`, which is an option of prepare: the names of the classes. These have neither
    a brace nor `=`, by the pattern of the parameter, and labels of a job have one of the two.
    """
    return [f"--label={word.removeprefix(_LABELS)}" if _of_a_job(word) else word for word in given]


def _of_a_job(word: str) -> bool:
    value = word.removeprefix(_LABELS)
    return word.startswith(_LABELS) and ("{" in value or "=" in value)


if __name__ == "__main__":
    sys.exit(main([os.environ.get("SEQCLS_BEAM_COMMAND", ""), *words(sys.argv[1:])]))
