import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcls_beam.reading.formats import blocks, jsonl, pieces
from tests.reading.reader import batches, brief, rows, stored

GOOD = b'{"id": 1, "text": "a"}'
REJECTED = {
    "invalid_json": [
        b"nonsense",
        b"[1]",
        b'"text"',
        b"null",
        b"1",
        b'{"text": "a"',
        b'"text": "a"}',
        b'{"text": "a"}}',
        b'{"text": "a"} {"text": "b"}',
        b'{"text": "a"}{"text": "b"}',
        b'{"text": "a"}\t{"text": "b"}',
        b'{"text": "a"} null {"text": "b"}',
        b'{"text": "a"} {"x": {"y": 1}',
        b'{"text": "a", "x": NaN}',
        b'{"text": "a", "x": [-Infinity ]}',
        b'{"text": "a", "x": Inf}',
        b'{"text": "a", "x": 01}',
        b'{"text": "a\tb"}',
        b'{"text": "a\0b"}',
        b'{"text": "\\x"}',
        b"{'text': 'a'}",
        b'{"text": "a",}',
        b'{"text": "a" /* b */}',
        b'{"text": "a", "x": "\x1f"}',
        b'{"text": "a", "x": ' + b"[" * 5000 + b"]" * 4999 + b"}",
        b'{"text": "a", "x": ' + b'{"y":' * 5000 + b"nul" + b"}" * 5000 + b"}",
        b'{"text": "a", "x": ' + b"[" * 5000,
        b'{"text": "a", "x": [' + b"[" * 5000 + b"]" * 5000 + b"}]",
        b"\xef\xbb\xbf" + GOOD,
        b"\x0b" + GOOD,
        b'{"text": "a"}\0',
    ],
    "duplicate_key": [
        b'{"text": "a", "text": "b"}',
        b'{"id": 1, "text": "a", "id": 1}',
        b'{"id": null, "text": "a", "id": null}',
        b'{"te\\u0078t": "a", "text": "a"}',
        b'{"id": "x", "text": "a", "id": 1e400}',
    ],
    "missing_text": [b"{}", b'{"id": 1}', b'{"text": null}'],
    "wrong_type": [
        b'{"text": 1}',
        b'{"text": ["a"]}',
        b'{"text": {"a": 1}}',
        b'{"text": true}',
        b'{"id": "1", "text": "a"}',
        b'{"id": 1.5, "text": "a"}',
        b'{"id": 99999999999999999999, "text": "a"}',
        b'{"id": 1.0, "text": "a"}',
        b'{"id": 1e3, "text": "a"}',
        b'{"id": 1e400, "text": "a"}',
        b'{"id": 9223372036854775808, "text": "a"}',
        b'{"id": ' + b"9" * 5000 + b', "text": "a"}',
        b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b', "text": "a"}',
        b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    "invalid_utf8": [b'{"text": "\xff"}', b'{"text": "a", "x": "\xed\xa0\x80"}', b"\xfe"],
    "lone_surrogate": [b'{"text": "\\ud83d"}', b'{"text": "\\ude00\\ud83d"}'],
    "nul_byte": [b'{"text": "a\\u0000b"}'],
    "empty_text": [b'{"text": ""}', b'{"text": " \\t\\u00a0\\u3000"}'],
}
ACCEPTED = [
    GOOD,
    b'  {"id": null, "text": "a"}\t ',
    b'{"text": "NaN, Infinity] and Inf}"}',
    b'{"text": "a", "x": "NaN"}',
    b'{"te\\u0078t": "a"}',
    b'{"text": "\\ud83d\\ude00"}',
    '{"text": "é 😀 }{"}'.encode(),
    b'{"text": "a", "x": 1, "x": 2}',
    b'{"text": "a", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"text": "a", "x": ' + b'{"y":' * 5000 + b"1" + b"}" * 5000 + b"}",
    b'{"text": "a", "x": [[], {}, [{"y": [ ' + b"[" * 5000 + b"]" * 5000 + b', {}]}], 1] , "z": {"": 0}}',
    b'{"text": "a", "x": ' + b"9" * 5000 + b"}",
    b'{"text": "a", "x": -' + b"9" * 5000 + b"." + b"1" * 5000 + b"e-7}",
    b'{"text": "a", "x": 1e400, "y": [-1E+999]}',
    b'{"text": "a", "x": "\\udc00", "y": {"\\ud800": ["\\udfff"]}, "\\udabc": 1}',
    b'{"text": "a", "x": {"y": 1, "y": 2}}',
    b'{"text": "a", "Text": 1, "": 2, "a.b": 3, "ID": "x"}',
    b'{"id": -0, "text": "a"}',
    b'{"id": -9223372036854775808, "text": "a"}',
    b'{"text": "a", "x": "Inf}", "y": "\\u0000"}',
    b'{"text": "a\x7f\xe2\x80\xa8"}',
]
POOL = [*ACCEPTED, *(line for lines in REJECTED.values() for line in lines), b"", b"  ", b"\t"]


def alone(line: bytes) -> list[tuple]:
    """What a line becomes where no bad line stands beside it; the first fixes the type of `id`."""
    uri = stored(GOOD + b"\n" + line + b"\n", "alone.jsonl")
    return [(*row[1:],) for row in brief(uri, keep_columns=("id:int64",))[1:]]


@pytest.mark.parametrize(("reason", "line"), [(reason, line) for reason, lines in REJECTED.items() for line in lines])
def test_rejected_lines(reason, line):
    assert alone(line) == [(reason, line)]


@pytest.mark.parametrize("line", ACCEPTED)
def test_accepted_lines(line):
    deep = len(line) > 5000  # deeper and longer than Python's json likes it
    assert alone(line) == [("a" if deep else json.loads(line)["text"],)]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(POOL), st.sampled_from([b"\n", b"\r\n"])), max_size=25),
    st.integers(1, 8),
    st.integers(4, 400),
    st.lists(st.integers(1, 2000), max_size=3),
)
def test_a_line_becomes_the_same_among_others(tmp_path_factory, lines, leaf, chunk, cuts):
    data = GOOD + b"\n" + b"".join(line + end for line, end in lines)
    expected = [(0, "a")]
    at = len(GOOD) + 1
    for line, end in lines:
        expected += [(at, *row) for row in alone(line)]
        at += len(line) + len(end)
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("among") / "among.jsonl"
        path.write_bytes(data)
        uri = str(path)
        patch.setattr(jsonl, "LEAF", leaf)
        assert brief(uri, keep_columns=("id:int64",)) == expected
        patch.setattr(pieces, "CHUNK", chunk)
        patch.setattr(pieces, "BEHIND", 5)
        bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        assert brief(uri, keep_columns=("id:int64",), bounds=bounds) == expected


