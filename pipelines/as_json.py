"""What a command found, as a JSON document for programs."""

from typing import Any

import orjson
from rich.text import Text

from pipelines.terminal import screen
from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.signs import json_shown


def ensure_json(file: str | None, flag: str = "json") -> None:
    """Raise `RunError` where `write_json` could not write: before the work, so that nobody does it twice."""
    if file in (None, "-"):
        return
    try:
        storage.ensure_puts(storage.absolute(str(file)))
    except OSError as error:
        raise RunError(f"--{flag}={storage.without_password(str(file))} cannot be written: {error}") from error


def write_json(file: str, found: dict[str, Any]) -> None:
    """Write a document into a file, or where that is - to the standard output."""
    data = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if file == "-":
        screen.console().print(Text(json_shown(data.decode())), soft_wrap=True, end="")
    else:
        storage.put(storage.absolute(file), data)
