import base64
import datetime
import json
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileOpener
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.parquet.encryption import CryptoFactory, EncryptionConfiguration, KmsClient, KmsConnectionConfig

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.schema import Mark, classes_of
from tests.reading.reader import batches, brief, cut, files, rows, stored


def written(table: pa.Table, name: str = "table.parquet", **how) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **how)
    return stored(sink.getvalue().to_pybytes(), name)


def test_all_columns_are_kept_under_their_types():
    table = pa.table(
        {
            "text": pa.array(["a", "b"], pa.large_string()),
            "label": pa.array(["x", "y"]).dictionary_encode(),
            "n": pa.array([1, None], pa.int16()),
            "when": pa.array([0, 1], pa.timestamp("us", "UTC")),
            "nested": [{"a": [1]}, None],
            "none": pa.nulls(2),
        }
    )
    (batch,) = batches(written(table))
    types = {field.name: str(field.type) for field in batch.schema.field("keep").type}
    assert types["text"] == "large_string"
    assert (types["label"], types["n"], types["none"]) == ("string", "int16", "string")
    assert types["when"] == "timestamp[us, tz=UTC]"
    assert [row["keep"] for row in batch.to_pylist()] == table.to_pylist()
    assert batch["text"].to_pylist() == ["a", "b"]


def test_only_what_is_asked_for_is_read():
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "more": ["x", "y"]})
    assert [row["keep"] for row in rows(written(table), keep_columns=())] == [{}, {}]
    assert [row["keep"] for row in rows(written(table), keep_columns=(), id_column="id")] == [{"id": 1}, {"id": 2}]
    assert rows(written(table), keep_columns=("more", "id:string"))[0]["keep"] == {"more": "x", "id": "1"}
    with pytest.raises(ValueError, match="'body' in the first files; the columns there are 'id', 'text', 'more'"):
        rows(written(table), text_column="body")


