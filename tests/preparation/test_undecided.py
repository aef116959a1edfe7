"""Labels that the first rows, one file alone, or a column's name do not show as what they are."""

from typing import Any

import pyarrow as pa
import pytest

from seqcls_beam.preparation.forms import form_of
from seqcls_beam.runs.run import RunError
from tests.corpora import write_jsonl
from tests.preparation.test_labels import FLAGS, classes, column, read, write
from tests.prepared import all_rows, manifest, run, sentences


def test_true_in_files_of_several_formats_is_refused(tmp_path, capfd):
    write(tmp_path / "c.parquet", None, [True, False] * 10)
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{t},True\n" for t in sentences(20, seed=3)))
    write_jsonl(tmp_path / "b.jsonl", [{"text": t, "label": True} for t in sentences(20, seed=4)])
    for pair in ("a.csv c.parquet", "c.parquet a.csv", "b.jsonl a.csv"):
        run(None, tmp_path / "out", "--input", *(f"{tmp_path}/{name}" for name in pair.split()), *FLAGS, code=2)
        assert "holds bool, string: whether true is 1 or a label of its own cannot be told" in capfd.readouterr().err
    out = run(None, tmp_path / "out", "--input", f"{tmp_path}/b.jsonl", f"{tmp_path}/c.parquet", *FLAGS)
    assert manifest(out)["labels"] == ["false", "true"]


@pytest.mark.parametrize("values", [("true", "True"), ("False", "1"), ("0", "1", "TRUE")])
def test_true_in_several_spellings_is_refused(values, tmp_path, capfd):
    rows = [{"text": text, "label": values[i % len(values)]} for i, text in enumerate(sentences(30))]
    run(rows, tmp_path / "out", *FLAGS, code=1)
    assert "whether true is True, or 1, or a label of its own cannot be told" in capfd.readouterr().err
    out = run(rows, tmp_path / "named", f"--labels={','.join(values)}", *FLAGS)
    assert manifest(out)["labels"] == list(values)


def test_a_form_that_the_first_rows_do_not_show_is_not_decided(tmp_path, capfd):
    texts = sentences(1_103)
    later: list[list[int]] = [[0, 1], [1, 0], [0, 1]]
    rows: list[dict[str, Any]] = [{"text": text, "label": []} for text in texts[:1_100]]
    rows += [{"text": text, "label": row} for text, row in zip(texts[1_100:], later, strict=True)]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    run(source, tmp_path / "out", *FLAGS, code=1)
    assert "no label stands in the first rows, and [0, 1] in a later one: does it say" in capfd.readouterr().err
    expected = {"no,yes": [1.0, 1.0], "0:no,1:yes": [2.0, 2.0]}
    for asked, wanted in expected.items():
        made = run(source, tmp_path / asked, f"--labels={asked}", "--max_rejected=1", *FLAGS)
        found = [row["labels"] for row in all_rows(made)["train"] if row["text"] in texts[1_100:]]
        assert sorted(map(sum, found))[-2:] == wanted and len(found) == 3


@pytest.mark.parametrize(
    ("empty", "cut", "later"),
    [
        (pa.array([[], None], pa.list_(pa.int64())), None, [[1, 0]]),
        (pa.array([[None], []], pa.list_(pa.bool_())), None, [[True]]),
        (["[]", None], None, ["[1, 0]"]),
        (["", None], ",", ["1,0"]),
    ],
)
def test_a_later_row_that_could_be_both_ends_the_run(empty, cut, later):
    form = form_of(column(empty, separator=cut))
    with pytest.raises(RunError, match=r"--labels decides: all names in their order for the first, VALUE:NAME"):
        read(later, form)
    blank = [row for row, places in enumerate(pa.array(empty).to_pylist()) if places == [None]]
    assert read(empty, form)[2] == blank and form.said.startswith(("names of labels", "lists of names of labels"))
    named = form_of(column(empty, separator=cut, asked=("0:a", "1:b")))
    assert not named.undecided and not named.places


def test_rows_decide_where_names_are_no_0_and_1():
    form = form_of(column(pa.array([[]], pa.list_(pa.string())), asked=("a", "b")))
    rows = [["0", "1"], ["b", "a"], ["1", "1"], ["0", "1", "0"], [], ["c"], None]
    assert read(rows, form, known={"a", "b"}) == (
        [["b"], ["a", "b"], ["a", "b"], [], [], ["c"], None],
        [*[False] * 6, True],
        [3],
    )
    numbers = form_of(column(pa.array([[]], pa.list_(pa.int64())), asked=("0", "1")))
    with pytest.raises(RunError, match="does it say 0 or 1 for each of 2 labels"):
        read([[0, 1]], numbers, known={"0", "1"})


