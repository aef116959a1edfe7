"""What is said of a checkpoint that cannot be used."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 500
"""Characters of what a library says of its failure."""
_ADVICE = "weights_only"
"""torch says behind it how to load a file that may run anything."""
_FOUND = re.compile(r"GLOBAL [\w.]+|Unsupported (?:operand|class)\b[^.\n]{0,60}", re.IGNORECASE)


class CheckpointError(ValueError):
    """The checkpoint cannot be used: one sentence that says why, and what to do."""

    def __init__(self, sentence: str, passing: bool = False) -> None:
        """`passing`: a store did not answer, or this machine failed, so that another try may help."""
        super().__init__(sentence)
        self.passing = passing


@contextmanager
def panics_raised() -> Iterator[None]:
    """A panic of a library in Rust, which is no `Exception`, raises RuntimeError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # no module has it
            raise
        raise RuntimeError(told(error)) from error


def told(error: BaseException) -> str:
    """What a library raised, in one line, and without advice to trust the file."""
    said = str(error)
    if _ADVICE in said:
        found = _FOUND.search(said)
        why = f" ({found[0]})" if found else ""
        said = f"the file is damaged, or holds more than weights{why}, and is not read: save them as safetensors"
    said = " ".join(said.split())
    return f"{type(error).__name__}: {said if len(said) <= _LONGEST else f'{said[:_LONGEST]} …'}"


def of_the_system(error: OSError) -> bool:
    """Whether a disk is full, fails, or may not be used; not where a file or folder is not there, or another one is."""
    of_names = FileNotFoundError | FileExistsError | NotADirectoryError | IsADirectoryError
    return error.errno is not None and not isinstance(error, of_names)