@settings(max_examples=40)
@given(st.integers(0, 60), st.integers(1, 20), st.lists(st.integers(0, 60)), st.integers(1, 30))
def test_any_run_of_row_groups_gives_the_same_rows(count, group, cuts, batch_rows):
    uri = written(pa.table({"text": pa.array([f"text {i}" for i in range(count)], pa.string())}), row_group_size=group)
    groups = -(-count // group)
    bounds = sorted({0, groups, *(cut for cut in cuts if cut < groups)})
    expected = [(i, f"text {i}") for i in range(count)]
    assert brief(uri, batch_rows=batch_rows) == expected
    if groups:
        assert brief(uri, batch_rows=batch_rows, bounds=bounds) == expected
        assert [row for pair in pairwise(bounds) for row in brief(uri, bounds=list(pair))] == expected


def test_the_bytes_of_a_piece_are_its_share_of_the_file():
    uri = written(pa.table({"text": [str(i) for i in range(100)]}), row_group_size=10)
    size = files(uri)["size"][0].as_py()
    marks = [Mark.of(batches(uri, bounds=bounds)[-1]) for bounds in ([0, 5], [5, 10])]
    assert [mark.bytes for mark in marks] == [size // 2] * 2


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_checks_and_raw_as_json(kind):
    texts = ["good", None, "", " \u3000", "a\0b"]
    table = pa.table({"id": range(5), "text": pa.array(texts, pa.string()).cast(kind)})
    found = brief(written(table))
    assert found[0] == (0, "good")
    assert [row[1] for row in found[1:]] == ["missing_text", "empty_text", "empty_text", "nul_byte"]
    assert [json.loads(row[2]) for row in found[1:]] == table.to_pylist()[1:]


def test_text_of_another_type():
    found = brief(written(pa.table({"text": [1, None], "id": ["a", "b"]})))
    assert [row[1] for row in found] == ["wrong_type", "missing_text"]
    assert json.loads(found[0][2]) == {"text": 1, "id": "a"}


def test_strings_that_are_no_utf8():
    broken = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    found = rows(written(pa.table({"text": broken, "id": ["1", "2", "3"]})))
    assert [row["text"] for row in found] == ["a", None, "c"]
    assert found[1]["reject"]["reason"] == "invalid_utf8"
    assert json.loads(found[1]["reject"]["raw"]) == {"text": "\\xff", "id": "2"}
    found = rows(written(pa.table({"text": ["1", "2", "3"], "id": broken})))
    assert [row["keep"]["id"] for row in found] == ["a", None, "c"]
    assert "'id'" in found[1]["reject"]["detail"]


def test_another_file_with_other_types():
    first = written(pa.table({"text": ["a"], "n": [1]}), "first.parquet")
    other = written(pa.table({"text": ["b", "c", "d"], "n": ["2", "x", None]}), "other.parquet")
    wide = written(pa.table({"text": ["e", "f"], "n": pa.array([3.0, 3.5])}), "wide.parquet")
    lists = written(pa.table({"text": ["g", "h"], "n": [[1], None]}), "lists.parquet")
    found = rows(first, other, wide, lists)
    assert [row["text"] for row in found] == ["a", "b", None, "d", "e", None, None, "h"]
    assert [row["keep"]["n"] for row in found] == [1, 2, None, None, 3, None, None, None]
    assert {row["reject"]["reason"] for row in found if row["reject"]} == {"wrong_type"}
    assert "'n' is string in this file and no int64" in found[2]["reject"]["detail"]


def test_another_file_without_a_column():
    first = written(pa.table({"text": ["a"], "n": [1]}), "first.parquet")
    other = written(pa.table({"text": ["b", "c"]}), "other.parquet", row_group_size=1)
    assert brief(first, other) == [(0, "a"), (0, "missing_column", b"")]


def losses(*uris, **options):
    """Of every file: rows read, and (reason, rows lost) of its losses."""
    unit = batches(*uris, **options)[-1]
    return [
        (piece["rows"], [(each["reason"], each["rows"]) for each in piece["losses"]]) for piece in Mark.of(unit).inputs
    ]


def test_a_column_that_is_not_there_costs_all_rows_of_the_file():
    first = written(pa.table({"text": ["a"], "n": [1]}), "first.parquet")
    other = written(pa.table({"text": ["b"] * 5000}), "other.parquet", row_group_size=1000)
    assert losses(first, other) == [(1, []), (0, [("missing_column", 5000)])]
    sizes = [piece["bytes"] for piece in Mark.of(batches(first, other)[-1]).inputs[1]["losses"]]
    assert sizes == [files(other)["size"][0].as_py()]
    layout = plan_layout(files(first), ReadOptions(input=(first,)))
    pieces = cut(files(other), [0, 2, 5])
    (batch,) = read_unit(Mark(0, 1).on(pieces), layout)
    assert [each["losses"][0]["rows"] for each in Mark.of(batch).inputs] == [2000, 3000]


def damaged(groups, at, byte, **how):
    """A file of row groups of ten rows, with the n-th byte of the pages of a column in a group replaced."""
    table = pa.table({"text": [f"text {i}" for i in range(10 * groups)], "n": range(10 * groups)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=10, use_dictionary=False, compression="none", **how)
    data = bytearray(sink.getvalue().to_pybytes())
    group, column, offset = at
    data[
        pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(group).column(column).data_page_offset + offset
    ] = byte
    return stored(bytes(data), "damaged.parquet")


@pytest.mark.parametrize("column", [0, 1])
def test_a_page_of_no_known_kind_loses_its_rows_and_says_so(column):
    # The parser steps over such a page and ends without an error.
    alone = damaged(1, (0, column, 1), 8)
    assert losses(alone) == [(0, [("corrupt_file", 10)])]
    one_of_three = damaged(3, (1, column, 1), 8)
    assert losses(one_of_three) == [(20, [("corrupt_file", 10)])]
    assert [row[0] for row in brief(one_of_three)] == [*range(11), *range(20, 30)]


def test_a_page_whose_checksum_does_not_fit_is_not_read():
    changed = damaged(2, (0, 0, 60), ord("z"), write_page_checksum=True)
    assert losses(changed) == [(10, [("corrupt_file", 10)])]


def test_footers_that_contradict_themselves_are_not_believed():
    table = pa.table({"text": ["a"] * 100})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    footer = data[-int.from_bytes(data[-8:-4], "little") - 8 :]
    # The number of rows, 100 as a zigzag varint, stands twice: of the file, and of its row group.
    at = len(data) - len(footer) + footer.index(b"\xc8\x01")
    uri = stored(data[:at] + b"\xca\x01" + data[at + 2 :], "contradicts.parquet")
    assert losses(uri) == [(0, [("unreadable_file", None)])]
    assert "101 rows, and of 100" in rows(uri)[0]["reject"]["detail"]


class _Keys(KmsClient):
    def __init__(self):
        super().__init__()

    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize(("secret", "expected"), [("n", [(20, [])]), ("text", [(0, [("corrupt_file", 20)])])])
def test_encrypted_columns_cost_what_is_read_of_them(tmp_path, secret, expected):
    how = EncryptionConfiguration(footer_key="f", column_keys={"c": [secret]}, plaintext_footer=True)
    keys = CryptoFactory(lambda _: _Keys()).file_encryption_properties(KmsConnectionConfig(), how)
    table = pa.table({"text": ["a", "b"] * 10, "n": range(20)})
    path = tmp_path / "secret.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=keys) as writer:
        writer.write_table(table)
    assert losses(path, keep_columns=()) == expected


def test_a_dictionary_of_large_values_is_decoded_some_rows_at_a_time(tmp_path):
    rows_, size = 4000, 2**20
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows_, pa.int32()), pa.array(["x" * size]))
    kept = pa.ListArray.from_arrays(pa.array(range(rows_ + 1), pa.int32()), values)
    path = tmp_path / "small.parquet"
    pq.write_table(pa.table({"text": ["good"] * rows_, "kept": kept}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    unit = files(path)
    layout = plan_layout(unit, ReadOptions(input=(str(path),)))
    before, found, peak = pa.total_allocated_bytes(), 0, 0
    for batch in read_unit(Mark(0, 1).on(unit), layout):
        found, peak = found + len(batch), max(peak, pa.total_allocated_bytes() - before)
    assert found == rows_
    assert peak < 600 * 10**6  # of 4 GB


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 1000, b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_files_that_are_not_parquet(data):
    first = written(pa.table({"text": ["a"]}), "first.parquet")
    assert brief(first, stored(data, "garbage.parquet")) == [(0, "a"), (0, "unreadable_file", b"")]
    assert brief(stored(data, "garbage.parquet")) == [(0, "unreadable_file", b"")]


def test_a_row_group_that_cannot_be_decoded():
    texts = [f"text {i} {i * 7919 % 1009}" for i in range(3000)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts}), sink, row_group_size=1000, use_dictionary=False)
    data = bytearray(sink.getvalue().to_pybytes())
    column = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(1).column(0)
    data[column.data_page_offset : column.data_page_offset + 2000] = b"\xff" * 2000
    found = brief(stored(bytes(data), "broken.parquet"))
    good = [row for row in found if len(row) == 2]
    faults = [row for row in found if len(row) == 3]
    assert [row[1] for row in faults] == ["corrupt_file"]
    assert good[:1000] == list(enumerate(texts[:1000]))
    assert good[-1000:] == list(enumerate(texts))[2000:]
    assert 1000 <= faults[0][0] < 2000


def test_a_failure_of_the_disk_is_no_reject(tmp_path, monkeypatch):
    path = tmp_path / "far.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(100_000)]}), path)
    read, calls = LocalFileOpener.read, []

    def failing(file, size=-1):
        calls.append(size)
        if len(calls) == broken:
            raise OSError("connection reset")
        return read(file, size)

    monkeypatch.setattr(LocalFileOpener, "read", failing)
    broken = 0
    batches(path)
    total = len(calls)
    while broken < total:
        broken += 1
        calls.clear()
        with pytest.raises(OSError, match="connection reset"):
            batches(path)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "long.parquet"
    texts = pa.array([f"{i:06d}" + "x" * 2000 for i in range(60_000)])
    pq.write_table(pa.table({"text": texts}), path, row_group_size=60_000, compression="zstd", use_dictionary=False)
    unit = files(path)
    layout = plan_layout(unit, ReadOptions(input=(str(path),)))
    before = pa.total_allocated_bytes()
    peaks = [pa.total_allocated_bytes() - before for _ in read_unit(Mark(0, 1).on(unit), layout)]
    assert texts.nbytes > 120 * 10**6
    assert max(peaks) < 50 * 10**6


@pytest.mark.shared
def test_imdb(shared):
    path = shared / "imdb" / "test.parquet"
    table = pq.read_table(path)
    found = pa.Table.from_batches(batches(path))
    assert found["text"].to_pylist() == table["text"].to_pylist()
    assert found["position"].to_pylist() == list(range(25_000))
    assert found["keep"].to_pylist() == table.to_pylist()
    assert found["reject"].null_count == 25_000
    assert set(found["source"].to_pylist()) == {str(path)}


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.list_(pa.string(), 1), pa.struct([("a", pa.string())])])
def test_strings_inside_others_must_be_utf8_too(kind):
    broken = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    if pa.types.is_struct(kind):
        nested = pa.StructArray.from_arrays([broken], ["a"])
    elif pa.types.is_fixed_size_list(kind):
        nested = pa.FixedSizeListArray.from_arrays(broken, 1)
    else:
        nested = pa.ListArray.from_arrays(pa.array(range(4), pa.int32()), broken)
    found = rows(written(pa.table({"text": ["1", "2", "3"], "kept": nested})))
    assert [row["text"] for row in found] == ["1", None, "3"]
    assert found[1]["reject"]["reason"] == "invalid_utf8"
    assert found[0]["keep"]["kept"] in (["a"], {"a": "a"})


