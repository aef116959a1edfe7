"""Cleaning: what is repaired in a text before it is learned from, step by step, each counted.

Encoding is repaired and markup removed; style stays: case, punctuation, quotes, accents. A model that was trained on
raw text should see raw style.
"""

import functools
import html
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation.keys import is_ascii

# Tags that end a line or a cell part words; those that only style them do not. Others, and what merely looks like a
# tag ("<3", "a < b"), stay.
_PARTING = "(?:address|article|blockquote|br|dd|div|dl|dt|h[1-6]|hr|li|ol|p|pre|section|table|tbody|td|th|thead|tr|ul)"
_STYLING = "(?:a|abbr|b|big|center|cite|code|em|font|i|img|ins|q|s|small|span|strike|strong|sub|sup|tt|u)"
_END = r"(?:\s[^<>]*)?/?>"
_COMMENT = "<!--(?s:.*?)-->"
_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});"
# More digits than Python makes an integer of.
_FAR = re.compile(r"&#(?=[0-9]{4000})0*+([0-9]{0,8})[0-9]*+")
_TERMINAL = r"\x1b\[[0-?]*[ -/]*[@-~]"
# C0 and C1 without white space; zero-width space, word joiner, byte order mark; marks and overrides of direction.
# Joiners (U+200C, U+200D) stay: Persian and emoji need them.
_CONTROL = (
    r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}"
    r"\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{2066}-\x{2069}\x{feff}]"
)
_BLANKS = r"[\t-\r\x1c-\x1f \x{85}\p{Z}]"


def encoding(texts: pa.Array) -> pa.Array:
    """Undo mojibake: UTF-8 that was once read as Latin-1 or Windows-1252, by ftfy's rules."""
    return _where(
        texts, pc.invert(is_ascii(texts)), lambda some: pa.array(map(_encoding_fixer(), some.to_pylist()), pa.string())
    )


def markup(texts: pa.Array) -> pa.Array:
    """Remove HTML's common tags, and put the characters that entities stand for."""
    texts = _where(texts, pc.match_substring(texts, "<"), _without_tags)
    entities = pc.match_substring_regex(texts, _ENTITY)
    return _where(texts, entities, lambda some: pa.array(map(_unescaped, some.to_pylist()), pa.string()))


def control(texts: pa.Array) -> pa.Array:
    """Remove control characters, terminal escapes and invisible marks; white space stays."""
    found = pc.match_substring_regex(texts, _CONTROL)
    return _where(texts, found, lambda some: pc.replace_substring_regex(some, f"{_TERMINAL}|{_CONTROL}", ""))


def whitespace(texts: pa.Array) -> pa.Array:
    """Make any run of white space one blank, and none at the ends."""
    found = pc.match_substring_regex(texts, r"^ |  | $|[\t-\r\x1c-\x1f\x{85}\x{a0}]|[^\x00-\x7f]")
    return _where(texts, found, lambda some: pc.ascii_trim(pc.replace_substring_regex(some, f"{_BLANKS}+", " "), " "))


STEPS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "encoding": encoding,
    "html": markup,
    "control": control,
    "whitespace": whitespace,
}
"""The steps, in the order in which they are done."""


def clean(texts: pa.Array, steps: tuple[str, ...]) -> tuple[pa.Array, dict[str, int]]:
    """Texts (string, nulls stay) → cleaned ones, and how many each step changed."""
    changed = {}
    for name, step in STEPS.items():
        if name in steps:
            before, texts = texts, step(texts)
            changed[name] = pc.sum(pc.not_equal(before, texts)).as_py() or 0
    return texts, changed


def _where(texts: pa.Array, rows: pa.Array, repair: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Texts, with `repair` applied to those that `rows` (bool) marks, and to no others: they are few."""
    rows = pc.fill_null(rows, False)
    some = texts.filter(rows)
    return pc.replace_with_mask(texts, rows, repair(some)) if len(some) else texts


def _without_tags(texts: pa.Array) -> pa.Array:
    parted = pc.replace_substring_regex(texts, f"(?i)</?{_PARTING}{_END}", " ")
    commented = pc.match_substring(parted, "<!--")
    return _where(_where(parted, pc.invert(commented), _without_styles), commented, _without_comments)


def _without_styles(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, f"(?i)</?{_STYLING}{_END}", "")


def _without_comments(texts: pa.Array) -> pa.Array:
    """Behind the last end of a comment none is looked for: to the end of the text, from every tag on, it would be."""
    parts = [each.rpartition("-->") for each in texts.to_pylist()]
    heads = pa.array([head + end for head, end, _ in parts], pa.string())
    tails = pa.array([tail for _, _, tail in parts], pa.string())
    heads = pc.replace_substring_regex(heads, f"(?i)</?{_STYLING}{_END}|{_COMMENT}", "")
    return pc.binary_join_element_wise(heads, _without_styles(tails), "")


def _unescaped(text: str) -> str:
    return html.unescape(_FAR.sub(lambda far: f"&#{far[1] or 0}", text))


@functools.cache
def _encoding_fixer() -> Callable[[str], str]:
    import ftfy

    repair = ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        remove_control_chars=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        normalization=None,
        explain=False,
    )
    return lambda text: ftfy.fix_text(text, repair)
