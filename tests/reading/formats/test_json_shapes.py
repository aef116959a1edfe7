import json

import pytest

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import blocks
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.schema import Mark
from tests.reading.reader import brief, cut, files, rows, stored

GOOD = b'{"id": 1, "text": "a"}'
ROWS = [{"text": "a", "meta": {}}, {"text": "b", "n": [1, {"x": "[{"}]}, {"text": "c"}]
MANY = ROWS * 15_000  # more than the sample that planning looks at
ARRAY, OBJECTS = "jq -c '.[]' ", "jq -c . "


def one_a_line(rows: list) -> str:
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (json.dumps(ROWS), ARRAY),
        (json.dumps(ROWS, indent=2), ARRAY),
        (json.dumps(ROWS, indent=0).replace("\n", "\r\n"), ARRAY),
        (json.dumps(ROWS, indent="\t") + "\n\n", ARRAY),
        ("\n \n" + one_a_line(ROWS), ARRAY),
        (one_a_line(ROWS).replace(",\n", "\n,"), ARRAY),
        ("\ufeff" + json.dumps(ROWS), ARRAY),
        (json.dumps(MANY, indent=2), ARRAY),
        (one_a_line(MANY), ARRAY),
        (json.dumps(MANY, indent=2)[:-100], ARRAY),
        (json.dumps([1, 2]), ARRAY),
        ("[]", ARRAY),
        (json.dumps(ROWS[1], indent=2), OBJECTS),
        ("\n".join(json.dumps(row, indent=2) for row in ROWS), OBJECTS),
        ("\n".join(json.dumps(row, indent=2) for row in MANY), OBJECTS),
        ("".join(map(json.dumps, ROWS)), OBJECTS),
        (" ".join(map(json.dumps, ROWS)) + "\n", OBJECTS),
    ],
)
def test_a_file_of_json_that_is_no_lines_is_refused_with_its_cure(text, cure):
    uri = stored(text.encode(), "it's.jsonl")
    for paths in ((uri,), (stored(GOOD, "good.jsonl"), uri)):
        with pytest.raises(ValueError) as error:
            rows(*paths)
        assert str(error.value).startswith(f"{uri}: it seems to be ")
        assert cure in str(error.value)
        assert str(error.value).endswith(".jsonl")


@pytest.mark.parametrize(
    "data",
    [
        b'[{"text": "a"},\n' + GOOD + b"\n",
        b"[\n" + GOOD + b"\n" + GOOD + b"\n",
        b'{"text":\n"a"}\n' + GOOD + b"\n",
        GOOD + GOOD + b"\n" + GOOD,
        b"[1, 2]\n[3, 4]\n",
        b'{"text": "a"',
        b"{\n",
        b"[nonsense\nnonsense\n",
        b'"a"\n"b"\n',
    ],
)
def test_what_may_be_broken_lines_is_read_as_lines(data):
    lines = data.removesuffix(b"\n").split(b"\n")
    assert [row[-1] for row in brief(stored(data, "broken.jsonl"))] == ["a" if line == GOOD else line for line in lines]


def losses(data: bytes, cuts: tuple[int, ...] = ()) -> list[tuple]:
    """What is lost of a fourth file, which planning does not look at: reason, rows."""
    good, uri = stored(GOOD, "good.jsonl"), stored(data, "late.jsonl")
    whole = files(good, good, good, uri)
    layout = plan_layout(whole, ReadOptions(input=(uri,)))
    late = files(uri)
    unit = cut(late, [0, *cuts, len(data)]) if cuts else late
    *_, last = read_unit(Mark(unit=0, units=1).on(unit), layout)
    return [(each["reason"], each["rows"]) for input in Mark.of(last).inputs for each in input["losses"]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (json.dumps(ROWS).encode(), [("unreadable_file", 3)]),
        (b"\n \n" + json.dumps(ROWS).encode() + b"\n\n", [("unreadable_file", 3)]),
        ("".join(map(json.dumps, ROWS)).encode(), [("unreadable_file", 3)]),
        (json.dumps(ROWS).encode() + b"\n" + GOOD, []),
        (json.dumps(ROWS[0]).encode(), []),
        (b"[1, 2", []),
        (b"\xff", []),
        (json.dumps(ROWS, indent=1).encode(), []),
    ],
)
def test_a_file_that_is_one_line_loses_all_its_rows(data, expected):
    assert losses(data) == expected
    assert losses(data, cuts=(1, 9, len(data) - 1) if len(data) > 9 else ()) == expected


def test_so_does_one_whose_line_is_too_large(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    assert losses(json.dumps(ROWS).encode()) == [("unreadable_file", None)]
    assert losses("".join(map(json.dumps, ROWS)).encode()) == [("unreadable_file", None)]
    assert losses(json.dumps({"text": "x" * 40}).encode()) == []


def test_rejected_lines_of_such_a_file_name_its_cure():
    good = stored(GOOD, "good.jsonl")
    for text, cure in (
        (json.dumps(ROWS, indent=2), "jq -c '.[]'"),
        (one_a_line(ROWS[1:]), "jq -c '.[]' FILE > FILE.jsonl"),
        (json.dumps(ROWS[1], indent=2), "jq -c . FILE > FILE.jsonl"),
        ("".join(map(json.dumps, ROWS)), "jq -c . FILE > FILE.jsonl"),
        (json.dumps(ROWS), "jq -c '.[]' FILE > FILE.jsonl"),
    ):
        found = rows(good, good, good, stored(text.encode(), "late.jsonl"))[3:]
        assert cure in " ".join(row["reject"]["detail"] for row in found if row["reject"]), text
