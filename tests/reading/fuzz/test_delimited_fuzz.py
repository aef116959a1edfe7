"""CSV and TSV files, valid ones and any characters, against Python's `csv` module."""

import csv
import io
import random
from typing import Any

import pytest

from seqcls_beam.reading.formats import pieces
from seqcls_beam.schema import Mark
from tests.reading.reader import batches, stored

SEED = 14
DIALECTS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("csv", {}, {"delimiter": ",", "quotechar": '"'}),
    ("csv", {"delimiter": ";"}, {"delimiter": ";", "quotechar": '"'}),
    ("csv", {"delimiter": "|", "quote": "'"}, {"delimiter": "|", "quotechar": "'"}),
    ("tsv", {"quote": '"'}, {"delimiter": "\t", "quotechar": '"'}),
    ("tsv", {}, {"delimiter": "\t", "quotechar": None, "quoting": csv.QUOTE_NONE}),
]
COLUMNS = ("id", "text", "more")


def read(data: bytes, chunk: int, format: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows, each of which is accounted for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", chunk)
        found = batches(stored(data, f"fuzz.{format}"), keep_columns=("more", "id"), **options)
    rows = [row for batch in found for row in batch.to_pylist()]
    assert Mark.of(found[-1]).inputs[0]["rows"] == len(rows), data
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    return [row["keep"]["id"], row["text"], row["keep"]["more"]]


def parsed(data: bytes, how: dict[str, Any]) -> list[list[str]]:
    """The records as `csv` has them; raises `csv.Error`."""
    return [each for each in csv.reader(io.StringIO(data.decode(), newline=""), strict=True, **how) if each]


def check_written(count: int) -> None:
    """So many tables that `csv` has written are read as they were."""
    chance = random.Random(SEED)
    for _ in range(count):
        format, options, how = chance.choice(DIALECTS)
        quoted = how["quotechar"] is not None
        letters = "ab ,;|'\"é映\x0b\u2028" + ("\n\r\t" if quoted else "")
        table = [["".join(chance.choices(letters, k=chance.randrange(5))) for _ in COLUMNS] for _ in range(9)]
        for row in table:
            row[1] = row[1].strip() and row[1]  # of a text that is no more than blanks the next check says enough
        end = chance.choice(["\n", "\r\n", "\r"])
        file = io.StringIO(newline="")
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_NONE
        csv.writer(file, **{**how, "quoting": quoting}, lineterminator=end).writerows([COLUMNS, *table])
        data = file.getvalue().encode()
        rows = read(data, chance.randrange(4, 60), format, options)
        assert len(rows) == len(table), data
        for found, row in zip(rows, table, strict=True):
            assert cells(found) == row if row[1] else found["reject"]["reason"] == "empty_text", data
            assert data[: found["position"]].decode().endswith(end), data
    print(f"seed {SEED}, {count} tables that csv has written")


def check_any(count: int) -> None:
    """So many files of any characters: as `csv` reads them, and where it gives up, record by record."""
    chance = random.Random(SEED)
    strict = 0
    for _ in range(count):
        format, options, how = chance.choice(DIALECTS)
        delimiter, quote = how["delimiter"], how["quotechar"] or '"'
        letters = [*"ab é\0\n\r", "\r\n", delimiter, delimiter, quote, f"{quote}{delimiter}{quote}"]
        end = chance.choice(["\n", "\r\n", "\r"])
        head = (delimiter.join(COLUMNS) + end).encode()
        data = head + "".join(chance.choices(letters, k=chance.randrange(30))).encode()
        rows = read(data, chance.randrange(4, 60), format, options)
        try:
            records = parsed(data, how)[1:]
            strict += 1
        except csv.Error:
            records = None
        if records is not None:
            assert len(rows) == len(records), data
        at = len(head)
        begins = [*(row["position"] for row in rows), len(data)]
        assert rows or not data[at:].strip(b"\r\n"), data
        for number, row in enumerate(rows):
            begin, behind, reject = begins[number], begins[number + 1], row["reject"]
            assert not data[at:begin].strip(b"\r\n"), data  # blank lines are no rows
            own, at = data[begin:behind].rstrip(b"\r\n"), behind
            if reject is not None:
                assert reject["raw"].rstrip(b"\r\n") == own, data
            try:
                record = parsed(own, how)
            except csv.Error:
                assert reject and reject["reason"] == "unbalanced_quote", data
                continue
            if records is not None:
                assert record == [records[number]], data
            if reject is None:
                assert record == [cells(row)], data
            elif reject["reason"] == "ragged_row":
                assert [len(each) for each in record] != [len(COLUMNS)], data
            elif reject["reason"] in ("empty_text", "nul_byte"):
                assert not record[0][1].strip() or "\0" in record[0][1], data
            else:
                # A quote that the rest of the file does not close costs the line on which it was opened.
                assert (records, reject["reason"]) == (None, "unbalanced_quote"), data
    print(f"seed {SEED}, {count} files of any characters, of which csv takes {strict}")


def check_one_column(count: int) -> None:
    """So many files of one column, in which a blank line is a row as any other."""
    chance = random.Random(SEED)
    for _ in range(count):
        end = chance.choice(["\n", "\r\n", "\r"])
        values = ["".join(chance.choices("ab ", k=chance.randrange(4))) for _ in range(9)]
        data = "".join(f"{value}{end}" for value in ["text", *values]).encode()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "CHUNK", chance.randrange(4, 60))
            rows = [row for batch in batches(stored(data, "one.csv")) for row in batch.to_pylist()]
        assert [row["text"] or row["reject"]["raw"].decode() for row in rows] == values, data
        assert all((row["reject"] or {"reason": "empty_text"})["reason"] == "empty_text" for row in rows), data
    print(f"seed {SEED}, {count} tables of one column")


def test_tables_that_csv_has_written():
    check_written(80)


def test_tables_of_one_column():
    check_one_column(40)


def test_any_characters_are_read_as_csv_does():
    check_any(200)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_tables():
    check_written(10_000)
    check_any(30_000)
    check_one_column(5000)
