import csv
import gzip
import io
import re
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks, delimited, encodings, lines, pieces
from seqcls_beam.reading.records import plan_layout
from seqcls_beam.schema import Mark
from tests.reading.reader import batches, brief, files, rows, stored

CELL = st.text(st.sampled_from('ab ,"\n\r\té'), max_size=6)


@settings(max_examples=150)
@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=12), st.integers(4, 60), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_wrote_is_read(table, chunk, line_end):
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    positions = []
    for row in [("id", "text", "more"), *table]:
        positions.append(len(file.getvalue().encode()))
        writer.writerow(row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        found = rows(stored(file.getvalue().encode(), "written.csv"), keep_columns=("more", "id"))
    assert [row["position"] for row in found] == positions[1:]
    for row, (id_, text, more) in zip(found, table, strict=True):
        if text.strip():
            assert (row["text"], row["keep"], row["reject"]) == (text, {"more": more, "id": id_}, None)
        else:
            assert row["reject"]["reason"] == "empty_text"
            assert next(csv.reader([row["reject"]["raw"].decode()])) if "\n" not in row["reject"]["raw"].decode() else 1


@settings(max_examples=150)
@given(st.text(st.sampled_from('ab,"\n\ré'), max_size=40), st.integers(4, 60), st.integers(1, 5), st.integers(8, 99))
def test_the_rows_do_not_depend_on_the_blocks(text, chunk, window, limit):
    data = b"text,b\n" + text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MAX_RECORD_BYTES", limit)
        whole = brief(stored(data, "any.csv"))
        patch.setattr(pieces, "CHUNK", chunk)
        patch.setattr(delimited, "MAX_LINES", window)
        assert brief(stored(data, "any.csv")) == whole
        patch.setattr(lines, "MAX_LINES", window)
        assert brief(stored(data, "any.csv")) == whole


def test_a_header_in_the_middle_is_no_row():
    data = b'id,text\n1,a\nid,text\n\xef\xbb\xbfid,"text"\n2,text\n'
    assert brief(stored(data, "joined.csv")) == [
        (8, "a"),
        (12, "wrong_type", b"id,text"),
        (20, "wrong_type", b'\xef\xbb\xbfid,"text"'),
        (33, "text"),
    ]
    assert brief(stored(b"text\na\ntext\n", "one.csv")) == [(5, "a"), (7, "text")]


def test_a_number_is_no_truth_value():
    found = rows(stored(b"text,k\na,1\na,0\na,true\na,FALSE\na,\n", "bool.csv"), keep_columns=("k:bool",))
    assert [(row["keep"] or {}).get("k") for row in found] == [None, None, True, False, None]
    assert [row["reject"] and row["reject"]["reason"] for row in found] == ["wrong_type"] * 2 + [None] * 3


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (gzip.compress(b"text\na\n"), "a.csv", r"ending \.gz"),
        (gzip.compress(gzip.compress(b"a\n")), "a.txt.gz", "gz again: decompress it once"),
        (b"PK\x03\x04" + bytes(30), "a.jsonl", "zip archive: unpack"),
        (b"PAR1\x15" + bytes(30), "a.csv", "a Parquet file: .*parquet"),
        (b'{"text": "a"}\n', "a.parquet", "say with --input_format"),
    ],
    ids=["gz", "twice", "zip", "parquet", "jsonl"],
)
def test_what_is_called_something_else_is_told(data, name, said):
    (row,) = rows(stored(data, name))
    assert row["reject"]["reason"] == "unreadable_file" and re.search(said, row["reject"]["detail"])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
def test_wide_characters_show(encoding):
    assert encodings.wide("id,text\n1,good film é\n".encode(encoding)) == ("" if encoding == "utf-8" else encoding)


