"""What a command says to programs: one object on the standard output, lines of JSON on the other, or nothing."""

import json
import logging
import re
from importlib import import_module

import pytest

from pipelines import classify, clean, compare, evaluate, outcome
from seqcls_beam.__main__ import COMMANDS
from tests import tiny
from tests.corpora import texts, write_jsonl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("spoken")
    rows = [{"id": i, "text": text, "gold": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(30))]
    write_jsonl(made / "in.jsonl", [*rows, {"id": 30, "text": None}])
    tiny.checkpoint(made / "model")
    return made


@pytest.fixture
def flags(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [f"--input={folder}/in.jsonl", f"--model={folder}/model", "--threads=1", "--output=out"]


@pytest.mark.engine
def test_json_is_one_object_with_the_facts_of_the_run(flags, capsys, tmp_path):
    assert classify.main([*flags, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    (version,) = (tmp_path / "out" / "_versions").iterdir()
    manifest = json.loads(version.read_text())
    (run,) = found["runs"]
    assert (found["command"], found["exit_code"], found["errors"]) == ("classify", 0, [])
    assert (run["run_id"], run["version"], run["output"]) == (manifest["run_id"], 1, str(tmp_path / "out"))
    assert run["rows"] == manifest["rows"] and run["label_counts"] == manifest["label_counts"]
    assert (run["rows"]["labeled"], run["rows"]["rejected"]) == (30, 1) and not run["already_published"]
    assert run["report"] == (tmp_path / "out" / "_report" / "report.html").as_uri()
    assert 0 < found["seconds"] < 300
    assert "30 labelled" in said.err, "what people see"
    assert classify.main([*flags, "--json=said.json"]) == 0
    said = capsys.readouterr()
    again = json.loads((tmp_path / "said.json").read_text())
    assert again["runs"] == [{**run, "already_published": True}] and "30 labelled" in said.out


@pytest.mark.engine
def test_quiet_says_nothing_of_a_good_run_and_why_of_a_bad_one(flags, capsys):
    assert classify.main([*flags, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert classify.main([*flags, "--quiet"]) == 0, "published already"
    assert capsys.readouterr() == ("", "")
    assert classify.main([*flags, "--quiet", "--output=other", "--max_rejected=0"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "of 31 rows were rejected" in err and err.startswith("seqcls_beam: ")
    assert classify.main([*flags, "--quiet", "--json", "--output=other", "--max_rejected=0"]) == 1
    found, err = json.loads((said := capsys.readouterr()).out), said.err
    assert found["exit_code"] == 1 and err == f"seqcls_beam: {found['errors'][0]}\n"


@pytest.mark.engine
def test_the_log_is_an_object_a_line(flags, capsys):
    assert classify.main([*flags, "--log_json", "--json"]) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.err.splitlines()]
    (run,) = json.loads(said.out)["runs"]
    (begun,) = [line for line in lines if line["message"].startswith("run ")]
    assert begun == {**begun, "level": "INFO", "logger": "seqcls_beam", "run_id": run["run_id"]}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", begun["time"])
    assert begun["message"].startswith(f"run {run['run_id'][:8]}: 1 file")


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_is_an_object_too(command, capsys):
    assert import_module(f"pipelines.{command}").main(["--json", "--log_json", "--batch_rows=many", "--chek"]) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["command"], found["exit_code"]) == (command, 2)
    assert found["errors"] == [json.loads(said.err)["message"]]


def test_a_stream_of_months_keeps_few_sentences():
    outcome.begin()
    for number in range(1000):
        outcome.warned(f"window {number}")
        outcome.warned("again")
    found = outcome.document(0)["warnings"]
    assert found[:3] == ["window 0", "again", "window 1"] and found[-1] == "window 999"
    assert len(found) == len({*found}) == 100
    outcome.begin()


def test_a_file_for_the_document_is_tried_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert clean.main(["out", "--json=file/said.json"]) == 1
    assert "--json=file/said.json cannot be written" in capsys.readouterr().err
    assert clean.main(["--json="]) == 2
    assert "--json is empty" in capsys.readouterr().err


def test_what_is_asked_of_a_command_ends_with_it(capsys, caplog):
    with caplog.at_level(logging.INFO):  # as a program has it that calls a command
        assert compare.main(["--quiet", "--json", "--log_level=ERROR"]) == 2
        assert logging.getLogger().level == logging.INFO
    capsys.readouterr()
    assert compare.main([]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.engine
def test_an_evaluation_that_stands_nowhere_else_is_whole(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [f"--input={folder}/in.jsonl", f"--model={folder}/model", "--label_column=gold", "--threads=1"]
    assert evaluate.main([*flags, "--json", "--bootstrap=0", "--min_accuracy=1"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["evaluation"]["rows"]["scored"] == 30 and found["exit_code"] == 3
    assert found["errors"][0].startswith("--min_accuracy=1")
    assert evaluate.main([*flags, "--json", "--bootstrap=0", "--output=measured"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["output"] == str(tmp_path / "measured")


@pytest.mark.engine
def test_a_quick_look_has_every_score(capsys):
    assert classify.main(["--text", "I love it", "--text", "I hate it", "--json", "--quiet", "--threads=1"]) == 0
    first, second = json.loads(capsys.readouterr().out)["texts"]
    assert first["text"] == "I love it" and first["scores"]["positive"] > 0.9 > second["scores"]["positive"]
