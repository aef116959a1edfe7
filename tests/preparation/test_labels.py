"""What stands in a column of labels: taken for what alone it can be, refused where it could be two things, held to."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.config.prepare import LabelOptions
from seqcls_beam.preparation import labels
from seqcls_beam.preparation.forms import Column, Form, form_of
from seqcls_beam.preparation.written import written
from seqcls_beam.reading.footers import columns_of
from tests.prepared import all_rows, manifest, rejected, run, sentences

ROWS = [[1, 0, 1], [0, 0, 1]]
MOST = "--max_rejected=0.5"
FLAGS = ["--keep_text", "--validation_fraction=0", "--test_fraction=0", "--near_duplicates=off"]


def column(values, **more):
    """A column before its form is known."""
    asked = {"separator": None, "asked": None, **more}
    return Column("--label_column=tags", (values if isinstance(values, pa.Array) else pa.array(values),), **asked)


def read(values, form, problem="multi_label", known=()):
    """(labels, rows without one, rows of another form)."""
    found, missing, wrong = form.read(values if isinstance(values, pa.Array) else pa.array(values), problem, known)
    return found.to_pylist(), missing.to_pylist(), sorted(wrong)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int8()),
        pa.list_(pa.float64()),
        pa.list_(pa.bool_()),
        pa.large_list(pa.int64()),
        pa.list_(pa.float32(), 3),
        pa.list_view(pa.int64()),
        pa.large_list_view(pa.float64()),
        pa.list_(pa.string()),
    ],
    ids=str,
)
def test_a_vector_is_one_whatever_its_type(kind):
    one: Any = True if pa.types.is_boolean(kind.value_type) else "1" if pa.types.is_string(kind.value_type) else 1
    no = type(one)(0)
    values = pa.array([[one, no, one], None, [no, no, one]], kind)
    form = form_of(column(values))
    assert form.places == ("0", "1", "2")
    assert read(values, form) == ([["0", "2"], None, ["2"]], [False, True, False], [])
    assert read(values[1:], form) == ([None, ["2"]], [True, False], [])
    named = form_of(column(values, asked=("a", "b", "c")))
    assert read(values, named)[0] == [["a", "c"], None, ["c"]]


def test_lists_that_can_only_be_numbers_of_labels():
    for values in ([[3, 7], [0, 1]], [[0], [1], [0, 1], []], [[0.0], [12.0, 3.0]]):
        assert form_of(column(values)) == Form()
    assert read([[3, 7], [0.0, 1.0]], Form())[0] == [["3", "7"], ["0", "1"]]


@pytest.mark.parametrize(
    ("values", "cut", "first"),
    [
        ([[0, 1], [1, 0]], None, ["0", "1"]),
        ([[0], [1]], None, ["0"]),
        ([[0.0, 1.0]], None, ["0", "1"]),
        (["0,1", "1,0"], ",", ["0", "1"]),
        (["[0, 1]"], None, ["0", "1"]),
    ],
)
def test_lists_that_could_be_both_are_refused_and_an_option_decides(values, cut, first):
    with pytest.raises(ValueError, match=r"0 or 1 for each of . labels, or are they the numbers .* --labels decides"):
        form_of(column(values, separator=cut))
    names = ("no", "yes")[: len(first)]
    vector = form_of(column(values, separator=cut, asked=names))
    assert vector.places == names and read(values, vector)[0][0] == list(names[1:])
    numbers = form_of(column(values, separator=cut, asked=("0:no", "1:yes")))
    assert numbers.places == () and read(values, numbers)[0][0] == first


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0.5, 0.5], [1, 0]], "lists with 0.5: shares or probabilities"),
        ([[2, 2, 5], [1, 2, 3]], r"such as \[2, 2, 5\]: a number stands there twice"),
        ([[1, 0, 1], [0, 0]], "one length, and theirs are 2, 3"),
        ([[True], [True, False]], "one length, and theirs are 1, 2"),
    ],
)
def test_lists_that_are_neither_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        form_of(column(values))


def test_a_later_row_is_never_read_the_other_way():
    vector = form_of(column([[1.0, 0.0, 1.0]], asked=("a", "b", "c")))
    later = [[1, 0, 0], [1, 0], [1, 0, 0.5], None, [], [None, 1, 0], [0, 0, 0]]
    assert read(later, vector) == (
        [["a"], [], [], None, [], [], []],
        [False, False, False, True, False, False, False],
        [1, 2, 4, 5],
    )
    numbers = form_of(column([[3, 7]]))
    assert read([[0, 1, 1, 0], [2], [5, 5]], numbers) == ([[], ["2"], []], [False] * 3, [0, 2])


def test_rows_of_another_length_are_rejected_alone_where_the_labels_are_named():
    mixed = [[1, 0, 0, 1], [0, 0, 1]]
    form = form_of(column(mixed, asked=("a", "b", "c", "d")))
    assert read(mixed, form) == ([["a", "d"], []], [False, False], [1])


def test_vectors_that_are_written_in_a_cell():
    cut = form_of(column(["0,1,1,0", "1,1,0,0"], separator=","))
    assert read(["0,1,1,0", "1,1"], cut) == ([["1", "2"], []], [False, False], [1])
    words = form_of(column(["True,False,True"], separator=","))
    assert read(["False,False,True"], words)[0] == [["2"]]
    listed = form_of(column(["[1, 0, 1]", "[0.0, 0.0, 1.0]", None]))
    assert read(["[1, 1, 0]", "[1 0 1]", "x", None], listed) == (
        [["0", "1"], [], [], None],
        [False, False, False, True],
        [1, 2],
    )


def test_lists_that_are_written_in_a_cell():
    values = ["['x', 'y']", '["y", "x"]', "{'x'}", "('x', 'y')", "[]", "set()", None, ""]
    form = form_of(column(values))
    expected = [["x", "y"], ["x", "y"], ["x"], ["x", "y"], [], [], None, None]
    assert form.written and read(values, form)[0] == expected
    with pytest.raises(ValueError, match="leave out --label_separator=,"):
        form_of(column(values, separator=","))


@pytest.mark.parametrize(
    "values",
    [
        ["[1 0 1]"],
        ["['x' 'y']"],
        ["{x,y}"],
        ["[deleted]"],
        ['{"a": 1}'],
        ["array([1, 0])"],
        ["[nan, 1.0]"],
        ["[np.int64(1)]"],
        ["x", "['y']"],
        ["[a]|[b]"],
    ],
)
def test_no_class_has_brackets_by_accident(values):
    with pytest.raises(ValueError, match="a list that was written as text, or the name of a label"):
        form_of(column(values, separator="|" if "|" in values[0] else None))


def test_names_in_brackets_are_names_where_they_are_named():
    asked = ("[deleted]", "good", "[a]", "[b]")
    assert form_of(column(["[deleted]", "good"], asked=asked)) == Form()
    assert read(["[deleted]", "[x]", "good"], Form(), "single_label", asked)[2] == [1]
    cut = form_of(column(["[a]|[b]", "good"], asked=asked, separator="|"))
    assert read(["[a]|[b]", "[a]|[c]"], cut, known=asked)[0] == [["[a]", "[b]"], []]
    plain = ["(informal)", "x [y]", "[x", "a (b, c)"]
    assert form_of(column(plain)) == Form() and read(plain, Form(), "single_label")[0] == plain


def test_later_rows_with_brackets_are_no_classes():
    assert read(["x", "['a', 'b']", "[removed]", "('a', 'b')"], Form(), "single_label")[2] == [1, 2, 3]
    assert read(["x|y", "['a'|'b']"], Form("|")) == ([["x", "y"], []], [False, False], [1])


def test_a_separator_that_is_nowhere():
    with pytest.raises(ValueError, match=r"none of the first 2 labels has a --label_separator=\|.*x;y"):
        form_of(column(["x;y", "z"], separator="|", auto=True))
    assert form_of(column(["x", "z"], separator="|")) == Form("|")


@given(
    st.lists(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e9, 1e9) | st.text(max_size=9),
        max_size=6,
    ),
)
def test_written_lists_are_read_as_they_were_written(values):
    def name(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return labels.names(pa.array([value]))[0].as_py()
        return value if value is None else str(value).strip() or None

    expected = [name(value) for value in values]
    floats = any(isinstance(value, float) for value in values)
    for text in (json.dumps(values), json.dumps(values, ensure_ascii=False), repr(values)):
        assert written(text) == expected or (floats and "e" in text)


@pytest.mark.parametrize(
    "text", ["[1, 2", "1, 2]", "(1)", "('x')", "[[1], [2]]", "[0x1]", '["\\ud800"]', "[1e999]", "x"]
)
def test_what_is_no_written_list(text):
    assert written(text) is None


def test_lists_beyond_reason_are_read_in_no_time():
    assert len(written("[" + "1, " * 200_000 + "]") or ()) == 200_000
    for text in ("[" * 100_000, "[" + " " * 900_000, "[1" + " ," * 300_000 + "]", "['" + "\\'" * 300_000):
        assert written(text) is None


def test_numbers_are_written_one_way():
    money = pa.array([Decimal("0.00"), Decimal("1.50"), Decimal("-2.00"), Decimal("10.00"), None], pa.decimal128(10, 2))
    assert labels.names(money).to_pylist() == ["0", "1.5", "-2", "10", None]
    assert labels.names(pa.array([Decimal("1E+3")], pa.decimal128(5, -2))).to_pylist() == ["1000"]
    assert labels.names(pa.array([1.0, 0.5, None], pa.float16())).to_pylist() == ["1", "0.5", None]
    assert labels.whole(pa.array(["1.0", "1.", "-2.00", "1.50", "x.0", "3.10", None])).to_pylist() == [
        *("1", "1", "-2", "1.50", "x.0", "3.10", None),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.date32(), pa.timestamp("s"), pa.time32("s"), pa.duration("s"), pa.month_day_nano_interval()),
        *(pa.binary(), pa.large_binary(), pa.binary(3), pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8())),
        *(pa.list_(pa.list_(pa.int8())), pa.list_(pa.date32())),
    ],
    ids=str,
)
def test_what_is_no_label_is_refused(kind):
    with pytest.raises(ValueError, match=r"--label_column=x holds .*: labels are strings, numbers, booleans, or lists"):
        labels.check_kind(kind, "--label_column=x")


def test_label_columns():
    form = Form(places=("bad", "good"), columns=("bad", "good"))
    columns = {
        "bad": pa.array(["0", "1", "true", "", None, "2", "-1", "1.0"]),
        "good": pa.array([1.0, 0.0, 1.0, 1.0, None, 0.0, -1.0, 1.0]),
    }
    values = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    assert read(values, form) == (
        [["good"], ["bad"], ["bad", "good"], [], None, [], None, ["bad", "good"]],
        [False, False, False, False, True, False, True, False],
        [3, 5],
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label_columns": ("a",), "label_column": "x"}, "leave out --label_column=x"),
        ({"label_columns": ("a",), "label_separator": ","}, "leave out --label_separator=,"),
        ({"label_columns": ("a", "b", "a")}, "'a' is there twice"),
        ({"label_columns": ("a", "")}, "--label_columns=a,: a name is empty"),
        ({"label_columns": ()}, "--label_columns is empty"),
        ({"label_columns": ("a",), "problem": "regression"}, "leave out --label_columns"),
    ],
)
def test_label_columns_stand_alone(options, said):
    with pytest.raises(ValueError, match=said):
        LabelOptions(**options)


def classes(names, *above):
    """What the library `datasets` writes into a file's metadata, for a column `label`."""
    feature = {"names": names, "_type": "ClassLabel"}
    for kind in above:
        feature = {"feature": feature, "_type": kind}
    return {b"huggingface": json.dumps({"info": {"features": {"label": feature}}}).encode()}