def named(*classes, kind=None):
    """The metadata that the library `datasets` writes for a column `gold` of class numbers."""
    feature: dict[str, Any] = {"names": list(classes), "_type": "ClassLabel"}
    feature = feature if kind is None else {"feature": feature, "_type": kind}
    return {"huggingface": json.dumps({"info": {"features": {"gold": feature}}})}


def with_gold(name, gold, metadata=None):
    table = pa.table({"text": [f"{name} {number}" for number in range(len(gold))], "gold": gold})
    return written(table.replace_schema_metadata(metadata), f"{name}.parquet")


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        (pa.array([0, 1, -1, None]), None),
        (pa.array([0, None], pa.float64()), None),
        (pa.array([[0, 1], None], pa.list_(pa.int64())), "List"),
        (pa.array([[0, 1], None], pa.list_(pa.int64(), 2)), "Sequence"),
    ],
)
def test_what_classes_are_called_goes_with_a_kept_column(gold, kind):
    uri = with_gold("a", gold, named("pos", "neg", kind=kind))
    (batch,) = batches(uri)
    keep = batch.schema.field("keep").type
    assert classes_of(keep.field("gold")) == ("pos", "neg") and classes_of(keep.field("text")) is None
    assert [row["keep"]["gold"] for row in batch.to_pylist()] == gold.to_pylist()
    (batch,) = batches(uri, keep_columns=("gold:int64",)) if kind is None else (batch,)
    assert classes_of(batch.schema.field("keep").type.field("gold")) == ("pos", "neg")


