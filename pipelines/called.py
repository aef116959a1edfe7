"""How commands are called: by Python, or as `seqcls-beam`, which is one for all of them."""

import re

SCRIPT = "seqcls-beam"

_by_script = False


def call_by_script() -> None:
    """From now on commands are called as `seqcls-beam`."""
    global _by_script
    _by_script = True


def as_called(text: str) -> str:
    """A text that names commands as Python has them, each as the user calls them."""
    return re.sub(r"(?:python -m )?\bpipelines\.(?=[a-z])", f"{SCRIPT} ", text) if _by_script else text
