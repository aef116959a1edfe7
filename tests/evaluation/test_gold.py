"""Gold labels are read as they can only be meant: vectors, columns, written lists, and numbers that have names."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipelines import evaluate
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.evaluate import (
    AnswerOptions,
    EvaluateConfig,
    GateOptions,
    GoldOptions,
    MeasureOptions,
    ReportOptions,
)
from seqcls_beam.evaluation.gold import Gold, values_of
from seqcls_beam.evaluation.job import Seen, gold
from seqcls_beam.preparation.forms import Form
from seqcls_beam.runs.run import RunError
from tests import tiny
from tests.corpora import write_jsonl

FOUR = ("a", "b", "c", "d")


def config(**options):
    """An evaluation of rows, with these options for its gold labels."""
    return EvaluateConfig(
        read=ReadOptions(input=("x",)),
        answers=AnswerOptions(),
        gold=GoldOptions(**options),
        model=ModelOptions(),
        measure=MeasureOptions(),
        gates=GateOptions(),
        report=ReportOptions(),
    )


def reading(values, model=FOUR, problem="multi_label", classes=None, **options):
    """The first values of a column → how it is read."""
    sample = values if isinstance(values, pa.Array) else pa.array(values)
    return gold(config(**options), problem, model, Seen("--label_column=label", sample.type, (sample,), classes))


@pytest.mark.parametrize(
    "values", [[[0, 0, 1, 0]], [[0.0, 0.0, 1.0, 0.0]], ["[0, 0, 1, 0]"], [[False, False, True, False]]]
)
def test_a_vector_is_no_list_of_numbers(values):
    form = reading(values)
    read = form.read(pa.array(values))
    assert read.gold.tolist() == [[0, 0, 1, 0]] and not read.unknown and not read.ways
    assert "0 or 1 for each of 4 labels" in form.way


def test_vectors_of_another_length_or_of_other_values_are_unknown():
    form = reading([[0, 0, 1, 0]])
    read = form.read(pa.array([[1.0, 1, 0, 0], [1, 0, 0], None, [0, 0.5, 0, 0], []]))
    assert read.gold[0].tolist() == [1, 1, 0, 0]
    assert read.missing.tolist() == [False, False, True, False, False]
    assert read.unknown == {1: "[1.0, 0.0, 0.0]", 3: "[0.0, 0.5, 0.0, 0.0]", 4: "[]"}


def test_what_could_be_both_is_refused_and_an_option_decides():
    pair = ("no", "yes")
    with pytest.raises(ValueError, match="--labels=no,yes, for the first, VALUE:NAME, as in --labels=0:no,1:yes"):
        reading([[0, 1], [1, 0]], pair)
    rows = pa.array([[0, 1], [1, 0], [1, 1]])
    vector = reading(rows[:2], pair, labels=pair)
    assert vector.read(rows).gold.tolist() == [[0, 1], [1, 0], [1, 1]]
    numbers = reading(rows[:2], pair, labels=("0:no", "1:yes"))
    assert numbers.read(rows).gold[:2].tolist() == [[1, 1], [1, 1]] and list(numbers.read(rows).unknown) == [2]
    four = reading(rows[:2])
    assert four.read(rows[:1]).gold.tolist() == [[1, 1, 0, 0]], "two numbers are no vector of four"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0, 0, 1]], "one length, that of the 4 labels, and theirs are 3"),
        ([[0.5, 0.5, 0, 0]], "shares or probabilities"),
        (["[0 0 1 0]"], "a list that was written as text, or the name of a label"),
        (["a"], "name a --label_separator, a column of lists, or --label_columns"),
    ],
)
def test_what_fits_nothing_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        reading(values)


def test_one_label_is_not_several():
    for values in ([["a"]], ["['a', 'b']"], [[0, 1, 0, 0]]):
        with pytest.raises(ValueError, match="the model is a single_label one, and has one answer a row"):
            reading(values, problem="single_label")
    read = reading(["a", "b"], problem="single_label").read(pa.array(["a", "['a']", "[deleted]", None]))
    assert read.unknown == {1: "['a']", 2: "[deleted]"} and read.missing.tolist() == [False, False, False, True]


def test_names_of_classes_are_what_numbers_mean():
    names = ("positive", "negative")
    form = reading([0, 1], names, "single_label", classes=("negative", "positive"))
    read = form.read(pa.array([0, 1, -1, 7]))
    assert read.gold[:2].tolist() == [1, 0] and read.missing.tolist() == [False, False, True, False]
    assert read.unknown == {3: "7"} and form.way == "mapped"
    with pytest.raises(ValueError, match="the files call their classes 'neg', 'pos', and the model's labels are"):
        reading([0, 1], names, "single_label", classes=("neg", "pos"))
    said = reading([0, 1], names, "single_label", classes=("neg", "pos"), labels=("0:positive", "1:negative"))
    assert said.read(pa.array([0, 1])).gold.tolist() == [0, 1]
    lists = reading([[0, 3], [2]], classes=("d", "c", "b", "a"))
    assert lists.read(pa.array([[0, 3], [2], []])).gold.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_a_column_for_each_label():
    form = reading([], label_columns=("c", "x", "b", "a"), labels=("a", "b", "c", "x:d"))
    columns = {name: pa.array(values) for name, values in (("a", ["1"]), ("b", [False]), ("c", [1.0]), ("x", [0]))}
    assert form.read(form.column(columns, "")).gold.tolist() == [[1, 0, 1, 0]]
    kept = {f"keep.{name}": values for name, values in columns.items()}
    assert form.read(form.column(kept, "", "keep.")).gold.tolist() == [[1, 0, 1, 0]]
    for names, asked in ((FOUR[:3], None), ((*FOUR, "e"), None), (FOUR, ("a", "b", "c"))):
        with pytest.raises(ValueError, match="a column for each is needed"):
            reading([], label_columns=names, labels=asked)
    with pytest.raises(ValueError, match="the model is a single_label one"):
        reading([], problem="single_label", label_columns=FOUR)


def test_one_label_that_is_there_or_not():
    with pytest.raises(ValueError, match="0 or 1 stands there, say --label_columns=label --labels=label:toxic; else"):
        reading([1, 0], ("toxic",))
    form = reading([], ("toxic",), label_columns=("label",), labels=("label:toxic",))
    assert form.read(form.column({"label": pa.array([1, 0])}, "")).gold.tolist() == [[1], [0]]


def test_lists_whose_first_rows_are_empty_are_not_decided():
    empty = pa.array([[], None], pa.list_(pa.int64()))
    form = reading(empty)
    assert form.way == "names"
    with pytest.raises(RunError, match=r"no label stands in the first rows, and \[0, 1\] in a later one"):
        form.read(pa.array([[0, 1]]))
    assert form.read(pa.array([[], [2, 3]])).gold.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]
    named = reading(empty, labels=FOUR)
    read = named.read(pa.array([["0", "1", "0", "0"], ["a", "d"], ["0", "1"]]))
    assert read.gold[:2].tolist() == [[0, 1, 0, 0], [1, 0, 0, 1]] and read.unknown == {2: "['0', '1']"}


def test_a_name_with_a_zero_behind_the_point_is_found_by_a_number():
    names = ("1.0", "2.0")
    plain = Gold("single_label", names, values_of(names, None))
    assert plain.read(pa.array(["1.0", "2"])).gold.tolist() == [0, 1]
    assert plain.read(pa.array([1.0, 2.0])).gold.tolist() == [0, 1]


def test_a_label_may_have_brackets_where_the_model_has():
    names = ("[none]", "x")
    form = reading(["[none]", "x"], names, "single_label")
    assert form.read(pa.array(["[none]", "x", "[y]"])).unknown == {2: "[y]"}
    assert Gold("multi_label", names, values_of(names, None), form=Form("|")).read(
        pa.array(["[none]|x"])
    ).gold.tolist() == [[1, 1]]


def answers(folder, texts):
    """Which labels a model gives texts, float32 [texts, labels], by transformers alone."""
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    model.eval()
    logits = [model(**words(text, return_tensors="pt")).logits[0].detach().numpy() for text in texts]
    return (np.array(logits) >= 0).astype(int)


def test_gold_in_every_form_gives_one_figure(tmp_path):
    folder = tiny.checkpoint(tmp_path / "model", labels=FOUR, problem="multi_label_classification")
    texts = [f"{text} {number}" for number in range(6) for text in tiny.CORPUS]
    truths = np.random.default_rng(0).integers(0, 2, (len(texts), 4))
    truths[0] = [0, 0, 1, 0]
    said = answers(folder, texts)
    expected = float((said == truths).all(axis=1).mean())
    forms = {
        "vectors": [{"label": row.tolist()} for row in truths],
        "written": [{"label": str(row.astype(float).tolist())} for row in truths],
        "names": [{"label": [name for name, one in zip(FOUR, row, strict=True) if one]} for row in truths],
        "columns": [{name: bool(one) for name, one in zip(FOUR, row, strict=True)} for row in truths],
    }
    for name, rows in forms.items():
        source = write_jsonl(
            tmp_path / f"{name}.jsonl", [{"text": text, **row} for text, row in zip(texts, rows, strict=True)]
        )
        flags = [f"--input={source}", f"--model={folder}", f"--output={tmp_path}/{name}", "--bootstrap=0"]
        assert evaluate.main([*flags, *(["--label_columns=d,c,b,a"] if name == "columns" else [])]) == 0
        found = json.loads((tmp_path / name / "evaluation.json").read_text())
        assert found["rows"]["scored"] == len(texts)
        assert found["metrics"]["subset_accuracy"]["value"] == pytest.approx(expected), name


def test_class_names_of_answers_that_are_there(tmp_path, capfd):
    feature = {"names": ["no", "yes"], "_type": "ClassLabel"}
    metadata = {b"huggingface": json.dumps({"info": {"features": {"gold": feature}}}).encode()}
    table = pa.table({"gold": [0, 1, 1, -1], "label": ["no", "yes", "no", "no"]})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "in.parquet")
    flags = [f"--labeled={tmp_path}/in.parquet", "--label_column=gold", "--bootstrap=0"]
    assert evaluate.main([*flags, f"--output={tmp_path}/out"]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["rows"]["scored"], found["rows"]["unlabelled"]) == (3, 1)
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert evaluate.main([*flags, "--labels=0:yes,1:no", "--max_rejected=1", f"--output={tmp_path}/turned"]) == 0
    found = json.loads((tmp_path / "turned" / "evaluation.json").read_text())
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)


def answered(path, truths, labels=("x", "y", "z")):
    """Answers in a file that names its labels, each the first one, beside gold labels."""
    table = pa.table({"gold": truths, "label": [labels[0]] * len(truths)})
    pq.write_table(table.replace_schema_metadata({"seqcls_beam.labels": json.dumps(labels)}), path)
    return [f"--labeled={path}", "--label_column=gold", "--batch_rows=2", "--bootstrap=0"]


FROM_0, FROM_1 = "--labels=0:x,1:y,2:z", "--labels=1:x,2:y,3:z"


@pytest.mark.parametrize(
    ("truths", "found"),
    [
        ([1] * 24 + [2] * 24 + [3], "numbers from 1 to 3"),
        ([1, 2, 1, 2], "numbers from 1 to 2"),
        ([1, 1, 1], "the number 1"),
        ([0, 1, 2, 3], "numbers from 0 to 3"),
        ([2, 0, 1, -1], "numbers from -1 to 2"),
        (["1.0", "2.0", None, ""], "numbers from 1 to 2"),
        ([1.0, 2.0, None], "numbers from 1 to 2"),
        (["0", "1", "9" * 30], f"numbers from 0 to {'9' * 18}"),
    ],
    ids=str,
)
def test_numbers_that_may_count_from_1_are_refused(truths, found, tmp_path, capfd):
    flags = [*answered(tmp_path / "in.parquet", truths), "--max_rejected=1", "--max_unlabelled=1"]
    assert evaluate.main(flags) == 1
    told = capfd.readouterr().err
    assert f"the gold labels hold {found}, and the model has 3 labels: do they count from 0 ({FROM_0};" in told
    assert f"or from 1 ({FROM_1})?" in told and "Traceback" not in told
    numbers = [int(float(each)) for each in truths if each]
    for option, first in ((FROM_0, 0), (FROM_1, 1)):
        known = [number - first for number in numbers + [0] * truths.count(0) if 0 <= number - first < 3]
        assert evaluate.main([*flags, option, f"--output={tmp_path}/{first}"]) == 0
        made = json.loads((tmp_path / str(first) / "evaluation.json").read_text())
        assert made["rows"]["scored"] == len(known)
        assert made["metrics"]["accuracy"]["value"] == pytest.approx(known.count(0) / len(known))


@pytest.mark.parametrize("truths", [[0, 1, 2], [0, 0, 0], [1, 0], ["1.0", "0.0"], ["0", "1", "great"]], ids=str)
def test_numbers_with_0_and_none_beyond_are_places(truths, tmp_path):
    flags = answered(tmp_path / "in.parquet", truths)
    assert evaluate.main([*flags, "--max_rejected=1", f"--output={tmp_path}/out"]) == 0
    made = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    known = [int(float(each)) for each in truths if each != "great"]
    assert made["gold"]["read_as"] == "numbers from 0" and made["rows"]["scored"] == len(known)
    assert made["metrics"]["accuracy"]["value"] == pytest.approx(known.count(0) / len(known))


def test_minus_1_and_1_may_be_two_sides(tmp_path, capfd):
    flags = answered(tmp_path / "in.parquet", [1, -1, 1, 1], ("no", "yes"))
    assert evaluate.main([*flags, "--max_rejected=1"]) == 1
    assert "are -1 and 1 two sides (--labels=-1:no,1:yes) or from 1 (--labels=1:no,2:yes)?" in capfd.readouterr().err
    assert evaluate.main([*flags, "--labels=-1:no,1:yes", f"--output={tmp_path}/out"]) == 0
    made = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert made["metrics"]["accuracy"]["value"] == pytest.approx(1 / 4)


def test_names_beside_a_number_that_is_none_are_names(tmp_path):
    flags = answered(tmp_path / "in.parquet", ["x", "y", "7", "-1"])
    assert evaluate.main([*flags, "--max_rejected=0.5", f"--output={tmp_path}/out"]) == 0
    made = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (made["rows"]["scored"], made["gold"]["read_as"]) == (2, "names")


def test_lists_of_numbers_count_as_single_ones_do():
    assert reading([[2, 3], [1]]).read(pa.array([[2, 3], [], [1]])).span == (1, 3)
    assert reading([[2, 0]]).read(pa.array([[2, 0], [17]])).span == (0, 17)
    assert reading([[0, 0, 1, 0]]).read(pa.array([[0, 0, 1, 0]])).span is None, "a vector has places"
    assert reading([["a"]]).read(pa.array([["a", "b"]])).span is None


def test_a_list_with_nothing_in_a_place_is_unknown():
    form = reading([["a"]])
    read = form.read(pa.array([["a", None], ["b", " "], ["a"], [], None, [None], ["c", "d"]]))
    assert read.unknown == {0: "['a', None]", 1: "['b', ' ']", 5: "[None]"}
    assert read.missing.tolist() == [False] * 4 + [True] + [False] * 2
    assert read.gold[[2, 3, 6]].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]


def test_what_is_read_of_a_column_for_each_label_is_said(tmp_path, capfd):
    rows = [{"text": text, "a": "yes", "b": "no"} for text in tiny.CORPUS]
    folder = tiny.checkpoint(tmp_path / "model", labels=("a", "b"), problem="multi_label_classification")
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    assert evaluate.main([f"--input={source}", f"--model={folder}", "--label_columns=a,b"]) == 1
    told = capfd.readouterr().err
    assert "'a=yes, b=no'" in told and "of --label_columns 0 and 1, or false and true, are read" in told
