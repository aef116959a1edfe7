"""Long texts, tokenised some megabytes at a time: a tokenizer takes a hundred times the bytes of what it is given."""

from collections.abc import Iterator

import numpy as np

from seqcls_beam.model.words import BETWEEN_WORDS, Encode, Ints

AT_ONCE = 2**20
"""Characters that a tokenizer is given at a time, of one text or of many."""
MOST = 2**21
"""Characters of a text that cannot be cut: of Chinese a tokenizer takes some 600 bytes for each."""


def encode_bounded(encode: Encode, texts: list[str], by_words: bool) -> tuple[Ints, Ints]:
    """Texts → their ids without special tokens, as `encode` gives them at once; raises what it does.

    `by_words`: a text may be cut BETWEEN_WORDS. Another, or one without such a place, is given to the tokenizer as a
    whole; raises `ValueError` where that is too much.
    """
    found: list[tuple[Ints, Ints]] = []
    rows: list[int] = []
    some: list[str] = []
    size = 0
    for row, text in enumerate(texts):
        for part in _parts(text) if by_words else [text]:
            if len(part) > MOST:
                raise ValueError(f"{len(part):,} characters without a place to cut: at most {MOST:,} are read at once")
            if some and size + len(part) > AT_ONCE:
                found.append(encode(some))
                some, size = [], 0
            rows.append(row)
            some.append(part)
            size += len(part)
    found.append(encode(some))
    ids, lengths = map(np.concatenate, zip(*found, strict=True))
    return ids, np.bincount(rows, lengths, len(texts)).astype(np.int64)


def _parts(text: str) -> Iterator[str]:
    begin = 0
    while len(text) - begin > AT_ONCE and (end := BETWEEN_WORDS.search(text, begin + AT_ONCE // 2)):
        yield text[begin : end.end()]
        begin = end.end()
    yield text[begin:]
