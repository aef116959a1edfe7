"""`pipelines.evaluate` from end to end, as its user runs it, against metrics computed by another route."""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sk
from transformers import AutoTokenizer

from pipelines import classify, evaluate, evaluating
from pipelines.running import told_in
from pipelines.terminal import live
from pipelines.terminal.rows import watching
from seqcls_beam import storage
from seqcls_beam.evaluation import document
from seqcls_beam.runs import progress, publication
from tests import prepared, tiny
from tests.corpora import plain_scores, texts, write_jsonl
from tests.runs.attempts import write_version

pytestmark = pytest.mark.engine

LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


def gold_rows(size: int = 240, seed: int = 4) -> list[dict[str, Any]]:
    draws = np.random.default_rng(seed)
    return [
        {
            "id": f"r{i}",
            "text": text,
            "label": LABELS[draws.integers(0, 2)],
            "shop": ["[bold]x", "<b>y", None][draws.integers(0, 3)],
        }
        for i, text in enumerate(texts(size, seed=seed))
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "gold.jsonl", gold_rows())


def run(*flags: str, code: int = 0) -> None:
    assert evaluate.main([*flags]) == code


def evaluated(out: Path, *flags: str, code: int = 0) -> dict[str, Any]:
    run(*flags, f"--output={out}", "--threads=1", code=code)
    return read(out)


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return found


def values(found: dict[str, Any]) -> dict[str, float]:
    return {name: each["value"] for name, each in found["metrics"].items()}


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    """All but times, and what names the run."""
    own = ("started", "finished", "seconds", "command", "runner", "data")
    return {key: value for key, value in found.items() if key not in own}


def test_metrics_are_those_of_plain_transformers(tmp_path, model, corpus, capsys):
    flags = (f"--input={corpus}", f"--model={model}", "--id_column=id", "--slice_by=shop", "--worst=3")
    found = evaluated(tmp_path / "out", *flags)
    source = gold_rows()
    scores = plain_scores(model, [row["text"] for row in source])
    gold = np.array([LABELS.index(row["label"]) for row in source])
    told = values(found)
    assert told["accuracy"] == sk.accuracy_score(gold, scores.argmax(axis=1))
    assert told["auc"] == pytest.approx(sk.roc_auc_score(gold, scores[:, 1]), abs=1e-4)
    assert told["nll"] == pytest.approx(sk.log_loss(gold, scores), abs=1e-5)
    assert found["rows"]["in"] == found["rows"]["scored"] == 240
    assert {group["value"] for group in found["slices"]["shop"]} == {"[bold]x", "<b>y", "(none)"}
    worst = np.argsort(scores[np.arange(240), gold])[:3]
    assert [row["id"] for row in found["worst"]] == [f"r{i}" for i in worst]
    assert [row["text"] for row in found["worst"]] == [source[i]["text"] for i in worst]
    assert found["worst"][0]["source"] == str(corpus)
    data = corpus.read_bytes()
    assert data[found["worst"][0]["position"] :].startswith(b'{"id": "' + found["worst"][0]["id"].encode())
    assert found["model"]["name"] == str(model) and len(found["model"]["digest"]) == 64
    assert found["engines"][0]["device"] == "cpu"
    shown = capsys.readouterr().out
    assert "column 'label', read as names" in shown
    assert "[bold]x" in shown and "<b>y" in shown and f"{told['accuracy']:.4f}" in shown
    report = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;y" in report and "<b>y" not in report


def test_three_sources_of_the_same_rows_say_the_same(tmp_path, model, corpus):
    rows = evaluated(tmp_path / "a", f"--input={corpus}", f"--model={model}", "--id_column=id", "--slice_by=shop")
    others = [{**row, "id": f"x{i}"} for i, row in enumerate(gold_rows(20))]
    shards = prepared.run(
        None,
        tmp_path / "prepared",
        f"--input_train={write_jsonl(tmp_path / 'train.jsonl', others)}",
        f"--input_test={corpus}",
        f"--model={model}",
        "--profile=benchmark",
        "--id_column=id",
        "--labels=negative,positive",
    )
    from_shards = evaluated(tmp_path / "b", f"--data={shards}", f"--model={model}")
    assert from_shards["truncated_rows"] is None and rows["truncated_rows"] == 0
    assert from_shards["gold"] == {"column": "labels", "read_as": "numbers from 0"}
    flags = [f"--input={corpus}", f"--model={model}", f"--output={tmp_path}/labels", "--threads=1"]
    assert classify.main([*flags, "--id_column=id", "--keep_columns=id,text,label,shop"]) == 0
    flags = [f"--labeled={tmp_path}/labels", "--id_column=id", "--slice_by=shop"]
    run(*flags, f"--output={tmp_path}/c")
    from_answers = read(tmp_path / "c")
    for other in (from_shards, from_answers):
        assert values(other) == pytest.approx(values(rows), abs=1e-9)
        assert other["lengths"] == rows["lengths"]
        for part in ("classes", "confusion", "baseline"):
            assert other[part] == rows[part]
        assert [row["id"] for row in other["worst"]] == [row["id"] for row in rows["worst"]]
    assert from_answers["slices"] == rows["slices"]
    assert from_answers["model"] is None and from_answers["data"]["runs"][0]["model"]["labels"] == list(LABELS)
    assert from_shards["data"]["split"] == "test"
    # Of shards without texts the ids are decoded.
    words = AutoTokenizer.from_pretrained(model)
    said = [
        words.decode(words(row["text"], truncation=True)["input_ids"], skip_special_tokens=True)
        for row in rows["worst"]
    ]
    assert [row["text"] for row in from_shards["worst"]] == said


