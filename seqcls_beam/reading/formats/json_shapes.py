"""Text that is JSON and no JSON lines: what it is, and what makes lines of it. Knows no columns and no files."""

from json import JSONDecodeError

from seqcls_beam.reading.formats.json_text import expect, outline_at, skip, space

OF_ARRAY = "jq -c '.[]'"
OF_OBJECTS = "jq -c ."

_WHITE = " \t\n\r"
_HEAD = 2**16  # characters of a value without an end in which its beginning is looked at


def cure(text: str, error: ValueError) -> str:
    """What helps if the whole file is like this line."""
    bare = text.strip(_WHITE)
    if bare.startswith("[") or bare in ("]", "]}") or (bare.startswith("{") and bare.endswith(("},", "}]"))):
        return f"; if the file is one JSON array: {OF_ARRAY} FILE > FILE.jsonl"
    if isinstance(error, JSONDecodeError) and error.msg == "Extra data" and text[error.pos] == "{":
        return f"; if objects stand there without line ends: {OF_OBJECTS} FILE > FILE.jsonl"
    if bare.startswith(('"', "}", "]")) or bare.endswith((",", "{", "[")):
        return f"; if the file is JSON over several lines: {OF_OBJECTS} FILE > FILE.jsonl, or of an array {OF_ARRAY}"
    return ""


def other_shape(text: str, *, objects: bool, cut: bool) -> tuple[str, str] | None:
    """The beginning of a file → (what it is, what makes JSON lines of it) where it is JSON and surely no JSON lines.

    `objects`: some line is an object. `cut`: the last line goes on.
    """
    at = space(text, 0)
    first = text[at : at + 1]
    if first not in ("[", "{"):
        return None
    try:
        end = outline_at(text, at)[1]
    except ValueError:
        if objects or not (_unfinished(text, at) or (cut and first == "[")):
            return None
        return ("one JSON array", OF_ARRAY) if first == "[" else ("JSON over several lines", OF_OBJECTS)
    behind = text[end:].strip(_WHITE)
    lines = "\n" in text[at:end]
    if first == "[" and (not behind or (lines and not objects)):
        return "one JSON array", OF_ARRAY
    if first == "{" and lines and not objects:
        return "JSON over several lines", OF_OBJECTS
    if first == "{" and text[end:].lstrip(" \t").startswith("{") and not objects:
        return "objects without line ends between them", OF_OBJECTS
    return None


def _unfinished(text: str, at: int) -> bool:
    """Whether a value goes over several lines and beyond the end of the text, and is JSON up to there."""
    head = text if len(text) <= _HEAD else text[: text.rfind("\n", 0, _HEAD) + 1]
    if "\n" not in head[at:].rstrip(_WHITE):
        return False
    try:
        skip(head, at)
    except JSONDecodeError as error:
        return error.pos == len(head)
    except ValueError:
        return False
    return True


def count_values(text: str) -> int | None:
    """Rows that would be in a line that is one array, or several objects; None where it is neither, or no JSON."""
    try:
        first = space(text, 0)
        value, end = outline_at(text, first)
        at = space(text, end)
        if type(value) is list:
            expect(text, at, "")
            return len(value)
        count = 1
        while at < len(text):
            expect(text, at, "{")
            at = space(text, outline_at(text, at)[1])
            count += 1
    except ValueError:
        return None
    return count if count > 1 and text[first] == "{" else None