@pytest.mark.parametrize("metadata", [None, named(), {"huggingface": "{"}, named("pos", "neg")])
def test_a_column_without_numbers_has_no_classes(metadata):
    gold = [0, 1] if metadata != named("pos", "neg") else ["pos", "neg"]
    (batch,) = batches(with_gold("a", gold, metadata))
    assert batch.schema.field("keep").type.field("gold").metadata is None


def test_files_that_call_their_classes_otherwise_are_not_read_by_the_names_of_the_first():
    first = with_gold("first", [0, 1], named("pos", "neg"))
    turned = with_gold("turned", pa.array([0, None, 1]), named("neg", "pos"))
    silent = with_gold("silent", pa.array([1, None]))
    strings = with_gold("strings", ["1", "pos"])
    found = rows(first, turned, silent, strings)
    texts = [row["text"] for row in found]
    assert texts == ["first 0", "first 1", None, "turned 1", None, None, "silent 1", None, None]
    faults = [row["reject"] for row in found if row["reject"]]
    assert {each["reason"] for each in faults} == {"wrong_type"}
    assert json.loads(faults[0]["raw"]) == {"text": "turned 0", "gold": 0}
    assert faults[0]["detail"] == (
        "'gold' has the classes 0 'neg', 1 'pos' in this file, and the classes 0 'pos', 1 'neg' in the first; "
        "--keep_columns=gold:string keeps each by its name"
    )
    assert faults[2]["detail"] == (
        "'gold' has no names of classes in this file, and the classes 0 'pos', 1 'neg' in the first"
    )
    assert [row["reject"] is None for row in rows(silent, first)] == [True, True, False, False]
    assert [row["reject"] for row in rows(first, turned, keep_columns=("text",))] == [None] * 5


