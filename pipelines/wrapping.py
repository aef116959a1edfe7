"""Texts of `--help`, no line of which is wider than the terminal."""

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

_COMMAND = re.compile(r" *(?:python -m|seqcls-beam|torchrun|--\w)")


def wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of a text: prose is filled, a command goes on as a shell reads it, and what is said of it stands below."""
    for is_prose, lines in groupby(text.splitlines(), lambda line: bool(re.match(r"\S", line)) and not _command(line)):
        if is_prose:
            yield from textwrap.wrap(" ".join(lines), width, break_long_words=False, break_on_hyphens=False)
            continue
        for line in lines:
            yield from [line] if len(line) <= width else _command_wrapped(line, width)


def _command(line: str) -> bool:
    return _COMMAND.match(line) is not None


def _command_wrapped(line: str, width: int) -> Iterator[str]:
    command, _, remark = re.sub(r"(?<=\S) {3,}", "\0", line).partition("\0")
    margin = " " * (len(command) - len(command.lstrip()) + 4)
    end = " \\" if _command(line) else ""
    how = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": margin}
    lines = textwrap.wrap(command, width - len(end), **how)  # type: ignore[arg-type]
    yield from [f"{each}{end}" for each in lines[:-1]] + lines[-1:]
    yield from textwrap.wrap(remark, width, initial_indent=margin, **how)  # type: ignore[arg-type]
