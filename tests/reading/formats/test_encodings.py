"""Lines of files in any encoding; the texts are encoded here line by line, so each line's bytes are known."""

import codecs
import encodings.aliases

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.reading.formats import encodings as coded
from seqcls_beam.reading.formats import pieces
from tests.reading.reader import brief, rows, stored

MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16": codecs.BOM_UTF16_LE, "utf-32": codecs.BOM_UTF32_LE}
NAMES = [
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7", "latin-1"),
    *("cp1252", "cp1251", "cp437", "cp037", "mac-roman", "koi8-r", "shift_jis", "euc_jp", "iso2022_jp", "gbk", "big5"),
    *("gb18030", "euc_kr", "johab", "hz", "ascii", "iso-8859-15"),
]
LINE = st.text(st.sampled_from("ab {}\"'~+-~é表ソд한\U0001f600\u2028\x85\x0b"), max_size=6)
END = st.sampled_from(["\n", "\r\n", "\r"])
NO_TEXT = [
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"),
    *("idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"),
]
KNOWN = sorted({*encodings.aliases.aliases.values(), "utf_8_sig", "utf_7", "idna", "undefined", "punycode", "hz"})


def encoded(name: str, marked: bool) -> tuple[codecs.IncrementalEncoder, bytes]:
    """An encoder of one line after the other, and the mark before them."""
    name = codecs.lookup(name).name
    if name in ("utf-16", "utf-32"):
        return codecs.getincrementalencoder(f"{name}-le")("ignore"), MARKS[name]
    name = name.removesuffix("-sig")
    mark = "\ufeff".encode(name, "ignore") if marked and name.startswith("utf") and name != "utf-7" else b""
    return codecs.getincrementalencoder(name)("ignore"), mark


@settings(max_examples=400)
@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(LINE, END), max_size=8),
    LINE,
    st.booleans(),
    st.integers(4, 40),
    st.lists(st.integers(1, 80), max_size=4),
)
def test_lines_of_every_encoding(name, lines, last, marked, chunk, cuts):
    encoder, data = encoded(name, marked)
    expected = []
    ends = [*lines, (last, "")]
    for number, (line, end) in enumerate(ends):
        kept = line.encode(encoder_name(name), "ignore").decode(encoder_name(name))
        if number and not kept and end == "\n" and ends[number - 1][1] == "\r":
            line = kept = "a"  # or both would be one line end
        position = len(data)
        raw = encoder.encode(line)
        if end:
            closing = encoder.encode(end)
            # Where the line leaves another state, its bytes end with what leads back.
            width = len(end.encode(encoder_name(name)))
            raw, closing = raw + closing[:-width], closing[-width:]
        else:
            raw, closing = raw + encoder.encode("", final=True), b""
        data += raw + closing
        if kept or end:
            expected.append((position, kept) if kept.strip() else (position, "empty_text", raw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        patch.setattr(pieces, "BEHIND", 3)
        uri = stored(data, "coded.txt")
        assert brief(uri, encoding=name) == expected
        if coded.cuttable(name) and data:
            bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
            assert brief(uri, encoding=name, bounds=bounds) == expected


def encoder_name(name: str) -> str:
    """The encoding without a mark of its own."""
    name = codecs.lookup(name).name.removesuffix("-sig")
    return f"{name}-le" if name in ("utf-16", "utf-32") else name


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in NO_TEXT])
def test_a_line_end_is_what_its_bytes_say(name):
    """In an encoding that is cut, no character holds the byte of a line end, whatever stands before it."""
    encoding = coded.of(name)
    codecs.lookup(encoding.name)
    if not coded.cuttable(name):
        return
    feed, back = "\n".encode(encoding.name), "\r".encode(encoding.name)
    for lead in range(256):
        for more in (b"", b"\x81", b"0", b"\xa1\xa1", b"\x30\x81"):
            for sign, character in ((feed, "\n"), (back, "\r")):
                try:
                    text = (bytes([lead]) + more + sign).decode(encoding.name)
                except UnicodeDecodeError:
                    continue
                assert text.endswith(character)
                assert bytes([lead]) in (feed, back) or not set(text[:-1]) & set("\r\n")


