"""Nights with dated inboxes: a range of them, those that were missed, files that come late."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import classify, labelling
from seqcls_beam.runs.table import open_labels, read_manifest
from tests import tiny
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def inbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "inbox"


def arrive(day: int, name: str, rows: int = 5) -> Path:
    folder = Path("inbox") / f"2026-11-{day}"
    folder.mkdir(parents=True, exist_ok=True)
    return write_jsonl(
        folder / f"{name}.jsonl", [{"id": f"{name}{i}", "text": text} for i, text in enumerate(texts(rows, day))]
    )


def night(model: Path, date: str, *more: str) -> int:
    flags = [f"--model={model}", "--input=inbox/{date}/*.jsonl", "--output=out", "--threads=1", "--id_column=id"]
    return classify.main([*flags, "--only_new", f"--run_date={date}", *more])


def files() -> dict[str, str]:
    """Day → the first letters of the ids that it labelled, each once a file of five rows."""
    table = open_labels("out").to_table(columns=["run_date", "id"]).to_pylist()
    assert len({row["id"] for row in table}) == len(table)
    days = sorted({row["run_date"][-2:] for row in table})
    return {day: "".join(sorted(row["id"][0] for row in table if row["run_date"][-2:] == day)[::5]) for day in days}


def test_a_range_is_made_night_by_night(model, capsys):
    for day, name in ((19, "a"), (20, "b"), (22, "c"), (23, "d")):
        arrive(day, name)
    assert night(model, "2026-11-19..2026-11-22") == 0
    assert files() == {"19": "a", "20": "b", "22": "c"}
    quiet = read_manifest("out", "run_date=2026-11-21")
    assert quiet is not None and quiet["rows"]["in"] == 0
    manifest = read_manifest("out", "run_date=2026-11-20")
    assert manifest is not None and "--run_date=2026-11-20 " in f"{manifest['command']} ", "a night is run again alone"
    capsys.readouterr()
    assert night(model, "2026-11-19..2026-11-23") == 0
    assert files() == {"19": "a", "20": "b", "22": "c", "23": "d"}
    assert capsys.readouterr().err.count("nothing new to label") == 4


def test_missed_nights_are_caught_up_and_late_files_are_taken(model, capsys):
    arrive(19, "a")
    assert night(model, "2026-11-19", "--catch_up=7") == 0
    for day, name in ((18, "z"), (19, "l"), (20, "b"), (22, "c")):
        arrive(day, name)
    capsys.readouterr()
    assert night(model, "2026-11-22", "--catch_up=7") == 0
    assert "3 nights are to be made, from 2026-11-20 to 2026-11-22" in capsys.readouterr().err
    assert files() == {"19": "a", "20": "bl", "22": "c"}, "what is older than the table is none of its business"


@pytest.mark.parametrize("more", [[], ["--catch_up=7"]])
def test_a_day_that_is_a_link_to_another_one_is_a_quiet_night(model, inbox, capsys, more):
    arrive(19, "a")
    (inbox / "2026-11-20").symlink_to("2026-11-19")
    assert night(model, "2026-11-19..2026-11-20", *more) == 0
    assert files() == {"19": "a"}
    said = capsys.readouterr().err
    known = f"such as {inbox}/2026-11-20/a.jsonl, which is {inbox}/2026-11-19/a.jsonl (labelled in run_date="
    assert (known in said) is (not more), "else it is found by its own name, too"


def test_a_night_that_fails_holds_none_up_and_is_made_when_it_is_mended(model, capsys):
    arrive(19, "a")
    assert night(model, "2026-11-19", "--catch_up=7") == 0
    broken = arrive(20, "b")
    whole = broken.read_bytes()
    broken.write_bytes(b"PAR1" + whole)
    arrive(21, "c")
    capsys.readouterr()
    assert night(model, "2026-11-21", "--catch_up=7") == 1
    assert "1 of 2 nights failed: 2026-11-20" in capsys.readouterr().err
    assert files() == {"19": "a", "21": "c"}
    arrive(22, "d")
    assert night(model, "2026-11-22", "--catch_up=7") == 1
    broken.write_bytes(whole)
    assert night(model, "2026-11-23", "--catch_up=7") == 0
    assert files() == {"19": "a", "20": "b", "21": "c", "22": "d"}


def test_a_night_alone_keeps_its_code(model, capsys):
    arrive(19, "a")
    Path("inbox/2026-11-19/notes.doc").write_text("x")
    flags = [f"--model={model}", "--input=inbox/{date}", "--output=out", "--only_new", "--run_date=2026-11-19"]
    assert classify.main([*flags, "--catch_up=7"]) == 2
    assert "notes.doc" in capsys.readouterr().err


def test_a_fault_of_one_night_holds_none_up(model, capsys, monkeypatch):
    arrive(19, "a")
    assert night(model, "2026-11-19", "--catch_up=7") == 0
    arrive(20, "b")
    arrive(21, "c")
    build = labelling.build

    def broken(root: Any, job: Any) -> None:
        if job.run.partition.endswith("20"):
            raise RuntimeError("an illegal memory access")
        build(root, job)

    monkeypatch.setattr(labelling, "build", broken)
    assert night(model, "2026-11-21", "--catch_up=7") == 1
    said = capsys.readouterr().err
    assert "an illegal memory access" in said and "1 of 2 nights failed: 2026-11-20" in said
    assert files() == {"19": "a", "21": "c"}


def test_a_quiet_night_has_the_rows_that_it_must_have(model, capsys):
    arrive(19, "a")
    assert night(model, "2026-11-20", "--min_rows=1") == 1
    assert "0 rows were read, less than --min_rows=1; nothing was published" in capsys.readouterr().err
    assert night(model, "2026-11-20") == 0
    assert "--input finds no file of 2026-11-20" in capsys.readouterr().err


def test_a_range_that_is_wrong_usage_in_every_night_ends_so(model):
    flags = [f"--model={model}", "--input=inbax/{date}/*.jsonl", "--output=out", "--only_new"]
    assert classify.main([*flags, "--run_date=2026-11-19..2026-11-20"]) == 2


def test_a_day_whose_folder_is_none_is_not_quiet(model, capsys):
    arrive(19, "a")
    assert night(model, "2026-11-19") == 0
    Path("inbox/2026-11-20").symlink_to("/mnt/not-there/2026-11-20")
    assert night(model, "2026-11-20") == 2
    assert "2026-11-20 is a link that leads nowhere" in capsys.readouterr().err
    write_jsonl(Path("inbox/2026-11-21"), [{"id": "x", "text": "a film"}])
    assert night(model, "2026-11-21") == 2
    assert "2026-11-21 is no folder" in capsys.readouterr().err
    Path("inbox/2026-11-20").unlink()
    assert night(model, "2026-11-20") == 0


def test_a_poisoned_night_does_not_hold_up_the_next(model, tmp_path):
    for day, name in ((19, "a"), (20, "b"), (21, "c")):
        arrive(day, name)
    poisoned = Path("inbox/2026-11-20/b.jsonl")
    write_jsonl(poisoned, [{"id": f"b{i}", "text": "unembeddable unembeddable"} for i in range(40)])
    assert night(tiny.raising(tmp_path / "raising"), "2026-11-19..2026-11-21") == 1
    assert files() == {"19": "a", "21": "c"}
