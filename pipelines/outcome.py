"""What becomes of a command, for programs: facts that it meets on its way, which make one document at its end."""

import time
from itertools import islice
from typing import Any

from seqcls_beam.version import __version__

_facts: dict[str, Any] = {}
_warnings: dict[str, None] = {}
_errors: dict[str, None] = {}
_command = ""
_began = 0.0


def begin() -> None:
    """Nothing is known from now on."""
    global _began
    for each in (_facts, _warnings, _errors):
        each.clear()
    _began = time.monotonic()


def of(command: str) -> None:
    """Which command it is."""
    global _command
    _command = command


def command() -> str:
    """The one that is told of."""
    return _command


def add(**facts: Any) -> None:
    """What is told of the whole command."""
    _facts.update(facts)


def append(name: str, **facts: Any) -> None:
    """One more of several things that a command makes or finds, such as a run."""
    _facts.setdefault(name, []).append(facts)


def last(name: str, **facts: Any) -> None:
    """What is known besides of the one that was appended last; of the whole where there is none."""
    there = _facts.get(name)
    (there[-1] if there else _facts).update(facts)


def warned(message: str) -> None:
    """A sentence that deserves a look."""
    _keep(_warnings, message)


def failed(message: str) -> None:
    """A sentence for which the command ends with another code than 0."""
    _keep(_errors, message)


_MOST = 100
"""Sentences of a kind: a stream goes on for months, and may say something at every window."""


def _keep(sentences: dict[str, None], message: str) -> None:
    """Keep a sentence once; of too many the oldest and the newest stay."""
    sentences[message] = None
    if len(sentences) > _MOST:
        del sentences[next(islice(sentences, _MOST // 2, None))]


def is_kept() -> bool:
    """Whether what is told stands in a folder, too."""
    return any(_facts.get(name) for name in ("runs", "windows", "nights"))


def document(code: int) -> dict[str, Any]:
    """All of it, once the exit code is known."""
    return {
        "command": _command,
        "seqcls_beam": __version__,
        "exit_code": code,
        "errors": [*_errors],
        "warnings": [*_warnings],
        "seconds": round(time.monotonic() - _began, 3),
        **_facts,
    }
