"""Labels that could be something else than names: refused with every reading, and read in each as an option says."""

import shlex
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipelines import prepare
from seqcls_beam.preparation import labels
from seqcls_beam.preparation.forms import Form, form_of
from tests.corpora import write_jsonl
from tests.preparation.test_labels import FLAGS, classes, column, write
from tests.prepared import all_rows, manifest, rejected, run, sentences

CLASSES, NUMBERS = "--problem=single_label", "--problem=regression"


def said(found, several=False):
    """The doubt there is about labels, or nothing."""
    return labels.doubt(set(found), "--label_column=x", several) or ""


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (["0.2", "2.5", "3.8", "5"], "'0.2'"),
        (["1", "2", "3", "3.5"], "'3.5'"),
        (["1", "1.1", "2"], "'1.1'"),
        (["-.5", "1e-05", "n/a"], "'-.5'"),
        (["2,5", "3,8", "4"], "'2,5'"),
    ],
)
def test_numbers_that_are_not_whole_are_in_doubt(found, shown):
    told = said(found)
    assert told.startswith(f"--label_column=x holds numbers that are not whole, such as {shown}: ")
    assert NUMBERS in told and CLASSES in told
    assert ("--label_separator=," in told) == ("," in shown)


@pytest.mark.parametrize(
    ("found", "shown", "option"),
    [
        (["a|b", "a", "b"], "a|b", "'|'"),
        (["a;b;c", "a", "b", "c", "x;y"], "a;b;c", "';'"),
        (["a, b", "a", "b"], "a, b", ","),
        (["python pandas", "python", "pandas"], "python pandas", "' '"),
        (["a\tb", "a", "b"], "a\\tb", "$'\\t'"),
        (["A+B", "A", "B", "C"], "A+B", "+"),
    ],
)
def test_a_name_whose_parts_are_names_is_in_doubt(found, shown, option):
    told = said(found)
    assert f"holds '{shown}', and each part of it as a label of its own" in told
    assert f"(--problem=multi_label --label_separator={option})" in told and CLASSES in told


@pytest.mark.parametrize(
    ("found", "count", "how"),
    [
        (["1 0 1", "0 1 0", "1 1 1"], 3, "--problem=multi_label --label_separator=' '"),
        (["0,1", "1,1"], 2, "--problem=multi_label --label_separator=,"),
        (["1|0|0|1"], 4, "--problem=multi_label --label_separator='|'"),
        (["1 0 1", "0 1 0", "none"], 3, "--problem=multi_label --label_separator=' '"),
        (["101", "010", "001"], 3, "write a character between them, and name it with --label_separator"),
    ],
)
def test_vectors_that_are_no_lists_are_in_doubt(found, count, how):
    told = said(found)
    assert f"0 or 1 for each of {count} labels ({how})" in told and CLASSES in told


@pytest.mark.parametrize(
    "found",
    [
        ["yes", "no"],
        ["R&B", "AC/DC", "a|b", "x;y", "Business, Finance", "very good", "good"],
        ["very good", "very", "good", "so so"],
        ["a|a", "a"],
        ["C", "C++", "|", "a|"],
        ["1", "2", "10", "-1"],
        ["1e3", "2"],
        ["100", "101", "110"],
        ["10", "01", "11"],
        ["100", "010", "001"],
        ["1-0", "0-1", "1-1"],
        ["1 0", "0 1 0"],
        ["1.2.3", "1.2.4"],
        ["2.5", "low", "high"],
        ["٣.٥", "٤.٥"],
        ["1_0.5", "2_0.5"],
        [],
    ],
    ids=str,
)
def test_names_without_evidence_are_names(found):
    assert said(found) == ""


