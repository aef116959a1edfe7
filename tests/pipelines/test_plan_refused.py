"""`pipelines.classify --plan`: what it refuses as a run does, and what it says where there is nothing to do."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from pipelines import classify
from pipelines.planning import measure
from seqcls_beam import storage
from tests import s3, tiny
from tests.corpora import texts, write_jsonl
from tests.plans import label, listing, plan, speed

DATAFLOW = "--runner=DataflowRunner"
CLOUD = [DATAFLOW, "--input=gs://b/in.jsonl", "--output=gs://b/out"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0.05)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--plan", "--subscription=projects/p/subscriptions/s", "--output=out"], "docs/streaming.md"),
        (["--plan_rows=3"], "are of --plan"),
        (["--plan", "--prices=nowhere.json"], "--prices=nowhere.json: there is no such file"),
        (["--plan", "--plan_speed=nowhere.json"], "--plan_speed=nowhere.json: there is no such file"),
        (["--plan", "--plan_speed={torn}/x.json"], "torn.json/x.json: there is no such file"),
        (["--plan", "--plan_speed=."], "--plan_speed=. is a folder: name the file in it"),
        (["--plan", "--prices=."], "--prices=. is a folder: name the file in it"),
        (["--plan", "--prices=/dev/null"], "--prices=/dev/null is a pipe, a socket or a device: name a file"),
        (["--plan", "--plan_json=new/plan.json"], "--plan_json=new/plan.json cannot be written: there is no folder "),
        (["--plan", "--plan_speed={empty}"], "says no speed"),
        (["--plan", "--prices={empty}"], "has no 'date'"),
        (["--plan", "--plan_speed={torn}"], "is no JSON"),
        (["--plan", "--gpu=nvidia-l4"], "the runner is FnApiRunner"),
        (["--plan", "--gpu=nvidia-l4", "--device=cpu", *CLOUD], "which of the two is to compute?"),
        (["--plan", "--gpu=nvidia-l4", "--resource_hint=accelerator=type:a;count:1", *CLOUD], "one of the two"),
        (["--plan", DATAFLOW, "--input=in.jsonl", "--output=gs://b/out"], "--input=in.jsonl is on this machine"),
        (["--plan", DATAFLOW, "--input=gs://b/in.jsonl", "--output=out"], "--output=out is on this machine"),
        (["--plan", "--dataflow_service_options=worker_accelerator=count:x;type:a", *CLOUD], "expected worker_acc"),
        (["--plan", "--max_num_workers=-1"], "--max_num_workers=-1: expected 1 or more"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, capsys, flags, said):
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "torn.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    made = [flag.format(empty=tmp_path / "empty.json", torn=tmp_path / "torn.json") for flag in flags]
    assert classify.main(made) == 2
    assert said in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty.json", "torn.json"]


@pytest.mark.engine
@pytest.mark.parametrize("lines", ["", '{"text": ""}\n{"text": null}\n'])
@pytest.mark.parametrize("flags", [[], ["--plan_speed={file}"], ["--dtype=int8"]])
def test_of_no_text_nothing_is_measured(tmp_path, model, capsys, lines, flags):
    (tmp_path / "empty.jsonl").write_text(lines)
    (tmp_path / "speed.json").write_text(json.dumps(speed(device="cpu", dtype="float32", gpu=None)))
    made = [flag.format(file=tmp_path / "speed.json") for flag in flags]
    found = plan(tmp_path, model, tmp_path / "empty.jsonl", tmp_path / "out", *made)
    assert (found["rows"]["value"], found["tokens"]["value"]) == (lines.count("\n"), 0)
    assert (found["hours"], found["not_measured"]) == ([], "the sample has no text")
    assert "not measured: the sample has no text" in " ".join(capsys.readouterr().out.split())


@pytest.mark.engine
def test_a_speed_is_measured_where_the_first_rows_are_rejected(tmp_path, model, monkeypatch):
    monkeypatch.setattr(measure, "_WARM_UP", 1e-9)  # so that little is one row of each batch
    rows = [{"text": ""}] * 50 + [{"text": text} for text in texts(50)]
    write_jsonl(tmp_path / "late.jsonl", rows)
    found = plan(tmp_path, model, tmp_path / "late.jsonl", tmp_path / "out")
    assert 0 < found["speed"]["tokens_per_second"] < 1e9


def test_a_file_that_cannot_be_written_is_called_by_its_flag(tmp_path, model, capsys):
    where = "/proc/plan.json"
    assert label(model, tmp_path, tmp_path / "out", "--plan", f"--plan_json={where}") == 1
    assert f"--plan_json={where} cannot be written" in capsys.readouterr().err


def hard_link(file: Path, link: Path) -> Path:
    link.hardlink_to(file)
    return link


def soft_link(file: Path, link: Path) -> Path:
    link.symlink_to(file)
    return link


def itself(file: Path, _: Path) -> Path:
    return file


@pytest.mark.parametrize(
    ("what", "called"),
    [
        *product(("in/corpus.jsonl", "speed.json", "prices.json"), (itself, soft_link, hard_link)),
        ("model/config.json", itself),
    ],
)
def test_what_the_plan_reads_is_not_written_over(tmp_path, capsys, called, what):
    for file in ("in/corpus.jsonl", "speed.json", "prices.json", "model/config.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text('{"text": "good"}\n')
    name = called(tmp_path / what, tmp_path / "other.json")
    flags = [f"--plan_speed={tmp_path}/speed.json", f"--prices={tmp_path}/prices.json", f"--plan_json={name}"]
    before = listing(tmp_path)
    assert label(tmp_path / "model", tmp_path / "in" / "*", tmp_path / "out", "--plan", *flags) == 2
    said = capsys.readouterr().err
    flag = {"in": "--input finds", "sp": "--plan_speed=", "pr": "--prices=", "mo": "lies in --model="}[what[:2]]
    assert said.startswith(f"seqcls_beam: --plan_json={name} ") and flag in said
    assert listing(tmp_path) == before


def test_the_standard_input_is_not_written_over(tmp_path, model):
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "good"}\n')
    command = [
        sys.executable,
        "-m",
        "pipelines.classify",
        "--input=-",
        "--input_format=jsonl",
        f"--output={tmp_path}/out",
    ]
    with file.open() as given:
        flags = [f"--model={model}", "--plan", f"--plan_json={file}"]
        ended = subprocess.run([*command, *flags], stdin=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "is a file that --input finds" in ended.stderr
    assert file.read_text() == '{"text": "good"}\n'


def test_an_object_of_a_store_is_not_written_over_by_any_of_its_names(model, capsys):
    with s3.bucket("over") as bucket:
        for key in ("in/a.jsonl", "speed.json"):
            storage.put(f"{bucket}/{key}", b'{"text": "good"}\n')
        flags = ["--plan", f"--plan_speed={bucket}/speed.json"]
        for key in ("in/a.jsonl", "speed.json", "out/plan.json"):
            for name in (bucket, bucket.replace("s3://", "s3a://")):
                assert label(model, f"{bucket}/in", f"{bucket}/out", *flags, f"--plan_json={name}/{key}") == 2
                assert f"--plan_json={name}/{key} " in capsys.readouterr().err
        assert sorted(storage.names(bucket)) == ["in", "speed.json"]
        assert storage.read(f"{bucket}/in/a.jsonl") == storage.read(f"{bucket}/speed.json") == b'{"text": "good"}\n'


@pytest.mark.parametrize("name", ["out", "out/plan.json", "out/labels/plan.json", "alias/plan.json", "above"])
def test_what_lies_in_the_output_is_not_written(tmp_path, model, capsys, name):
    (tmp_path / "in.jsonl").write_text('{"text": "good"}\n')
    (tmp_path / "alias").symlink_to(tmp_path / "out")
    out = tmp_path / ("above/out" if name == "above" else "out")
    before = listing(tmp_path / "in.jsonl")
    assert label(model, tmp_path / "in.jsonl", out, "--plan", f"--plan_json={tmp_path}/{name}") == 2
    assert f"--plan_json={tmp_path}/{name} and --output={out} lie in each other" in capsys.readouterr().err
    assert listing(tmp_path / "in.jsonl") == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["alias", "in.jsonl"]


@pytest.mark.engine
def test_a_file_that_is_written_is_told_and_one_of_before_replaced(tmp_path, model, capsys):
    (tmp_path / "in.jsonl").write_text('{"text": "good"}\n')
    file = tmp_path / "plan.json"
    file.write_text("an earlier plan")
    excluded = ["--exclude=plan.json", f"--plan_json={file}"]
    assert label(model, tmp_path, tmp_path.parent / "beside", "--plan", *excluded) == 0
    told = "".join(capsys.readouterr().out.split())
    assert f"written{file},andnothingelse" in told and "nothingwaswritten" not in told
    assert json.loads(file.read_text())["rows"]["value"] == 1
    assert label(model, tmp_path / "in.jsonl", tmp_path / "out", "--plan") == 0
    assert "nothing was written" in " ".join(capsys.readouterr().out.split())


@pytest.mark.engine
def test_where_nothing_is_left_the_json_says_so(tmp_path, model):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    write_jsonl(inbox / "a.jsonl", [{"text": text} for text in texts(30)])
    assert label(model, inbox, out, "--run_date=2026-11-20", "--only_new") == 0
    assert label(model, inbox, tmp_path / "whole") == 0
    new = plan(tmp_path, model, inbox, out, "--run_date=2026-11-21", "--only_new")
    for flags in ([], ["--relabel"]):
        found = plan(tmp_path, model, inbox, tmp_path / "whole", *flags)
        assert (found["runs"], found["hours"], found["rows"]["value"], found["tokens"]["value"]) == ([], [], 0, 0)
        assert found == new


@pytest.mark.engine
def test_a_partition_that_is_refused_leaves_the_others_to_plan(tmp_path, model, monkeypatch, capsys):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for day, name in ((19, "a"), (20, "b"), (21, "c")):
        write_jsonl(inbox / f"{name}.jsonl", [{"text": text} for text in texts(10 + day, day)])
        assert label(model, inbox, out, f"--run_date=2026-11-{day}", "--only_new") == 0
    strange = out / "labels" / "run_date=2026-11-20" / "somebodys.parquet"
    strange.write_bytes(b"")
    other = tiny.checkpoint(tmp_path / "other", initializer_range=0.2)
    before = listing(out)
    file = tmp_path / "plan.json"
    capsys.readouterr()
    assert label(other, inbox, out, "--relabel", "--plan", f"--plan_json={file}") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "run_date=2026-11-20 would stay as it is: " in said
    found = json.loads(file.read_text())
    assert [each["partition"] for each in found["runs"]] == ["run_date=2026-11-19", "run_date=2026-11-21"]
    assert found["rows"]["value"] == 29 + 31
    assert listing(out) == before
    assert label(other, inbox, out, "--relabel") == 1
    reason = said.partition("run_date=2026-11-20 would stay as it is: ")[2].partition(" seqcls_beam:")[0]
    assert f"run_date=2026-11-20 stays as it is: {reason[:60]}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.engine
def test_a_night_that_is_refused_leaves_the_others_to_plan(tmp_path, model, capsys):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    for day, text in ((20, "good"), (21, 7), (22, "bad")):
        (inbox / f"2026-11-{day}").mkdir(parents=True)
        row = {"text": "good", "stars": text} if day != 21 else {"body": "good"}
        write_jsonl(inbox / f"2026-11-{day}" / "a.jsonl", [row])
    flags = ["--only_new", "--run_date=2026-11-20..2026-11-22"]
    file = tmp_path / "plan.json"
    assert label(model, f"{inbox}/{{date}}/*.jsonl", out, *flags, "--plan", f"--plan_json={file}") == 1
    assert "run_date=2026-11-21 would fail: " in capsys.readouterr().err
    found = json.loads(file.read_text())
    assert [each["partition"] for each in found["runs"]] == ["run_date=2026-11-20", "run_date=2026-11-22"]
    assert label(model, f"{inbox}/{{date}}/*.jsonl", out, *flags) == 1
    assert "1 of 3 nights failed: 2026-11-21" in capsys.readouterr().err


@pytest.mark.engine
def test_a_run_that_is_damaged_is_refused_as_the_run_does(tmp_path, model, capsys):
    write_jsonl(tmp_path / "small.jsonl", [{"text": text} for text in texts(30)])
    out = tmp_path / "out"
    assert label(model, tmp_path / "small.jsonl", out) == 0
    next((out / "labels").rglob("*.parquet")).unlink()
    capsys.readouterr()
    assert label(model, tmp_path / "small.jsonl", out, "--plan") == 1
    said = capsys.readouterr().err
    assert "give --overwrite to make it again" in said
    assert label(model, tmp_path / "small.jsonl", out) == 1
    assert capsys.readouterr().err.strip() in said
    assert label(model, tmp_path / "small.jsonl", out, "--plan", "--overwrite") == 0


@pytest.mark.engine
def test_a_folder_without_labels_is_refused_to_relabel_as_the_run_does(tmp_path, model, capsys):
    write_jsonl(tmp_path / "small.jsonl", [{"text": "good"}])
    for flags in (["--plan"], []):
        assert label(model, tmp_path / "small.jsonl", tmp_path / "out", "--relabel", *flags) == 1
        assert "so --relabel has nothing to replace there" in capsys.readouterr().err
