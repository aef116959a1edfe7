"""Text of anybody, as it may be shown: on a terminal, in a page, in Markdown. Nothing that is shown acts on its reader.

Signs that a terminal obeys, that turn the direction of what follows, that end a line or that nobody sees are written
as Python writes them: \\x1b, \\u202e.
"""

import re

_UNSEEN = re.compile(
    "[\0-\x1f\x7f-\x9f"  # controls: ESC, BEL, CSI
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # nothing is drawn for them
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # direction, and blanks without a width
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u180e\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # tags: a second text in the first
)
_JOINERS = "\u200c\u200d"
"""What joins, or parts, letters or emoji: a sign of texts, and in a name a second name that looks like the first."""

_MARKUP = re.compile(r"([\\`*_\[\]<>|#&~$]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""What Markdown acts on within a line, GitHub's kind too, which makes links of addresses."""


def shown(text: str, *, name: bool = False, keep: str = "") -> str:
    """A text in which every sign can be seen and none acts; the signs in `keep`, such as a line's end, stay.

    `name`: of an id or a label, in which joiners are shown, too.
    """
    text = _UNSEEN.sub(lambda sign: sign[0] if sign[0] in keep else _escaped(sign[0]), text)
    if name:
        for sign in _JOINERS:
            text = text.replace(sign, _escaped(sign))
    return text


def one_line(text: str) -> str:
    """A text on one line, with a blank for each of its white spaces; as `shown`."""
    return shown(re.sub(r"[ \t\n\r\v\f\x85\u2028\u2029]+", " ", text).strip())


def json_shown(document: str) -> str:
    """JSON that says the same and shows every sign: what does not show is escaped as JSON escapes it."""

    def escaped(sign: re.Match[str]) -> str:
        units = sign[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

    return re.sub(rf"(?!\n){_UNSEEN.pattern}", escaped, document)


def markdown(text: str) -> str:
    """A name, or a line of text, as Markdown that shows it as it is, in a cell of a table too."""
    return _MARKUP.sub(r"\\\1", shown(text, name=True))


def code(text: str) -> str:
    """A name as a span of code in Markdown; not for cells of tables, where a bar ends even that."""
    if not text.strip(" "):
        return "(blank)"
    text = shown(text, name=True)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _escaped(sign: str) -> str:
    plain = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(sign)
    number = ord(sign)
    return plain or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
    )
