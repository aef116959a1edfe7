"""The duplicate key: what two texts have in common that count as one.

It is separate from cleaning: a text keeps its case, and its key does not. Digests of keys are what splits, order and
identity are made from: blake2b of explicit bytes, so the same on every machine.
"""

import functools
import hashlib
import re
import unicodedata
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

STEPS = ("nfkc", "casefold", "whitespace", "punctuation")
"""What a key can forget, in the order in which it is done; the first three are the default."""

# Signs that belong to the one before them, and the two that are compatible with such.
_MARKS = r"[\p{M}\x{ff9e}\x{ff9f}]{30}"
_FEW = 1000  # signs that may be normalized as Python does it, whatever they are
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
_BLANKS = r"[\t-\r\x1c-\x1f ]"


def duplicate_key(texts: pa.Array, steps: tuple[str, ...]) -> pa.Array:
    """Texts (string, no nulls) → their keys (string).

    nfkc         Unicode's compatibility form: full-width letters, ligatures, superscripts are the plain ones
    casefold     no upper and lower case
    whitespace   any run of white space is one blank, none at the ends
    punctuation  characters of the Unicode categories P and S are blanks
    """
    plain = is_ascii(texts)
    if not pc.all(plain, min_count=0).as_py():
        rare = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
        some = texts.take(pa.array(rare))
        # Python puts marks in order in a time that grows with the square of how many stand together.
        many = pc.match_substring_regex(some, _MARKS).to_pylist() if "nfkc" in steps else [False] * len(some)
        ordered = [_ordered(text, "NFKC") if each else text for text, each in zip(some.to_pylist(), many, strict=True)]
        replaced = [_key(text, steps) for text in ordered]
        return pc.replace_with_mask(_keys_of_ascii(texts, steps), pc.invert(plain), pa.array(replaced, texts.type))
    return _keys_of_ascii(texts, steps)


def _keys_of_ascii(texts: pa.Array, steps: tuple[str, ...]) -> pa.Array:
    """The keys of those texts that are ASCII, and anything for the others: it works on all at once."""
    if "casefold" in steps:
        texts = pc.ascii_lower(texts)
    if "punctuation" in steps:
        texts = pc.replace_substring_regex(texts, r"[!-/:-@\[-`{-~]", " ")
    if "whitespace" in steps or "punctuation" in steps:
        odd = pc.match_substring_regex(texts, r"^ |  | $|[\t-\r\x1c-\x1f]")
        some = texts.filter(odd)
        if len(some):
            joined = pc.ascii_trim(pc.replace_substring_regex(some, f"{_BLANKS}+", " "), " ")
            texts = pc.replace_with_mask(texts, odd, joined)
    return texts


def normal(form: Form, text: str) -> str:
    """`unicodedata.normalize`, whose time grows with the square of the marks that stand together, in linear time."""
    return unicodedata.normalize(form, _ordered(text, form) if len(text) > _FEW else text)


def _ordered(text: str, form: Form) -> str:
    """A text of the same normal form, each run of marks in its canonical order (Unicode, 3.11, D109)."""
    form = "NFD" if form == "NFC" else "NFKD"
    parts: list[str] = []
    for is_mark, run in groupby(text, lambda sign: _is_mark(sign, form)):
        signs = list(run)
        if is_mark:
            signs = sorted("".join(unicodedata.normalize(form, each) for each in signs), key=unicodedata.combining)
        parts += signs
    return "".join(parts)


@functools.lru_cache(2**16)
def _is_mark(sign: str, form: Form) -> bool:
    return unicodedata.combining(unicodedata.normalize(form, sign)[0]) > 0


def _key(text: str, steps: tuple[str, ...]) -> str:
    if "nfkc" in steps:
        text = unicodedata.normalize("NFKC", text)
    if "casefold" in steps:
        text = text.casefold()
    if "punctuation" in steps:
        text = text.translate(_WITHOUT_PUNCTUATION)
    return " ".join(text.split()) if "whitespace" in steps or "punctuation" in steps else text


class _WithoutPunctuation(dict[int, int]):
    """A translation table that is filled as characters come."""

    def __missing__(self, code: int) -> int:
        self[code] = 32 if unicodedata.category(chr(code))[0] in "PS" else code
        return self[code]


_WITHOUT_PUNCTUATION = _WithoutPunctuation()


def digests(values: pa.Array, seed: int) -> npt.NDArray[np.uint64]:
    """Strings or bytes → uint64 [values, 2]: the halves of a 128-bit blake2b keyed by the seed.

    The first half orders rows and the second one splits them; they are independent.
    """
    key = seed.to_bytes(8, "big", signed=True)
    raw = values.cast(pa.binary()).to_pylist()
    joined = b"".join([hashlib.blake2b(each, digest_size=16, key=key).digest() for each in raw])
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(-1, 2)


def hexadecimal(order: npt.NDArray[np.uint64], chance: npt.NDArray[np.uint64]) -> list[str]:
    """Digests, by their halves → 32 characters each."""
    return [f"{one:016x}{other:016x}" for one, other in zip(order.tolist(), chance.tolist(), strict=True)]


def first_of_keys(order: npt.NDArray[np.uint64], chance: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which rows, sorted by the digests of their keys, are the first of one."""
    first = np.ones(len(order), bool)
    first[1:] = (order[1:] != order[:-1]) | (chance[1:] != chance[:-1])
    return first


def pair_up(one: pa.Array, other: pa.Array) -> pa.Array:
    """Two columns of keys → one, the two apart by a byte that no text contains."""
    return pc.binary_join_element_wise(one, other, "\0")


def is_ascii(texts: pa.Array) -> pa.Array:
    """Which texts are ASCII, bool."""
    return pc.equal(pc.binary_length(texts), pc.utf8_length(texts))


def as_bytes(value: Any) -> bytes:
    """A value of a column that groups rows → bytes; equal values of one type have equal bytes."""
    return re.sub(r"\s+", " ", str(value)).strip().encode("utf-8", "surrogatepass")