@pytest.mark.parametrize("problem", ["single_label", "regression"])
def test_it_does_not_matter_who_works(tmp_path, problem):
    draws = np.random.default_rng(0)
    for number in range(5):
        share = draws.random(700).astype(np.float32)
        columns = {"id": list(range(700)), "tokens": draws.integers(2, 99, 700), "shop": draws.integers(0, 9, 700)}
        if problem == "regression":
            columns |= {"gold": draws.normal(size=700), "score": share}
        else:
            columns |= {"gold": [LABELS[i] for i in draws.integers(0, 2, 700)]}
            columns |= {"label": [LABELS[i] for i in (share < 0.5).astype(int)]}
            columns |= {"scores": [[float(each), float(1 - each)] for each in share]}
        pq.write_table(pa.table(columns), tmp_path / f"{number}.parquet", row_group_size=100)
    flags = [f"--labeled={tmp_path}/*.parquet", "--label_column=gold", "--slice_by=shop", "--unit_bytes=3000"]
    flags += ["--id_column=id", *(["--labels=negative,positive"] if problem == "single_label" else [])]
    run(*flags, "--batch_rows=37", f"--output={tmp_path}/here")
    here = read(tmp_path / "here")
    there = [*flags, "--batch_rows=37", f"--output={tmp_path}/there", "--direct_num_workers=2"]
    if problem == "regression":
        run(*there, "--direct_running_mode=multi_threading")
    else:
        command = [sys.executable, "-m", "pipelines.evaluate", *there, "--direct_running_mode=multi_processing"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    assert lasting(read(tmp_path / "there")) == lasting(here)
    run(*flags, f"--output={tmp_path}/other")
    other = read(tmp_path / "other")
    assert values(other) == pytest.approx(values(here), abs=1e-12)
    assert other["worst"] == here["worst"] and here["rows"]["scored"] == 3500


def test_several_labels_a_row(tmp_path):
    names = ("joy", "anger", "1 star")
    folder = tiny.checkpoint(tmp_path / "model", labels=names, problem="multi_label_classification")
    said = texts(60, seed=3)
    draws = np.random.default_rng(0)
    gold = draws.random((60, 3)) < 0.4
    (tmp_path / "gold.tsv").write_text(
        "".join(
            f"{text}\t{','.join(str(i) for i in np.flatnonzero(row))}\n" for text, row in zip(said, gold, strict=True)
        )
    )
    flags = ["--column_names=text,tags", "--label_column=tags", "--label_separator=,", "--threshold=0.4"]
    flags += ["--labels=0:joy,1:anger,2:1 star"]
    found = evaluated(tmp_path / "out", f"--input={tmp_path}/gold.tsv", f"--model={folder}", *flags)
    there = gold.any(axis=1)
    scores = plain_scores(folder, said)[there]
    told = values(found)
    assert found["rows"]["unlabelled"] == (~there).sum() and found["rows"]["scored"] == there.sum()
    assert told["micro_f1"] == pytest.approx(sk.f1_score(gold[there], scores >= 0.4, average="micro"))
    assert told["map"] == pytest.approx(sk.average_precision_score(gold[there], scores, average="macro"), abs=1e-6)
    rows = [
        {"text": text, "tags": [names[i] for i in np.flatnonzero(row)]} for text, row in zip(said, gold, strict=True)
    ]
    lists = write_jsonl(tmp_path / "lists.jsonl", rows)
    found = evaluated(tmp_path / "b", f"--input={lists}", f"--model={folder}", "--label_column=tags")
    # A list that is empty says that no label applies.
    assert found["rows"]["scored"] == 60
    run(f"--input={lists}", f"--model={folder}", "--label_column=text", code=2)


def test_a_regression(tmp_path):
    folder = tiny.checkpoint(tmp_path / "model", labels=("stars",))
    said = texts(80, seed=6)
    gold = np.random.default_rng(1).normal(size=80).round(3)
    source = write_jsonl(
        tmp_path / "in.jsonl", [{"text": t, "stars": g} for t, g in zip(said, gold.tolist(), strict=True)]
    )
    found = evaluated(
        tmp_path / "out", f"--input={source}", f"--model={folder}", "--label_column=stars", "--max_mse=100"
    )
    expected = plain_scores(folder, said)[:, 0]
    told = values(found)
    assert told["mse"] == pytest.approx(sk.mean_squared_error(gold, expected), abs=1e-5)
    assert told["pearson"] == pytest.approx(np.corrcoef(gold, expected)[0, 1], abs=1e-5)
    assert found["gates"][0]["passed"]
    flags = [f"--model={folder}", f"--output={tmp_path}/labels", "--keep_columns=stars", "--threads=1"]
    assert classify.main([f"--input={source}", *flags]) == 0
    run(f"--labeled={tmp_path}/labels", "--label_column=stars", f"--output={tmp_path}/b")
    assert values(read(tmp_path / "b")) == pytest.approx(told)


def test_rows_that_cannot_be_scored_are_counted_and_told(tmp_path, model, capsys):
    source = gold_rows(100)
    for number in (3, 50):
        source[number]["label"] = None
    for number, label in ((4, "great"), (9, "<i>"), (20, "great")):
        source[number]["label"] = label
    path = write_jsonl(tmp_path / "in.jsonl", source)
    path.write_text(path.read_text() + '{"text": \n')
    found = evaluated(tmp_path / "out", f"--input={path}", f"--model={model}")
    assert found["rows"] == {
        "in": 101,
        "scored": 95,
        "unlabelled": 2,
        "rejected": 4,
        "rejected_by_reason": {"unknown_label": 3, "invalid_json": 1},
        "lost": 0,
        "lost_weight": "counted",
        "lost_by_reason": {},
        "unknown_labels": ["great", "<i>"],
    }
    capsys.readouterr()
    run(f"--input={path}", f"--model={model}", "--max_rejected=0.03", f"--output={tmp_path}/no", code=1)
    said = capsys.readouterr().err
    assert "4 of 101 rows were rejected (4.0%" in said and "more than --max_rejected=0.03 allows" in said
    assert "the unknown labels begin with 'great', '<i>', and the model's are 'negative', 'positive'" in said
    assert not (tmp_path / "no" / "evaluation.json").exists()


def test_labels_may_be_numbers_or_be_named(tmp_path, model, corpus):
    expected = values(evaluated(tmp_path / "a", f"--input={corpus}", f"--model={model}"))
    source = gold_rows()
    numbers = write_jsonl(tmp_path / "n.jsonl", [{**row, "label": LABELS.index(row["label"])} for row in source])
    assert values(evaluated(tmp_path / "b", f"--input={numbers}", f"--model={model}")) == expected
    named = write_jsonl(tmp_path / "s.jsonl", [{**row, "label": row["label"].upper()} for row in source])
    flags = [f"--input={named}", f"--model={model}", "--labels=NEGATIVE:negative,POSITIVE:positive"]
    found = evaluated(tmp_path / "c", *flags)
    assert values(found) == expected
    assert found["gold"] == {"column": "label", "read_as": "mapped"}
    assert read(tmp_path / "b")["gold"]["read_as"] == "numbers from 0"
    assert read(tmp_path / "a")["gold"]["read_as"] == "names"
    # As pandas writes whole numbers of a column with gaps; and several values may mean one label.
    lines = [
        f"{i},{row['text']},{[1, 2, 4, 5][2 * LABELS.index(row['label']) + i % 2]}.0" for i, row in enumerate(source)
    ]
    (tmp_path / "f.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    flags = [f"--input={tmp_path}/f.csv", f"--model={model}"]
    labels = "--labels=1:negative,2:negative,4:positive,5:positive"
    assert values(evaluated(tmp_path / "d", *flags, labels)) == expected


def named(path: Path, labels: tuple[str, ...], **columns: Any) -> Path:
    """Answers in a file that names its labels, as `pipelines.classify` writes it."""
    pq.write_table(pa.table(columns).replace_schema_metadata({"seqcls_beam.labels": json.dumps(labels)}), path)
    return path


def test_numbers_and_names_with_digits_are_not_guessed_at(tmp_path, capsys):
    said = [LABELS[i % 2] for i in range(60)]
    gold = [str(i // 7 % 2) if i < 30 else LABELS[i // 7 % 2] for i in range(60)]
    mixed = named(tmp_path / "mixed.parquet", LABELS, gold=gold, label=said)
    run(f"--labeled={mixed}", "--label_column=gold", "--batch_rows=20", code=1)
    told = capsys.readouterr().err
    assert "the gold labels are a mix: 30 rows hold a label's name, such as 'negative'" in told
    assert "and 30 what would be its number, such as '0'" in told
    expected = np.mean([LABELS[i // 7 % 2] == LABELS[i % 2] for i in range(60)])
    labels = "--labels=0:negative,1:positive,negative:negative,positive:positive"
    run(f"--labeled={mixed}", "--label_column=gold", labels, f"--output={tmp_path}/mixed")
    assert values(read(tmp_path / "mixed"))["accuracy"] == expected
    for first, names in ((0, ("1", "2", "3")), (1, ("1 star", "2 stars", "3 stars"))):
        # The names "1" to "3" are there; only the 0 tells that they are not what is meant.
        numbers = [first + (i // 7) % 3 if i % 50 or first else 0 for i in range(60)]
        source = named(tmp_path / f"{first}.parquet", names, gold=numbers, label=[names[i % 3] for i in range(60)])
        flags = [f"--labeled={source}", "--label_column=gold"]
        run(*flags, "--max_rejected=1", code=1)
        told = capsys.readouterr().err
        assert f"the model's labels are {', '.join(map(repr, names))}: whether their numbers count from 0" in told
        assert "say with --labels what stands for what" in told
        run(
            *flags,
            "--labels=" + ",".join(f"{first + i}:{name}" for i, name in enumerate(names)),
            f"--output={tmp_path}/o",
        )
        right = np.mean([number - first == i % 3 for i, number in enumerate(numbers)])
        assert values(read(tmp_path / "o"))["accuracy"] == pytest.approx(right)
        shutil.rmtree(tmp_path / "o")
    run(*flags, "--labels=2:1 star,3:2 stars,4:3 stars", code=1)
    assert "the unknown labels begin with '1', and --labels has '2', '3', '4'" in capsys.readouterr().err
    truths = named(tmp_path / "b.parquet", LABELS, gold=[True, False], label=LABELS)
    run(f"--labeled={truths}", "--label_column=gold", code=1)
    assert "(see --labels, such as true:NAME)" in capsys.readouterr().err


def test_rows_of_shards_without_a_label_are_not_scored(tmp_path, model):
    source = gold_rows(60)
    train = write_jsonl(tmp_path / "train.jsonl", source)
    test = write_jsonl(
        tmp_path / "test.jsonl", [{"id": f"t{i}", "text": row["text"]} for i, row in enumerate(source[:40])]
    )
    flags = [f"--input_train={train}", f"--model={model}", "--profile=benchmark", "--keep_text", "--id_column=id"]
    shards = prepared.run(None, tmp_path / "prepared", f"--input_test={test}", *flags, "--labels=negative,positive")
    run(f"--data={shards}", f"--model={model}", code=1)
    found = evaluated(tmp_path / "out", f"--data={shards}", "--split=train", f"--model={model}")
    assert found["rows"]["scored"] == 60
    told = {row["id"]: row["text"] for row in found["worst"]}
    assert told.items() <= {row["id"]: row["text"] for row in source}.items()


def test_gates_decide_the_exit_code_after_all_is_written(tmp_path, model, corpus, capsys):
    flags = [f"--input={corpus}", f"--model={model}"]
    found = evaluated(tmp_path / "out", *flags, "--min_accuracy=0.99", "--min_f1=0.1", "--max_ece=0.001", code=3)
    assert [(gate["gate"], gate["passed"]) for gate in found["gates"]] == [
        ("min_accuracy", False),
        ("min_f1", True),
        ("max_ece", False),
    ]
    said = capsys.readouterr()
    assert f"--min_accuracy=0.99: accuracy is {values(found)['accuracy']:.4f} (95 % interval 0." in said.err
    assert "FAILED: accuracy" in said.out and "passed: macro_f1" in said.out
    assert "not passed" in (tmp_path / "out" / "report.html").read_text()
    run(*flags, "--min_auc=0.01")


def test_an_evaluation_is_replaced_only_when_told(tmp_path, model, corpus, capsys):
    flags = [f"--input={corpus}", f"--model={model}"]
    evaluated(tmp_path / "out", *flags)
    before = (tmp_path / "out" / "evaluation.json").read_bytes()
    evaluated(tmp_path / "out", *flags, "--bootstrap=0", code=1)
    assert "give --overwrite to replace it" in capsys.readouterr().err
    assert (tmp_path / "out" / "evaluation.json").read_bytes() == before
    found = evaluated(tmp_path / "out", *flags, "--bootstrap=0", "--overwrite")
    assert found["metrics"]["accuracy"]["ci"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_versions", "evaluation.json", "report.html"]


def test_the_same_evaluation_again_is_published_already_and_judged_as_it_was(tmp_path, model, capsys):
    source = parquet(tmp_path / "in.parquet", gold=list("abababab"), label=list("abababba"))
    out = tmp_path / "out"
    flags = [f"--labeled={source}", "--label_column=gold", f"--output={out}", "--bootstrap=0"]
    run(*flags, "--min_accuracy=0.9", code=3)
    before, first = files(out), capsys.readouterr()
    for more in ([], ["--overwrite"], ["--max_rejected=0.5"]):
        run(*flags, "--min_accuracy=0.9", *more, code=3)
        again = capsys.readouterr()
        assert "already published" in again.err and "--min_accuracy=0.9: accuracy is 0.75" in again.err
        assert again.out == first.out and files(out) == before
    for other in (
        ["--min_accuracy=0.8"],
        [],
        ["--min_accuracy=0.9", "--worst=1"],
        ["--min_accuracy=0.9", "--labels=a,b"],
    ):
        run(*flags, *other, code=1)
        assert "holds another run" in capsys.readouterr().err and files(out) == before
    (out / "report.html").unlink()
    run(*flags, "--min_accuracy=0.9", code=1)
    assert "holds this run, but report.html is gone; give --overwrite" in capsys.readouterr().err
    run(*flags, "--min_accuracy=0.9", "--overwrite", code=3)
    assert sorted(set(files(out)) - set(before)) == ["_versions/00000002.json"]
    parquet(source, gold=list("abababab"), label=list("abababab"))
    run(*flags, "--min_accuracy=0.9", code=1)
    assert "holds another run" in capsys.readouterr().err
    run(*flags, "--min_accuracy=0.9", "--overwrite")
    run(*flags, "--min_accuracy=0.9")
    assert "already published" in capsys.readouterr().err


def test_two_processes_make_the_same_evaluation_at_once(tmp_path, monkeypatch):
    source = parquet(tmp_path / "in.parquet", gold=["a", "b"], label=["a", "b"])
    flags = [f"--labeled={source}", "--label_column=gold", "--bootstrap=0"]
    publish = publication.publish_files

    def after_another(*told: Any) -> int:
        monkeypatch.setattr(document, "publish_files", publish)
        run(*flags, f"--output={tmp_path}/out")
        return publish(*told)

    monkeypatch.setattr(document, "publish_files", after_another)
    run(*flags, f"--output={tmp_path}/out")
    there = files(tmp_path / "out")
    assert sorted(there) == ["_versions/00000001.json", "evaluation.json", "report.html"]
    for part in json.loads(there["_versions/00000001.json"])["parts"]:
        assert hashlib.sha256(there[part["path"]]).hexdigest() == part["sha256"]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_answers_of_others_need_no_manifest(tmp_path, capsys):
    gold = ["a", "b", "c", "a", "b", None]
    said = ["a", "b", "b", "a", "c", "a"]
    plain = parquet(tmp_path / "plain.parquet", gold=gold, label=said)
    run(f"--labeled={plain}", "--label_column=gold", f"--output={tmp_path}/out", "--min_accuracy=0.6")
    found = read(tmp_path / "out")
    assert found["labels"] == ["a", "b", "c"] and found["rows"]["unlabelled"] == 1
    assert values(found)["macro_f1"] == pytest.approx(sk.f1_score(gold[:5], said[:5], average="macro"))
    assert "ece" not in found["metrics"] and found["worst"] == []
    run(f"--labeled={plain}", "--label_column=gold", "--max_ece=0.1", code=2)
    assert "--max_ece=0.1 needs the probabilities" in capsys.readouterr().err
    scores = [[0.9, 0.1], [0.2, 0.8]]
    scored = parquet(tmp_path / "scored.parquet", gold=["x", "y"], label=["x", "y"], scores=scores)
    run(f"--labeled={scored}", "--label_column=gold", code=2)
    assert "give the labels in their order with --labels" in capsys.readouterr().err
    run(f"--labeled={scored}", "--label_column=gold", "--labels=x,y", f"--output={tmp_path}/two")
    assert values(read(tmp_path / "two"))["auc"] == 1
    bad = parquet(tmp_path / "bad.parquet", gold=["x", "y"], label=["x", "y"], scores=[[0.9, 0.3], [0.2, 0.8]])
    run(f"--labeled={bad}", "--label_column=gold", "--labels=x,y", code=1)
    assert "do not sum up to 1" in capsys.readouterr().err


def answered(tmp_path: Path, name: str, folder: Path, rows: list[dict[str, Any]], *flags: str) -> Path:
    """What `pipelines.classify` makes of rows."""
    source, out = write_jsonl(tmp_path / f"{name}.jsonl", rows), tmp_path / name
    assert classify.main([f"--input={source}", f"--model={folder}", f"--output={out}", "--threads=1", *flags]) == 0
    return out


def test_runs_of_different_models_are_not_evaluated_together(tmp_path, model, capsys):
    keep = "--keep_columns=label"
    one = answered(tmp_path, "one", model, gold_rows(40), keep)
    more = answered(tmp_path, "more", model, gold_rows(40, seed=5), keep)
    other = answered(tmp_path, "other", tiny.checkpoint(tmp_path / "m", labels=LABELS[::-1]), gold_rows(40), keep)
    run("--labeled", f"{one}", f"{more}", f"--output={tmp_path}/out")
    told = [pq.read_table(next((each / "labels").glob("*.parquet"))) for each in (one, more)]
    right = [
        a == b for each in told for a, b in zip(*(each[n].to_pylist() for n in ("label", "input_label")), strict=True)
    ]
    assert values(read(tmp_path / "out"))["accuracy"] == np.mean(right)
    run("--labeled", f"{one}", f"{other}", code=2)
    said = capsys.readouterr().err
    assert "runs of different models" in said and "'negative', 'positive'" in said and "'positive', 'negative'" in said
    # Files are known by what they name themselves.
    run("--labeled", f"{one}", f"{more}/labels/*.parquet", f"--output={tmp_path}/b")
    assert values(read(tmp_path / "b")) == values(read(tmp_path / "out"))
    run("--labeled", f"{one}", f"{other}/labels/*.parquet", code=1)
    assert "has the labels 'positive', 'negative', and the other files have" in capsys.readouterr().err
    bare = tmp_path / "bare.parquet"
    pq.write_table(told[0].replace_schema_metadata(None), bare)
    run("--labeled", f"{one}", f"{bare}", code=1)
    assert "bare.parquet does not name its labels" in capsys.readouterr().err


def test_rows_that_the_run_rejected_are_counted(tmp_path, model, capsys):
    source = gold_rows(50)
    for number in range(10):
        source[number]["text"] = ""
    out = answered(tmp_path, "out", model, source, "--keep_columns=label", "--max_rejected=0.5")
    run(f"--labeled={out}", code=1)
    assert (
        "10 of 50 rows were rejected (20.0%: 10 empty_text), more than --max_rejected=0.05 allows"
        in capsys.readouterr().err
    )
    run(f"--labeled={out}", "--max_rejected=0.2", f"--output={tmp_path}/told")
    found = read(tmp_path / "told")["rows"]
    assert (found["in"], found["scored"], found["rejected_by_reason"]) == (50, 40, {"empty_text": 10})


def test_the_threshold_is_that_of_the_run(tmp_path, capsys):
    names = ("joy", "anger", "fear")
    folder = tiny.checkpoint(tmp_path / "model", labels=names, problem="multi_label_classification")
    draws = np.random.default_rng(0)
    source: list[dict[str, Any]] = [
        {"text": text, "tags": [name for name in names if draws.random() < 0.4]} for text in texts(60, seed=3)
    ]
    out = answered(tmp_path, "out", folder, source, "--keep_columns=tags", "--threshold=0.2")
    gold = np.array([[name in row["tags"] for name in names] for row in source])
    scores = plain_scores(folder, [row["text"] for row in source])
    run(f"--labeled={out}", "--label_column=tags", f"--output={tmp_path}/a")
    found = read(tmp_path / "a")
    assert found["threshold"] == 0.2
    assert values(found)["micro_f1"] == pytest.approx(sk.f1_score(gold, scores >= 0.2, average="micro"))
    capsys.readouterr()
    run(f"--labeled={out}", "--label_column=tags", "--threshold=0.4", f"--output={tmp_path}/b")
    assert "--threshold=0.4 decides which labels are assigned; the answers were assigned from 0.2 on" in (
        capsys.readouterr().err
    )
    assert values(read(tmp_path / "b"))["micro_f1"] == pytest.approx(sk.f1_score(gold, scores >= 0.4, average="micro"))
    other = answered(tmp_path, "other", folder, source, "--keep_columns=tags")
    run("--labeled", f"{out}", f"{other}", "--label_column=tags", code=2)
    assert "assigned labels from 0.2 and 0.5 on" in capsys.readouterr().err
    # Without the manifest nothing says what the threshold was, and the two columns do not fit.
    run(f"--labeled={out}/labels/*.parquet", "--label_column=tags", code=1)
    assert "the scores contradict the column 'labels'" in capsys.readouterr().err


def test_labels_that_contradict_their_scores_are_refused(tmp_path, capsys):
    said, scores = ["x", "y"] * 20, [[0.9, 0.1], [0.2, 0.8]] * 20
    flags = [
        f"--labeled={parquet(tmp_path / 'in.parquet', gold=said, label=said, scores=scores)}",
        "--label_column=gold",
    ]
    run(*flags, "--labels=y,x", code=1)
    assert (
        "the scores contradict the column 'label': it says 'x' where they say y 0.9, x 0.1" in capsys.readouterr().err
    )
    tied = parquet(tmp_path / "tied.parquet", gold=said, label=["y", "y"] * 20, scores=[[0.5, 0.5], [0.2, 0.8]] * 20)
    run(f"--labeled={tied}", "--label_column=gold", "--labels=x,y")
    # The numbers of labels are understood beside scores.
    counted = parquet(tmp_path / "n.parquet", gold=said, label=[0, 1] * 20, scores=scores)
    run(f"--labeled={counted}", "--label_column=gold", "--labels=x,y", f"--output={tmp_path}/out")
    assert values(read(tmp_path / "out"))["accuracy"] == 1


def test_only_what_answers_say_is_known_of_labels(tmp_path, capsys):
    said = ["neg", "pos"] * 30
    gold = [*said[:-2], "Pos", "???"]
    source = parquet(tmp_path / "in.parquet", gold=gold, label=said)
    run(f"--labeled={source}", "--label_column=gold", f"--output={tmp_path}/a")
    found = read(tmp_path / "a")
    assert found["labels"] == ["neg", "pos"] and found["rows"]["unknown_labels"] == ["Pos", "???"]
    assert found["rows"]["rejected_by_reason"] == {"unknown_label": 2} and values(found)["macro_f1"] == 1
    run(f"--labeled={source}", "--label_column=gold", "--labels=neg,pos,Pos,???", f"--output={tmp_path}/b")
    expected = sk.f1_score(gold, said, average="macro", zero_division=0)
    assert values(read(tmp_path / "b"))["macro_f1"] == pytest.approx(expected)
    numbers = parquet(tmp_path / "n.parquet", gold=[0, 1] * 30, label=said)
    run(f"--labeled={numbers}", "--label_column=gold", code=2)
    assert "holds '0', '1', and the answers are 'neg', 'pos': they have nothing in common" in capsys.readouterr().err
    run(f"--labeled={numbers}", "--label_column=gold", "--labels=0:neg,1:pos", f"--output={tmp_path}/c")
    assert values(read(tmp_path / "c"))["accuracy"] == 1


def test_gold_and_answers_that_are_nothing_are_counted(tmp_path, capsys):
    gold = ["1.5", "2", "4,5", "n/a", "", None] * 10
    source = parquet(tmp_path / "in.parquet", gold=gold, score=[1.0, 2, 3, 4, 5, 6] * 10)
    run(f"--labeled={source}", "--label_column=gold", "--max_mse=5", code=1)
    said = capsys.readouterr().err
    assert "20 of 60 rows were rejected" in said and "what is no finite number: '4,5', 'n/a'" in said
    flags = [f"--labeled={source}", "--label_column=gold", "--max_rejected=0.4", "--max_mse=5"]
    run(*flags, f"--output={tmp_path}/out")
    assert "warning: 20 of 60 rows have no gold label, and the gates see only the others" in capsys.readouterr().err
    told = read(tmp_path / "out")["rows"]
    assert (told["scored"], told["unlabelled"], told["rejected"]) == (20, 20, 20)
    run(*flags, "--max_unlabelled=0.3", code=1)
    assert "20 of 60 rows have no gold label, more than --max_unlabelled=0.3 allows" in capsys.readouterr().err
    empty = parquet(tmp_path / "empty.parquet", gold=["a", "b", "a", "b"], label=["a", "", "b", "b"])
    run(f"--labeled={empty}", "--label_column=gold", "--max_rejected=0.5", f"--output={tmp_path}/e")
    assert read(tmp_path / "e")["rows"]["rejected_by_reason"] == {"missing_answer": 1}
    assert values(read(tmp_path / "e"))["accuracy"] == pytest.approx(2 / 3)


def test_whatever_identifies_a_row_is_shown_as_text(tmp_path):
    columns = {
        "id": pa.array([Decimal("1.5"), Decimal("2")]),
        "day": pa.array([1, None], pa.date32()),
        "gold": ["a", "b"],
        "label": ["a", "a"],
        "scores": [[0.8, 0.2], [0.7, 0.3]],
    }
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold", "--labels=a,b"]
    run(*flags, "--id_column=id", "--slice_by=day", f"--output={tmp_path}/out")
    assert [row["id"] for row in read(tmp_path / "out")["worst"]] == ["2.0", "1.5"]


def test_an_evaluation_is_written_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    source = parquet(tmp_path / "in.parquet", gold=["a", "b"], label=["a", "b"])
    flags = [f"--labeled={source}", "--label_column=gold", f"--output={tmp_path}/out"]
    run(*flags)
    before = files(tmp_path / "out")
    assert sorted(before) == ["_versions/00000001.json", "evaluation.json", "report.html"]
    put = storage.put

    def full(uri: str, data: bytes, scratch: str | None = None) -> None:
        if uri.endswith(".json"):
            raise OSError(28, "No space left on device")
        put(uri, data, scratch)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", full)
        run(*flags, "--overwrite", "--bootstrap=0", code=1)
    assert "cannot be written: [Errno 28] No space left" in capsys.readouterr().err
    assert files(tmp_path / "out") == before
    monkeypatch.setattr("seqcls_beam.reports.evaluate.page", lambda found: 1 / 0)
    run(*flags, "--overwrite", "--bootstrap=0", code=1)
    assert "ZeroDivisionError: division by zero (a fault of the program; --debug" in capsys.readouterr().err
    assert files(tmp_path / "out") == before
    monkeypatch.undo()
    run(*flags, "--bootstrap=0", code=1)
    assert "give --overwrite to replace it" in capsys.readouterr().err and files(tmp_path / "out") == before
    run(*flags, "--overwrite", "--bootstrap=0")
    after = files(tmp_path / "out")
    assert sorted(after) == ["_versions/00000001.json", "_versions/00000002.json", "evaluation.json", "report.html"]
    assert before.pop("_versions/00000001.json") == after["_versions/00000001.json"]
    assert all(after[name] != data for name, data in before.items())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_cannot_be_is_one_sentence(tmp_path, capsys, place):
    (tmp_path / "file").write_text("mine")
    source = parquet(tmp_path / "in.parquet", gold=["a", "b"], label=["a", "b"])
    run(f"--labeled={source}", "--label_column=gold", f"--output={tmp_path}/{place}", code=1)
    said = capsys.readouterr().err
    assert said.startswith(f"seqcls_beam: --output={tmp_path}/{place} cannot be written: ") and said.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_columns_are_named_without_types(tmp_path, model, capsys):
    rows = [{**row, "a:bool": row["label"] == "positive", "b:string": "x"} for row in gold_rows(40)]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    for flag in ("--slice_by=shop:string", "--label_column=label:string", "--slice_by=*"):
        run(f"--input={source}", f"--model={model}", flag, code=2)
        said = capsys.readouterr().err
        assert f"no column {flag.split('=')[1]!r} in the first files" in said and "without a type" in said
    found = evaluated(tmp_path / "out", f"--input={source}", f"--model={model}", "--slice_by=a:bool,b:string")
    assert {group["value"]: group["rows"] for group in found["slices"]["a:bool"]} == {
        "true": sum(row["label"] == "positive" for row in rows),
        "false": sum(row["label"] == "negative" for row in rows),
    }
    assert [group["value"] for group in found["slices"]["b:string"]] == ["x"]


def test_a_slice_without_a_metric_takes_no_column_away(tmp_path, capsys):
    gold = [*[1.0] * 20, *np.arange(10.0)]
    columns = {
        "gold": gold,
        "score": np.arange(30.0),
        "shop": ["a"] * 20 + ["b"] * 10,
        "key": list(map(str, range(30))),
    }
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold"]
    run(*flags, "--slice_by=shop")
    assert "Pearson correlation" in capsys.readouterr().out.split("by shop")[1]


def test_a_column_of_too_many_values_is_told_and_left_out(tmp_path, capsys):
    columns = {"gold": ["a", "b"] * 600, "label": ["a", "a"] * 600, "key": list(range(1200)), "shop": ["s"] * 1200}
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold", "--labels=a,b"]
    run(*flags, "--slice_by=key,shop", f"--output={tmp_path}/out")
    found = read(tmp_path / "out")
    assert found["unsliced"] == ["key"] and list(found["slices"]) == ["shop"]
    assert "key has more than 1,000 values" in capsys.readouterr().out
    assert "key has too many values to slice by" in (tmp_path / "out" / "report.html").read_text()


def test_classes_and_numbers_are_not_mistaken(tmp_path, capsys):
    columns = {"gold": [1.0, 2.0, 3.0], "label": [1.0, 2.5, 3.0], "score": [1.0, 2.5, 3.0]}
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold"]
    run(*flags, code=2)
    assert "are the answers classes, or the numbers of a regression?" in capsys.readouterr().err
    run(*flags, "--labels=stars", f"--output={tmp_path}/out")
    found = read(tmp_path / "out")
    assert found["problem"] == "regression" and values(found)["mse"] == pytest.approx(0.25 / 3)


def test_the_pattern_that_finds_nothing_is_named(tmp_path, capsys):
    run(f"--labeled={tmp_path}/*.parquet", code=2)
    assert f"--labeled={tmp_path}/*.parquet matches no file" in capsys.readouterr().err
    (tmp_path / "x.csv").write_text("a,b\n")
    run(f"--labeled={tmp_path}/x.csv", code=2)
    assert "x.csv is no Parquet file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "first", "then"), [("scored", "reading", "rows/s"), ("labelled", "loading the model", "texts/s")]
)
def test_progress_says_what_is_done(tmp_path, monkeypatch, capsys, verb, first, then):
    monkeypatch.setattr(live, "PLAIN_SECONDS", 0.05)
    folder = str(tmp_path / "told")
    with told_in(folder) as reader, watching(reader, 100, verb):
        time.sleep(0.2)
        progress.report(folder, rows=5, bytes=50)
        time.sleep(0.8)
        progress.report(folder, rows=5, bytes=10)
        time.sleep(0.8)
    assert not (tmp_path / "told").exists()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == first and lines.count(first) == 1, "once, however long it takes"
    assert f"{verb} 5 rows (50%)" in lines, "nobody knows yet how fast it is"
    assert re.fullmatch(rf"{verb} 10 rows \(60%\), [1-9]\d* {then}, [1-9]\d* s left", lines[-1])


def test_progress_of_answers_is_that_of_scoring(tmp_path, monkeypatch):
    told = []

    def noted(reader: Any, size: int, verb: str) -> Any:
        told.append(verb)
        return watching(reader, size, verb)

    monkeypatch.setattr(evaluating, "watching", noted)
    source = parquet(tmp_path / "in.parquet", gold=["a", "b"], label=["a", "b"])
    run(f"--labeled={source}", "--label_column=gold")
    assert told == ["scored"]


@pytest.mark.parametrize(
    ("columns", "code", "said"),
    [
        ({"gold": ["x", "y"], "label": ["x", "y"], "scores": [[0.9, 0.1], [float("nan"), 0.5]]}, 1, "no probabilities"),
        ({"gold": ["x", "y"], "label": ["x", "y"], "scores": [[0.9, 0.1, 0.0]] * 2}, 1, "rows of 3 values"),
        ({"gold": [1.0, 2.0], "score": [float("inf"), 0.5]}, 1, "no finite numbers"),
        ({"gold": [{"a": 1}], "label": ["x"]}, 2, "--label_column=gold holds struct<a: int64>"),
        ({"gold": ["x"], "label": ["x"], "shop": [b"x"]}, 2, "--slice_by=shop holds binary"),
        ({"gold": ["x"]}, 2, "no column of answers"),
        ({"gold": [["x"]], "labels": [[]], "nobody": [1]}, 2, "nothing stands in 'labels'"),
        ({"gold": ["x"], "label": ["x"], "shop": ["s"], "x": [1]}, 0, ""),
    ],
)
def test_answers_that_cannot_be_used_are_told(tmp_path, capsys, columns, code, said):
    source = parquet(tmp_path / "in.parquet", **columns)
    flags = ["--labels=x,y"] * (not {"score", "nobody"} & set(columns)) + ["--slice_by=shop"] * ("shop" in columns)
    run(f"--labeled={source}", "--label_column=gold", *flags, code=code)
    assert said in capsys.readouterr().err


def test_labels_numbers_and_lists_of_any_arrow_type(tmp_path):
    said, scores = ["a", "b", "a"], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    told = []
    for number, (gold, kind) in enumerate(
        [
            (pa.array(["a", "b", "b"]).dictionary_encode(), pa.list_(pa.float32(), 2)),
            (pa.array(["a", "b", "b"], pa.large_string()), pa.large_list(pa.float64())),
            (pa.array([0, 1, 1], pa.int8()), pa.list_(pa.float32())),
        ]
    ):
        source = parquet(tmp_path / f"{number}.parquet", gold=gold, label=said, scores=pa.array(scores, kind))
        out = tmp_path / str(number)
        # The numbers of labels count only where no --labels says otherwise.
        labels = "--labels=a,b" if number < 2 else "--labels=0:a,1:b"
        run(f"--labeled={source}", "--label_column=gold", labels, f"--output={out}")
        told.append(values(read(out)))
    assert told[0] == told[1] == told[2] and told[0]["accuracy"] == 2 / 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "nothing to evaluate: give one of --input"),
        (("--input=x", "--data=y"), "--input and --data are given: give one of"),
        (
            ("--data={tmp}/none", "--model={model}"),
            "nothing is published there; is this a folder that pipelines.prepare",
        ),
        (("--input={tmp}/none.jsonl",), "matches no file"),
        (("--input={corpus}", "--model={model}", "--label_column=gold"), "'id', 'text', 'label', 'shop'"),
        (("--input={corpus}", "--model={model}", "--slice_by=country"), "no column 'country'"),
        (("--input={corpus}", "--model={model}", "--overwrite"), "--overwrite is for --output"),
        (("--input={corpus}", "--model={model}", "--keep_source"), "unknown flag --keep_source"),
        (("--input={corpus}", "--model={model}", "--label_column=stars"), "--label_columns or --slice_by)\n"),
        (("--input={corpus}", "--model={model}", "--labels=bad,good"), "--labels names 'bad', 'good'"),
        (("--input={corpus}", "--model={model}", "--min_pearson=0.5"), "--min_pearson=0.5 is for regression models"),
        (("--input={corpus}", "--model={model}", "--positive_label=good"), "the labels are 'negative', 'positive'"),
        (("--input={corpus}", "--model={model}", "--label_separator=,"), "has one answer a row"),
        (("--input={corpus}", "--model={tmp}/nothing"), "nothing"),
        (("--input={corpus}", "--min_f1=2"), "--min_f1=2.0: expected at most 1"),
        (("--data=x", "--max_length=9"), "--max_length does nothing with --data"),
        (("--labeled=x", "--model=y"), "--model does nothing with --labeled"),
        (("--split=test", "--input={corpus}"), "--split=test is for --data"),
        (("--input={corpus}", "--wrong=1"), "unknown flag --wrong=1"),
        (("--input={corpus}", "--runner=DataflowRunner"), "--output is missing"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(tmp_path, model, corpus, capsys, flags, said):
    given = [each.format(tmp=tmp_path, model=model, corpus=corpus) for each in flags]
    run(*given, code=2)
    assert said in capsys.readouterr().err


def test_shards_of_another_model_are_refused(tmp_path, model, corpus, capsys):
    flags = ["--profile=benchmark", "--test_fraction=0.2", "--validation_fraction=0"]
    shards = prepared.run(corpus, tmp_path / "prepared", *flags, f"--model={model}", "--labels=positive,negative")
    run(f"--data={shards}", f"--model={model}", code=2)
    assert "has the labels 'positive', 'negative'" in capsys.readouterr().err
    other = tiny.checkpoint(tmp_path / "other", "roberta", labels=("positive", "negative"))
    run(f"--data={shards}", f"--model={other}", code=2)
    assert "the tokenizer of" in capsys.readouterr().err
    several = shutil.copytree(model, tmp_path / "several")
    config = json.loads((several / "config.json").read_text())
    (several / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))
    run(f"--data={shards}", f"--model={several}", code=2)
    assert "is single_label data" in capsys.readouterr().err
    run(f"--data={shards}", "--split=validation", f"--model={model}", code=2)
    assert "holds test, train" in capsys.readouterr().err
    run(f"--labeled={shards}", code=2)
    assert "give it as --data" in capsys.readouterr().err


def test_columns_that_are_called_as_what_is_told_of_a_row_stay_the_users(tmp_path):
    source = ["web", "mail"] * 20
    columns = {"gold": ["x", "y"] * 20, "label": ["x", "x"] * 20, "source": source, "position": ["top"] * 40}
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold"]
    run(*flags, "--labels=x,y", "--slice_by=source,position", f"--output={tmp_path}/out")
    found = read(tmp_path / "out")
    shown = {name: {each["value"]: each["rows"] for each in groups} for name, groups in found["slices"].items()}
    assert shown == {"source": {"web": 20, "mail": 20}, "position": {"top": 40}}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"gold": ["a,b"], "labels": ["a,b"]}, "a column 'labels' of string: expected lists of labels"),
        ({"gold": ["a"], "label": [{"name": "a"}]}, "expected labels"),
        ({"gold": ["a"], "label": ["a"], "scores": [0.5]}, "a column 'scores' of double: expected lists of prob"),
        ({"gold": ["a"], "label": ["a"], "scores": [["a"]]}, "expected lists of probabilities"),
        ({"gold": [1.0], "score": ["high"]}, "a column 'score' of string: expected numbers"),
    ],
)
def test_answers_of_a_type_they_cannot_have_are_refused(columns, said, tmp_path, capsys):
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold"]
    names = ["--labels=a,b"] if "scores" in columns else []
    run(*flags, *names, *(["--label_separator=,"] if "labels" in columns else []), code=2)
    assert said in capsys.readouterr().err


def test_columns_that_only_share_a_name_with_those_of_classify_are_let_be(tmp_path):
    columns = {"gold": ["x", "y"], "label": ["x", "x"], "labels": ["a", "b"], "tokens": [["a"], ["b"]]}
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns, truncated=['no', 'no'])}", "--label_column=gold"]
    run(*flags, "--labels=x,y", f"--output={tmp_path}/out")
    found = read(tmp_path / "out")
    assert found["problem"] == "single_label" and values(found)["accuracy"] == 0.5


def test_assigned_labels_without_scores_have_no_threshold(tmp_path, capsys):
    columns = {"gold": [["a"], ["a", "b"]], "labels": [["a"], ["b"]]}
    flags = [f"--labeled={parquet(tmp_path / 'in.parquet', **columns)}", "--label_column=gold"]
    run(*flags, f"--output={tmp_path}/out")
    assert read(tmp_path / "out")["threshold"] is None
    run(*flags, "--threshold=0.3", code=2)
    assert "--threshold=0.3 is for scores, and there are none" in capsys.readouterr().err


def test_a_model_is_not_what_labeled_names(tmp_path, capsys):
    write_version(tmp_path / "model", {"kind": "finetune"})
    run(f"--labeled={tmp_path}/model", code=2)
    assert "give it as --model" in capsys.readouterr().err


def test_the_command_that_is_told_can_be_run(tmp_path, model, corpus, capsys):
    first = evaluated(tmp_path / "a", f"--input={corpus}", f"--model={model}", "--slice_by=shop")
    words = shlex.split(first["command"])
    assert words[:3] == ["python", "-m", "pipelines.evaluate"]
    run(*words[3:])
    assert "already published" in capsys.readouterr().err and read(tmp_path / "a") == first
    shutil.rmtree(tmp_path / "a")
    run(*words[3:])
    assert lasting(read(tmp_path / "a")) == lasting(first)
    answers = parquet(tmp_path / "in.parquet", gold=["x", "y"], label=["x", "x"])
    run(f"--labeled={answers}", "--label_column=gold", "--labels=x,y", f"--output={tmp_path}/b")
    run(*shlex.split(read(tmp_path / "b")["command"])[3:])
    assert "already published" in capsys.readouterr().err


def test_windows_whose_maxima_are_taken_are_scored(tmp_path, model, corpus):
    flags = ["--overflow=window", "--pooling=max", "--max_length=32", "--stride=8"]
    found = evaluated(tmp_path / "out", f"--input={corpus}", f"--model={model}", *flags)
    assert found["rows"]["scored"] == 240


def test_no_rows_are_no_evaluation(tmp_path, model, capsys):
    (tmp_path / "in.jsonl").write_text("")
    run(f"--input={tmp_path}/in.jsonl", f"--model={model}", code=1)
    assert "no row could be scored: there are no rows" in capsys.readouterr().err


def test_rows_of_one_class_are_evaluated(tmp_path, model):
    rows = [{**row, "label": "positive"} for row in gold_rows(30)]
    found = evaluated(tmp_path / "out", f"--input={write_jsonl(tmp_path / 'in.jsonl', rows)}", f"--model={model}")
    assert "auc" not in found["metrics"] and found["baseline"]["accuracy"] == 1


def test_a_missing_package_is_one_sentence(corpus, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    run(f"--input={corpus}", code=2)
    said = capsys.readouterr().err
    assert said == ("seqcls_beam: scikit-learn is missing, which evaluation needs: pip install 'seqcls_beam[train]'\n")


def test_an_interruption_writes_nothing(tmp_path, model, corpus, monkeypatch, capsys):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluating, "build", interrupted)
    run(f"--input={corpus}", f"--model={model}", f"--output={tmp_path}/out", code=130)
    assert "interrupted: nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.shared
def test_the_bundled_checkpoint_on_sst2(tmp_path, shared):
    flags = [f"--input={shared}/sst2/dev.tsv", "--text_column=sentence", "--labels=0:negative,1:positive"]
    found = evaluated(tmp_path / "out", *flags)
    assert values(found)["accuracy"] == pytest.approx(0.899, abs=0.0005)