@pytest.mark.parametrize("name", ["c:d", "c:string", "*", "a,b"])
def test_columns_of_labels_are_called_as_they_are(name, tmp_path):
    texts = sentences(30)
    lines = [f"{text},{i % 2},{int(i % 3 == 0)}" for i, text in enumerate(texts)]
    source = tmp_path / "in.csv"
    source.write_text("\n".join([f'text,"{name}",e', *lines]) + "\n")
    if name == "a,b":
        out = run(source, tmp_path / "one", f"--label_column={name}", *FLAGS)
        assert {row["text"]: row["label"] for row in all_rows(out)["train"]} == {
            text: str(i % 2) for i, text in enumerate(texts)
        }
        return
    out = run(source, tmp_path / "out", f"--label_columns={name},e", *FLAGS)
    assert manifest(out)["labels"] == [name, "e"]
    assert {row["text"]: row["labels"] for row in all_rows(out)["train"]} == {
        text: [float(i % 2), float(i % 3 == 0)] for i, text in enumerate(texts)
    }
    out = run(source, tmp_path / "one", f"--label_column={name}", *FLAGS)
    assert manifest(out)["labels"] == ["0", "1"]


def test_data_without_any_label_is_refused_in_a_sentence(tmp_path, capfd):
    rows: list[dict[str, Any]] = [{"text": text, "label": []} for text in sentences(20)]
    run(rows, tmp_path / "out", *FLAGS, code=1)
    said = capfd.readouterr().err
    assert "no row has a label in 'label'" in said and "Traceback" not in said
    out = run(rows, tmp_path / "named", "--labels=a,b", *FLAGS)
    assert {tuple(row["labels"]) for row in all_rows(out)["train"]} == {(0.0, 0.0)}


def test_true_and_1_in_different_files_are_refused(tmp_path, capfd):
    write(tmp_path / "a.parquet", None, [True, False] * 10)
    write(tmp_path / "b.parquet", None, [1, 0] * 10)
    run(None, tmp_path / "out", "--input", f"{tmp_path}/*.parquet", *FLAGS, code=2)
    assert "whether true is 1 or a label of its own cannot be told" in capfd.readouterr().err


def test_numbers_of_any_type_are_one_label(tmp_path):
    write(tmp_path / "a.parquet", None, [0, 1] * 10)
    text = sentences(20, seed=77)
    (tmp_path / "b.csv").write_text("text,label\n" + "".join(f"{t},{i % 2}.0\n" for i, t in enumerate(text)))
    out = run(
        None, tmp_path / "out", f"--input_train={tmp_path}/a.parquet", f"--input_test={tmp_path}/b.csv", "--keep_text"
    )
    assert manifest(out)["labels"] == ["0", "1"]
    assert {row["text"]: row["labels"] for row in all_rows(out)["test"]} == {t: i % 2 for i, t in enumerate(text)}


def test_files_that_disagree_on_classes_are_refused(tmp_path, capfd):
    for name, metadata in (("a", classes(["neg", "pos"])), ("b", classes(["pos", "neg"])), ("c", None)):
        write(tmp_path / f"{name}.parquet", metadata, [0, 1] * 10)
    for second in "bc":
        flags = [
            f"--input={tmp_path}/{second}.parquet",
            "--input",
            f"{tmp_path}/a.parquet",
            f"{tmp_path}/{second}.parquet",
        ]
        run(None, tmp_path / "out", *flags[1:], *FLAGS, code=2)
    said = capfd.readouterr().err
    assert "a.parquet calls its classes 0 'neg', 1 'pos', and" in said
    assert "b.parquet calls its classes 0 'pos', 1 'neg'" in said and "c.parquet has no names" in said
    run(None, tmp_path / "out", "--input", f"{tmp_path}/a.parquet", f"{tmp_path}/c.parquet", "--labels=0:x,1:y", *FLAGS)
    assert manifest(tmp_path / "out")["labels"] == ["x", "y"]


def test_vectors_and_columns_are_prepared_alike(tmp_path):
    texts = sentences(40)
    rows = [[i % 2, int(i % 3 == 0), 0] for i in range(40)]
    source = write_jsonl(tmp_path / "v.jsonl", [{"text": t, "label": r} for t, r in zip(texts, rows, strict=True)])
    out = run(source, tmp_path / "vectors", *FLAGS)
    assert (manifest(out)["problem"], manifest(out)["labels"]) == ("multi_label", ["0", "1", "2"])
    expected = {text: [float(each) for each in row] for text, row in zip(texts, rows, strict=True)}
    assert {row["text"]: row["labels"] for row in all_rows(out)["train"]} == expected
    lines = [f"{text},{a},{b},{c}" for text, (a, b, c) in zip(texts, rows, strict=True)]
    table = tmp_path / "c.csv"
    table.write_text("\n".join(["text,z,y,x", *lines]) + "\n")
    out = run(table, tmp_path / "columns", "--label_columns=z,y,x", "--labels=y:why,z:zed,x:ex", *FLAGS)
    assert manifest(out)["labels"] == ["why", "zed", "ex"]
    found = {row["text"]: row["labels"] for row in all_rows(out)["train"]}
    assert found == {text: [b, a, c] for text, (a, b, c) in expected.items()}
    run(table, tmp_path / "no", "--label_columns=z,y", "--labels=z,q", *FLAGS, code=2)
