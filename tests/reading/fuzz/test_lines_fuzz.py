"""Text files of any bytes, against splitting by hand."""

import random
from typing import Any

import pytest

from seqcls_beam.reading.formats import pieces
from seqcls_beam.schema import Mark
from tests.reading.reader import batches, stored

SEED = 14
PARTS = [
    *(b"a", b"bb", b" ", b"\t", b"word " * 3, "Ä映".encode(), b"\xff", b"\xc3", b"\0", b"\xef\xbb\xbf"),
    *("\u2028".encode(), "\x85".encode(), b"\x0b", b"\x0c", b"\x1c", b"\x1a"),  # line ends to `str.splitlines` only
]
ENDS = [b"\n", b"\r\n", b"\r"]
ENCODINGS = {
    "utf-8": "Ä映 😀",
    "utf-8-sig": "Ä映 😀",
    "utf-16": "Ä映 😀\u0a0d\u0d0a",  # with a line end's bytes within a character
    "utf-16-le": "Ä映 😀\u0a0d\u0d0a",
    "utf-16-be": "Ä映 😀\u0a0d\u0d0a",
    "utf-32": "Ä映 😀\u0a0d",
    "latin-1": "Äé\xa0\x85",
    "cp1252": "Ä€“",
    "shift_jis": "映画ソ表",  # whose second bytes may be those of ASCII
    "gb18030": "映画😀",
    "koi8-r": "фильм",
    "cp037": "Ä{",  # has no byte of ASCII in its place
}


def mixture(chance: random.Random, ends: list[bytes]) -> bytes:
    """Lines of any bytes, with some of the line ends."""
    lines = [b"".join(chance.choices(PARTS, k=chance.randrange(5))) + chance.choice(ends) for _ in range(8)]
    return b"".join([*lines, chance.choice([b"", b"last"])])


def shown(data: bytes, ends: list[bytes]) -> list[tuple[int, bytes]]:
    """The lines of a file that has only such ends, by hand: (position, bytes)."""
    lines = []
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while at < len(data):
        found = [(where, -len(end), end) for end in ends if (where := data.find(end, at)) >= 0]
        where, _, end = min(found, default=(len(data), 0, b""))
        lines.append((at, data[at:where]))
        at = where + len(end)
    return lines


def read(data: bytes, chunk: int, **options: Any) -> list[tuple[int, str | None, bytes | None]]:
    """(position, text, raw) of every row, all of which are accounted for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        found = batches(stored(data, "fuzz.txt"), **options)
    rows = [row for batch in found for row in batch.to_pylist()]
    assert not {row["reject"]["reason"] for row in rows if row["reject"]} - {"invalid_utf8", "empty_text", "nul_byte"}
    assert Mark.of(found[-1]).inputs[0]["rows"] == len(rows)
    return [(row["position"], row["text"], row["reject"] and row["reject"]["raw"]) for row in rows]


def check(count: int) -> None:
    """Compare so many files."""
    chance = random.Random(SEED)
    for _ in range(count):
        ends = chance.choice([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n"], ENDS])
        data = mixture(chance, ends)
        found = read(data, chance.randrange(4, 60))
        lines = [(at, text.encode() if text is not None else raw or b"") for at, text, raw in found]
        if ends != ENDS:
            assert lines == shown(data, ends if ends[0] == b"\r" else [b"\n", b"\r\n"]), data
        # Whatever a return among other line ends is taken for: rows and the line ends between them are the file.
        at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        for (position, line), behind in zip(lines, [*(at for at, _ in lines[1:]), len(data)], strict=True):
            assert (position, data[position : position + len(line)]) == (at, line), data
            assert data[position + len(line) : behind] in ENDS or behind == len(data), data
            assert b"\n" not in line, data
            at = behind
        assert at == len(data)
    print(f"seed {SEED}, {count} files of lines")


def check_encodings(count: int) -> None:
    """Compare so many files of each encoding."""
    chance = random.Random(SEED)
    for encoding, letters in ENCODINGS.items():
        for _ in range(count):
            words = ["".join(chance.choices("ab " + letters, k=chance.randrange(6))) for _ in range(8)]
            end = chance.choice(["\n", "\r\n"])
            found = read(end.join(words).encode(encoding), chance.randrange(4, 60), encoding=encoding)
            expected = words if words[-1] else words[:-1]
            assert [text for _, text, _ in found] == [word if word.strip() else None for word in expected], encoding
            bare = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(encoding, encoding)
            data = end.join(words).encode(encoding)
            assert all(data[at:].startswith(text.encode(bare)) for at, text, _ in found if text), encoding
    print(f"seed {SEED}, {count} files in each of {len(ENCODINGS)} encodings")


def test_lines_are_those_that_a_splitter_finds():
    check(120)


def test_lines_in_other_encodings():
    check_encodings(8)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_lines():
    check(20_000)
    check_encodings(1000)