def test_as_a_string_a_class_number_is_kept_by_its_name():
    first = with_gold("first", pa.array([0, 1, -1, None]), named("pos", "neg"))
    turned = with_gold("turned", pa.array([0.0, 1.0, 2.0, 0.5]), named("neg", "pos"))
    found = rows(first, turned, keep_columns=("gold:string",))
    assert [row["keep"]["gold"] for row in found] == ["pos", "neg", None, None, "neg", "pos", None, None]
    assert [number for number, row in enumerate(found) if row["reject"]] == [6, 7]
    assert found[6]["reject"]["detail"] == "'gold' is 2.0, and the classes of this file are 0 to 1"
    (batch, *_) = batches(first, keep_columns=("gold:string",))
    assert batch.schema.field("keep").type.field("gold").metadata is None
    strings = with_gold("strings", ["pos", "neg"])
    assert [row["keep"]["gold"] for row in rows(strings, first)] == ["pos", "neg", "pos", "neg", None, None]


def beside(*values: Any) -> tuple[str, str]:
    """JSON lines and CSV with values of `gold` that nobody calls anything."""
    lines = "".join(json.dumps({"text": f"line {i}", "gold": value}) + "\n" for i, value in enumerate(values))
    cells = "".join(f"cell {i},{'' if value is None else value}\n" for i, value in enumerate(values))
    return stored(lines.encode(), "b.jsonl"), stored(f"text,gold\n{cells}".encode(), "c.csv")


def test_numbers_of_other_formats_are_not_kept_under_the_names_of_a_parquet_file():
    first = with_gold("a", [0, 1], named("pos", "neg"))
    found = rows(first, *beside(0, None, 7))
    assert [row["keep"]["gold"] for row in found] == [0, 1, *[None] * 6]
    assert [row["text"] for row in found] == ["a 0", "a 1", None, "line 1", None, None, "cell 1", None]
    faults = [row["reject"] for row in found if row["reject"]]
    assert {each["reason"] for each in faults} == {"wrong_type"}
    assert {each["detail"] for each in faults} == {
        "'gold' has no names of classes in this file, and the classes 0 'pos', 1 'neg' in the first"
    }
    assert faults[0]["raw"] == b'{"text": "line 0", "gold": 0}'
    # The first has none: it is the Parquet file's that are not kept.
    found = rows(beside(0, 1)[0], first, keep_columns=("gold",))
    assert [row["keep"]["gold"] for row in found] == [0, 1, None, None]
    assert "the classes 0 'pos', 1 'neg' in this file, and no names of classes in the first" in str(found[2]["reject"])
    # True is no number of a class.
    found = rows(first, *beside("true"), keep_columns=("gold:bool",))
    assert [row["keep"]["gold"] for row in found] == [None, None, None, True]


@pytest.mark.parametrize("turn", [1, -1])
def test_beside_names_no_number_is_kept_as_a_string_whichever_file_comes_first(turn):
    names = with_gold("a", [0, 1], named("pos", "neg"))
    plain = with_gold("plain", [0, 1])
    strings = with_gold("strings", ["pos", "1"])
    files = [names, plain, strings, *beside("pos", "0", "1.0", None)]
    found = {row["text"]: row for row in rows(*files[::turn], keep_columns=("gold:string",))}
    found.pop(None, None)
    assert {text: row["keep"]["gold"] for text, row in found.items()} == {
        "a 0": "pos", "a 1": "neg", "strings 0": "pos",
        "line 0": "pos", "line 3": None, "cell 0": "pos", "cell 3": "",
    }  # fmt: skip
    (*_, fault) = [row["reject"] for row in rows(names, plain, keep_columns=("gold:string",))]
    assert (fault["reason"], fault["detail"]) == (
        "wrong_type",
        "'gold' is '1': is that a name, or the number of a class? This file does not say it, and others have names "
        "for theirs",
    )
    assert [row["keep"]["gold"] for row in rows(plain, strings, keep_columns=("gold:string",))] == [
        "0",
        "1",
        "pos",
        "1",
    ]