def test_many_bad_lines_among_many():
    lines, expected, at = [], [], 0
    for i in range(20000):
        line = json.dumps({"id": i, "text": f"text {i}"}).encode() if i % 97 else POOL[i % len(POOL)]
        if i % 97:
            expected.append((at, f"text {i}"))
        else:
            expected += [(at, *row) for row in alone(line)]
        lines.append(line + b"\n")
        at += len(lines[-1])
    assert brief(stored(b"".join(lines), "many.jsonl"), keep_columns=("id:int64",)) == expected


def test_types_come_from_the_sample():
    sample = {
        "id": 7,
        "text": "a",
        "when": "2026-11-20T10:00:00Z",
        "score": 1,
        "flag": True,
        "none": None,
        "nested": {"a": [1, 2], "b": {"c": None}},
        "big": 2**63,
    }
    uri = stored("\n".join(json.dumps(each) for each in [sample, {**sample, "score": 0.5}]).encode(), "types.jsonl")
    (batch,) = batches(uri, keep_columns=("*",))
    types = {field.name: str(field.type) for field in batch.schema.field("keep").type}
    assert types == {
        "id": "int64",
        "text": "string",
        "when": "string",
        "score": "double",
        "flag": "bool",
        "none": "string",
        "nested": "struct<a: list<item: int64>, b: struct<c: string>>",
        "big": "uint64",
    }
    assert [row["keep"] for row in batch.to_pylist()] == [sample, {**sample, "score": 0.5}]


def test_most_values_decide_and_the_others_are_rejected_with_the_columns_name():
    data = b'{"text": "a", "n": "x"}\n{"text": "b", "n": 1}\n{"text": "c", "n": 2}\n'
    found = rows(stored(data, "mixed.jsonl"), keep_columns=("n",))
    assert [row["keep"]["n"] for row in found] == [None, 1, 2]
    assert found[0]["reject"]["reason"] == "wrong_type"
    assert "'n'" in found[0]["reject"]["detail"]


def test_other_encodings_are_read_and_rejected_as_stored():
    good, bad = '{"text": "é", "n": 1.5}', '{"text": 1}'
    data = f"{good}\n{bad}\n{good}".encode("utf-16")
    found = rows(stored(data, "utf16.jsonl"), encoding="utf-16", keep_columns=("n",))
    assert [(row["position"], row["text"], row["keep"]["n"]) for row in found] == [
        (2, "é", 1.5),
        (2 + 2 * (len(good) + 1), None, None),
        (2 + 2 * (len(good) + len(bad) + 2), "é", 1.5),
    ]
    assert found[1]["reject"]["raw"] == bad.encode("utf-16-le")
    (row,) = rows(
        stored(json.dumps({"text": "é"}, ensure_ascii=False).encode("cp1252"), "1252.jsonl"), encoding="cp1252"
    )
    assert row["text"] == "é"
    found = rows(stored(b'{"text": "a"}\n{"text": "\x81"}', "1252.jsonl"), encoding="cp1252")
    assert [row["reject"] and row["reject"]["reason"] for row in found] == [None, "invalid_encoding"]


def test_a_text_column_that_no_line_has_is_an_error_naming_those_there():
    uri = stored(b'{"title": "a", "body": "b"}\n', "other.jsonl")
    with pytest.raises(ValueError, match="'text' in the first files; the columns there are 'title', 'body'"):
        rows(uri)
    with pytest.raises(ValueError, match="'id'"):
        rows(uri, text_column="body", id_column="id")
    assert rows(uri, text_column="body", keep_columns=("rare:float64",))[0]["keep"] == {"rare": None}


def test_files_without_lines_have_no_rows():
    assert rows(stored(b"", "empty.jsonl")) == []
    assert rows(stored(b"\n  \r\n\n", "blank.jsonl")) == []


def test_a_record_too_large_is_no_json_to_judge(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 40)
    large = b'{"text": "' + b"x" * 40 + b'"}'
    found = brief(stored(GOOD + b"\n" + large + b"\r\n" + GOOD, "large.jsonl"))
    assert found == [(0, "a"), (23, "record_too_large", large), (77, "a")]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_mrpc_pairs(shared, name):
    path = shared / "mrpc" / f"{name}.jsonl"
    expected = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    found = rows(path, text_pair_column="text_pair", id_column="id", keep_columns=("*",))
    assert [row["keep"] for row in found] == expected
    assert [(row["text"], row["text_pair"]) for row in found] == [(row["text"], row["text_pair"]) for row in expected]
