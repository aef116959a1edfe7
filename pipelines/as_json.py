"""What a command found, as a JSON document for programs."""

import json
import sys
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError
from seqcls_beam.signs import json_shown


def ensure_json(file: str, flag: str = "json") -> None:
    """Raise `RunError` where `write_json` could not write: before the work, so that nobody does it twice."""
    if file == "-":
        return
    try:
        storage.ensure_puts(storage.absolute(file))
    except OSError as error:
        raise RunError(f"--{flag}={storage.without_password(file)} cannot be written: {error}") from error


def write_json(file: str, found: dict[str, Any]) -> None:
    """Write a document into a file, or where that is - to the standard output."""
    try:
        text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # a name of a file that is no UTF-8
        text = json.dumps(found, indent=2, ensure_ascii=False)
    if file != "-":
        storage.put(storage.absolute(file), json_shown(text).encode() + b"\n")
    elif sys.stdout is not None:
        if not (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
            text = json.dumps(orjson.loads(json_shown(text)), indent=2)
        print(json_shown(text), flush=True)
