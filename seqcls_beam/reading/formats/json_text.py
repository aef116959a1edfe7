"""JSON text → values, by the letter of RFC 8259 and to the last digit. Knows neither columns nor files."""

import json
import re
from json import JSONDecodeError
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_NO_NUMBER = re.compile(rb"(?:NaN|Inf(?:inity)?)[ \t\r\n]*[,}\]]")
_PLAIN_NAME = re.compile(r'"([^"\\\x00-\x1f]*+)"[ \t\n\r]*+:[ \t\n\r]*+')


class Number(str):
    """A number as it is written."""

    __slots__ = ()  # half the memory


class Object(list[tuple[str, Any]]):
    """The members of an object, names that stand twice included."""


class Deep:
    """A value that is nested too deeply to be looked at."""


KINDS: dict[type, str] = {
    str: "string",
    Number: "number",
    bool: "boolean",
    list: "array",
    Object: "object",
    type(None): "null",
    Deep: "nested too deeply",
}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=Object)
_OUTLINER = json.JSONDecoder(parse_int=bool, parse_float=bool, parse_constant=_refuse, object_pairs_hook=bool)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BEFORE_VALUES = ",[{"


def members(text: str) -> list[tuple[str, Any, int, int]]:
    """Text of one JSON object → its members in order: name, value, first character of the value, one past its last.

    Raises `ValueError` where it is not one object and nothing else.
    """
    at = space(text, 0)
    if text[at : at + 1] != "{":
        value, end = value_at(text, at)
        expect(text, space(text, end), "")
        raise ValueError(f"not an object: {KINDS[type(value)]}")
    found = []
    at = space(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        name, begin = _name(text, at)
        value, end = value_at(text, begin)
        found.append((name, value, begin, end))
        at = space(text, end)
        more = expect(text, at, ",}") == ","
        if more:
            at = space(text, at + 1)
    expect(text, space(text, at + 1), "")
    return found


def space(text: str, at: int) -> int:
    """Where the white space that may stand there has ended."""
    if text[at : at + 1] > " ":
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at


def expect(text: str, at: int, some: str) -> str:
    """The character that stands there, one of some; of none, the text must have ended."""
    found = text[at : at + 1]
    if not some and found:
        raise JSONDecodeError("Extra data", text, at)
    if some and (not found or found not in some):
        raise JSONDecodeError(f"Expecting {' or '.join(map(repr, some))}", text, at)
    return found


def _name(text: str, at: int) -> tuple[str, int]:
    """Where a member begins → its name, and where its value begins."""
    plain = _PLAIN_NAME.match(text, at)
    if plain:
        return plain[1], plain.end()
    expect(text, at, '"')
    name, end = _DECODER.raw_decode(text, at)
    at = space(text, end)
    expect(text, at, ":")
    return name, space(text, at + 1)


def value_at(text: str, at: int) -> tuple[Any, int]:
    """Where a value begins → the value, and where it has ended."""
    return _value(_DECODER, text, at)


def outline_at(text: str, at: int) -> tuple[Any, int]:
    """The same for a value of any size: its numbers and objects are only True or False."""
    return _value(_OUTLINER, text, at)


def _value(decoder: json.JSONDecoder, text: str, at: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, at)
    except RecursionError:
        return Deep(), skip(text, at)


def has_more_values(text: str, most: int) -> bool:
    """Whether arrays and objects in JSON text have more values than so many, which is told without making them."""
    if len(text) <= most or sum(map(text.count, _BEFORE_VALUES)) <= most:
        return False
    return sum(map(_STRING.sub("", text).count, _BEFORE_VALUES)) > most


def skip(text: str, at: int) -> int:
    """Where a value begins → where it has ended, however deep it is."""
    open_: list[str] = []  # what closes the arrays and objects that are open
    while True:
        if text[at : at + 1] in ("[", "{"):
            open_.append("]" if text[at] == "[" else "}")
            at = space(text, at + 1)
            if text[at : at + 1] != open_[-1]:
                at = _name(text, at)[1] if open_[-1] == "}" else at
                continue
        else:
            at = _DECODER.raw_decode(text, at)[1]
            if not open_:
                return at
            at = space(text, at)
        while expect(text, at, f",{open_[-1]}") != ",":
            open_.pop()
            if not open_:
                return at + 1
            at = space(text, at + 1)
        at = space(text, at + 1)
        at = _name(text, at)[1] if open_[-1] == "}" else at


def no_numbers(data: bytes) -> list[int]:
    """Where NaN or Infinity may stand as a value: `pyarrow.json` takes them, and JSON has no such thing."""
    found = []
    for word in (b"NaN", b"Inf"):
        at = data.find(word)
        while at >= 0:
            if _NO_NUMBER.match(data, at):
                found.append(at)
            at = data.find(word, at + 1)
    return found
