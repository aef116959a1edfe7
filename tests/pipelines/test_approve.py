"""The command that judges nights: by rejects, by drift and by what the model is worth."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import approve, classify, clean, compare, evaluate
from seqcls_beam import open_labels
from seqcls_beam.evaluation.judging import judge
from seqcls_beam.runs.run import RunError
from tests import tiny
from tests.corpora import texts, write_jsonl
from tests.evaluation.nights import night
from tests.runs.attempts import write_version


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(day: int, counts: dict[str, int], more: dict[str, Any] | None = None, **commit: Any) -> None:
    """A night of November as its manifest tells it, without parts."""
    said = {"partition": f"run_date=2026-11-{day}", "version": 1, **commit}
    written = write_version(Path("made"), {**night(counts), **(more or {})}, **said)
    target = Path("out/_versions") / said["partition"]
    target.mkdir(parents=True, exist_ok=True)
    written.rename(target / f"{said['version']:08d}.json")


def state() -> tuple[str | None, list[str], list[str]]:
    """(the last night that passed, all that did, all that did not), by day."""
    said = json.loads(Path("out/_APPROVED.json").read_text())
    last = said.get("partition")
    assert last is None or said["version"] == f"_versions/{last}/00000001.json"
    return last and last[-2:], [name[-2:] for name in said["passed"]], [name[-2:] for name in said["failed"]]


EVEN = {"negative": 5000, "positive": 5000}
ODD = {"negative": 9000, "positive": 1000}


def test_each_night_is_compared_with_the_last_one_that_passed(capsys):
    made(19, EVEN)
    made(20, ODD)
    made(21, EVEN)
    assert approve.main(["out"]) == 3
    said = capsys.readouterr()
    assert "run_date=2026-11-19 passed: 10,000 rows, 0.00% rejected or lost, with nothing before it" in said.err
    assert (
        "run_date=2026-11-20 did not pass: 10,000 rows, 0.00% rejected or lost, beside run_date=2026-11-19" in said.err
    )
    assert "run_date=2026-11-21 passed: 10,000 rows, 0.00% rejected or lost, beside run_date=2026-11-19" in said.err
    assert "--max_label_shift=0.05: run_date=2026-11-20: label_shift of negative is 0.4000" in said.err
    assert "out: approved up to run_date=2026-11-21" in said.err and "BEYOND" in said.out
    assert state() == ("21", ["19", "21"], ["20"])


def test_what_was_judged_is_not_judged_again_unless_it_is_named(capsys):
    made(19, EVEN)
    assert approve.main(["out"]) == 0
    assert approve.main(["out", "--max_rejected=0"]) == 0
    assert "nothing new to judge; out: approved up to run_date=2026-11-19" in capsys.readouterr().err
    made(20, ODD)
    assert approve.main(["out"]) == 3
    assert state() == ("19", ["19"], ["20"])
    capsys.readouterr()
    assert approve.main(["out"]) == 3, "the last night stands refused"
    assert "run_date=2026-11-20 did not pass when it was judged: --max_label_shift=0.05: " in capsys.readouterr().err
    made(21, EVEN)
    assert approve.main(["out"]) == 0
    assert state() == ("21", ["19", "21"], ["20"])
    assert approve.main(["out", "--run_date=2026-11-20"]) == 3
    loose = ["--max_label_shift=1", "--max_label_psi=inf"]
    assert approve.main(["out", "--run_date=2026-11-19..2026-11-20", *loose]) == 0
    assert state() == ("21", ["19", "20", "21"], []), "it does not go back"
    assert approve.main(["out", "--run_date=2026-11-20"]) == 3, "measured, and beyond its limit, but"
    assert state() == ("21", ["19", "20", "21"], []), "what passed stays"


def test_a_reference_by_name(capsys):
    made(19, ODD)
    made(20, EVEN)
    write_version(Path("good"), night(EVEN))
    assert approve.main(["out", "--reference=good"]) == 3
    assert state() == ("20", ["20"], ["19"])


def test_rejects_and_quiet_nights(capsys):
    few = {"negative": 500, "positive": 485}
    nothing = {"in": 0, "labeled": 0, "rejected": 0, "rejected_by_reason": {}, "lost": 0}
    made(19, few)
    made(20, {}, more={"rows": nothing})
    made(21, few, more={"rows": {**nothing, "in": 1000, "labeled": 985, "rejected": 8, "lost": 7}})
    assert approve.main(["out", "--max_reject_rise=1"]) == 3
    said = capsys.readouterr().err
    assert "run_date=2026-11-20 passed: it has no rows" in said
    assert "--max_rejected=0.01: 15 of 1,000 rows are rejected or lost (1.50%)" in said
    assert "run_date=2026-11-21 did not pass: 1,000 rows, 1.50% rejected or lost, beside run_date=2026-11-19" in said
    assert state() == ("20", ["19", "20"], ["21"])
    assert approve.main(["out", "--max_reject_rise=1", "--max_rejected=0.015", "--run_date=2026-11-21"]) == 0
    assert state() == ("21", ["19", "20", "21"], [])


def test_a_night_that_is_replaced_while_it_is_judged_is_judged_as_it_is_then(monkeypatch, capsys):
    made(19, EVEN)
    made(20, EVEN)

    def meanwhile(night: Any, *rest: Any) -> Any:
        found = judge(night, *rest)
        if night.partition.endswith("20") and night.version == 1:
            made(20, ODD, version=2)
        return found

    monkeypatch.setattr("pipelines.approving.judge", meanwhile)
    assert approve.main(["out", "--json=said.json"]) == 3
    said = capsys.readouterr().err
    assert "run_date=2026-11-20 was replaced by another version while it was judged" in said
    assert "run_date=2026-11-20 passed" not in said and "run_date=2026-11-20 did not pass" in said
    assert state() == ("19", ["19"], ["20"])
    told = json.loads(Path("said.json").read_text())["nights"]
    assert [(each["partition"][-2:], each["version"], each["passed"]) for each in told] == [
        ("19", 1, True),
        ("20", 2, False),
    ]


def test_a_night_that_passed_and_does_not_any_more_stays_and_is_told_so(capsys):
    made(19, EVEN)
    made(20, EVEN)
    assert approve.main(["out"]) == 0
    capsys.readouterr()
    write_version(Path("odd"), night(ODD))
    assert approve.main(["out", "--run_date=2026-11-20", "--reference=odd"]) == 3
    assert "run_date=2026-11-20 passed before, and stays approved" in capsys.readouterr().err
    assert state() == ("20", ["19", "20"], [])


def test_a_version_that_only_shuts_out_a_dead_run_says_what_passed(capsys):
    made(19, EVEN)
    assert approve.main(["out", evaluated("ours", "d" * 64)]) == 0
    for number in (2, 3):
        made(19, EVEN, version=number, bars=True)
    assert approve.main(["out", evaluated("other", "e" * 64), "--max_rejected=0"]) == 0
    assert "run_date=2026-11-19 passed before, as version 1, and version 3 says the same" in capsys.readouterr().err
    assert json.loads(Path("out/_APPROVED.json").read_text())["passed"] == {"run_date=2026-11-19": 3}
    made(19, EVEN, version=4)
    assert approve.main(["out", "--evaluation=other"]) == 3, "another run of the same rows is judged"


def test_what_was_judged_is_not_read_again():
    for day in (18, 19, 20):
        made(day, EVEN)
    assert approve.main(["out"]) == 0
    Path("out/_versions/run_date=2026-11-18/00000001.json").write_text("x")
    made(21, EVEN)
    assert approve.main(["out"]) == 0 and state()[0] == "21"


def test_an_approval_of_a_table_that_was_removed_is_not_taken_for_one_of_this(capsys):
    made(19, EVEN)
    made(19, EVEN, version=2)
    assert approve.main(["out"]) == 0
    Path("out/_versions/run_date=2026-11-19/00000002.json").unlink()
    assert approve.main(["out"]) == 1
    assert "_APPROVED.json in out names a later version of run_date=2026-11-19 than 1" in capsys.readouterr().err


def test_what_passes_has_its_names_before_consumers_are_told():
    """Of a run that died when it was decided, parts still lie where they were made."""
    part = "labels/run_date=2026-11-19/part-00000-of-00001-v1-00000000.parquet"
    work = "_attempts/run_date=2026-11-19/r-v1/labels/a.parquet"
    stage = "_attempts/run_date=2026-11-19/publish-00000001-0123456789abcdef"
    made(19, EVEN, more={"parts": [{"path": part, "bytes": 3, "rows": 10_000}]}, stage=stage, moves=[[work, part]])
    for folder in (Path(work).parent, Path(stage) / "old", Path(stage) / "new" / Path(part).parent, Path("labels")):
        (Path("out") / folder).mkdir(parents=True)
    (Path("out") / work).write_bytes(b"PAR")
    assert approve.main(["out"]) == 0
    assert (Path("out") / part).read_bytes() == b"PAR"


def test_no_word_of_a_password(capsys):
    assert approve.main(["memory://user:secret@nowhere/out"]) == 1
    assert approve.main(["memory://user:secret@nowhere/out", "--run_date=2026-11-19"]) == 1
    assert "memory://nowhere/out holds nothing" in (said := capsys.readouterr().err) and "secret" not in said


def evaluated(name: str, digest: str, **more: Any) -> str:
    gate = {"gate": "min_f1", "metric": "macro_f1", "limit": 0.8, "value": 0.9, "ci": None, "passed": True}
    said = {"kind": "evaluate", "model": {"digest": digest}, "threshold": None, "gates": [gate], **more}
    Path(name).mkdir()
    (Path(name) / "evaluation.json").write_text(json.dumps(said))
    return f"--evaluation={name}"


def test_an_evaluation_is_of_the_model_that_labelled_the_night(capsys):
    made(19, EVEN)
    ours, other = "d" * 64, "e" * 64
    bad = {"gate": "min_f1", "metric": "macro_f1", "limit": 0.8, "value": 0.7, "ci": None, "passed": False}
    named = "--run_date=2026-11-19"
    assert approve.main(["out", evaluated("bad", ours, gates=[bad]), evaluated("other", other)]) == 3
    assert "--evaluation=bad: --min_f1=0.8: macro_f1 is 0.7000" in capsys.readouterr().err
    assert state() == (None, [], ["19"])
    assert approve.main(["out", named, "--evaluation", "other", evaluated("good", ours)[13:]]) == 0
    assert state() == ("19", ["19"], [])
    made(20, EVEN, more={"model": {}, "engines": []})
    made(21, EVEN, more={"model": {"digest": ours}})
    del_model = json.loads(Path("out/_versions/run_date=2026-11-20/00000001.json").read_text())
    del del_model["model"]  # as of a pipeline of the user's own
    Path("out/_versions/run_date=2026-11-20/00000001.json").write_text(json.dumps(del_model))
    capsys.readouterr()
    assert approve.main(["out", "--evaluation=good"]) == 3
    assert "--evaluation: nobody wrote down which model labelled the night" in capsys.readouterr().err
    assert state() == ("21", ["19", "21"], ["20"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": {"digest": "e" * 64}}, "labelled by model dddddddddddd, and measured is other (eeeeeeeeeeee): give"),
        ({"threshold": 0.3}, "measured with --threshold=0.3, and the night is labelled with None: give an evaluation"),
    ],
)
def test_a_night_of_a_model_that_nobody_measured_is_left_to_the_next_judge(more, said, capsys):
    made(19, EVEN)
    assert approve.main(["out", evaluated("other", "d" * 64, **more), "--json=said.json"]) == 3
    told = capsys.readouterr().err
    assert "run_date=2026-11-19 is not judged yet: 10,000 rows" in told and said in told
    assert "out: no night of it has passed" in told and not Path("out/_APPROVED.json").exists()
    (document,) = json.loads(Path("said.json").read_text())["nights"]
    assert (document["passed"], document["recorded"]) == (False, False) and said in document["why"][0]
    made(20, EVEN, more={"model": {"digest": "f" * 64}})
    assert approve.main(["out", evaluated("new", "f" * 64)]) == 3, "as long as a night is open"
    assert state() == ("20", ["20"], [])
    assert approve.main(["out", evaluated("right", "d" * 64), "--evaluation=new"]) == 0
    assert state() == ("20", ["19", "20"], [])


def test_a_night_that_drifted_is_refused_whoever_measured_its_model(capsys):
    made(19, EVEN)
    assert approve.main(["out"]) == 0
    made(20, ODD, more={"model": {"digest": "f" * 64}})
    assert approve.main(["out", evaluated("other", "d" * 64)]) == 3
    why = json.loads(Path("out/_APPROVED.json").read_text())["failed"]["run_date=2026-11-20"]["why"]
    assert any("label_shift" in each for each in why) and any("labelled by model ffffffffffff" in each for each in why)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"gates": []}, "was made without a gate: evaluate with --min_f1=0.8, say"),
        ({"model": None}, "is of rows that had their answers, and of no model"),
        ({"kind": "compare"}, "is no output of pipelines.evaluate"),
        ({"model": {}}, "is no output of pipelines.evaluate"),
        ({"gates": [{"gate": "min_f1"}]}, "is no output of pipelines.evaluate"),
        ({"threshold": "high"}, "is no output of pipelines.evaluate"),
    ],
)
def test_an_evaluation_that_decides_nothing(more, said, capsys):
    made(19, EVEN)
    assert approve.main(["out", evaluated("eval", "d" * 64, **more)]) == 2
    assert said in capsys.readouterr().err and not Path("out/_APPROVED.json").exists()
    assert approve.main(["out", "--evaluation=nowhere"]) == 2
    assert "--evaluation=nowhere holds no evaluation.json" in capsys.readouterr().err
    write_version(Path("replaced"), {"kind": "evaluate"})
    assert approve.main(["out", "--evaluation=replaced"]) == 1, "a code that is tried again"
    assert "it is replaced; start again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ([], 2, "which folder? python -m pipelines.approve OUT"),
        (["nowhere"], 1, "nowhere holds nothing that was published"),
        (
            ["out", "--run_date=2026-11-30"],
            1,
            "no such night; the last one that is published is run_date=2026-11-19",
        ),
        (["out", "--run_date=yesterday"], 2, "expected a date"),
        (["out", "--max_rejected=2"], 2, "expected at most 1"),
        (["out", "--reference=nowhere"], 1, "nowhere holds no published run"),
        (["out", "--json=out/_APPROVED.json"], 2, "--json=out/_APPROVED.json lies in out"),
        (["out", "--only_new"], 2, "unknown flag --only_new"),
    ],
)
def test_what_cannot_be_judged(argv, code, said, capsys):
    made(19, EVEN)
    assert approve.main(argv) == code
    assert said in capsys.readouterr().err and not Path("out/_APPROVED.json").exists()


def test_a_document_of_all_that_was_measured(capsys):
    made(19, EVEN)
    made(20, ODD)
    assert approve.main(["out", "--json=-"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert [(each["partition"][-2:], each["passed"]) for each in shown["nights"]] == [("19", True), ("20", False)]
    assert shown["nights"][1]["comparison"]["reference"]["name"] == "run_date=2026-11-19"
    assert approve.main(["out", "--json=said.json"]) == 3
    assert json.loads(Path("said.json").read_text())["nights"] == []


def test_a_night_of_which_parts_are_gone_does_not_pass(capsys):
    part = "labels/run_date=2026-11-19/part-00000-of-00001-v1-00000000.parquet"
    made(19, EVEN, more={"parts": [{"path": part, "bytes": 3, "rows": 10_000}]})
    assert approve.main(["out"]) == 3
    assert f"{part} is gone: label the night again" in capsys.readouterr().err and state() == (None, [], ["19"])
    (Path("out") / part).parent.mkdir(parents=True)
    (Path("out") / part).write_bytes(b"PAR")
    assert approve.main(["out", "--run_date=2026-11-19"]) == 0 and state() == ("19", ["19"], [])


def rows(**given: int) -> dict[str, Any]:
    return {
        "rows": {"in": 10_000, "labeled": 10_000, "rejected": 0, "rejected_by_reason": {}, "lost": 0, **given},
    }


@pytest.mark.parametrize("given", [{"in": 0}, {"in": 10}, {"in": 10**9}, {"in": 10**9, "rejected": 9000}])
def test_rows_that_do_not_add_up_do_not_pass(given, capsys):
    made(19, ODD, more=rows(**given))
    assert approve.main(["out"]) == 3
    assert f"of {given['in']:,} rows 10,000 are labelled and" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{"rows": {}}, {"rows": None}, {"label_counts": []}, rows(labeled=2**63)])
def test_a_reference_that_was_damaged_since_is_told(more, capsys):
    made(19, EVEN)
    assert approve.main(["out"]) == 0
    manifest = Path("out/_versions/run_date=2026-11-19/00000001.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **more}))
    made(20, EVEN)
    assert approve.main(["out"]) in ((0, 1) if more == {"rows": {}} else (1,))


@pytest.mark.parametrize("name", ["zzz=1", "run_date=2026-11-20.bak", "run_date=2026-13-45", "run_date=2026-11-2\n0"])
def test_a_copy_of_a_night_is_none(name):
    made(19, EVEN)
    shutil.copytree("out/_versions/run_date=2026-11-19", f"out/_versions/{name}")
    assert approve.main(["out"]) == 0 and state() == ("19", ["19"], [])


def folder_at(path: Path) -> None:
    path.mkdir()


def pipe_at(path: Path) -> None:
    os.mkfifo(path)


def link_at(path: Path) -> None:
    path.symlink_to("/nonexistent/x")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (folder_at, "is a folder, where a file is due: move it away"),
        (pipe_at, "is a pipe, a socket or a device, where a file is due: move it away"),
        (link_at, "is a link that leads nowhere: remove it"),
    ],
)
def test_what_is_no_file_in_its_place(make, said, capsys):
    made(19, EVEN)
    make(Path("out/_APPROVED.json"))
    here = Path.cwd()
    assert approve.main(["out"]) == 1
    assert capsys.readouterr().err == f"seqcls_beam: {here}/out/_APPROVED.json {said}\n"
    with pytest.raises((RunError, OSError), match=said):
        open_labels("out", approved=True)


@pytest.mark.parametrize("make", [folder_at, pipe_at])
def test_what_is_no_file_in_place_of_a_version(make, capsys):
    version = Path("out/_versions/run_date=2026-11-19/00000001.json")
    version.parent.mkdir(parents=True)
    make(version)
    for command in (
        lambda: approve.main(["out"]),
        lambda: clean.main(["out"]),
        lambda: compare.main(["out", "out"]),
        lambda: compare.main([str(version), str(version)]),
    ):
        assert command() == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"{version} is a " in said and "where a file is due: move it away" in said


def test_a_document_that_cannot_be_written_is_told_before_anything_is_judged(capsys):
    made(19, EVEN)
    os.mkfifo("pipe")
    Path("file").touch()
    for name in ("pipe", "out/..", "file/said.json", "/dev/null"):
        assert approve.main(["out", f"--json={name}"]) == 1, name
        said = capsys.readouterr().err
        assert f"--json={name} cannot be written: " in said and said.count("\n") == 1
    assert not Path("out/_APPROVED.json").exists()
    assert approve.main(["out", "--json=new/said.json"]) == 0
    assert [each.name for each in Path("new").iterdir()] == ["said.json"]
    Path("new/said.json").unlink()
    Path("new/said.json").symlink_to("nowhere")
    assert approve.main(["out", "--json=new/said.json"]) == 0 and not Path("new/said.json").is_symlink()


def test_a_night_of_a_day_that_has_not_come_is_told_for_as_long_as_it_is_the_last(capsys):
    made(19, EVEN)
    assert approve.main(["out"]) == 0
    assert "has not come" not in capsys.readouterr().err
    made(0, EVEN, partition="run_date=9999-11-20")
    for _ in range(2):
        assert approve.main(["out"]) == 0
        assert "run_date=9999-11-20 has not come yet by this machine's clock" in capsys.readouterr().err
    # As docs/nights.md says.
    Path("out/_APPROVED.json").rename("away.json")
    shutil.rmtree("out/_versions/run_date=9999-11-20")
    assert approve.main(["out"]) == 0 and state() == ("19", ["19"], [])
    assert "has not come" not in capsys.readouterr().err


def test_a_night_that_is_gone_is_not_passed_over(capsys):
    made(18, EVEN)
    made(19, EVEN)
    assert approve.main(["out"]) == 0
    Path("out/_versions/run_date=2026-11-19").rename("gone")
    do = "put .*out/_versions/run_date=2026-11-19 back, or move _APPROVED.json away and judge the nights again"
    with pytest.raises(FileNotFoundError, match=f"run_date=2026-11-19 passed, and its versions are gone: {do}"):
        open_labels("out", approved=True)
    made(20, EVEN)
    assert approve.main(["out"]) == 1
    said = capsys.readouterr().err
    assert "_versions/run_date=2026-11-19/00000001.json is gone, and _APPROVED.json says that it passed: put it" in said
    made(17, EVEN)
    Path("out/_versions/run_date=2026-11-20").rename("gone-too")
    assert approve.main(["out"]) == 1, "a judgement that takes nothing of it repeats what it says"
    assert "00000001.json is gone, and _APPROVED.json says that it passed" in capsys.readouterr().err
    Path("gone").rename("out/_versions/run_date=2026-11-19")
    assert approve.main(["out"]) == 0 and state() == ("19", ["17", "18", "19"], [])


@pytest.mark.engine
def test_readers_of_what_passed(capsys):
    model = tiny.checkpoint(Path("model"))
    flags = [f"--model={model}", "--input=inbox/{date}.jsonl", "--output=out", "--threads=1", "--id_column=id"]
    Path("inbox").mkdir()
    for day, rows in ((19, 30), (20, 40)):
        source = [{"id": f"{day}-{i}", "text": text} for i, text in enumerate(texts(rows, day))]
        write_jsonl(Path(f"inbox/2026-11-{day}.jsonl"), source)
    write_jsonl(Path("gold.jsonl"), [{"text": text, "label": i % 2} for i, text in enumerate(texts(40, 3))])
    assert classify.main([*flags, "--only_new", "--run_date=2026-11-19..2026-11-20"]) == 0
    with pytest.raises(FileNotFoundError, match=r"out holds nothing that passed: python -m pipelines.approve"):
        open_labels("out", approved=True)
    gold = ["--input=gold.jsonl", f"--model={model}", "--threads=1", "--output=gold", "--min_accuracy=0.01"]
    assert evaluate.main(gold) == 0
    assert approve.main(["out", "--run_date=2026-11-19", "--evaluation=gold"]) == 0
    assert open_labels("out", approved=True).count_rows() == 30 and open_labels("out").count_rows() == 70
    assert approve.main(["out", "--evaluation=gold", "--max_label_shift=1"]) == 0
    assert open_labels("out", approved=True).count_rows() == 70
    assert classify.main([*flags, "--run_date=2026-11-20", "--overwrite", "--max_length=8"]) == 0
    with pytest.raises(RunError, match="run_date=2026-11-20 passed as version 1, and was replaced since by version 2"):
        open_labels("out", approved=True)
    said = json.loads(Path("out/_APPROVED.json").read_text())
    assert said["partition"] == "run_date=2026-11-20"
    assert (
        approve.main(
            [
                "out",
                "--max_label_shift=1",
                "--max_label_psi=inf",
                "--max_truncation_rise=1",
                "--max_token_psi=inf",
                "--max_score_psi=inf",
            ]
        )
        == 0
    )
    assert open_labels("out", approved=True).count_rows() == 70