def test_lists_are_in_doubt_where_numbers_are_not_whole():
    told = said(["0.2", "0.8", "1"], several=True)
    assert "holds lists with 0.2: shares or probabilities" in told and "name them all with --labels" in told
    for found in (["a|b", "a", "b"], ["1", "2"], ["x", "y", "0.2"], []):
        assert said(found, several=True) == ""


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.0, 2.5, None]),
        pa.array([0.2, 3.0], pa.float32()),
        pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(10, 2)),
        pa.array(["4.0", "3.5", ""]),
        pa.array(["4.0", "3.5"]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_the_first_rows_are_asked_whatever_their_type(values):
    with pytest.raises(ValueError, match="--label_column=tags holds numbers that are not whole"):
        form_of(column(values, auto=True))
    names = tuple(dict.fromkeys(labels.names(values).drop_null().to_pylist()))
    assert form_of(column(values)) == form_of(column(values, auto=True, asked=names)) == Form()


def test_one_spelling_of_a_whole_number():
    names = ["1.0", "1.", "-2.00", "7", "1.50", "x.0", "3.10", "1_0.0", "٣.0", "+1.0", "01.0"]
    expected = ["1", "1", "-2", "7", "1.50", "x.0", "3.10", "1_0.0", "٣.0", "+1.0", "01"]
    assert labels.whole(pa.array(names)).to_pylist() == expected == [labels.whole_name(each) for each in names]
    assert [labels.is_whole(each) for each in names] == [number in (0, 1, 2, 3, 10) for number in range(len(names))]
    assert labels.vocabulary({"2", "10", "٣"}) == ["10", "2", "٣"], "digits of another script are characters"


@pytest.mark.parametrize(
    ("values", "numbers", "missing", "wrong"),
    [
        (
            [
                "1.5",
                " 2 ",
                "+.5",
                "1e3",
                "1,5",
                "50%",
                "inf",
                "nan",
                "1_5",
                "٣",
                "1e39",
                "1e999",
                "0x10",
                "",
                " ",
                None,
            ],
            [1.5, 2.0, 0.5, 1000.0, *[None] * 12],
            [13, 14, 15],
            {4: "1,5", 5: "50%", 6: "inf", 7: "nan", 8: "1_5", 9: "٣", 10: "1e39", 11: "1e999", 12: "0x10"},
        ),
        (
            pa.array([0.5, float("nan"), None, float("inf"), 1e39]),
            [0.5, *[None] * 4],
            [1, 2],
            {3: "inf", 4: "1e+39"},
        ),
        (pa.array([2**53 + 1, None]), [float(2**53), None], [1], {}),
        (pa.array(["7", "x"], pa.string_view()), [7.0, None], [], {1: "x"}),
        (pa.array([True]), [None], [], {0: "True"}),
    ],
)
def test_what_is_no_number_is_shown(values, numbers, missing, wrong):
    array = values if isinstance(values, pa.Array) else pa.array(values)
    found, gone, told = Form().read(array, "regression")
    assert found.to_pylist() == numbers
    assert [row for row, each in enumerate(gone.to_pylist()) if each] == missing
    assert told == {row: f"{text!r} is no finite number of 32 bits" for row, text in wrong.items()}


def test_targets_that_are_no_numbers_are_rejected_with_what_stands_there(tmp_path):
    texts = sentences(24)
    values = ["1.5", "2,5", "1_000", ""] + ["3"] * 20
    source = tmp_path / "in.csv"
    source.write_text("text,label\n" + "".join(f'{t},"{v}"\n' for t, v in zip(texts, values, strict=True)))
    out = run(source, tmp_path / "out", NUMBERS, "--max_rejected=0.5", *FLAGS)
    assert {row["text"]: row["labels"] for row in all_rows(out)["train"]} == {
        texts[0]: 1.5,
        **dict.fromkeys(texts[4:], 3.0),
    }
    found = sorted((row["reason"], row["detail"], row["raw"].decode()) for row in rejected(out))
    assert found == [
        ("missing_label", "label holds none that can be read", texts[3]),
        ("unknown_label", "'1_000' is no finite number of 32 bits", texts[2]),
        ("unknown_label", "'2,5' is no finite number of 32 bits", texts[1]),
    ]
    assert manifest(out)["label_form"] == "numbers"


def stars(folder, values, name="in"):
    """Rows with these labels, as JSONL."""
    texts = sentences(len(values))
    return texts, write_jsonl(
        folder / f"{name}.jsonl", [{"text": text, "label": value} for text, value in zip(texts, values, strict=True)]
    )


def test_stars_are_classes_or_numbers_as_an_option_says(tmp_path, capfd):
    values = [4, 3.5, 5, 4.5] * 5
    texts, source = stars(tmp_path, values)
    run(source, tmp_path / "out", *FLAGS, code=2)
    assert f"such as '3.5': are these numbers to be learned ({NUMBERS}), or" in capfd.readouterr().err
    out = run(source, tmp_path / "classes", CLASSES, *FLAGS)
    assert manifest(out)["labels"] == ["3.5", "4", "4.5", "5"]
    assert {row["text"]: row["label"] for row in all_rows(out)["train"]} == {
        text: f"{value:g}" for text, value in zip(texts, values, strict=True)
    }
    out = run(source, tmp_path / "numbers", NUMBERS, *FLAGS)
    assert {row["text"]: row["labels"] for row in all_rows(out)["train"]} == dict(zip(texts, values, strict=True))
    out = run(source, tmp_path / "named", "--labels=3.5,4,4.5,5", *FLAGS)
    assert manifest(out)["labels"] == ["3.5", "4", "4.5", "5"]


@pytest.mark.parametrize(
    ("first", "later", "told", "cure"),
    [
        ([1.0, 2.0], [2.5, 1.0], "holds numbers that are not whole, such as '2.5'", CLASSES),
        (["a"], ["a|b", "b"], "holds 'a|b', and each part of it", "--problem=multi_label --label_separator=|"),
        ([[]], [[0.2, 0.8], [0.8, 0.2]], "holds lists with 0.2: shares or probabilities", "--labels=0.2,0.8"),
        ([[3], [4]], [[0.2, 0.8], [3]], "holds lists with 0.2: shares or probabilities", "--labels=0.2,0.8,3,4"),
    ],
)
def test_what_the_first_rows_do_not_show_is_asked_when_all_are_read(
    first, later, told, cure, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("seqcls_beam.preparation.sampled.ROWS", 20)
    values: list[Any] = (first * 40)[:40] + later * 2
    _, source = stars(tmp_path, values)
    run(source, tmp_path / "out", *FLAGS, code=1)
    err = capfd.readouterr().err
    assert f"nothing was published: --label_column=label {told}" in err and "Traceback" not in err
    assert not (tmp_path / "out" / "data").exists()
    made = manifest(run(source, tmp_path / "told", *cure.split(), *FLAGS))
    assert made["rows"]["kept"] == len(values)
    if cure.startswith("--labels="):
        assert ",".join(made["labels"]) == cure.removeprefix("--labels=")


def test_vectors_between_blanks_are_read_as_an_option_says(tmp_path, capfd):
    values = ["1 0 1", "0 1 0", "1 1 1", "0 0 1"] * 5
    texts, source = stars(tmp_path, values)
    run(source, tmp_path / "out", *FLAGS, code=2)
    assert "0 or 1 for each of 3 labels (--problem=multi_label --label_separator=' ')" in capfd.readouterr().err
    out = run(source, tmp_path / "vectors", "--label_separator= ", *FLAGS)
    assert {row["text"]: row["labels"] for row in all_rows(out)["train"]} == {
        text: [float(each) for each in value.split()] for text, value in zip(texts, values, strict=True)
    }
    assert manifest(run(source, tmp_path / "names", CLASSES, *FLAGS))["labels"] == sorted(set(values))


@pytest.mark.parametrize(
    ("values", "flags", "form"),
    [
        (["no", "yes"], [], "single_label, read as names of labels"),
        (["a|b", "b"], ["--label_separator=|"], "multi_label, read as names of labels, between '|'"),
        (["[1, 0, 1]", "[0, 1, 1]"], [], "multi_label, read as lists of 0 or 1 for each of 3 labels, written as text"),
        ([1.5, 2.5], [NUMBERS], "regression, read as numbers"),
    ],
)
def test_how_labels_were_read_is_told(values, flags, form, tmp_path, capfd):
    _, source = stars(tmp_path, values * 10)
    out = run(source, tmp_path / "out", *flags, *FLAGS)
    assert form in " ".join(capfd.readouterr().out.split())
    problem, _, read_as = form.partition(", read as ")
    assert (manifest(out)["problem"], manifest(out)["label_form"]) == (problem, read_as)
    card = (out / "README.md").read_text().replace("\\", "")
    assert f"- labels were read as {read_as}\n" in card


def test_the_command_of_a_manifest_is_the_one_that_was_given(tmp_path, capfd):
    source = write(tmp_path / "in.parquet", classes(["neg", "pos"]), pa.array([0, 1] * 20 + [-1]))
    out = run(source, tmp_path / "out", *FLAGS)
    made = manifest(out)
    assert made["labels"] == ["neg", "pos"] and "--labels" not in made["command"]
    assert made["rows"]["rejected_by_reason"] == {"missing_label": 1}
    words = shlex.split(made["command"])
    capfd.readouterr()
    assert words[:3] == ["python", "-m", "pipelines.prepare"] and prepare.main(words[3:]) == 0
    assert "already published" in " ".join(capfd.readouterr()), "it is the same run"
    vectors = run([{"text": text, "label": [1, 0, 1]} for text in sentences(20)], tmp_path / "vectors", *FLAGS)
    assert manifest(vectors)["labels"] == ["0", "1", "2"] and "--labels" not in manifest(vectors)["command"]
