"""What is no label: nothing in a place of a list, names that programs write for nothing, input without rows."""

from typing import Any

import pyarrow as pa
import pytest

from seqcls_beam.preparation.forms import Form
from seqcls_beam.preparation.labels import for_nothing
from tests.preparation.test_labels import FLAGS
from tests.prepared import all_rows, manifest, rejected, run, sentences


@pytest.mark.parametrize(
    ("form", "values", "sets", "wrong"),
    [
        (
            Form(),
            [["a", None], ["b", ""], ["b", " "], ["a"], [], None, [None], [None, "a"]],
            [[], [], [], ["a"], [], None, [], []],
            [0, 1, 2, 6, 7],
        ),
        (
            Form(written=True),
            ['["a", null]', "['a', None]", '["a", ""]', '["a"]', "[]", "[None]", "", None],
            [[], [], [], ["a"], [], [], None, None],
            [0, 1, 2, 5],
        ),
        (
            Form("|"),
            ["a||b", "a| |b", "a|b", "|a|b|", "a|", "|a", "|", "a||", "||a", "", None, " "],
            [[], [], ["a", "b"], ["a", "b"], ["a"], ["a"], [], [], [], None, None, None],
            [0, 1, 6, 7, 8],
        ),
        (Form(" "), ["a  b", " a b ", "a", "   "], [["a", "b"], ["a", "b"], ["a"], None], []),
        (Form(places=("a", "b", "c")), [["1", None, "0"], ["1", "", "0"], ["1", "0", "0"]], [[], [], ["a"]], [0, 1]),
    ],
    ids=["lists", "written", "separated", "spaced", "vectors"],
)
def test_nothing_in_a_place_is_no_label(form, values, sets, wrong):
    found, missing, told = form.read(pa.array(values), "multi_label")
    assert found.to_pylist() == sets
    assert missing.to_pylist() == [each is None for each in sets]
    assert sorted(told) == wrong and all("nothing" in each for each in told.values())


def test_rows_with_a_place_for_nothing_are_rejected_with_what_stands_there(tmp_path):
    texts = sentences(40)
    values: list[Any] = [["a", None], ["b", " "], [], *[["a"], ["b"], ["a", "b"]] * 13][:40]
    rows = [{"text": text, "label": value} for text, value in zip(texts, values, strict=True)]
    out = run(rows, tmp_path / "out", "--max_rejected=0.2", *FLAGS)
    made = sorted((row["reason"], row["detail"], row["raw"].decode()) for row in rejected(out))
    assert made == [
        ("unknown_label", "nothing stands in one place of [a, None], where each is a label", texts[0]),
        ("unknown_label", "nothing stands in one place of [b, None], where each is a label", texts[1]),
    ]
    kept = {row["text"]: row["labels"] for row in all_rows(out)["train"]}
    assert kept == {
        text: [float(name in value) for name in "ab"] for text, value in zip(texts[2:], values[2:], strict=True)
    }


def test_flags_that_are_none_say_what_is_read():
    form = Form(places=("a", "b"), columns=("a", "b"))
    values = pa.StructArray.from_arrays([pa.array(["yes", "1"]), pa.array(["0", None])], ["a", "b"])
    _, _, told = form.read(values, "multi_label")
    assert told == {
        0: "'yes' for 'a', where 0 and 1, or false and true, are read",
        1: "nothing for 'b', where 0 and 1, or false and true, are read",
    }


def test_names_that_are_written_for_nothing_are_told(tmp_path, capfd):
    names = ["NaN", "None", "null", "NA", "n/a", "a"]
    rows = [{"text": text, "label": names[number % 6]} for number, text in enumerate(sentences(60))]
    said = "names of labels, 'NA', 'NaN', 'None', 'n/a', 'null' among them (where no label is meant by it, name"
    out = run(rows, tmp_path / "out", *FLAGS)
    assert manifest(out)["label_form"].startswith(said) and manifest(out)["labels"] == sorted(names)
    assert said in " ".join(capfd.readouterr().out.split())
    out = run(rows, tmp_path / "named", f"--labels={','.join(names)}", *FLAGS)
    assert manifest(out)["label_form"] == "names of labels" and manifest(out)["rows"]["kept"] == 60
    for found in (["nano", "a"], ["Nancy", "nonea"], []):
        assert for_nothing(found) == ""


def test_input_without_rows_is_called_so(tmp_path, capfd):
    source = tmp_path / "in.jsonl"
    source.write_text("")
    run(source, tmp_path / "out", *FLAGS, code=1)
    assert "no row is left to train with; nothing was published (there are no rows)" in capfd.readouterr().err
