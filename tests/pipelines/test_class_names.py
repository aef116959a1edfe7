"""What files call their class numbers goes with these, through every command, and is never another file's."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import classify, evaluate
from seqcls_beam.preparation import sampled
from seqcls_beam.runs.table import read_manifest
from tests import corpora, prepared, tiny

pytestmark = pytest.mark.engine

TEXTS = prepared.sentences(40)
NAMES = ["positive", "negative"]  # the model has them the other way round


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def write(path: Path, names: list[str] | None, gold: Any, texts: list[str] = TEXTS, column: str = "gold") -> Path:
    """A Parquet file as the library `datasets` writes it, with class numbers of these names."""
    kind = datasets.Value("int64") if names is None else datasets.ClassLabel(names=names)
    features = datasets.Features({"text": datasets.Value("string"), column: kind})
    datasets.Dataset.from_dict({"text": texts, column: gold}, features).to_parquet(path)
    return path


def evaluated(out: Path, *flags: str, code: int = 0) -> dict[str, Any]:
    """An evaluation of gold labels that the first argument finds."""
    assert evaluate.main([*flags, "--bootstrap=0", f"--output={out}"]) == code
    return json.loads((out / "evaluation.json").read_text()) if code == 0 else {}


def labelled(out: Path, model: Path, *flags: str) -> Path:
    """A folder of labels."""
    assert classify.main([*flags, f"--model={model}", "--threads=1", f"--output={out}"]) == 0
    return out


def test_class_numbers_mean_the_same_before_and_after_they_are_labelled(tmp_path, model):
    said = corpora.plain_scores(model, TEXTS[:38]).argmax(axis=1)
    right = [NAMES.index(("negative", "positive")[best]) for best in said]
    gold = [1 - number if row % 4 == 0 else number for row, number in enumerate(right)]
    source = write(tmp_path / "a.parquet", NAMES, [*gold, -1, None], column="label")
    expected = np.mean(np.equal(gold, right))
    out = labelled(tmp_path / "labels", model, f"--input={source}")
    flags = ["--label_column=label", "--max_rejected=0.5"]
    direct = evaluated(tmp_path / "direct", f"--input={source}", f"--model={model}", *flags)
    after = evaluated(tmp_path / "after", f"--labeled={out}", *flags)
    for found in (direct, after):
        assert found["metrics"]["accuracy"]["value"] == pytest.approx(expected)
        assert (found["rows"]["scored"], found["rows"]["unlabelled"]) == (38, 2)
    assert expected != pytest.approx(1 - expected)
    # Others read the parts as before, and so does prepare, with the names.
    (part,) = (out / "labels").glob("*.parquet")
    again = datasets.load_dataset("parquet", data_files=str(part), cache_dir=str(tmp_path / "cache"))["train"]
    assert again["input_label"][:38] == gold[:38]
    flags = [f"--model={model}", "--label_column=input_label", "--keep_text", "--validation_fraction=0"]
    made = prepared.run(part, tmp_path / "made", *flags, "--test_fraction=0", "--max_rejected=0.5")
    assert prepared.manifest(made)["labels"] == NAMES
    kept = {row["text"]: row["label"] for row in prepared.rows(made, "train")}
    assert kept == {text: NAMES[number] for text, number in zip(TEXTS[:38], gold, strict=False)}


@pytest.fixture
def turned(tmp_path):
    """Files of which the second calls its classes the other way round: the first twenty rows are positive."""
    write(tmp_path / "a.parquet", NAMES, [0] * 20, TEXTS[:20])
    write(tmp_path / "b.parquet", NAMES[::-1], [0] * 20, TEXTS[20:])
    return tmp_path / "*.parquet"


def test_files_that_call_their_classes_otherwise_are_not_mixed_when_labelled(tmp_path, model, turned):
    out = labelled(tmp_path / "out", model, f"--input={turned}", "--max_rejected=0.5")
    assert corpora.labels(out)["text"].to_pylist() == TEXTS[:20]
    found = read_manifest(str(out))
    assert found is not None and found["rows"]["rejected_by_reason"] == {"wrong_type": 20}
    by_name = corpora.labels(labelled(tmp_path / "names", model, f"--input={turned}", "--keep_columns=gold:string"))
    assert by_name["gold"].to_pylist() == ["positive"] * 20 + ["negative"] * 20


def test_files_whose_footers_were_not_looked_at_are_held_to_the_first(tmp_path, model, turned, monkeypatch, capfd):
    monkeypatch.setattr(sampled, "FOOTERS", 1)
    flags = [f"--input={turned}", "--label_column=gold", f"--model={model}"]
    keep = ["--keep_text", "--validation_fraction=0", "--test_fraction=0"]
    made = prepared.run(None, tmp_path / "made", *flags, *keep, "--max_rejected=0.5")
    assert {row["text"] for row in prepared.rows(made, "train")} == set(TEXTS[:20])
    assert [row["reason"] for row in prepared.rejected(made)] == ["wrong_type"] * 20
    found = evaluated(tmp_path / "input", *flags, "--max_rejected=0.5")
    said = corpora.plain_scores(model, TEXTS[:20]).argmax(axis=1)
    assert found["rows"]["scored"] == 20 and found["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(said == 1))


def test_who_says_what_numbers_mean_is_believed_of_all_files(tmp_path, model, turned):
    flags = [f"--input={turned}", "--label_column=gold", f"--model={model}", "--labels=0:positive,1:negative"]
    keep = ["--keep_text", "--validation_fraction=0", "--test_fraction=0"]
    made = prepared.run(None, tmp_path / "made", *flags, *keep)
    assert {row["label"] for row in prepared.rows(made, "train")} == {"positive"}
    assert evaluated(tmp_path / "input", *flags)["rows"]["scored"] == 40


def test_answers_beside_class_numbers_of_other_names_are_refused(tmp_path, model, turned, monkeypatch, capfd):
    monkeypatch.setattr(sampled, "FOOTERS", 1)
    for name in ("a", "b"):
        labelled(tmp_path / f"out_{name}", model, f"--input={tmp_path}/{name}.parquet")
    flags = ["--labeled", f"{tmp_path}/out_a", f"{tmp_path}/out_b", "--label_column=gold"]
    evaluated(tmp_path / "refused", *flags, code=1)
    assert "calls the classes in 'gold' 0 'negative', 1 'positive'" in capfd.readouterr().err
    assert evaluated(tmp_path / "said", *flags, "--labels=0:positive,1:negative")["rows"]["scored"] == 40
    table = pq.read_table(next((tmp_path / "out_b" / "labels").glob("*.parquet")))
    assert isinstance(table, pa.Table) and table.schema.field("gold").metadata[b"seqcls_beam.classes"]
