"""Files that are read in a time that grows as they do, whatever stands in them."""

import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.reading.formats import blocks, columns, delimited, json_text, jsonl
from seqcls_beam.reading.formats.json_faults import Column, narrow
from tests.reading.reader import brief, rows, stored


def test_quotes_that_nothing_closes_are_not_looked_for_over_and_over(monkeypatch):
    """Each line closes the quote of the one before and opens another: read from any of them, it goes on to the end."""
    bad, lines = 'x","y', 'id,text\n1,"two\nlines"\n' + 'x","y\n' * 30_000 + '1,last\n"2","words"\n'
    began = time.process_time()
    found = brief(stored(lines.encode(), "open.csv"))
    assert time.process_time() - began < 20
    assert [row[1] for row in found if len(row) == 2] == ["two\nlines", "last", "words"]
    assert [row[1:] for row in found if len(row) == 3] == [("unbalanced_quote", bad.encode())] * 30_000
    # Until it is given up a quote is looked for as far as it may reach.
    monkeypatch.setattr(delimited, "SEARCHED", 10)
    data = b"id,text\n" + b'1,"open\n' * 3 + b'2,"two\nlines"\n' + b"3,text\n" * 40 + b'4,"two\nlines"\n'
    assert brief(stored(data, "given-up.csv"))[-1][1] == "two\nlines"


def test_names_that_stand_twice_are_found_among_many():
    names = [f"n{i}" for i in range(100_000)]
    object_ = "{" + ",".join(f'"{name}":1' for name in [*names, "n99999"]) + "}"
    began = time.process_time()
    columns = [Column(name, f'"{name}":', pa.int64()) for name in names]
    assert narrow(object_, columns) == ("duplicate_key", "'n99999' stands 2 times")
    inside = Column("a", '"a":', pa.struct([(name, pa.int64()) for name in names]))
    assert narrow(f'{{"a":{object_}}}', [inside]) == ("duplicate_key", "'n99999' stands 2 times in 'a'")
    assert time.process_time() - began < 10


def test_columns_are_found_among_many():
    names = [f"n{i}" for i in range(16_000)]
    data = ",".join(["text", *names]) + "\n" + ",".join(["good", *names]) + "\n"
    began = time.process_time()
    (row,) = rows(stored(data.encode(), "wide.csv"), keep_columns=("*",))
    assert row["keep"] == {"text": "good"} | dict(zip(names, names, strict=True))
    assert time.process_time() - began < 10


def test_more_columns_than_can_be_kept_are_refused(monkeypatch):
    monkeypatch.setattr(columns, "MAX_KEPT", 10)
    names = ["text", *(f"k{i}" for i in range(10))]
    files = {
        "wide.jsonl": ("{" + ",".join(f'"{name}":"1"' for name in names) + "}\n").encode(),
        "wide.csv": (",".join(names) + "\n" + ",".join(names) + "\n").encode(),
        "wide.parquet": _wide(names),
    }
    said = "11 columns of .*would be kept, such as 'k9', and at most 10 can be; name those that are wanted"
    for name, data in files.items():
        with pytest.raises(ValueError, match=said):
            rows(stored(data, name), keep_columns=("*",))
        assert len(rows(stored(data, name), keep_columns=("text", "k7"))) == 1
    with pytest.raises(ValueError, match=said):
        rows(stored(files["wide.parquet"], "wide.parquet"))


def test_a_record_of_too_many_values_is_rejected_before_they_are_made(monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_VALUES", 100)
    good = [
        '{"text":"first"}',
        '{"text":"' + ",[{" * 300 + '"}',  # nothing of it is a value
        '{"text":"' + '\\\\\\",' * 300 + '"}',
        '{"text":"many","x":[' + "0," * 97 + "0]}",
    ]
    bad = [
        '{"text":"many","x":[' + "0," * 98 + "0]}",
        '{"text":"many",' + ",".join(f'"{key}":1' for key in range(100)) + "}",
        '{"text":"many","x":[' + "[]" * 100 + "]}",
        '{"text":"many","x":[' + "{}," * 100 + "NaN]}",
    ]
    for each in (good + bad, bad):
        found = brief(stored("\n".join(each).encode(), "values.jsonl"))
        assert [row[1] for row in found if len(row) == 2] == [json.loads(row)["text"] for row in each if row in good]
        assert [row[1:] for row in found if len(row) == 3] == [("record_too_large", row.encode()) for row in bad]


def test_quotes_that_are_no_ends_are_not_looked_at_over_and_over():
    began = time.process_time()
    assert not json_text.has_more_values('{"' + '\\"' * 200_000 + "," * 1000, 500)
    assert time.process_time() - began < 5


def test_rows_of_many_columns_are_made_some_at_a_time(monkeypatch):
    """Whatever is made at once, a row is what it was; and what it lacks is null."""
    names = [f"n{i}" for i in range(40)]
    whole = {"text": "good", **dict.fromkeys(names, "1"), "s": {"a": 1, "b": "x"}}
    some = [{"text": "short"}, {"text": "odd", "s": {"b": "y"}}, {"text": "other", "s": {"c": 1}}, {"text": 5}]
    line = ",".join(["good", *names])
    files = {
        "cells.jsonl": "\n".join(json.dumps(each) for each in [whole, *some * 30, whole]),
        "cells.csv": "\n".join([",".join(["text", *names]), line, *["a"] * 30, line, *["b,c"] * 30, line]),
    }
    for name, data in files.items():
        uri = stored(data.encode(), name)
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "MAX_CELLS", 2**40)
            expected = rows(uri, keep_columns=("*",))
        for cells in (1, 100, 1000):
            with monkeypatch.context() as patch:
                patch.setattr(blocks, "MAX_CELLS", cells)
                assert rows(uri, keep_columns=("*",)) == expected


def test_a_long_row_among_many_rejects_reserves_nothing_for_them():
    long = "x" * 2**23
    for first, others in ((f'{{"text":{long}}}', '{"text":"a"}'), (f'{{"text":"{long}"}}', '{"text":a}')):
        found = brief(stored("\n".join([first, *[others] * 60_000]).encode(), "long.jsonl"))
        assert len(found) == 60_001
        assert {len(row) for row in found[1:]} == ({2} if others.endswith('"}') else {3})


def test_a_header_of_too_many_names_is_not_read(monkeypatch):
    monkeypatch.setattr(delimited, "MAX_NAMES", 10)
    for count in (10, 11):
        names = ["text", *(f"n{i}" for i in range(count - 1))]
        uri = stored((",".join(names) + "\n" + ",".join([*names[1:], "good"]) + "\n").encode(), "names.csv")
        (row,) = rows(uri)
        said = row["reject"] and (row["reject"]["reason"], row["reject"]["detail"])
        assert said == (
            None if count == 10 else ("unreadable_file", "its header: it names 11 columns; at most 10 are read")
        )


def test_fields_of_structs_count_among_the_columns_that_are_kept(monkeypatch):
    monkeypatch.setattr(columns, "MAX_KEPT", 10)
    row = {"text": "good", "x": {f"k{i}": [i] for i in range(11)}}
    with pytest.raises(ValueError, match=r"11 columns of .*would be kept"):
        rows(stored(json.dumps(row).encode(), "struct.jsonl"), keep_columns=("x",))


def _wide(names):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: ["good"] for name in names}), sink)
    return sink.getvalue().to_pybytes()
