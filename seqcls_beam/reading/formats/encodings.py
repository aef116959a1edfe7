"""Encodings of text: where lines end in bytes that are not decoded yet, and those bytes → UTF-8.

A line ends with \\n, \\r\\n or a lone \\r, whichever comes, as where Python opens a text file: what stood on lines of
its own is never read as one. Knows no files.
"""

import codecs
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

# Python's, but of no text file: a line end may be spelt out in them, or they are for names alone.
_NO_FILES = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
_CARRYING = ("utf-7", "hz", "iso2022")  # what the bytes of a line say depends on those before
_MARKED = ("utf-8", "utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")  # a mark of 4 bytes may begin with one of 2
_LINE_END = re.compile(r"[\r\n]")


class Undecided(Exception):
    """The encoding that was named is not the file's, or leaves open how it is to be read."""


@dataclass(frozen=True)
class Encoding:
    """A text encoding, and what of it is needed to find lines in bytes."""

    name: str  # as Python calls it, with hyphens
    unit: np.dtype[Any]  # a code unit; a line end is one, or two of them
    feed: int  # the unit that is \n …
    back: int  # … and the one that is \r
    mark: bytes  # its byte-order mark, which is no part of the text
    carries: bool  # only who has read all before a line can decode it

    @property
    def reason(self) -> str:
        """The reason for rejecting bytes that are not of it."""
        return "invalid_utf8" if self.name == "utf-8" else "invalid_encoding"

    def line_ends(self, data: bytes, final: bool = True) -> tuple[np.ndarray, np.ndarray, int]:
        """Bytes → (where lines end, where what follows their line ends begins, the byte up to which this is known).

        The first two are int64 [line ends]. If more will follow (not `final`), half of a unit and a \\r in the last
        place are left open: \\n may come.
        """
        width = self.unit.itemsize
        view = np.frombuffer(data, self.unit, len(data) // width)
        known = len(data) if final else len(view) * width
        if bytes([self.back]) not in data:
            ends = np.flatnonzero(view == self.feed)
            return ends * width, (ends + 1) * width, known
        feeds, backs = view == self.feed, view == self.back
        paired = np.zeros(len(view), bool)  # each \r before \n
        paired[:-1] = backs[:-1] & feeds[1:]
        closing = feeds | (backs & ~paired)
        if not final and len(view) and backs[-1]:
            closing[-1] = False
            known -= width
        lasts = np.flatnonzero(closing)
        return (lasts - ((lasts > 0) & paired[lasts - 1])) * width, (lasts + 1) * width, known

    def text(self, data: bytes) -> str:
        """A whole file → its text without the mark; raises `UnicodeError` and, unless it is empty, as `settled`."""
        if not data:
            return ""
        settled = self.settled(data)
        text = data.removeprefix(settled.mark).decode(settled.name)
        text.encode()  # half of a surrogate pair is no text
        return text

    def settled(self, head: bytes) -> "Encoding":
        """This encoding in the byte order that the first bytes of a file show.

        Raises `Undecided` where they begin with the mark of another encoding or show no order.
        """
        orders = [self] if self.mark or self.name not in _ORDERS else [of(name) for name in _ORDERS[self.name]]
        for each in orders:
            if each.mark and head.startswith(each.mark):
                return each
        for name in _MARKED:
            if head.startswith("\ufeff".encode(name)):
                kind = name[: len("utf-16")].rstrip("-")
                raise Undecided(f"the file begins with the mark of {kind.upper()}; read it with --encoding={kind}")
        if len(orders) == 1:
            return self
        # A line end in one order is no character in the other.
        fits = [each for each in orders if len(each.line_ends(head)[0])]
        if len(fits) != 1:
            raise Undecided(
                "the file has no byte-order mark, and no line end tells the order of its bytes; read it with "
                + " or ".join(f"--encoding={each.name}" for each in orders)
            )
        return fits[0]


_ORDERS = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}


@lru_cache(16)
def of(name: str) -> Encoding:
    """Name → encoding; raises `ValueError` for one that Python does not know or that is not for files."""
    try:
        known = codecs.lookup(name).name.replace("_", "-").removesuffix("-sig")
        "".encode(known)  # raises for what makes no text, such as base64
    except (LookupError, ValueError) as error:
        raise ValueError(f"--encoding={name}: Python knows no encoding of text by this name") from error
    if known in _NO_FILES:
        raise ValueError(f"--encoding={name}: no file is written in it")
    if known in _ORDERS:
        return replace(of(_ORDERS[known][0]), name=known, mark=b"")
    order = ">" if known.endswith("-be") else "<"
    feed, back = (np.frombuffer(sign.encode(known), f"{order}u{len(sign.encode(known))}") for sign in "\n\r")
    try:
        mark = "\ufeff".encode(known)
    except UnicodeEncodeError:
        mark = b""
    return Encoding(known, feed.dtype, int(feed[0]), int(back[0]), mark, known.startswith(_CARRYING))


UTF8 = of("utf-8")


def wide(head: bytes) -> str:
    """First bytes of a file → the encoding of 2 or 4 bytes a character that they show without a mark, or "".

    Text as it is read has no zero byte, and in these encodings every letter of ASCII has one or three.
    """
    if b"\0" not in head:
        return ""
    for name in _MARKED[1:]:
        try:
            text = head[: len(head) // 4 * 4].decode(name)
        except UnicodeDecodeError as error:
            if error.end < len(head) // 4 * 4:  # else half of a pair at the end
                continue
            text = head[: error.start].decode(name)
        if text and "\0" not in text and sum(map(str.isascii, text)) * 4 >= len(text):
            return name
    return ""


def cuttable(name: str) -> bool:
    """Whether lines of an encoding are found from the middle of a file; raises as `of`."""
    encoding = of(name)
    return encoding.unit.itemsize == 1 and not encoding.carries


class Decoder:
    """Lines of one file, in order → UTF-8."""

    def __init__(self, encoding: Encoding) -> None:
        self._name = encoding.name
        self._carrying = codecs.getincrementaldecoder(encoding.name)() if encoding.carries else None

    def decode(self, data: bytes, ends: np.ndarray, pasts: np.ndarray) -> tuple[bytes, dict[int, str]]:
        """Whole lines → (as many in UTF-8, with their line ends; what is wrong: number of a line → detail).

        `ends` and `pasts` as from `line_ends`, of a last line without line end the same. U+FFFD stands for bytes that
        are not of the encoding.
        """
        if self._carrying is None:
            try:
                return data.decode(self._name).encode(), {}
            except UnicodeError:
                pass  # said line by line
        lines, wrong = [], {}
        start = 0
        for number, (end, past) in enumerate(zip(ends.tolist(), pasts.tolist(), strict=True)):
            line_end = data[end:past].decode(self._name)
            try:
                text = self._decode(data[start:past]).removesuffix(line_end)
                if _LINE_END.search(text):
                    raise UnicodeError("a line end is spelt out in it")
                line = text.encode()
            except UnicodeError as error:
                if self._carrying is not None:
                    self._carrying.reset()
                wrong[number] = f"the line is not {self._name}: {error}"
                text = data[start:end].decode(self._name, "replace").encode("utf-8", "replace").decode()
                line = _LINE_END.sub("\ufffd", text).encode()
            lines.append(line + line_end.encode())
            start = past
        return b"".join(lines), wrong

    def _decode(self, line: bytes) -> str:
        return line.decode(self._name) if self._carrying is None else self._carrying.decode(line)
