import json

import pyarrow as pa
import pytest

from tests.reading.reader import batches, rows, stored

BIG = "123456789012345678901"


def kept(values: list[str], column: str = "x") -> tuple[pa.DataType, list]:
    """JSON values of a column, a line each → its type, and what is kept of each, or why nothing is."""
    return kept_behind(values, values, column)


def kept_behind(sample: list[str], values: list[str], column: str = "x") -> tuple[pa.DataType, list]:
    """The same, the type from a first file and the values from a second."""
    first, second = (
        stored("".join(f'{{"text": "a", "x": {value}}}\n' for value in each).encode(), name)
        for each, name in ((sample, "first.jsonl"), (values, "second.jsonl"))
    )
    # Planning looks at the first three files.
    found = batches(first, first, first, second, keep_columns=(column,))
    (type_,) = {batch.schema.field("keep").type.field(column.split(":")[0]).type for batch in found}
    behind = [row for batch in found for row in batch.to_pylist() if row["source"] == second]
    return type_, [row["keep"]["x"] if row["reject"] is None else row["reject"]["reason"] for row in behind]


def said(values: list[str]) -> str:
    """What planning says against a column."""
    with pytest.raises(ValueError) as error:
        kept(values)
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([BIG, "123456789012345678902"], "string"),
        (["1", f"-{BIG}", "null"], "string"),
        (["18446744073709551616"], "string"),
        (["-1", "9223372036854775808"], "string"),
        (["-9223372036854775809"], "string"),
        (["9007199254740993", "1.5"], "string"),
        (["-9007199254740993", "1e3"], "string"),
        (["9007199254740993.0", "1.5"], "string"),
        (["9" * 5000, "1.50"], "string"),
        (["9223372036854775807", "-9223372036854775808", "-0"], "int64"),
        (["18446744073709551615", "0"], "uint64"),
        (["9007199254740992", "1.5", "-0"], "double"),
        (["9007199254740992.0", "0.1234567890123456789012345", "1e23", "1.7976931348623157e308"], "double"),
    ],
)
def test_numbers_are_kept_to_the_last_digit(values, type_):
    found, keep = kept(values)
    assert str(found) == type_
    if type_ == "string":
        assert keep == [None if value == "null" else value for value in values]
    else:
        assert keep == [json.loads(value) for value in values]


@pytest.mark.parametrize(
    ("sample", "value", "right"),
    [
        ("1.5", "9007199254740993", "wrong_type"),
        ("1.5", "-9007199254740993", "wrong_type"),
        ("1.5", "9007199254740993.0", "wrong_type"),
        ("1.5", "9007199254740992.5", "wrong_type"),
        ("1.5", "9" * 400, "wrong_type"),
        ("1.5", "1e400", "wrong_type"),
        ("1.5", "9007199254740994", 9007199254740994.0),
        ("1.5", "9007199254740993e0", 9007199254740992.0),
        ("1.5", "1e-400", 0.0),
        ("1", "1.0", "wrong_type"),
        ("1", "1e3", "wrong_type"),
        ("1", "9223372036854775808", "wrong_type"),
        ("1", "-0", 0),
        ("18446744073709551615", "-1", "wrong_type"),
        ("18446744073709551615", "18446744073709551616", "wrong_type"),
        ("[1.5]", "[1, 9007199254740993]", "wrong_type"),
        ("[1.5]", "[null, 9007199254740992]", [None, 9007199254740992.0]),
        ("[[0.5]]", "[[0.5], [], null, [1e400]]", "wrong_type"),
        ('{"a": {"b": [1.5]}}', '{"a": {"b": [18014398509481985]}}', "wrong_type"),
        ("[1]", "[1.0]", "wrong_type"),
        ("[1]", "[18446744073709551616]", "wrong_type"),
        ('{"a": 1}', '{"a": 1, "b": 2}', "wrong_type"),
        ('{"a": 1}', '{"a": 1, "b": null}', "wrong_type"),
        ('[{"a": 1}]', '[{}, {"a": 2, "b": []}]', "wrong_type"),
        ('{"a": 1}', "{}", {"a": None}),
        ('{"a": 1}', '{"a": 1, "a": 1}', "duplicate_key"),
        ('{"a": "b"}', '{"a": "\\ud800"}', "lone_surrogate"),
        ('["b"]', '["\\udfff", 1]', "wrong_type"),
        ('"b"', "[]", "wrong_type"),
        ('"b"', "true", "wrong_type"),
        ('"b"', "1.50", "1.50"),
        ("null", BIG, BIG),
        (BIG, '"abc"', "abc"),
        (BIG, "1E400", "1E400"),
        ("true", "1", "wrong_type"),
        ('"2026-11-20T10:00:00Z"', '"2026-02-30"', "2026-02-30"),
    ],
)
def test_a_value_behind_the_sample_fits_or_is_rejected(sample, value, right):
    for around in ([], ["null"] * 30):
        assert kept_behind([sample], [*around, value, *around, sample])[1][len(around)] == right


