"""Long texts, tokenised some megabytes at a time: a tokenizer takes a hundred times the bytes of what it is given."""

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

AT_ONCE = 2**20
"""Characters that a tokenizer is given at a time, of one text or of many."""
MOST = 2**21
"""Characters of a text that cannot be cut: of Chinese a tokenizer takes some 600 bytes for each."""
BETWEEN_WORDS = re.compile("[A-Za-z0-9](?= [A-Za-z0-9])")


@dataclass(frozen=True)
class Ids:
    """The tokens of a text."""

    ids: "array[int]"

    def __len__(self) -> int:
        return len(self.ids)


def encode_bounded(encode: Callable[[list[str]], list[Any]], texts: list[str], by_words: bool) -> list[Ids]:
    """Texts → their ids without special tokens, as `encode` gives them at once; raises what it does.

    `by_words`: a text may be cut before a space between two ASCII words. Another, or one without such a place, is
    given to the tokenizer as a whole; raises `ValueError` where that is too much.
    """
    found = [array("i") for _ in texts]
    rows: list[int] = []
    some: list[str] = []
    size = 0
    for row, text in enumerate(texts):
        for part in _parts(text) if by_words else [text]:
            if len(part) > MOST:
                raise ValueError(f"{len(part):,} characters without a place to cut: at most {MOST:,} are read at once")
            if some and size + len(part) > AT_ONCE:
                _encode(encode, rows, some, found)
                rows, some, size = [], [], 0
            rows.append(row)
            some.append(part)
            size += len(part)
    _encode(encode, rows, some, found)
    return [Ids(each) for each in found]


def _encode(
    encode: Callable[[list[str]], list[Any]], rows: list[int], some: list[str], found: "list[array[int]]"
) -> None:
    for row, encoding in zip(rows, encode(some), strict=True):
        found[row].fromlist(encoding.ids)


def _parts(text: str) -> Iterator[str]:
    begin = 0
    while len(text) - begin > AT_ONCE and (end := BETWEEN_WORDS.search(text, begin + AT_ONCE // 2)):
        yield text[begin : end.end()]
        begin = end.end()
    yield text[begin:]
