"""Delimiters, quotes, line ends and encodings of csv and tsv files."""

import csv
import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqcls_beam.reading.formats import pieces
from tests.reading.reader import brief, rows, stored


def test_a_carriage_return_ends_a_record_outside_quotes_and_is_text_inside():
    assert brief(stored(b'id,text,n\r1,"good\nfilm",2\r', "mac.csv")) == [(10, "good\nfilm")]
    assert brief(stored(b'text,"a\rb"\rx,"c\rd"\r\ny,1\nz,2', "mixed.csv"), keep_columns=("a\rb",)) == [
        (11, "x"),
        (20, "y"),
        (24, "z"),
    ]
    assert brief(stored(b"text\tn\ra\t1\r\rb\t2\r", "mac.tsv")) == [(7, "a"), (12, "b")]
    assert brief(stored(b'text,n\ra,1\r2,"open\r3,c\r', "stray.csv")) == [
        (7, "a"),
        (11, "unbalanced_quote", b'2,"open'),
        (19, "3"),
    ]


CODED = ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "iso2022_jp", "cp037"]


@settings(max_examples=300)
@given(
    st.text(st.sampled_from('ab;,|"\n\r\tﾃ表é \0'), max_size=40),
    st.sampled_from([",", ";", "\t", "|", "é", "表"]),
    st.sampled_from(['"', ""]),
    st.sampled_from(CODED),
    st.integers(8, 60),
    st.booleans(),
)
def test_records_are_those_of_the_csv_module(text, delimiter, quote, encoding, chunk, two):
    """Where Python reads the whole file without complaint; `two` columns, or one."""
    quoting = {"quotechar": '"'} if quote else {"quoting": csv.QUOTE_NONE}
    header = f"text{delimiter}n\n" if two else "text\n"
    assume(delimiter.encode(encoding, "ignore"))
    data = (header + text).encode(encoding, "ignore")
    try:
        decoded = io.StringIO(data.decode(encoding), newline="")
        _, *records = csv.reader(decoded, delimiter=delimiter, strict=True, **quoting)
    except csv.Error:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        found = rows(stored(data, "coded.csv"), delimiter=delimiter, quote=quote, encoding=encoding)
    if two:
        records = [record for record in records if record]
    assert len(found) == len(records)
    for row, record in zip(found, records, strict=True):
        if len(record) != 1 + two and record:
            assert row["reject"]["reason"] == "ragged_row"
        elif record and record[0].strip() and "\0" not in record[0]:
            assert row["text"] == record[0]
        else:
            assert row["reject"]["reason"] in ("empty_text", "nul_byte")
        if row["reject"] is not None:
            assert data[row["position"] :].startswith(row["reject"]["raw"])


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\r", "\n", "\udcff"])
def test_what_is_no_delimiter(delimiter):
    with pytest.raises(ValueError, match="--delimiter"):
        rows(stored(b"text;n\na;1\n", "delimiter.csv"), delimiter=delimiter)


def test_a_tab_as_people_can_type_it():
    for delimiter in ("\t", "\\t"):
        assert brief(stored(b'text\tn\n"a\tb"\t1\n', "tabs.csv"), delimiter=delimiter) == [(7, "a\tb")]
    assert brief(stored(b"text;n\na;1\n", "semicolons.tsv"), delimiter=";") == [(7, "a")]


@pytest.mark.parametrize(("sign", "shown"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_another_delimiter_is_named(sign, shown):
    other = stored(sign.join(["id", "text", "stars"]).encode() + b"\n" + sign.join("1a5").encode() + b"\n", "other.csv")
    with pytest.raises(ValueError, match=f"no column 'text' .* with --delimiter={shown} there are 3"):
        rows(other)
    good = stored(b"text\na\n", "good.csv")
    assert f"--delimiter={sign!r}" in rows(good, other)[1]["reject"]["detail"]
    assert [row["text"] for row in rows(other, delimiter=sign)] == ["a"]


def test_a_header_of_another_encoding():
    latin = stored("prénom,text\né,a\n".encode("latin-1"), "latin.csv")
    assert brief(latin) == [(12, "invalid_utf8", b"\xe9,a")]  # the columns that are read have names
    for options in ({"text_column": "prénom"}, {"keep_columns": ("*",)}):
        with pytest.raises(ValueError, match=r"latin\.csv: the names of its columns are not utf-8: .* --encoding"):
            rows(latin, **options)
    assert rows(latin, keep_columns=("*",), encoding="latin-1")[0]["keep"] == {"prénom": "é", "text": "a"}
    good = stored(b"text\na\n", "good.csv")
    assert rows(good, stored(b"\xe9,id\nb,1\n", "lacks.csv"))[1]["reject"]["reason"] == "missing_column"


def test_bytes_that_are_not_of_the_encoding():
    data = 'id,text\n1,"表\r\nx"\n2,'.encode("shift_jis") + b'"\x81\n"\n3,fine\n'
    assert brief(stored(data, "broken.csv"), encoding="shift_jis") == [
        (8, "表\r\nx"),
        (18, "invalid_encoding", b'2,"\x81\n"'),
        (25, "fine"),
    ]
