"""A file that a version knows is known by all its names."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam import storage
from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import list_files
from seqcls_beam.runs.covered import Key, Names, key_of
from seqcls_beam.runs.nights import Night, new_files
from seqcls_beam.runs.publication import follow, publish_files
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.versions import NOTHING


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "inbox"
    (folder / "19").mkdir(parents=True)
    (folder / "20").mkdir()
    (folder / "19" / "a.jsonl").write_text('{"text": "a"}\n')
    return folder


def night(day: int, pattern: str, overwrite: bool = False) -> tuple[Run, Night]:
    run = follow(Run(str(Path("out").absolute()), "", overwrite, partition=f"run_date=2026-11-{day}"))
    return run, new_files(run, list_files(ReadOptions(input=(pattern,))), {})


def publish(found: tuple[Run, Night]) -> None:
    run, files = found[0], found[1].files.to_pylist()
    inputs: list[dict[str, Any]] = [
        {**dict(zip(("path", "size", "version"), key_of(row), strict=True)), "rows": 1} for row in files
    ]
    publish_files(run, {**NOTHING, "run_id": f"{len(inputs)}", "kind": run.kind, "inputs": inputs}, [])


def link_folder(inbox: Path) -> None:
    (inbox / "20").rmdir()
    (inbox / "20").symlink_to("19")


def link_file(inbox: Path) -> None:
    (inbox / "20" / "a.jsonl").symlink_to("../19/a.jsonl")


def link_hard(inbox: Path) -> None:
    os.link(inbox / "19/a.jsonl", inbox / "20/a.jsonl")


@pytest.mark.parametrize("link", [link_folder, link_file, link_hard])
@pytest.mark.parametrize("days", [("19", "20"), ("20", "19")])
def test_a_file_that_another_night_labelled_is_not_new_by_another_name(inbox, link, days):
    link(inbox)
    first, second = days
    publish(night(19, f"inbox/{first}/*"))
    _, found = night(20, f"inbox/{second}/*")
    assert found.files.num_rows == 0
    (said,) = found.said
    assert said == (
        f"1 file left out that an earlier run labelled under another name, such as {inbox}/{second}/a.jsonl, which is "
        f"{inbox}/{first}/a.jsonl (labelled in run_date=2026-11-19)"
    )


@pytest.mark.parametrize("link", [link_folder, link_file])
@pytest.mark.parametrize("days", [("19", "20"), ("20", "19")])
def test_a_file_that_another_night_works_on_is_not_taken_by_another_name(inbox, link, days):
    link(inbox)
    first, second = days
    assert night(19, f"inbox/{first}/*")[1].claimed
    _, found = night(20, f"inbox/{second}/*")
    assert found.files.num_rows == 0 and not found.claimed
    assert found.said[0].startswith("1 file left to the run that labels them for run_date=2026-11-19")
    _, again = night(19, f"inbox/{second}/*")
    assert again.files["path"].to_pylist() == [f"{inbox}/{second}/a.jsonl"] and not again.claimed


def test_a_file_that_changed_is_labelled_again_by_whatever_name(inbox):
    link_folder(inbox)
    publish(night(19, "inbox/19/*"))
    (inbox / "19" / "a.jsonl").write_text('{"text": "another"}\n')
    _, found = night(20, "inbox/20/*")
    assert found.files["path"].to_pylist() == [f"{inbox}/20/a.jsonl"]
    assert "changed since" in found.said[0] and "(labelled in run_date=2026-11-19)" in found.said[0]


def test_another_file_of_the_same_size_and_time_is_new(inbox):
    (inbox / "20" / "a.jsonl").write_text('{"text": "b"}\n')
    for day in ("19", "20"):
        os.utime(inbox / day / "a.jsonl", (10**9, 10**9))
    publish(night(19, "inbox/19/*"))
    assert night(20, "inbox/20/*")[1].files.num_rows == 1


def test_a_date_that_is_made_again_has_its_files_by_other_names(inbox):
    link_folder(inbox)
    publish(night(19, "inbox/20/*"))
    _, found = night(19, "inbox/19/*", overwrite=True)
    assert found.files["path"].to_pylist() == [f"{inbox}/19/a.jsonl"] and found.said == ()


def test_only_files_of_the_same_size_and_time_are_looked_at(monkeypatch):
    looked: list[str] = []

    def itself(path: str) -> str:
        looked.append(path)
        return path[-1]

    monkeypatch.setattr(storage, "itself", itself)
    known: list[Key] = [("/19/a", 1, "1"), ("/19/b", 2, "1"), ("/18/b", 2, "1"), ("-", 2, "1")]
    names = Names(known)
    assert [names.of(key) for key in known] == known and looked == [], "who is known by name is not looked at"
    assert names.of(("/20/c", 3, "1")) == ("/20/c", 3, "1") and looked == []
    assert names.of(("/20/a", 1, "1")) == ("/19/a", 1, "1") and sorted(looked) == ["/19/a", "/20/a"]
    looked.clear()
    assert names.of(("/20/b", 2, "1")) == ("/19/b", 2, "1"), "of several the first"
    assert names.of(("/21/b", 2, "1")) == ("/19/b", 2, "1")
    assert sorted(looked) == ["/18/b", "/19/b", "/20/b", "/21/b"], "each once"
    assert names.of(("/20/z", 2, "1")) == ("/20/z", 2, "1")


@pytest.mark.parametrize("how", ["moved", "copied", "rotated"])
def test_a_file_whose_old_name_is_gone_is_labelled_and_that_is_said(inbox, how):
    publish(night(19, "inbox/19/*.jsonl"))
    if how == "moved":
        (inbox / "19" / "a.jsonl").rename(inbox / "20" / "a.jsonl")
    elif how == "copied":
        shutil.copy2(inbox / "19" / "a.jsonl", inbox / "20" / "b.jsonl")
    else:
        os.link(inbox / "19" / "a.jsonl", inbox / "20" / "a.jsonl")
    (inbox / "19" / "a.jsonl").unlink(missing_ok=True)
    _, found = night(20, "inbox/20/*.jsonl")
    assert len(found.files) == 1
    (said,) = [each for each in found.said if "may have been labelled before" in each]
    assert said.startswith("1 file labelled") and f"{inbox}/19/a.jsonl (labelled in run_date=2026-11-19)" in said


def test_nothing_is_said_of_a_copy_beside_its_file(inbox):
    publish(night(19, "inbox/19/*.jsonl"))
    shutil.copy2(inbox / "19" / "a.jsonl", inbox / "20" / "b.jsonl")
    _, found = night(20, "inbox/20/*.jsonl")
    assert len(found.files) == 1 and not [each for each in found.said if "may have been" in each]
