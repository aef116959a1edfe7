"""How a command is called: by Python, or as `seqcls-beam`, which is one for all of them."""

import sys

SCRIPT = "seqcls-beam"


def as_called(text: str) -> str:
    """A text that names commands for Python, each as the user calls them."""
    return text.replace("python -m pipelines.", f"{SCRIPT} ") if sys.argv[0] == SCRIPT else text
