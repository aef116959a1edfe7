"""Gold labels in columns of 0 and 1 whose numbers have names in a file: by what these say, or refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import evaluate
from tests import corpora, prepared, tiny

LABELS = ("negative", "positive")
TEXTS = prepared.sentences(24)
TRUTHS = np.random.default_rng(0).integers(0, 2, (24, 2))
SAID = np.random.default_rng(1).integers(0, 2, (24, 2))
COLUMNS = f"--label_columns={','.join(LABELS)}"


def write(path, rows, negative=None, positive=None):
    """Rows with gold labels, whose numbers may have names, and with answers."""
    named = {"negative": negative, "positive": positive}
    features = {name: {"names": each, "_type": "ClassLabel"} for name, each in named.items() if each is not None}
    answers = [[name for name, one in zip(LABELS, row, strict=True) if one] for row in SAID[rows]]
    gold = {name: TRUTHS[rows, place] for place, name in enumerate(LABELS)}
    table = pa.table({"text": TEXTS[rows], **gold, "labels": pa.array(answers, pa.list_(pa.string()))})
    huggingface = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": huggingface}), path)


def evaluated(out, *flags):
    """(the share of rows whose labels are all right, how many rows were scored)."""
    assert evaluate.main([*flags, "--bootstrap=0", f"--output={out}"]) == 0
    found = json.loads((out / "evaluation.json").read_text())
    return found["metrics"]["subset_accuracy"]["value"], found["rows"]["scored"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"), labels=LABELS, problem="multi_label_classification")


@pytest.mark.parametrize("words", [(["no", "yes"], ["0", "1"]), (["False", "True"], None), (["0", "1"], ["0", "1"])])
def test_files_that_say_off_and_on_in_any_words_are_evaluated_together(words, tmp_path, model):
    write(tmp_path / "a.parquet", slice(0, 12), words[0], words[0])
    write(tmp_path / "b.parquet", slice(12, 24), words[1], words[1])
    expected = float((SAID == TRUTHS).all(axis=1).mean())
    there = evaluated(tmp_path / "there", f"--labeled={tmp_path}/?.parquet", COLUMNS, f"--labels={','.join(LABELS)}")
    assert there == (pytest.approx(expected), 24)
    answers = (corpora.plain_scores(model, TEXTS) >= 0.5).astype(int)
    run = evaluated(tmp_path / "run", f"--input={tmp_path}/?.parquet", f"--model={model}", COLUMNS)
    assert run == (pytest.approx(float((answers == TRUTHS).all(axis=1).mean())), 24)


@pytest.mark.parametrize("first", [False, True])
def test_names_that_may_say_the_opposite_are_refused_and_an_option_decides(first, tmp_path, model, capsys):
    turned, plain = ("a", "b") if first else ("b", "a")
    write(tmp_path / f"{turned}.parquet", slice(0, 12), ["yes", "no"])
    write(tmp_path / f"{plain}.parquet", slice(12, 24), ["no", "yes"])
    labeled, told = f"--labeled={tmp_path}/?.parquet", f"--labels={','.join(LABELS)}"
    for flags in ((labeled, told), (f"--input={tmp_path}/?.parquet", f"--model={model}")):
        assert evaluate.main([*flags, COLUMNS]) == 2
        said = capsys.readouterr().err
        assert f"{turned}.parquet calls the classes in 'negative' 0 'yes', 1 'no': whether a row has the label" in said
        assert "--labels=negative:NAME, beside the other columns, says that 1 stands for NAME" in said
    decided = evaluated(tmp_path / "out", labeled, COLUMNS, "--labels=negative:negative,positive")
    assert decided == (pytest.approx(float((SAID == TRUTHS).all(axis=1).mean())), 24)
    assert "'negative' 0 'yes', 1 'no': --labels says what 1 stands for" in capsys.readouterr().err


def test_a_file_behind_those_that_are_looked_at_is_refused_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("seqcls_beam.preparation.sampled.FOOTERS", 1)
    write(tmp_path / "a.parquet", slice(0, 12), ["no", "yes"])
    write(tmp_path / "b.parquet", slice(12, 24), ["yes", "no"])
    assert evaluate.main([f"--labeled={tmp_path}/?.parquet", COLUMNS, f"--labels={','.join(LABELS)}"]) == 1
    assert "b.parquet calls the classes in 'negative' 0 'yes', 1 'no'" in capsys.readouterr().err


def test_of_many_classes_some_are_told(tmp_path, capsys):
    gold = {"gold": [0, 1] * 6, "label": ["c0", "c1"] * 6}
    for name, names in (
        ("a", [f"c{number}" for number in range(1000)]),
        ("b", [f"c{number}" for number in range(999)]),
    ):
        features = {"gold": {"names": names, "_type": "ClassLabel"}}
        table = pa.table(gold).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert evaluate.main([f"--labeled={tmp_path}/?.parquet", "--label_column=gold"]) == 2
    said = capsys.readouterr().err
    assert "9 'c9' …" in said and "c10" not in said
