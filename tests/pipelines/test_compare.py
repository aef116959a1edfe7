"""The command that compares: what it prints, what it writes, how it ends."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from pipelines import classify, compare
from seqcls_beam.runs.table import read_manifest
from tests import tiny
from tests.corpora import labels, texts, write_jsonl
from tests.evaluation.nights import EDGES, night
from tests.runs.attempts import write_version

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text()


@pytest.fixture(autouse=True)
def nights(tmp_path, monkeypatch):
    """Some runs, in the working folder."""
    monkeypatch.chdir(tmp_path)
    longer = {"edges": EDGES, "counts": [0, 0, 4000, 6000, 0]}
    write_version(tmp_path / "first", night({"negative": 5000, "positive": 5000}))
    write_version(tmp_path / "like", night({"negative": 5050, "positive": 4950}))
    write_version(tmp_path / "other", night({"negative": 6000, "positive": 4000}, token_histogram=longer))
    return tmp_path


def test_runs_that_are_alike(capsys):
    assert compare.main(["first", "like", "like"]) == 0
    shown, said = capsys.readouterr()
    assert shown.count("like beside first") == 2 and said == ""
    assert re.search(r"labels, shift in points +0\.50 +0\.56 +2\.47 +5  within\n", shown)
    assert re.search(r"lengths, PSI +0\.0000 +0\.0000 +0\.0000 +0\.25  within\n", shown)
    assert re.search(r"negative +50\.00%  50\.50% +\+0\.50\n", shown)
    assert "m dddddddddddd" in shown and "packed float32 cpu" in shown


def test_a_change_beyond_its_limit(capsys):
    assert compare.main(["first", "like", "other"]) == 3
    shown, said = capsys.readouterr()
    assert shown.count("BEYOND") == 2 and len(said.splitlines()) == 2
    assert "seqcls_beam: --max_label_shift=0.05: other: label_shift of negative is 0.1000" in said
    assert "seqcls_beam: --max_token_psi=0.25: other: token_psi is " in said
    allowed = ["--max_label_shift=0.2", "--max_token_psi", "inf"]
    assert compare.main([*allowed[:1], "first", *allowed[1:], "other"]) == 0, "options may stand anywhere"
    assert re.search(r"lengths, PSI.*none  within", capsys.readouterr().out)


def test_a_line_of_the_table_fits_into_eighty_columns(capsys, tmp_path):
    write_version(tmp_path / "three", night({"negative": 1, "neutral": 1, "positive": 1}))
    assert compare.main(["first", "other", "three"]) == 3
    shown, said = capsys.readouterr()
    assert max(map(len, shown.splitlines())) + 3 * 7 - 2 * 6 <= 80, "with lines around six columns, as on a terminal"
    assert not re.search(r"[│┃━─]| $", shown, re.MULTILINE), "nor are there lines, or blanks at an end, in a pipe"
    assert shown.count("REFUSED") == 2 and said.count("the labels of the reference are negative, positive, and") == 1


def test_what_is_not_told_is_said_below_the_table(capsys, tmp_path):
    earlier = night({"negative": 5000, "positive": 5000})
    write_version(tmp_path / "earlier", {key: each for key, each in earlier.items() if key != "token_histogram"})
    assert compare.main(["earlier", "first"]) == 0
    shown = capsys.readouterr().out
    assert "not told" in shown and shown.endswith("lengths, PSI: earlier did not count them\n")


@pytest.mark.parametrize("name", ["pipe", "first", "first/_versions/00000001.json/said.json", "/dev/null"])
def test_a_document_that_cannot_be_written_is_told_before_anything_is_compared(capsys, name):
    Path("pipe").unlink(missing_ok=True)
    os.mkfifo("pipe")
    assert compare.main(["first", "other", f"--json={name}"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and f"--json={name} cannot be written: " in shown.err and shown.err.count("\n") == 1


def test_what_is_measured_as_json(capsys):
    assert compare.main(["first", "other", "--json=drift/found.json"]) == 3
    written = json.loads(Path("drift/found.json").read_text())
    table = capsys.readouterr().out
    assert compare.main(["first", "other", "--json", "-"]) == 3
    shown, said = capsys.readouterr()
    found = json.loads(shown)  # nothing but JSON is on the standard output
    assert found.pop("seconds") > 0 and written.pop("seconds") > 0
    assert found == written and table in said
    assert found["errors"] == [
        line.removeprefix("seqcls_beam: ") for line in said.splitlines()[-len(found["errors"]) :]
    ]
    assert (written["kind"], written["passed"], written["reference"]["name"]) == ("compare", False, "first")
    (run,) = written["runs"]
    assert (run["name"], run["version"], run["rows"]["labeled"]) == ("other", 1, 10_000)
    assert {each["measure"]: each["verdict"] for each in run["measures"]}["token_psi"] == "beyond"


def test_a_run_beside_what_it_replaced(capsys, nights):
    later = night({"negative": 5000, "positive": 5000})
    path = write_version(nights / "first", later, version=2)
    path.rename(path.with_name("00000002.json"))
    write_version(nights / "first", night({"negative": 9000, "positive": 1000}))
    assert compare.main(["first/_versions/00000001.json", "first"]) == 3
    assert re.search(r"negative +90\.00%  50\.00% +-40\.00", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        ([], 2, "0 runs are named, and two are needed at least"),
        (["first"], 2, "1 runs are named"),
        (["first", "like", "--max_label_shift=2"], 2, "--max_label_shift=2.0: expected at most 1"),
        (["first", "like", "--max_token_psi=nan"], 2, "--max_token_psi=nan: expected at least 0"),
        (["first", "like", "--json="], 2, "--json is empty"),
        (["first", "like", "--nothing"], 2, "--nothing"),
        (["first", ""], 2, "an empty name is no file"),
        (["first", "missing"], 1, "missing holds no published run"),
        (["missing", "like"], 1, "missing holds no published run"),
        (["first", "like", "--json=first"], 1, "first is a folder, where a file is due"),
        (["first", "nosuch://bucket/out"], 2, "nosuch"),
    ],
)
def test_one_sentence_says_what_is_wrong(capsys, args, code, why):
    assert compare.main(args) == code
    said = capsys.readouterr().err
    assert why in said and len(said.splitlines()) == 1


def test_help_says_everything(capsys):
    with pytest.raises(SystemExit) as end:
        compare.main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and "exit codes: 0 within all limits; 1 failed; 2 wrong usage; 3 compared" in shown
    for group in compare.GROUPS.values():
        for name in vars(group()):
            assert f"--{name} " in shown


def test_the_recipe_runs_as_it_stands(capsys, nights):
    (recipe,) = re.findall(r"^python -m pipelines\.compare (.*)$", PAGE, re.MULTILINE)
    words = shlex.split(recipe)
    folders = [word for word in words if not word.startswith("--")]
    for folder in folders:
        output, partition = folder.split("/labels/")
        path = write_version(nights / "made", night({"a": 2000, "b": 2000}), partition=partition)
        target = nights / output / "_versions" / partition / path.name
        target.parent.mkdir(parents=True)
        os.replace(path, target)
    assert compare.main(words) == 0
    assert f"{folders[1]} beside {folders[0]}" in capsys.readouterr().out


@pytest.mark.engine
@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_what_a_labelling_counts_is_what_its_rows_hold(problem, capsys, nights):
    tiny.checkpoint(nights / "model", labels=("a", "b", "c")[: 1 if problem == "regression" else 3], problem=problem)
    write_jsonl(nights / "in.jsonl", [{"text": text} for text in texts(300, longest=60)])
    command = ["--input=in.jsonl", "--model=model", "--output=out", "--threads=1", "--max_length=48"]
    assert classify.main(command) == 0
    rows, manifest = labels(nights / "out"), read_manifest("out")
    assert manifest is not None
    told = manifest["token_histogram"]
    assert told["counts"] == np.histogram(rows["tokens"], [-np.inf, *told["edges"], np.inf])[0].tolist()
    if problem == "regression":
        told, top = manifest["value_histogram"], rows["score"].to_pylist()
        assert told["counts"] == np.histogram(top, [-np.inf, *told["edges"], np.inf])[0].tolist()
    else:
        top = [max(each) for each in rows["scores"].to_pylist()]
        assert manifest["score_histogram"]["counts"] == np.histogram(top, 20, (0, 1))[0].tolist()
    assert compare.main(["out", "out/_versions/00000001.json"]) == 0
    shown = capsys.readouterr().out
    assert ("labels, PSI" in shown) == (problem != "regression") and "not told" not in shown
