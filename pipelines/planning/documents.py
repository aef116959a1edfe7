"""JSON files that `--plan` is given, each by its flag."""

import json
import os
from typing import Any

import orjson

from seqcls_beam import storage

_LONGEST = 40
"""Signs of a value that are shown."""


def read(flag: str, file: str) -> Any:
    """What a JSON file holds. Raises `ValueError` where there is none, and `StoreError` where it cannot be read."""
    option = named(flag, file)
    try:
        uri = storage.absolute(file)
        if storage.is_local(uri):
            _ensure_file(option, storage.local_path(uri))
        data = storage.read(uri)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{option}: there is no such file") from error
    except OSError as error:
        why = error.strerror or storage.without_secrets(str(error))
        raise storage.StoreError(f"{option} cannot be read: {why}") from error
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{option} is no JSON: {error}") from error


def named(flag: str, file: str) -> str:
    """A file as a sentence has it: with its flag, and without passwords."""
    return f"--{flag}={storage.without_password(file)}"


def shown(value: Any) -> str:
    """A value of a document as JSON has it, of a long one its beginning."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _ensure_file(option: str, path: str) -> None:
    if os.path.isdir(path):
        raise ValueError(f"{option} is a folder: name the file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{option} is a pipe, a socket or a device: name a file")