def test_a_stray_quote_costs_one_line():
    data = b'id,text\n1,"good"\n2,"never closed\n3,"two\r\nlines"\n4,"text" behind\n5,fine\n6,"open\n7,last'
    assert brief(stored(data, "stray.csv")) == [
        (8, "good"),
        (17, "unbalanced_quote", b'2,"never closed'),
        (33, "two\r\nlines"),
        (48, "unbalanced_quote", b'4,"text" behind'),
        (64, "fine"),
        (71, "unbalanced_quote", b'6,"open'),
        (79, "last"),
    ]


def test_a_quote_is_looked_for_no_further_than_a_record_may_reach(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    data = b'id,text\n1,"open\n' + b"2,text\n" * 10 + b'3,"closed"\n'
    found = brief(stored(data, "far.csv"))
    assert found[0] == (8, "unbalanced_quote", b'1,"open')
    assert [row[1] for row in found[1:]] == ["text"] * 10 + ["closed"]
    data = b'id,text\n1,"' + b"x\n" * 30 + b'"\n2,b\n'
    assert {row[1] for row in brief(stored(data, "closed.csv"))[1:-2]} == {"ragged_row"}


def test_a_line_too_large_within_an_open_quote(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    data = b'id,text\n1,"open\n2,b\n' + b"x" * 50 + b"\n3,c\n"
    assert brief(stored(data, "open.csv")) == [
        (8, "unbalanced_quote", b'1,"open'),
        (16, "b"),
        (20, "record_too_large", b"x" * 50),
        (71, "c"),
    ]


def test_ragged_rows_are_counted():
    found = rows(stored(b"id,text\n1\n2,b\n3,c,d\n", "ragged.csv"))
    assert [(row["text"], row["reject"] and row["reject"]["detail"]) for row in found] == [
        (None, "1 fields, but 2 columns"),
        ("b", None),
        (None, "3 fields, but 2 columns"),
    ]
    assert found[2]["reject"]["raw"] == b"3,c,d"


def test_bytes_that_are_no_utf8():
    data = b'id,text\n1,"caf\xe9\r\nx"\r\n2,fine\r\n'
    assert brief(stored(data, "latin.csv")) == [(8, "invalid_utf8", b'1,"caf\xe9\r\nx"'), (21, "fine")]


def test_byte_order_mark_crlf_and_blank_lines():
    data = b'\xef\xbb\xbf\r\n"text",n\r\n\r\na,1\r\n\r\n\r\nb,2'
    assert brief(stored(data, "mark.csv")) == [(17, "a"), (26, "b")]


def test_zero_bytes():
    assert brief(stored(b"text,n\na\0b,1\n", "zero.csv")) == [(7, "nul_byte", b"a\0b,1")]


def test_quotes_are_text_in_tsv_unless_asked():
    data = b'text\tn\n"a\t1\nb"\t2\n'
    assert [row[1] for row in brief(stored(data, "quotes.tsv"))] == ['"a', 'b"']
    assert brief(stored(data, "quotes.tsv"), quote='"')[0] == (7, "a\t1\nb")
    assert [row[1] for row in brief(stored(b"text,n\n'a,b',1\n", "other.csv"), quote="'")] == ["a,b"]


def test_pinned_types():
    data = b"text,n,x,ok\na,1,1.5,true\nb,,,\nc,1.5,1,1\nd,2,1,perhaps\n"
    found = rows(stored(data, "typed.csv"), keep_columns=("n:int64", "x:float64", "ok:bool"))
    assert [row["keep"] for row in found[:2]] == [{"n": 1, "x": 1.5, "ok": True}, {"n": None, "x": None, "ok": None}]
    assert [row["reject"]["detail"] for row in found[2:]] == ["'n' is no int64: '1.5'", "'ok' is no bool: 'perhaps'"]
    assert found[2]["reject"]["raw"] == b"c,1.5,1,1"


def test_names_that_are_not_there():
    uri = stored(b"id,text,text\n1,a,b\n", "names.csv")
    with pytest.raises(ValueError, match="'body' in the first files; the columns there are 'id', 'text', 'text'"):
        rows(uri, text_column="body")
    with pytest.raises(ValueError, match="'text' stands twice"):
        rows(uri)
    with pytest.raises(ValueError, match="asked for as int64, and is the text"):
        rows(uri, text_column="id", keep_columns=("id:int64",))


def test_names_that_nobody_can_tell_apart():
    uri = stored(b"text,,,n\na,b,c,d\n", "unnamed.csv")
    with pytest.raises(ValueError, match="2 columns of the first file have no name"):
        rows(uri, keep_columns=("*",))
    assert rows(uri, keep_columns=("n",))[0]["keep"] == {"n": "d"}
    assert rows(stored(b",text,x\n0,a,1\n", "index.csv"), keep_columns=("*",))[0]["keep"] == {
        "": "0",
        "text": "a",
        "x": "1",
    }
    blanks = stored(b"id, text\n1,a\n", "blanks.csv")
    with pytest.raises(ValueError, match=r"no column 'text' .* ' text' is to be named with its blanks"):
        rows(blanks)
    assert rows(blanks, text_column=" text")[0]["text"] == "a"


def faults(*paths, **options):
    """Reasons of the faults of each of some csv files, and the rows that each costs."""
    whole = files(*paths)
    layout = plan_layout(whole, ReadOptions(input=("x",), **options))
    found = []
    for piece in (pieces.Piece(**row) for row in whole.to_pylist()):
        with piece.open() as file:
            each = [block for block in delimited.read(file, piece, layout) if isinstance(block, blocks.Fault)]
        found.append([(fault.reason, fault.lost, fault.consumed) for fault in each])
    return found


def test_what_a_file_costs_that_lacks_a_column(monkeypatch):
    good = stored(b"id,text\n1,a\n", "good.csv")
    bad = stored(b'id,body\n2,b\n\n3,"c\nd"\n4\n5,"open\n6,f\n' + b"x" * 50 + b"\n7,g", "bad.csv")
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    assert faults(good, bad) == [[], [("missing_column", 7, 0)]]
    found = rows(good, bad)
    assert [(row["source"], row["text"]) for row in found] == [(good, "a"), (bad, None)]
    assert "'text' 0 times: 'id', 'body'" in found[1]["reject"]["detail"]
    assert faults(good, stored(b"id,body\n", "header.csv")) == [[], [("missing_column", 0, 0)]]
    assert faults(good, stored(b"id,text\n", "header.csv")) == [[], []]
    cut = gzip.compress(b"id,body\n" + b"".join(b"%d,b\n" % i for i in range(9999)))[:-500]
    bad, truncated = faults(good, stored(cut, "cut.csv.gz"))[1]
    whole = zlib.decompressobj(31).decompress(cut)
    assert bad == ("missing_column", whole.count(b"\n") - 1, 0)
    assert truncated == ("truncated_file", None, len(cut))


@pytest.mark.parametrize("data", [b"", b"\n", b"id,text", b"id,text\r\n\r\n", b"\r\r\n", b"\xef\xbb\xbf"])
def test_files_without_rows(data):
    assert rows(stored(data, "none.csv")) == []


def test_a_blank_line_is_a_row_where_there_is_one_column():
    data = b"\ntext\na\n\nb\r\r\n"
    expected = [(6, "a"), (8, "empty_text", b""), (9, "b"), (11, "empty_text", b"")]
    for name in ("one.csv", "one.tsv"):
        assert brief(stored(data, name)) == expected
    assert brief(stored(b"\na\n", "bare.csv"), column_names=("text",)) == [(0, "empty_text", b""), (1, "a")]


def test_a_header_that_cannot_be_read(monkeypatch):
    good, bad = stored(b"id,text\n1,a\n", "good.csv"), stored(b'id,"text\n2,b\n', "quote.csv")
    assert [row[1] for row in brief(good, bad)] == ["a", "unreadable_file"]
    assert faults(good, bad) == [[], [("unreadable_file", None, 0)]]
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    assert brief(good, stored(b"x" * 50 + b"\ntext,id\na,1\n", "long.csv"))[1:] == [(0, "unreadable_file", b"")]


def test_files_without_header():
    uri = stored(b"a\t1\nb\t2\n", "bare.tsv")
    assert brief(uri, column_names=("text", "n")) == [(0, "a"), (4, "b")]
    assert rows(uri, column_names=("text", "n"), keep_columns=("*",))[1]["keep"] == {"text": "b", "n": "2"}


@pytest.mark.shared
def test_clothing_reviews(shared):
    path = shared / "stars_womens_clothing" / "reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    found = rows(path, text_column="Review Text", keep_columns=("*",))
    assert len(found) == 23_486
    for row, wanted in zip(found, expected, strict=True):
        if wanted["Review Text"]:
            assert (row["text"], row["keep"]) == (wanted["Review Text"], wanted)
        else:
            assert row["reject"]["reason"] == "empty_text"
            assert row["reject"]["raw"].decode().split(",")[0] == wanted[""]
    assert sum(row["reject"] is not None for row in found) == 845
    data = path.read_bytes()
    assert all(data[row["position"] :].startswith(row["keep"][""].encode() + b",") for row in found if row["text"])


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("train_full", 67_349), ("dev", 872), ("test-labeled", 1_821)])
def test_sst2(shared, name, count):
    path = shared / "sst2" / f"{name}.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    found = rows(path, text_column="sentence", keep_columns=("label:int64",))
    assert len(found) == count
    assert [f"{row['text']}\t{row['keep']['label']}" for row in found] == lines


