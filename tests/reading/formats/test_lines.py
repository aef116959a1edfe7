"""Lines and byte ranges, by way of text files: each line a row."""

import os
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqcls_beam.reading.formats import blocks, lines, pieces
from tests.reading.reader import batches, brief, cut, files, rows, stored

BYTES = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b" ", b"\xc3\xa9", b"\xff", b"\0"]), max_size=30
).map(b"".join)
FILES = st.builds(bytes.__add__, st.sampled_from([b"", b"\xef\xbb\xbf"]), BYTES)


def by_hand(data: bytes, limit: int) -> list[tuple]:
    """Lines of a file, found byte by byte and told apart with Python's strings."""
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    found, begin = [], at
    while at < len(data):
        if data[at : at + 1] in (b"\n", b"\r"):
            found.append((begin, *judge(data[begin:at], limit)))
            begin = at = at + (2 if data[at : at + 2] == b"\r\n" else 1)
        else:
            at += 1
    return found + ([(begin, *judge(data[begin:], limit))] if begin < at else [])


def judge(line: bytes, limit: int) -> tuple:
    if len(line) > limit:
        return "record_too_large", line
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "invalid_utf8", line
    if "\0" in text:
        return "nul_byte", line
    return (text,) if text.strip() else ("empty_text", line)


@settings(max_examples=150)
@example(b"a\naa\n", 4, 1, [1, 2], 1)  # a range within a line, and behind that one that is too large
@given(FILES, st.integers(4, 40), st.integers(1, 12), st.lists(st.integers(0, 60)), st.integers(1, 5))
def test_any_cut_of_a_file_gives_the_same_lines(data, chunk, limit, cuts, batch_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        patch.setattr(pieces, "BEHIND", 3)
        patch.setattr(blocks, "MAX_RECORD_BYTES", limit)
        expected = by_hand(data, limit)
        uri = stored(data, "lines.txt")
        assert brief(uri) == expected
        bounds = sorted({0, len(data), *(each for each in cuts if each < len(data))})
        if len(data):
            assert brief(uri, bounds=bounds, batch_rows=batch_rows) == expected
            ranges = list(pairwise(bounds))
            assert [row for pair in ranges for row in brief(uri, bounds=list(pair))] == expected


def test_a_range_inside_one_long_line_reads_no_further_than_its_end():
    uri = stored(b"x" * 1000 + b"\nnext\n", "long.txt")
    (last,) = batches(uri, bounds=[100, 200])
    assert len(last) == 0
    assert brief(uri, bounds=[900, 1001]) == []
    assert brief(uri, bounds=[900, 1002]) == [(1001, "next")]


def test_a_record_of_50_mb_is_one_reject_with_all_its_bytes(tmp_path):
    path = tmp_path / "large.txt"
    line = b"0123456789" * 5_000_000
    path.write_bytes(b"before\n" + line + b"\r\nafter\n")
    found = brief(path)
    assert [row[:2] for row in found] == [(0, "before"), (7, "record_too_large"), (9 + len(line), "after")]
    assert found[1][2] == line


def test_a_line_without_end_takes_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 2**20)
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 2 * 2**20)
    monkeypatch.setattr(blocks, "MAX_RAW_BYTES", 8 * 2**20)
    path = tmp_path / "endless.txt"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * 2**20)
    tracemalloc.start()
    (row,) = rows(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert row["reject"]["raw"] == b"x" * 2**20
    assert "67108864 bytes" in row["reject"]["detail"]
    assert "first 1048576" in row["reject"]["detail"]
    assert peak < 40 * 2**20


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"one\rtwo\rthree", [(0, "one"), (4, "two"), (8, "three")]),
        (b"one\rtwo\r", [(0, "one"), (4, "two")]),
        (b"one\ntwo\rthree\r\nfour", [(0, "one"), (4, "two"), (8, "three"), (15, "four")]),
        (b"one\r\r\ntwo", [(0, "one"), (4, "empty_text", b""), (6, "two")]),
        (b"\r", [(0, "empty_text", b"")]),
    ],
)
def test_a_lone_carriage_return_ends_a_line(data, expected):
    assert brief(stored(data, "mac.txt")) == expected


def test_a_file_that_ends_before_its_planned_size(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_text("one\ntwo\nthree\n")
    for bounds in ([0, 14], [0, 6], [6, 14]):
        path.write_text("one\ntwo\nthree\n")
        piece = pieces.Piece(**cut(files(path), bounds).to_pylist()[0])
        with piece.open() as file:
            os.truncate(path, 5)
            with pytest.raises(pieces.InputChanged, match=r"cut\.txt had 14 bytes .* and has 5 bytes"):
                list(lines.read_lines(file, piece))
            with pytest.raises(pieces.InputChanged, match=r"cut\.txt had 14 bytes"):
                piece.verify(file)


def test_of_a_file_that_grows_only_the_planned_bytes_are_read(tmp_path):
    path = tmp_path / "grown.txt"
    path.write_text("one\ntwo")
    piece = pieces.Piece(**files(path).to_pylist()[0])
    with piece.open() as file:
        path.write_text("one\ntwo and more\n")
        found = list(lines.read_lines(file, piece))
    assert all(isinstance(each, lines.Lines) for each in found)
    assert b"".join(each.stored for each in found if isinstance(each, lines.Lines)) == b"one\ntwo"
    with pytest.raises(pieces.InputChanged):
        piece.verify(file)


def test_what_white_space_is():
    spaces = [chr(i) for i in range(0x3100) if chr(i).isspace() and chr(i) not in "\n\r"]
    uri = stored("\n".join([*spaces, "\u200b"]).encode(), "spaces.txt")
    assert [row[1] for row in brief(uri)] == ["empty_text"] * len(spaces) + ["\u200b"]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["blns.txt", "utf8tests.txt"])
def test_awkward_texts(shared, name):
    path = shared / "awkward" / name
    assert brief(path) == by_hand(path.read_bytes(), 2**24)
