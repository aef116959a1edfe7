"""Why a line of a JSON-lines file is no row, said by Python's json, which is slow and exact.

The fast reader (`jsonl`) asks only about lines that it cannot take. Knows no files.
"""

import json
import math
from typing import Any

_KINDS = {str: "string", float: "number", bool: "boolean", list: "array", dict: "object", type(None): "null"}


class _Refused(ValueError):
    """A constant or number that JSON or float64 does not have."""


def find_fault(line: bytes, read: list[str], texts: list[str]) -> tuple[str, str] | None:
    """Line → (reason, detail), or None where it is one JSON object that names each read column once at most."""
    top: list[tuple[str, Any]] = []

    def keep_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal top
        top = pairs  # the outermost object is the last to be complete
        return dict(pairs)

    try:
        # Integers as floats: Python refuses to make an int of more than 4,300 digits, and their value is not used.
        value = json.loads(
            line.decode(), object_pairs_hook=keep_pairs, parse_constant=_refuse, parse_float=_number, parse_int=float
        )
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"byte {error.start} of the line: {error.reason}"
    except ValueError as error:
        return "invalid_json", str(error)
    except RecursionError:
        return None  # nested too deep for this reader; the fast one is not recursive and decides
    if not isinstance(value, dict):
        return "invalid_json", f"not an object: {_KINDS[type(value)]}"
    names = [name for name, _ in top]
    twice = [name for name in read if names.count(name) > 1]
    if twice:
        return "duplicate_key", f"{twice[0]!r} stands {names.count(twice[0])} times"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return "lone_surrogate", f"\\u{ord(error.object[error.start]):04x} stands alone"
    except RecursionError:
        return None
    for name in texts:
        if not isinstance(value.get(name), str | None):
            return "wrong_type", f"{name!r} is no string: {_KINDS[type(value[name])]}"
    return None


def _refuse(constant: str) -> None:
    raise _Refused(f"{constant} is no JSON")


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Refused(f"{digits[:40]} is beyond the range of float64")
    return value