def test_a_class_without_a_name_of_its_own_is_kept_as_no_string():
    same = with_gold("same", [0, 1], named("a", "a"))
    many = with_gold("many", pa.array([[0], None]), named("a", "b", kind="List"))
    for uri, bad in ((same, 2), (many, 1)):
        found = rows(uri, keep_columns=("gold:string",))
        assert [row["reject"]["reason"] for row in found if row["reject"]] == ["wrong_type"] * bad
        assert "of which no name alone says which it is" in found[0]["reject"]["detail"]


def test_files_without_rows_do_not_say_what_columns_are_like():
    empty = with_gold("empty", pa.nulls(0))
    found = batches(*[empty] * 5, with_gold("a", [0, 1], named("pos", "neg")))
    keep = found[-1].schema.field("keep").type
    assert (str(keep.field("gold").type), classes_of(keep.field("gold"))) == ("int64", ("pos", "neg"))
    assert batches(empty)[-1].schema.field("keep").type.names == ["text", "gold"]


def test_lists_of_one_length_are_read_with_their_nulls():
    threes = pa.array([[1, 2, 3], None, [4, 5, 6]], pa.list_(pa.int32(), 3))
    lists = {
        "flat": threes,
        "inside": pa.array([{"v": [1, 2]}, None, {"v": None}], pa.struct([("v", pa.list_(pa.int8(), 2))])),
        "deep": pa.array([[[1.0, 2.0], None], None, []], pa.large_list(pa.list_(pa.float32(), 2))),
        "map": pa.array([[("a", [1])], None, [("b", None)]], pa.map_(pa.string(), pa.list_(pa.int8(), 1))),
        "tensor": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), (3,)), threes),
        "view": pa.array([[1], None, [2, 3]], pa.list_view(pa.int8())),
    }
    # What Parquet alone does not know of a type is not lost beside them.
    others = {
        "large": pa.array(["a", None, "c"], pa.large_string()),
        "names": pa.array(["x", None, "x"]).dictionary_encode(),
        "span": pa.array([1, None, 2], pa.duration("s")),
        "zone": pa.array([1, None, 2], pa.timestamp("us", "Europe/Rome")),
    }
    table = pa.table({"text": ["a", "b", None], **lists, **others})
    uri = written(table, row_group_size=2)
    found = rows(uri)
    kept = table.set_column(5, "tensor", threes).to_pylist()
    assert [row["keep"] for row in found[:2]] == kept[:2]
    assert found[2]["reject"]["reason"] == "missing_text" and json.loads(found[2]["reject"]["raw"])["flat"] == [4, 5, 6]
    types = {field.name: field.type for field in batches(uri)[0].schema.field("keep").type}
    assert types["flat"] == types["tensor"] == pa.list_(pa.int32())
    assert types["inside"] == pa.struct([("v", pa.list_(pa.int8()))])
    assert types["deep"] == pa.large_list(pa.list_(pa.float32()))
    assert [str(types[name]) for name in others] == [
        "large_string",
        "string",
        "duration[s]",
        "timestamp[us, tz=Europe/Rome]",
    ]
    assert rows(uri, bounds=[1, 2], keep_columns=("flat",))[0]["position"] == 2


def test_the_bytes_of_a_reject_have_what_python_has_not():
    table = pa.table(
        {
            "text": pa.nulls(1, pa.string()),
            "when": pa.array([2**40], pa.timestamp("s")),
            "day": pa.array([datetime.date(2026, 1, 2)]),
            "nested": pa.array([{"a": [2**40]}], pa.struct([("a", pa.list_(pa.timestamp("s")))])),
            "nan": [float("nan")],
        }
    )
    (row,) = rows(written(table))
    told = "1099511627776000 (timestamp[ms])"  # Parquet has no seconds
    assert json.loads(row["reject"]["raw"]) == {
        "text": None,
        "when": told,
        "day": "2026-01-02",
        "nested": {"a": [told]},
        "nan": pytest.approx(float("nan"), nan_ok=True),
    }
