"""Options in a file: a mapping of flags in YAML or JSON, read into words of a command line, and written.

What YAML reads otherwise than it looks, or one version of it otherwise than the next, is refused: `no`, `010`, `1_000`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seqcls_beam import storage
from seqcls_beam.config.option import kind_of
from seqcls_beam.signs import json_shown

MOST_BYTES = 2**20
"""Of a file of options: a corpus given by mistake is not read to its end."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_UNCLEAR = re.compile(r"y|n|yes|no|on|off|0o[0-7]+", re.IGNORECASE)
_MEANT = {"switch": "true or false", "number": "a whole number", "decimal": "a number", "text": "a text"}


@dataclass(frozen=True)
class Value:
    """A value as it stands in a file: text, number, switch, nothing, or unclear."""

    text: str
    kind: str


Found = dict[str, Value | list[Value]]


def read(file: str) -> Found:
    """What a file says, by key. Raises `ValueError` for what is no mapping of plain values, and `OSError`."""
    filesystem, path = storage.connect(storage.absolute(file))
    try:
        with filesystem.open(path, "rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except IsADirectoryError as error:
        raise ValueError(f"{named(file)} is a folder: name the file in it") from error
    if len(data) > MOST_BYTES:
        raise ValueError(f"{named(file)} has more than {MOST_BYTES:,} bytes, and is no file of options")
    try:
        text = data.decode("utf-8-sig")
        pairs = _of_json(text) if file.lower().endswith(".json") else _of_yaml(text)
        found: Found = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"{key} stands there twice")
            found[key] = value
    except UnicodeDecodeError as error:
        raise ValueError(f"{named(file)} is no UTF-8, from byte {error.start} on: save it as that") from error
    except RecursionError:
        raise ValueError(f"{named(file)}: it is nested too deeply for options") from None
    except ValueError as error:
        raise ValueError(f"{named(file)}: {error}") from error
    return found


def words(file: str, key: str, value: Value | list[Value], option: Any = None) -> list[str]:
    """A key as words of a command line, of an option or, where that is None, of one of Beam's.

    Raises `ValueError` for a value of another kind than the option's.
    """
    try:
        return [f"--{key}" if each is None else f"--{key}={each}" for each in _given(key, value, option)]
    except ValueError as error:
        raise ValueError(f"{named(file)}: {error}") from error


def write(file: str, command: str, given: Iterable[tuple[str, Any]]) -> list[str]:
    """Write options by flag, as `read` and `words` take them; the flags that are left out, since they hold secrets.

    Raises `OSError`.
    """
    kept: dict[str, Any] = {}
    secret = []
    for key, value in given:
        several = value if isinstance(value, tuple | list) else [value]
        if any(_is_secret(key, str(each)) for each in several):
            secret.append(key)
        else:
            kept[key] = list(value) if isinstance(value, tuple) else value
    if file.lower().endswith(".json"):
        text = json_shown(json.dumps(kept, indent=2, ensure_ascii=False)) + "\n"
    else:
        lines = [f"{key}: {_yaml(value)}\n" for key, value in kept.items()]
        text = f"# options of {command}, as --config takes them\n" + ("".join(lines) or "{}\n")
    place = storage.absolute(file)
    storage.ensure_puts(place)  # what is put takes the place of a device, too
    storage.put(place, text.encode())
    return secret


def of_words(words: Sequence[str]) -> dict[str, Any]:
    """Words of Beam's flags as options: several values of one are a list, and a flag without a value is true."""
    found: dict[str, list[Any]] = {}
    for word, after in zip(words, [*words, "--"][1:], strict=True):
        key, equals, value = word.partition("=")
        if key.startswith("--"):
            said = value if equals else True if after.startswith("-") else after
            found.setdefault(key.removeprefix("--"), []).append(said)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def _given(key: str, value: Value | list[Value], option: Any) -> Iterator[str | None]:
    """The values of a flag; None where the flag alone says it."""
    kind = "" if option is None else kind_of(option)
    several = option is None or kind in ("names", "texts")
    if isinstance(value, list):
        if not several:
            raise ValueError(f"{key} has several values, and takes one")
        texts = [_said(key, each, "text" if kind else "") for each in value]
        if kind != "names":
            yield from texts
            return
        if odd := [each for each in texts if "," in each]:
            raise ValueError(f"{key}: {odd[0]!r} has a comma, which parts names")
        yield ",".join(texts)
    elif value.kind == "switch" and (kind in ("", "switch") or option.metadata["bare"]):
        if value.text == "true":
            yield None
    else:
        yield _said(key, value, "text" if several and kind else kind)


