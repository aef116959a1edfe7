"""What could be read two ways is told before it is read, or refused, with the option that decides."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.config import ReadOptions
from seqcls_beam.config.prepare import PrepareReadOptions
from seqcls_beam.reading.files import find
from seqcls_beam.reading.formats import jsonl
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.reading.remarks import remarks
from seqcls_beam.schema import Mark


def said(path: Path, kind: type[ReadOptions] = ReadOptions, **options) -> tuple[str, ...]:
    read = kind(input=(str(path),), **options)
    return remarks(find(read), read)


def texts(path: Path, **options) -> list[str | None]:
    read = ReadOptions(input=(str(path),), **options)
    files = find(read).files
    batches = read_unit(Mark(unit=0, units=1).on(files), plan_layout(files, read))
    return [text for batch in batches for text in batch["text"].to_pylist()]


def written(path: Path, *rows: tuple[str, ...], quoting: Any = csv.QUOTE_MINIMAL) -> Path:
    """A tsv file as Python's csv module, and so pandas, writes it."""
    with path.open("w", newline="") as file:
        csv.writer(file, csv.excel_tab, quoting=quoting).writerows([("text", "label"), *rows])
    return path


@pytest.mark.parametrize("text", ['x "y"', '"y" is x', "two\nlines", "good\tfilm", '""'])
def test_tsv_whose_fields_are_quoted_is_refused_until_someone_says_what_a_quote_is(tmp_path, text):
    path = written(tmp_path / "a.tsv", (text, "1"), ("plain", "2"))
    with pytest.raises(ValueError, match=r"a\.tsv: fields stand in quotes, .* --quote='\"'; .* --quote=''$"):
        said(path)
    assert said(path, quote='"') == said(path, quote="") == ()
    assert texts(path, quote='"') == [text, "plain"]
    assert texts(path, quote="") != [text, "plain"]
    packed = tmp_path / "b.tsv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"b\.tsv\.gz: fields stand in quotes"):
        said(packed)


@pytest.mark.parametrize("rows", [['"good"\t1'], ["x\t1", '"x ""y"""\t2', '"bad" film\t3'], ['"a"\t"1"', '"b"\t"2"']])
def test_quotes_that_may_be_text_are_told(tmp_path, rows):
    path = tmp_path / "a.tsv"
    path.write_text("\n".join(["text\tlabel", *rows, ""]))
    (told,) = said(path)
    assert "which are read as text" in told and "--quote='\"'" in told and "--quote=''" in told
    assert said(path, quote="") == ()


@pytest.mark.parametrize("row", ['she said "no"\t1', '"good film\t1', '"good" film\t1', 'a "b"\t1', '"\t1', "plain\t1"])
def test_quotes_that_are_text_are_nothing_to_tell(tmp_path, row):
    path = tmp_path / "a.tsv"
    path.write_text(f"text\tlabel\n{row}\nplain\t2\n")
    assert said(path) == ()


def test_a_quote_that_a_sample_cuts_through_is_seen_and_one_that_nobody_closes_is_text(tmp_path):
    many = [(f"row {number} ".ljust(100, "x"), "1") for number in range(20_000)]
    path = written(tmp_path / "a.tsv", ('x "y"', "1"), *many)
    with pytest.raises(ValueError, match="fields stand in quotes"):
        said(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '"good\t1', *lines[2:], ""]))
    assert said(path) == ()


def test_names_in_quotes_are_told_with_what_takes_them_off(tmp_path):
    path = written(tmp_path / "a.tsv", ("good", "1"), quoting=csv.QUOTE_ALL)
    read = ReadOptions(input=(str(path),))
    with pytest.raises(
        ValueError, match=r"no column 'text' .*'\"text\"', '\"label\"'; they stand in quotes, which --q"
    ):
        plan_layout(find(read).files, read)
    assert texts(path, quote='"') == ["good"]


def test_what_folders_say_is_told_by_one_plan(tmp_path, monkeypatch):
    folder = tmp_path / "in" / "lang=en"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"text": "one", "lang": "x"}\n')
    looked: list[ReadOptions] = []
    columns = jsonl.columns

    def look(pieces: list[Any], read: ReadOptions) -> Any:
        looked.append(read)
        return columns(pieces, read)

    monkeypatch.setattr(jsonl, "columns", look)
    read = ReadOptions(input=(str(tmp_path / "in"),))
    assert any("folders are called" in each for each in remarks(find(read), read))
    assert looked == [read]


def test_text_in_wide_characters_is_told_with_its_name(tmp_path):
    (tmp_path / "a.txt").write_bytes("good film\nbad film\n".encode("utf-16-be"))
    assert said(tmp_path / "a.txt") == (
        f"{tmp_path}/a.txt seems to be in UTF-16-BE: if it is, say --encoding=utf-16-be",
    )
    assert said(tmp_path / "a.txt", encoding="utf-16-be") == ()


def test_a_column_that_is_a_folder_too_is_told_with_what_is_taken(tmp_path):
    for lang, stands in (("en", "x"), ("de", "y")):
        folder = tmp_path / "jsonl" / f"lang={lang}"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(f'{{"text": "one", "lang": "{stands}"}}\n')
    options: dict[str, dict[str, Any]] = {"folders": {}, "files": {"keep_columns": ("lang",)}}
    for taken, given in options.items():
        read = ReadOptions(input=(str(tmp_path / "jsonl"),), **given)
        (told,) = remarks(find(read), read)
        assert told.startswith("the first files have a column 'lang', and folders are called lang=…: taken is ")
        assert told.endswith(
            "the folders'; --keep_columns=lang takes the files'" if taken == "folders" else "in the files"
        )
        files = find(read).files
        rows = [
            row["keep"]["lang"]
            for batch in read_unit(Mark(unit=0, units=1).on(files), plan_layout(files, read))
            for row in batch.to_pylist()
        ]
        assert rows == (["de", "en"] if taken == "folders" else ["y", "x"])
    (told,) = said(tmp_path / "jsonl", PrepareReadOptions)
    assert told.endswith("taken is what stands in the files")
    folder = tmp_path / "parquet" / "lang=en"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["one"], "lang": ["x"]}), folder / "a.parquet")
    (told,) = said(tmp_path / "parquet")
    assert told.endswith("taken is what stands in the files")
    (folder / "a.parquet").unlink()
    pq.write_table(pa.table({"text": ["one"]}), folder / "a.parquet")
    assert said(tmp_path / "parquet") == ()
