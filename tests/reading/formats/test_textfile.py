"""Text files of which each is one row, and the hint that they may be meant so."""

import gzip
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks, pieces, text, textfile
from seqcls_beam.reading.formats.columns import pin
from tests.reading.reader import files, stored


def read(data: bytes, name: str = "file.txt", **options) -> tuple:
    """(text,), or (reason, raw, rows that are lost)."""
    asked = ReadOptions(input=("x",), txt="files", **options)
    (row,) = files(stored(data, name)).to_pylist()
    piece = pieces.Piece(**{**row, "format": "textfile"})
    layout = pin(asked, "textfile", textfile.columns([piece], asked))
    with piece.open() as file:
        (found,) = textfile.read(file, piece, layout)
    block, lost = (found.block(layout), found.lost) if isinstance(found, blocks.Fault) else (found, None)
    (row,) = blocks.to_columns(block, layout).to_pylist()
    assert row["position"] == 0
    if row["reject"] is None:
        assert row["keep"] == {"text": row["text"]}
        return (row["text"],)
    return row["reject"]["reason"], row["reject"]["raw"], lost


@settings(max_examples=100)
@given(
    st.text(max_size=40),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be", "latin-1", "hz", "utf-7"]),
    st.integers(4, 20),
    st.sampled_from(["", ".gz"]),
)
def test_the_whole_file_is_the_text(content, encoding, chunk, suffix):
    data = content.encode(encoding, "ignore")
    expected = data.decode(encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        found = read(gzip.compress(data) if suffix else data, f"file.txt{suffix}", encoding=encoding)
    if "\0" in expected:
        assert found == ("nul_byte", data, None)
    elif not expected.strip():
        assert found == ("empty_text", data, None)
    elif expected.startswith("\ufeff"):
        assert found[0] in (expected, expected[1:])
    else:
        assert found == (expected,)


def test_a_file_without_text_is_a_rejected_row():
    assert read(b"") == ("empty_text", b"", None)
    assert read(b"", encoding="utf-16") == ("empty_text", b"", None)
    assert read(b" \r\n") == ("empty_text", b" \r\n", None)


def test_line_ends_are_kept():
    assert read(b"\xef\xbb\xbfone\r\ntwo\rthree\n") == ("one\r\ntwo\rthree\n",)


def test_files_of_which_no_row_can_be_made(monkeypatch):
    assert read(b"caf\xe9\n") == ("invalid_utf8", b"caf\xe9\n", None)
    assert read(b"caf\xe9\n", encoding="ascii") == ("invalid_encoding", b"caf\xe9\n", None)
    wide = "wide".encode("utf-16")
    assert read(wide) == ("unreadable_file", wide, 1)
    packed = gzip.compress(b"one\n" * 9999, mtime=0)
    reason, raw, lost = read(packed[:-20], "cut.txt.gz")
    assert (reason, lost) == ("truncated_file", 1)
    assert (b"one\n" * 9999).startswith(raw)
    changed = packed[:-8] + b"\0\0\0\0" + packed[-4:]
    assert read(changed, "changed.txt.gz") == ("corrupt_file", b"", 1)
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 10)
    assert read(b"x" * 10) == ("x" * 10,)
    assert read(b"x" * 11) == ("record_too_large", b"x" * 11, None)


@pytest.mark.parametrize(
    ("count", "lines", "hinted"), [(20, 19, True), (20, 20, False), (19, 1, False), (200, 1, True), (20, 0, True)]
)
def test_a_hint_where_many_files_have_few_lines(count, lines, hinted):
    whole = files(*(stored(b"a line\n" * lines or b"no line end", f"few{i}.txt") for i in range(count)))
    found = text.hint([pieces.Piece(**row) for row in whole.to_pylist()], ReadOptions(input=("x",)))
    assert (found is not None) == hinted
    assert found is None or (f"each line of the {count} text files" in found and "--txt=files" in found)


def test_no_hint_where_files_are_no_text():
    whole = files(*(stored(b"", f"empty{i}.txt") for i in range(30)))
    found = [pieces.Piece(**row) for row in whole.to_pylist()]
    assert text.hint(found, ReadOptions(input=("x",))) is None
    assert text.hint([replace(piece, format="textfile") for piece in found], ReadOptions(input=("x",))) is None
