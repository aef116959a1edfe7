"""How a command speaks on its standard error: how loudly, and to people or to programs. One way for the process."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

_NAME = "seqcls_beam"


@dataclass(frozen=True)
class Voice:
    """What the flags say of it."""

    quiet: bool = False
    json: str | None = None  # where the document on the whole goes, - is the standard output
    log_level: str | None = None
    log_json: bool = False
    debug: bool = False

    @property
    def least(self) -> int:
        """The level of a sentence that is said."""
        if self.log_level is not None:
            return int(logging.getLevelName(self.log_level))
        return logging.WARNING if self.quiet else logging.INFO


now = Voice()
_run: str | None = None
_speaking = False


@contextmanager
def speaking(argv: Sequence[str]) -> Iterator[bool]:
    """Speak as a command line says until the block ends; yields whether no other command of this process does so."""
    global _speaking, _run
    if _speaking:
        yield False
        return
    _speaking, _run = True, None
    level = logging.getLogger().level  # of a program that calls this one
    speak(_heard(argv))
    try:
        yield True
    finally:
        speak(Voice())
        logging.getLogger().setLevel(level)
        _speaking = False


def speak(how: Voice) -> None:
    """Speak so from now on."""
    global now
    now = how
    logging.getLogger().setLevel(how.log_level or logging.WARNING)
    logging.captureWarnings(how.log_json)
    if how.quiet or how.log_json:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def speak_of(run_id: str) -> None:
    """Lines of the log are of a run from now on."""
    global _run
    _run = run_id


def utter(message: str, level: int = logging.INFO) -> None:
    """Say a sentence of this program's, if it is loud enough."""
    if level >= now.least and sys.stderr is not None:
        print(line(message, level), file=sys.stderr, flush=True)


def news(message: str, level: int = logging.INFO) -> None:
    """Say lines that do not begin with this program's name, such as how far work is."""
    if level >= now.least and sys.stderr is not None:
        print(entry(message, level) if now.log_json else message, file=sys.stderr, flush=True)


def line(message: str, level: int = logging.INFO) -> str:
    """A sentence of this program's, as it is said."""
    return entry(message, level) if now.log_json else f"{_NAME}: {message}"


def entry(message: str, level: int = logging.INFO, logger: str = _NAME, when: float | None = None) -> str:
    """A line of the log as JSON, of a time in seconds since 1970."""
    seconds = time.time() if when is None else when
    told: dict[str, Any] = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z",
        "level": logging.getLevelName(level),
        "logger": logger,
        "message": message,
    }
    return json.dumps(told if _run is None else {**told, "run_id": _run})


def _heard(argv: Sequence[str]) -> Voice:
    """What a command line says of it, which is asked before the flags are read: they may be what is wrong."""
    found: dict[str, Any] = {}
    kinds = {each.name: each.type for each in fields(Voice)}
    for word, after in zip(argv, [*argv, ""][1:], strict=True):
        name, given, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in kinds:
            continue
        if kinds[name] is bool:
            found[name] = value.lower() != "false"
        elif name == "log_level" and (said := value if given else after) in ("DEBUG", "INFO", "WARNING", "ERROR"):
            found[name] = said
        elif name == "json" and value in ("", "-") and (given or after == "-" or not after or after.startswith("-")):
            found[name] = "-"  # whether a file can be written is looked at later
    return replace(Voice(), **found)
