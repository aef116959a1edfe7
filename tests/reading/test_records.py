import gzip
import hashlib
import json
import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading import records
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.formats import detect, splittable
from seqcls_beam.reading.records import InputChanged, plan_layout, read_unit
from seqcls_beam.schema import Mark, record
from tests.reading.reader import batches, brief, cut, files, rows, stored


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.txt", ("text", "")),
        ("gs://b/a.JSONL", ("jsonl", "")),
        ("a.ndjson.gz", ("jsonl", "gz")),
        ("a.b.csv.zst", ("csv", "zst")),
        ("a.tsv.xz", ("tsv", "xz")),
        ("a.txt.bz2", ("text", "bz2")),
        ("a.parquet", ("parquet", "")),
    ],
)
def test_formats_by_extension(path, expected):
    assert detect(path, "auto") == expected


def test_formats_by_name():
    assert detect("part-00000", "jsonl") == ("jsonl", "")
    assert detect("part-00000.gz", "csv") == ("csv", "gz")
    for path, format in [("x/part-00000", "auto"), ("x/a.json", "auto"), ("x/.gz", "auto"), ("a.parquet.gz", "auto")]:
        with pytest.raises(ValueError, match=path):
            detect(path, format)


def test_what_can_be_cut():
    cuttable = [(f, c) for f in ("text", "jsonl", "csv", "tsv", "parquet") for c in ("", "gz") if splittable(f, c)]
    assert cuttable == [("text", ""), ("jsonl", ""), ("parquet", "")]


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(["a", "bb", "c" * 9, " "]), max_size=8), min_size=1, max_size=5),
    st.integers(1, 9),
    st.sampled_from([3, 10, 10_000]),
)
def test_batches_are_cut_across_files_and_change_no_row(texts, batch_rows, batch_bytes):
    uris = [stored("".join(f"{text}\n" for text in each).encode(), f"file{i}.txt") for i, each in enumerate(texts)]
    expected = [(uri, text) for uri, each in zip(uris, texts, strict=True) for text in each]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_BATCH_BYTES", batch_bytes)
        found = batches(*uris, batch_rows=batch_rows)
    table = [row for batch in found for row in batch.to_pylist()]
    assert [(row["source"], row["text"] or row["reject"]["raw"].decode()) for row in table] == expected
    marks = [Mark.of(batch) for batch in found]
    assert [mark.sequence for mark in marks] == list(range(len(found)))
    assert [mark.last for mark in marks] == [False] * (len(found) - 1) + [True]
    assert marks[-1].rows == len(expected)
    assert [mark.rows for mark in marks] == [sum(map(len, found[: i + 1])) for i in range(len(found))]
    assert [piece["rows"] for piece in marks[-1].inputs] == [len(each) for each in texts]
    assert all(len(batch) for batch in found) or len(found) == 1
    if batch_bytes == 10_000:
        assert all(len(batch) == batch_rows for batch in found[:-1])
    for batch in found:
        size = sum(len(row["text"] or row["reject"]["raw"]) for row in batch.to_pylist())
        assert size <= batch_bytes or len(batch) == 1
        batch.validate(full=True)


def test_a_mark_tells_what_was_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\nfour\n")
    whole = files(path)
    layout = plan_layout(whole, ReadOptions(input=(str(path),), batch_rows=1))
    unit = Mark(unit=3, units=7).on(cut(whole, [4, 9]))
    first, last = map(Mark.of, read_unit(unit, layout))
    assert (first.unit, first.units, first.rows, first.last, first.inputs) == (3, 7, 1, False, [])
    assert (last.unit, last.units, last.rows, first.bytes + last.bytes, last.last) == (3, 7, 2, 5, True)
    piece = {"path": str(path), "format": "text", "compression": "", "start": 4, "end": 9, "size": 14}
    (told,) = last.inputs
    seen = told.pop("seen")
    assert told == {**piece, "version": str(path.stat().st_mtime), "rows": 2, "losses": []}
    # The first bytes, which say what it is; then the range from the byte before it to the end of the file.
    ranges = [(start, start + length) for start, length, _ in seen["reads"]]
    assert (ranges[0][0], ranges[-1]) == (0, (3, 13)), ranges
    for (start, past), (*_, digest) in zip(ranges, seen["reads"], strict=True):
        assert digest == hashlib.blake2b(path.read_bytes()[start:past], digest_size=16).hexdigest()
    assert str(path.stat().st_ctime_ns) in seen["state"]
    assert last.seconds["read"] >= 0