@pytest.mark.parametrize("name", ["", "utf-9", "no such\0thing", "../x", *NO_TEXT])
def test_names_of_no_encoding(name):
    for path in (stored(b"text\na\n", "a.txt"), stored(b"text\na\n", "a.csv"), stored(b'{"text": "a"}', "a.jsonl")):
        with pytest.raises(ValueError, match="--encoding"):
            rows(path, encoding=name)


@pytest.mark.parametrize("kind", ["wide.txt", "wide.jsonl", "wide.csv"])
@pytest.mark.parametrize(
    ("mark", "named"), [(b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xff\xfe\0\0", "utf-32")]
)
def test_the_mark_of_another_encoding_is_named(kind, mark, named):
    uri = stored(mark + b"text\nwide\n", kind)
    for encoding in ("utf-8", "latin-1", "shift_jis"):
        (row,) = rows(uri, encoding=encoding)
        assert (row["position"], row["reject"]["reason"], row["reject"]["raw"]) == (0, "unreadable_file", b"")
        assert f"--encoding={named}" in row["reject"]["detail"]
        if kind != "wide.csv":
            assert rows(uri, encoding=encoding, bounds=[0, 3, 5, 11]) == [row]
    (row,) = rows(stored(b"\xef\xbb\xbftext\n", kind), encoding="utf-16")
    assert "--encoding=utf-8" in row["reject"]["detail"]


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_without_a_mark_line_ends_tell_the_order(name):
    for order in ("-le", "-be"):
        data = "one\ntwo ソ\r\n".encode(name + order)
        width = len("\n".encode(name + order))
        assert brief(stored(data, "order.txt"), encoding=name) == [(0, "one"), (4 * width, "two ソ")]
    (row,) = rows(stored("one".encode(f"{name}-le"), "none.txt"), encoding=name)
    assert row["reject"]["reason"] == "unreadable_file"
    assert f"--encoding={name}-le or --encoding={name}-be" in row["reject"]["detail"]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("ascii", b"a\n\xe9\nb", [(0, "a"), (2, b"\xe9"), (4, "b")]),
        ("cp1252", b"a\n\x81\rb", [(0, "a"), (2, b"\x81"), (4, "b")]),
        ("shift_jis", b"a\x81\nb\n", [(0, b"a\x81"), (3, "b")]),
        ("utf-16-le", b"a\0\n\0\0\xd8\n\0b\0\n\0c", [(0, "a"), (4, b"\0\xd8"), (8, "b"), (12, b"c")]),
        ("utf-32-be", b"\0\x11\0\0\0\0\0\n\0\0\0b", [(0, b"\0\x11\0\0"), (8, "b")]),
        ("utf-7", b"a+AAo-b\nc\n+2AA-\n", [(0, b"a+AAo-b"), (8, "c"), (10, b"+2AA-")]),
        ("iso2022_jp", b"\x1b$B0\x1b(B\nb\n", [(0, b"\x1b$B0\x1b(B"), (8, "b")]),
        ("utf-8", b"a\n\xe9\nb", [(0, "a"), (2, b"\xe9"), (4, "b")]),
    ],
)
def test_bytes_that_are_not_of_the_encoding(name, data, expected):
    reason = "invalid_utf8" if name == "utf-8" else "invalid_encoding"
    rejected = [(at, reason, value) if isinstance(value, bytes) else (at, value) for at, value in expected]
    assert brief(stored(data, "invalid.txt"), encoding=name) == rejected


def test_what_an_escape_begins_goes_on_in_the_next_line():
    data = "表\n".encode("iso2022_jp").replace(b"\x1b(B", b"") + b"I=\x1b(B\n"
    expected = data.decode("iso2022_jp").split("\n")[:-1]
    assert [row[1] for row in brief(stored(data, "escape.txt"), encoding="iso2022_jp")] == expected
