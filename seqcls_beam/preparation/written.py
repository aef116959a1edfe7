"""Lists that were written into a string, as JSON, Python or a database writes them."""

import ast
import json
import math
import re
from collections.abc import Container

import pyarrow as pa
import pyarrow.compute as pc

_ITEM = r"""(?:'(?:[^'\\]|\\[\\'"abfnrtvxuU0-7])*+'|"(?:[^"\\]|\\[\\'"/abfnrtvxuU0-7])*+"|"""
_ITEM += r"[+-]?[\d.]+(?:[eE][+-]?\d+)?|True|False|None|true|false|null)"
_LIST = re.compile(rf"([\[({{])\s*+(?:{_ITEM}(?:\s*+,\s*+{_ITEM})*+\s*+(?:,\s*+)?)?+([\])}}])")
# A list that was written down, if not one that can be read: [a b], {"a": 1}, array([1, 0]).
_LIKE_A_LIST = r"(?s)^(?:\w+\()?[\[{].*[\]}]\)?$"
_LIKE_A_TUPLE = r"(?s)^\(.*,.*\)$"
_LONGEST = 2**20  # characters of a written list
_CLOSES = {"[": "]", "(": ")", "{": "}"}


def written(text: str) -> list[str | None] | None:
    """A list that was written as text → its values as `labels.names` writes them; None where it is none.

    Of brackets, square, round or curly, and strings in quotes, numbers, and the words that JSON and Python have for
    true, false and nothing. What stands between blanks alone, as numpy writes it, is none.
    """
    text = text.strip()
    found = _LIST.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or _CLOSES[found[1]] != found[2] or (found[1] == "(" and "," not in text):
        return [] if text == "set()" else None
    try:
        return [_item(each[0]) for each in re.finditer(_ITEM, text[1:-1])]
    except (ValueError, SyntaxError):
        return None


def _item(text: str) -> str | None:
    """A value of a written list → its name; raises `ValueError` or `SyntaxError`."""
    if text in ("null", "None", "true", "false", "True", "False"):
        return None if text in ("null", "None") else text.lower()
    value: object
    try:
        value = json.loads(text)
    except ValueError:
        if "\\/" in text:
            raise
        value = ast.literal_eval(text)
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is no character
        return value.strip() or None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{text} is no finite number")
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)
    return str(value)


def like_lists(texts: pa.Array, known: Container[str], separator: str | None = None) -> list[int]:
    """Rows in which a string stands that is, or looks like, a list and is none of the names that are known."""
    if not pa.types.is_string(texts.type):
        return []
    like = pc.or_(pc.match_substring_regex(texts, _LIKE_A_LIST), pc.match_substring_regex(texts, _LIKE_A_TUPLE))
    found = []
    for row in pc.indices_nonzero(pc.fill_null(like, False)).to_pylist():
        text = texts[row].as_py()
        parts = [text] if separator is None else [each.strip() for each in text.split(separator)]
        if not all(each in known for each in parts) and (text[0] != "(" or written(text) is not None):
            found.append(row)
    return found