def test_bytes_count_what_was_read_of_the_file(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\n" * 100))
    marks = [Mark.of(batch) for batch in batches(path, batch_rows=30)]
    assert sum(mark.bytes for mark in marks) == path.stat().st_size
    assert all(mark.bytes > 0 for mark in marks)


def test_a_unit_without_rows_is_one_empty_batch():
    uri = stored(b"", "empty.txt")
    (batch,) = batches(uri)
    mark = Mark.of(batch)
    assert (len(batch), mark.sequence, mark.last, mark.rows) == (0, 0, True, 0)
    assert mark.inputs[0]["rows"] == 0
    assert batch.schema.equals(record(pa.schema([("text", pa.string())]), pair=False))


def test_a_rejected_row_has_nothing_but_its_bytes():
    uri = stored(b'{"id": 1, "text": "a"}\n{"id": 2, "text": " "}\n', "reject.jsonl")
    good, bad = rows(uri, id_column="id")
    assert good == {"source": uri, "position": 0, "text": "a", "keep": {"id": 1, "text": "a"}, "reject": None}
    reject = {"stage": "read", "reason": "empty_text", "detail": "'text' is white space"}
    raw = b'{"id": 2, "text": " "}'
    keep = {"id": None, "text": None}
    assert bad == {"source": uri, "position": 23, "text": None, "keep": keep, "reject": {**reject, "raw": raw}}


def test_both_texts_of_a_pair_are_looked_at():
    lines = [{"a": "x", "b": "y"}, {"a": "x", "b": ""}, {"a": None, "b": "y"}, {"a": "x"}]
    uri = stored("\n".join(map(json.dumps, lines)).encode(), "pair.jsonl")
    found = rows(uri, text_column="a", text_pair_column="b")
    assert [(row["text"], row["text_pair"]) for row in found] == [("x", "y"), (None, None), (None, None), (None, None)]
    details = [row["reject"]["detail"] for row in found[1:]]
    assert details == ["'b' is empty", "'a' is absent or null", "'b' is absent or null"]


def test_files_of_several_formats():
    text = stored(b"a\n", "a.txt")
    line = stored(b'{"text": "b"}\n', "b.jsonl")
    table = stored(b"text,n\nc,1\n", "c.csv")
    assert [row["text"] for row in rows(text, line, table)] == ["a", "b", "c"]


@pytest.mark.parametrize("how", ["lines", "files"])
def test_a_text_file_beside_files_with_columns_has_none_of_them(tmp_path, how):
    (tmp_path / "a.jsonl").write_text('{"id": 7, "text": "one"}\n')
    (tmp_path / "b.txt").write_text("two\nthree\n")
    read = ReadOptions(input=(str(tmp_path),), id_column="id", txt=how)
    unit = list_files(read)
    (batch,) = read_unit(Mark(0, 1).on(unit), plan_layout(unit, read))
    assert batch["text"].to_pylist() == ["one", None]
    assert Mark.of(batch).inputs[1]["losses"] == [
        {
            "reason": "missing_column",
            "detail": "a text file has no column 'id'",
            "rows": 2 if how == "lines" else 1,
            "bytes": 10,
            "weight": "counted",
        }
    ]


def test_a_file_that_is_gone_fails_the_run(tmp_path):
    gone, there = tmp_path / "gone.txt", tmp_path / "there.txt"
    gone.write_text("a\n")
    there.write_text("b\n")
    unit = files(gone, there)
    layout = plan_layout(unit, ReadOptions(input=("x",)))
    os.unlink(gone)
    with pytest.raises(InputChanged, match=r"gone\.txt had 2 bytes .* and has none: it is gone; put it back"):
        list(read_unit(Mark(0, 1).on(unit), layout))
    assert plan_layout(unit, ReadOptions(input=("x",))) == layout == pickle.loads(pickle.dumps(layout))


def test_a_file_that_grew_fails_the_run(tmp_path):
    path = tmp_path / "grown.txt"
    path.write_text("a\n")
    unit = files(path)
    layout = plan_layout(unit, ReadOptions(input=("x",)))
    path.write_text("a\nb\n")
    with pytest.raises(InputChanged, match=r"grown\.txt had 2 bytes .* has 4 bytes"):
        list(read_unit(Mark(0, 1).on(unit), layout))


@pytest.mark.parametrize(
    ("keep", "id_column", "expected"),
    [
        (None, None, ["text"]),
        (None, "id", ["id", "text"]),
        (("*",), "id", ["n", "id", "text"]),
        ((), "id", ["id"]),
        ((), None, []),
        (("n",), "id", ["id", "n"]),
        (("text", "id"), "id", ["text", "id"]),
        (("*", "n:int64"), None, ["n", "id", "text"]),
    ],
)
@pytest.mark.parametrize("name", ["keep.csv", "keep.jsonl"])
def test_kept_columns(name, keep, id_column, expected):
    data = b"n,id,text\n1,x,a\n" if name.endswith("csv") else b'{"n": 1, "id": "x", "text": "a"}\n'
    uri = stored(data, name)
    values = {"n": 1 if name.endswith("jsonl") or keep == ("*", "n:int64") else "1", "id": "x", "text": "a"}
    (row,) = rows(uri, keep_columns=keep, id_column=id_column)
    assert row["keep"] == {column: values[column] for column in expected}
    assert list(row["keep"]) == expected


def test_text_files_have_one_column():
    uri = stored(b"a\n", "one.txt")
    assert rows(uri, text_column="sentence", keep_columns=("*",))[0]["keep"] == {"sentence": "a"}
    with pytest.raises(ValueError, match="'id' in the first files; the columns there are 'text'"):
        rows(uri, id_column="id")


def test_long_rows_make_small_batches():
    data = b"".join(b"%d" % (i % 10) * 3_000_000 + b"\n" for i in range(12))
    assert [len(batch) for batch in batches(stored(data, "long.txt"))] == [2] * 6  # each is a text, and kept


def test_many_small_files_are_one_batch():
    uris = [stored(b'{"text": "%d"}' % i, f"small{i}.jsonl") for i in range(200)]
    (batch,) = batches(*uris)
    assert batch["text"].to_pylist() == [str(i) for i in range(200)]
    assert batch["source"].to_pylist() == uris
    assert brief(uris[0]) == [(0, "0")]


def test_a_file_that_is_written_to_while_it_is_read_fails_the_run(tmp_path):
    path = tmp_path / "a.jsonl"
    line = b'{"text": "a film"}\n'
    path.write_bytes(line * 300_000)
    whole = files(path)
    layout = plan_layout(whole, ReadOptions(input=(str(path),)))
    reading = read_unit(Mark(unit=0, units=1).on(whole), layout)
    assert len(next(reading)) == 8192
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(InputChanged, match=r"a\.jsonl had 5700000 bytes .* and has 5700019 bytes"):
        list(reading)
    whole = files(path)
    reading = read_unit(Mark(unit=0, units=1).on(whole), layout)
    next(reading)
    os.truncate(path, 2_500_000)
    with pytest.raises(InputChanged, match=r"a\.jsonl had 5700019 bytes"):
        list(reading)


def test_a_file_rewritten_with_the_same_size_is_noticed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    whole = files(path)
    layout = plan_layout(whole, ReadOptions(input=(str(path),)))
    path.write_text("two\n")
    os.utime(path, (1, 1))
    with pytest.raises(InputChanged, match=r"a\.txt had 4 bytes .* and has 4 bytes"):
        list(read_unit(Mark(unit=0, units=1).on(whole), layout))


def test_a_batch_of_large_binaries_has_fewer_rows(tmp_path):
    table = pa.table({"text": ["a text"] * 90, "image": [os.urandom(1 << 20)] * 90})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    read = batches(tmp_path / "a.parquet")
    assert sum(map(len, read)) == 90
    assert max(map(len, read)) <= 32