@pytest.mark.parametrize(
    "value",
    [
        *("1.50", "-0", "1E400", "9" * 5000, BIG, "true", "false", '[1,  "a"]', '{"a": 1, "a": [{}]}'),
        *('{"\\ud800": "é"}', "[" * 3000 + "]" * 3000, "[" * 400 + "]" * 400),
    ],
)
def test_a_pinned_string_is_what_was_written(value):
    type_, keep = kept([value, "null", '"a\\u0062"'], "x:string")
    assert (type_, keep) == (pa.string(), [value, None, "ab"])


def test_pinned_types_round_nothing():
    assert kept(["1", "1.0", BIG, "null", "true"], "x:int64")[1] == [1, "wrong_type", "wrong_type", None, "wrong_type"]
    assert kept(["1", "0.1", BIG, "9007199254740993"], "x:float64")[1] == [1.0, 0.1, "wrong_type", "wrong_type"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f"[1, {BIG}]", f"to the last digit, such as {BIG}"),
        ('{"a": [9007199254740993, 0.5]}', "to the last digit, such as 9007199254740993"),
        ('[1, "a"]', "values of several kinds"),
        ('[[1], ["a"]]', "values of several kinds"),
        ("{}", "objects without keys"),
        ('{"a": {}}', "objects without keys"),
        ("[" * 400 + "1" + "]" * 400, "nested more than 32 deep"),
        ("[" * 5000 + "1" + "]" * 5000, "nested more than 32 deep"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
    ],
)
def test_a_column_without_a_type_is_refused_with_what_can_be_done(value, why):
    message = said([value])
    assert "column 'x' of the first files" in message
    assert why in message
    assert "--keep_columns=x:string" in message
    for request in (("x",), ("*",), ("text", "x")):
        with pytest.raises(ValueError, match="column 'x' of the first files"):
            rows(stored(f'{{"text": "a", "x": {value}}}'.encode(), "untyped.jsonl"), keep_columns=request)
    with pytest.raises(ValueError, match="column 'x' of the first files"):
        rows(stored(f'{{"text": "a", "x": {value}}}'.encode(), "untyped.jsonl"), id_column="x")
    # Who does not ask for it is not asked.
    assert rows(stored(f'{{"text": "a", "x": {value}}}'.encode(), "untyped.jsonl"))[0]["text"] == "a"


def test_nested_up_to_the_limit_is_kept():
    value = "[" * 32 + "1" + "]" * 32
    (batch,) = batches(stored(f'{{"text": "a", "x": {value}}}'.encode(), "nested.jsonl"), keep_columns=("*",))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    (row,) = pa.ipc.open_stream(sink.getvalue()).read_all().to_pylist()
    assert row["keep"]["x"] == json.loads(value)


def test_a_name_that_is_no_text_cannot_be_kept_but_is_no_fault():
    uri = stored(b'{"text": "a", "\\ud800": 1}\n', "nameless.jsonl")
    assert rows(uri, keep_columns=("text",))[0]["text"] == "a"
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        rows(uri, keep_columns=("*",))


def test_names_are_kept_as_they_are():
    row = {"text": "a", "": 1, "a.b": {"": 2, "c.d": [None]}, "Text": "b", "é": True}
    line = json.dumps(row).replace('"Text"', '"\\u0054ext"').encode()
    (found,) = rows(stored(line, "names.jsonl"), keep_columns=("*",))
    assert found["keep"] == row


def test_a_text_is_a_string_and_nothing_else():
    data = b'{"text": "a"}\n{"text": 1}\n{"text": true}\n{"text": {}}\n'
    found = rows(stored(data, "texts.jsonl"), keep_columns=("text:string",))
    assert [row["reject"] and row["reject"]["reason"] for row in found] == [None] + ["wrong_type"] * 3