def write(path, metadata, values, texts=None):
    """A Parquet file with labels."""
    table = pa.table({"text": texts or sentences(len(values), seed=sum(path.name.encode())), "label": values})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_names_of_classes_stand_in_the_footer(tmp_path):
    other = {
        b"huggingface": json.dumps({"info": {"features": {"label": {"dtype": "int64", "_type": "Value"}}}}).encode()
    }
    for number, (metadata, expected) in enumerate(
        [
            (classes(["neg", "pos"]), ("neg", "pos")),
            (classes(["neg", "pos"], "Sequence"), ("neg", "pos")),
            (classes(["neg", "pos"], "List"), ("neg", "pos")),
            (other, None),
            ({b"huggingface": b"{"}, None),
            (classes(None), None),
            (None, None),
        ]
    ):
        path = write(tmp_path / f"{number}.parquet", metadata, [0, 1])
        assert columns_of([str(path)], "label")[0].classes == expected
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert columns_of([str(tmp_path / "broken.parquet"), str(tmp_path / "none.parquet")], "label") == []


def test_class_numbers_get_their_names(tmp_path):
    values: list[Any] = [0, 1] * 20 + [-1, None, 7]
    source = write(tmp_path / "in.parquet", classes(["neg", "pos"]), values)
    out = run(source, tmp_path / "out", *FLAGS, MOST)
    assert manifest(out)["labels"] == ["neg", "pos"]
    kept = {row["text"]: row["label"] for row in all_rows(out)["train"]}
    texts = pq.read_table(source)["text"].to_pylist()
    assert kept == {text: ("neg", "pos")[value] for text, value in list(zip(texts, values, strict=True))[:40]}
    assert sorted(row["reason"] for row in rejected(out)) == ["missing_label", "missing_label", "unknown_label"]


def test_class_numbers_with_gaps_get_their_names(tmp_path):
    values = pa.array([0.0, 1.0, None, 0.5] + [0.0, 1.0] * 10)
    out = run(write(tmp_path / "in.parquet", classes(["neg", "pos"]), values), tmp_path / "out", *FLAGS, MOST)
    assert manifest(out)["labels"] == ["neg", "pos"] and len(all_rows(out)["train"]) == 22
    assert sorted(row["reason"] for row in rejected(out)) == ["missing_label", "unknown_label"]


def test_classes_of_one_name_are_refused(tmp_path, capfd):
    source = write(tmp_path / "in.parquet", classes(["a", "a"]), [0, 1] * 10)
    run(source, tmp_path / "out", *FLAGS, code=2)
    assert "in.parquet calls its classes 0 'a', 1 'a', and a name is there twice" in capfd.readouterr().err
    assert manifest(run(source, tmp_path / "named", "--labels=0:a,1:b", *FLAGS))["labels"] == ["a", "b"]
