"""Files that are read in a time that grows as they do, whatever stands in them."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.reading.formats import columns, delimited
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
    names = [f"n{i}" for i in range(20_000)]
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


def _wide(names):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: ["good"] for name in names}), sink)
    return sink.getvalue().to_pybytes()
