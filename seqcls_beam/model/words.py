"""Texts as words: a tokenizer that reads by words is given each word once, since most of them come again and again.

A word here is what stands between two spaces that a text may be cut before: a space, what follows it, and no more than
that of the next. Most texts begin with one that has no space.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[Any]
Encode = Callable[[list[str]], tuple[Ints, Ints]]
"""Texts → their ids without special tokens, one after the other, int32 [T], and how many of each, int64 [texts]."""

BETWEEN_WORDS = re.compile("[!-~](?= [!-~])")
"""Behind a match a text may be cut for a tokenizer that reads by words."""
_REGULAR = re.compile(" [!-~](.*[!-~])?", re.DOTALL)

_SPACE = ord(" ")
_SIGNS = range(ord("!"), ord("~") + 1)
_IS_SIGN = np.isin(np.arange(256), _SIGNS)

_KNOWN = 2**16  # words that are remembered, some 250 bytes each: those of some 10,000 reviews
_LONGEST = 32  # characters of such a word
_TOGETHER = 256  # words that are given to a tokenizer as one text
_NEW = 0.5  # Of a batch with a larger share of new words the texts themselves cost less: parted words are more tokens.
_TRIED = 1_000  # words of a vocabulary
_BYTES = 4  # of an id


def read_by_words(tokenizer: Any) -> bool:
    """Whether a text's tokens are those of its parts, where it is cut before a single space between signs of ASCII.

    They are when no step looks across such a space: normalizers that work on characters and leave these signs signs, a
    pre-tokenizer that splits there, a model that sees one word at a time, and no added token that takes such a space
    for its own.
    """
    spec = json.loads(tokenizer.to_str())

    def parts(step: dict[str, Any] | None) -> list[dict[str, Any]]:
        inner = (step or {}).get("normalizers") or (step or {}).get("pretokenizers")
        return [each for one in inner for each in parts(one)] if inner else [step] if step else []

    by_character = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents")
    blanks = [{"Regex": " {2,}"}, {"Regex": r"\s{2,}|[\n\r\t]"}, *({"String": each} for each in ("``", "''", "\n"))]
    splitting = [
        each["type"] in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
        or (each["type"] == "ByteLevel" and each["use_regex"])
        or (each["type"] == "Metaspace" and each["split"])
        for each in parts(spec["pre_tokenizer"])
    ]
    normalized = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    return (
        all(
            each["type"] in by_character
            or (each["type"] == "Strip" and not each["strip_left"])
            or (each["type"] == "Replace" and each["pattern"] in blanks)
            for each in parts(spec["normalizer"])
        )
        and all(normalized(sign).split() == [normalized(sign)] for sign in (*map(chr, _SIGNS), "``", "''"))
        and any(splitting)
        and sum(each["type"] == "Metaspace" for each in parts(spec["pre_tokenizer"])) <= 1  # the next parts its signs
        and all(
            split or each["type"] in ("Punctuation", "Digits")
            for split, each in zip(splitting, parts(spec["pre_tokenizer"]), strict=True)
        )
        and not spec["model"].get("dropout")
        and all(_keeps_off(each, normalized) for each in spec["added_tokens"])
    )


def _keeps_off(added: dict[str, Any], normalized: Callable[[str], str]) -> bool:
    """Whether an added token has no part in a single space between signs: it has none in itself, and takes none."""
    forms = {added["content"], normalized(added["content"]) if added["normalized"] else added["content"]}
    runs = all(len(each) > 1 and not each.strip(" ") for each in forms)
    return not added["rstrip"] and (runs or all(each.isprintable() and " " not in each for each in forms))


def parted(texts: pa.Array) -> tuple[pa.Array, Ints]:
    """Texts (string, no nulls) → their words; those of text i stand from `firsts[i]` to `firsts[i + 1]`, int64 [N + 1].

    A text that is cut nowhere is a word, and an empty one has none. A single space at the end is a word of its own.
    """
    _, ends, data = texts.buffers()
    bounds = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    signs = np.frombuffer(data or b"", np.uint8)[: bounds[-1]]
    spaces = np.flatnonzero(signs[1:-1] == _SPACE) + 1
    spaces = spaces[_IS_SIGN[signs[spaces - 1]] & _IS_SIGN[signs[spaces + 1]]]
    lengths = np.diff(bounds)
    starts, lasts = bounds[:-1][lengths > 0], bounds[1:][lengths > 1] - 1
    begins = np.zeros(len(signs) + 1, bool)
    begins[spaces] = True
    begins[lasts[(signs[lasts] == _SPACE) & _IS_SIGN[signs[lasts - 1]]]] = True
    begins[starts] = begins[-1] = True
    offsets = np.flatnonzero(begins)
    words = pa.Array.from_buffers(texts.type, len(offsets) - 1, [None, pa.py_buffer(offsets.astype(np.int32)), data])
    return words, np.searchsorted(offsets, bounds)


class Words:
    """A tokenizer that reads by words, and those that it has read."""

    def __init__(self, encode: Encode, mark: str) -> None:
        """`mark` is a space and a word of one token, as `mark_of` finds it."""
        self._encode = encode
        self._mark = mark
        self._word = mark.strip().lower()
        self._token = encode([mark])[0][0]
        self._known: dict[str, bytes] = {}  # word → ids, int32; only added to, since another thread may look into it

    def encode(self, texts: list[str]) -> tuple[Ints, Ints]:
        """Texts → what `encode` makes of them; raises what it does."""
        words, firsts = parted(pa.array(texts, pa.string()))
        different = words.dictionary_encode()
        names, known = different.dictionary.to_pylist(), self._known
        new = [name for name in names if name not in known]
        if len(new) > _NEW * len(words):
            return self._encode(texts)
        read = self._read(new)
        made = [read[name] if name in read else known[name] for name in names]
        self._remember(read)
        lengths = np.fromiter(map(len, made), np.int64, len(made)) // _BYTES
        flat, at = np.frombuffer(b"".join(made), np.int32), different.indices.to_numpy()
        counts = lengths[at]
        ids = flat[ranges((np.cumsum(lengths) - lengths)[at], counts)]
        return ids, np.diff(np.concatenate([[0], np.cumsum(counts)])[firsts])

    def _read(self, words: list[str]) -> dict[str, bytes]:
        """Many as one text, since each text costs as much as five words: with the mark behind each, to part them by."""
        found: dict[str, bytes] = {}
        regular: list[str] = []
        alone: list[str] = []
        for word in words:
            joins = _REGULAR.fullmatch(word) and self._word not in word.lower()
            (regular if joins else alone).append(word)
        groups = [regular[i : i + _TOGETHER] for i in range(0, len(regular), _TOGETHER)]
        ids, lengths = self._encode([f"{self._mark.join(group)}{self._mark}" for group in groups])
        for group, past, length in zip(groups, np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
            some = ids[past - length : past]
            ends = np.flatnonzero(some == self._token)
            if len(ends) > len(group):  # it is a token of a word, too
                alone += group
            else:
                found.update(_slices(group, some, np.diff(ends, prepend=-1) - 1, 1))
        ids, lengths = self._encode(alone)
        found.update(_slices(alone, ids, lengths, 0))
        return found

    def _remember(self, read: dict[str, bytes]) -> None:
        if len(self._known) > _KNOWN:
            self._known = {}
        self._known.update((word, ids) for word, ids in read.items() if len(word) <= _LONGEST)


def _slices(words: list[str], ids: Ints, lengths: Ints, between: int) -> Iterator[tuple[str, bytes]]:
    data, begin = ids.tobytes(), 0
    for word, length in zip(words, (lengths * _BYTES).tolist(), strict=True):
        yield word, data[begin : begin + length]
        begin += length + between * _BYTES


def mark_of(tokenizer: Any, encode: Encode) -> str | None:
    """A space and a word of one token, as rare as can be: pieces are mostly numbered by how often they were learned."""
    tokens = range(tokenizer.get_vocab_size() - 1, 0, -1)
    words = ((token, (tokenizer.id_to_token(token) or "").lstrip("Ġ▁")) for token in tokens)
    for token, word in islice(((token, word) for token, word in words if word.isascii() and word.isalnum()), _TRIED):
        if encode([f" {word}"])[0].tolist() == [token]:
            return f" {word}"
    return None


def flat(lists: list[list[int]]) -> tuple[Ints, Ints]:
    """Ids of texts → as Encode has them."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(chain.from_iterable(lists), np.int32, lengths.sum()), lengths


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers of all ranges [start, start + length), one after the other."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