def _said(key: str, value: Value, kind: str) -> str:
    """The text of a value that is of a kind; "" is any, of Beam's options."""
    if value.kind == "nothing":
        raise ValueError(f"{key} has no value: leave it out, or say what it is")
    if value.kind == "unclear":
        way = "true or false" if kind == "switch" else f"{value.text!r} in quotes, if that text is meant"
        raise ValueError(f"{key}: {value.text} can be read two ways in YAML: write {way}")
    fits = {
        "": True,
        "text": value.kind == "text",
        "switch": value.kind == "switch",
        "number": value.kind == "number" and _WHOLE.fullmatch(value.text) is not None,
        "decimal": value.kind == "number",
    }
    if not fits[kind]:
        quotes = f": write '{value.text}' in quotes" if kind == "text" else ""
        raise ValueError(f"{key} is {_told(value)}: expected {_MEANT[kind]}{quotes}")
    return value.text.lower().replace(".inf", "inf") if value.kind == "number" else value.text


def _told(value: Value) -> str:
    return f"the text {value.text!r}" if value.kind == "text" else value.text


def _of_yaml(text: str) -> Iterator[tuple[str, Value | list[Value]]]:
    import yaml

    class Untagged(yaml.SafeLoader):
        """Ends at the first tag."""

        def fetch_tag(self) -> None:
            raise yaml.MarkedYAMLError(problem="a tag says nothing here: leave it out", problem_mark=self.get_mark())

    try:
        root = yaml.compose(text, Untagged)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise ValueError(f"{where}{getattr(error, 'problem', None) or error}") from error
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("expected a mapping, a line such as `text_column: review` for each option")

    def scalar(node: Any, where: str) -> Value:
        if not isinstance(node, yaml.ScalarNode):
            raise ValueError(f"{where} is no plain value, nor a list of them")
        if node.style:  # JSON's escapes of one sign by two surrogates are a sign here, too
            return Value(node.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"), "text")
        return _plain(node.value, node.tag.rpartition(":")[2])

    for name, node in root.value:
        key = scalar(name, "a key").text
        if isinstance(node, yaml.SequenceNode):
            yield key, [scalar(each, key) for each in node.value]
        else:
            value = scalar(node, key)
            yield key, value


def _plain(text: str, tag: str) -> Value:
    """A value without quotes, by what PyYAML takes it for, which is YAML 1.1."""
    if text.lower() in ("true", "false"):
        return Value(text.lower(), "switch")
    if tag == "null":
        return Value(text, "nothing")
    if _NUMBER.fullmatch(text):
        octal = tag == "int" and not _WHOLE.fullmatch(text)
        return Value(text, "unclear" if octal else "number")
    if tag in ("int", "float", "bool") or _UNCLEAR.fullmatch(text):
        return Value(text, "unclear")
    return Value(text, "text")  # a date, too: it is written as it is meant


def _of_json(text: str) -> Iterator[tuple[str, Value | list[Value]]]:
    def number(said: str) -> Value:
        return Value(said.replace("Infinity", ".inf"), "number")

    try:
        # Pairs, since a mapping would keep the last of two values.
        root = json.loads(text, object_pairs_hook=tuple, parse_int=number, parse_float=number, parse_constant=number)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(root, tuple):
        raise ValueError('expected an object, such as {"text_column": "review"}')

    def scalar(value: Any, where: str) -> Value:
        if isinstance(value, Value):
            return value
        if isinstance(value, bool) or value is None:
            return Value(str(value).lower(), "nothing" if value is None else "switch")
        if isinstance(value, str):
            return Value(value, "text")
        raise ValueError(f"{where} is no plain value, nor a list of them")

    for key, value in root:
        yield key, [scalar(each, key) for each in value] if isinstance(value, list) else scalar(value, key)


def _yaml(value: Any) -> str:
    """A value as YAML and JSON both read it, but for a number without an end."""
    text = json.dumps(value, ensure_ascii=False)
    return json_shown(text).replace("Infinity", ".inf") if isinstance(value, float) else json_shown(text)


def _is_secret(key: str, value: str) -> bool:
    value = value.encode("utf-8", "replace").decode()  # else a name that is no UTF-8 is written otherwise, too
    said = f"--{key}={value}"
    return storage.without_password(value) != value or storage.without_secrets(said) != said


def named(file: str) -> str:
    """A file of options, as sentences have it."""
    return f"--config={storage.without_password(file)}"
