"""What folders such as lang=en say of their files is a column, like those in the files."""

import json

import pytest

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.schema import Mark


def write(folder, path, *rows):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row) if isinstance(row, dict) else row}\n" for row in rows))


def kept(folder, **options):
    read = ReadOptions(input=(str(folder),), **options)
    unit = list_files(read)
    batches = read_unit(Mark(0, 1).on(unit), plan_layout(unit, read))
    return [row["keep"] for batch in batches for row in batch.to_pylist()]


def test_folders_are_columns_behind_those_of_the_files(tmp_path):
    write(tmp_path, "lang=en/year=2025/a.jsonl", {"text": "one"}, "no row", {"text": "two"})
    write(tmp_path, "lang=d%C3%A9/year=__HIVE_DEFAULT_PARTITION__/b.jsonl", {"text": "drei"})
    assert kept(tmp_path) == [
        {"text": "drei", "lang": "dé", "year": None},
        {"text": "one", "lang": "en", "year": "2025"},
        {"text": None, "lang": None, "year": None},
        {"text": "two", "lang": "en", "year": "2025"},
    ]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ((), {}),
        (("lang",), {"lang": "en"}),
        (("year:int64", "n"), {"n": 1, "year": 2025}),
        (("*",), {"text": "one", "n": 1, "lang": "en", "year": "2025"}),
        (("*", "year:int64"), {"text": "one", "n": 1, "lang": "en", "year": 2025}),
    ],
)
def test_they_are_kept_as_other_columns_are(tmp_path, keep, expected):
    write(tmp_path, "lang=en/year=2025/a.jsonl", {"text": "one", "n": 1})
    assert kept(tmp_path, keep_columns=keep) == [expected]


def test_what_stands_in_the_file_is_what_counts(tmp_path):
    write(tmp_path, "lang=en/a.jsonl", {"text": "one", "lang": "fr"})
    assert kept(tmp_path, keep_columns=("*",)) == [{"text": "one", "lang": "fr"}]
    # It is not kept by default, and what the folder says is.
    assert kept(tmp_path) == [{"text": "one", "lang": "en"}]


def test_a_folder_that_only_some_files_have_is_null_for_the_others(tmp_path):
    write(tmp_path, "lang=en/a.txt", "one")
    write(tmp_path, "b.txt", "two")
    assert kept(tmp_path) == [{"text": "two", "lang": None}, {"text": "one", "lang": "en"}]


def test_a_value_of_another_type_is_refused_before_the_run(tmp_path):
    write(tmp_path, "year=2025/a.txt", "one")
    write(tmp_path, "year=last/b.txt", "two")
    with pytest.raises(ValueError, match=r"--keep_columns=year:int64: the folders of .*year=last/b\.txt"):
        kept(tmp_path, keep_columns=("year:int64",))