@pytest.mark.shared
def test_goemotions(shared):
    path = shared / "goemotions" / "train.tsv"
    found = rows(path, column_names=("text", "labels", "id"), keep_columns=("labels", "id"))
    lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    assert len(found) == 43_410
    assert [f"{row['text']}\t{row['keep']['labels']}\t{row['keep']['id']}" for row in found] == lines


@pytest.mark.shared
def test_mrpc_with_quotes_as_text(shared):
    path = shared / "mrpc" / "msr_paraphrase_train.txt"
    found = rows(path, input_format="tsv", text_column="#1 String", text_pair_column="#2 String", keep_columns=("*",))
    lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    assert len(found) == 4_076
    assert ["\t".join(row["keep"].values()) for row in found] == lines[1:]


@pytest.mark.shared
def test_awkward_csv_files(shared):
    for path in sorted((shared / "awkward" / "csv-test-data").iterdir()):
        with path.open(encoding="utf-8", newline="") as file:
            try:
                table = list(csv.reader(file, strict=True))
                if not table or len(table[0]) != 1:  # where there is one column, a blank line is a row
                    table = [row for row in table if row]
            except csv.Error:
                table = None
        if table == []:
            assert rows(path) == [], path
            continue
        if table is None:
            found = rows(path, text_column="bar")
            assert [row["reject"]["reason"] for row in found] == ["unbalanced_quote"], path
            assert found[0]["reject"]["raw"] == path.read_bytes().split(b"\n")[1], path
            continue
        header, *records = table
        found = rows(path, text_column=header[0], keep_columns=("*",))
        assert len(found) == len(records), path
        for row, record in zip(found, records, strict=True):
            if not record:
                assert row["reject"]["reason"] == "empty_text", path
            elif len(record) != len(header):
                assert row["reject"]["reason"] == "ragged_row", path
            else:
                assert list(row["keep"].values()) == record, path


def test_a_file_of_zeros_has_no_header():
    first = stored(b"text\na\n", "first.csv")
    (batch,) = batches(first, stored(b"\0" * 3000, "zeros.csv"))
    mark = Mark.of(batch)
    assert [(loss["reason"], loss["bytes"]) for loss in mark.inputs[1]["losses"]] == [("unreadable_file", 3000)]
