"""Which nights are to be made, and which folders of a dated inbox they look into."""

import os
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam.config.classify import ReadOptions, RunOptions
from seqcls_beam.runs.due import due, find_dated
from tests.runs.attempts import write_version

FILE = {"path": "/in/a.jsonl", "size": 1, "version": "1", "rows": 1}


def published(out: Path, day: int, **manifest) -> None:
    """A night of November without parts."""
    partition = f"run_date=2026-11-{day:02}"
    written = write_version(out / f"{day}", manifest, partition=partition)
    folder = out / "_versions" / partition
    folder.mkdir(parents=True)
    written.rename(folder / written.name)


def asked(out: Path, date: str, catch_up: int = 7) -> list[str]:
    options = RunOptions(output=str(out), run_date=date, only_new=True, catch_up=catch_up)
    return [str(each)[-2:] for each in due(options)]


def test_nights_that_are_not_published_are_made_before_the_one_that_is_asked_for(tmp_path):
    assert asked(tmp_path, "2026-11-20") == ["20"], "the first of all has none before it"
    for day in (10, 14, 16):
        published(tmp_path, day)
    assert asked(tmp_path, "2026-11-17") == ["11", "12", "13", "15", "17"]
    assert asked(tmp_path, "2026-11-17", catch_up=2) == ["15", "17"]
    assert asked(tmp_path, "2026-11-17", catch_up=0) == ["17"]
    assert asked(tmp_path, "2026-11-12", catch_up=30) == ["11", "12"], "none before the first"
    assert asked(tmp_path, "2026-11-09") == ["09"]
    assert asked(tmp_path, "2026-11-16..2026-11-18", catch_up=1) == ["15", "16", "17", "18"], "what is asked for, all"


def test_what_is_no_publication(tmp_path):
    (tmp_path / "_attempts" / "run_date=2026-11-10").mkdir(parents=True)  # it began, and failed
    (tmp_path / "_versions" / "run_date=2026-11-11").mkdir(parents=True)  # likewise, on a disk
    (tmp_path / "_versions" / "run_date=someday").mkdir()
    (tmp_path / "_versions" / "other=2026-11-01").mkdir()
    published(tmp_path, 12, kind="nothing")  # another night made an end of it
    published(tmp_path, 13, kind="nothing", inputs=[FILE])  # its rows were taken away
    gone = {"path": "labels/run_date=2026-11-14/part-00000-of-00001-v1-00000000.parquet", "bytes": 9}
    published(tmp_path, 14, parts=[gone])
    assert asked(tmp_path, "2026-11-15") == ["10", "11", "12", "14", "15"]


def test_a_part_is_there_by_its_name_as_for_the_night_itself(tmp_path):
    """What `new_files` takes for whole would come up every night, and be left as it is."""
    part = "labels/run_date=2026-11-14/part-00000-of-00001-v1-00000000.parquet"
    published(tmp_path, 14, parts=[{"path": part, "bytes": 9, "rows": 1}])
    (tmp_path / part).parent.mkdir(parents=True)
    (tmp_path / part).write_bytes(b"short")
    assert asked(tmp_path, "2026-11-15") == ["15"]
    (tmp_path / part).unlink()
    assert asked(tmp_path, "2026-11-15") == ["14", "15"]


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    """Files of some days."""
    monkeypatch.chdir(tmp_path)
    for name in ("2026-11-14/a", "2026-11-15/b", "2026-11-16/c", "2026-11-17/d", "2026-11-17/e", "always/f"):
        path = tmp_path / "inbox" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    return tmp_path


def found(*patterns: str, exclude: tuple[str, ...] = (), date: str | None = "2026-11-17", **run: Any) -> str:
    options = RunOptions(output="out", run_date=date, **run)
    files = find_dated(ReadOptions(input=patterns, exclude=exclude), options).files["path"].to_pylist()
    return "".join(os.path.basename(each)[0] for each in files)


def test_a_night_looks_into_its_own_folder(inbox):
    assert found("inbox/{date}/*.txt") == "de" == found("inbox/{date:%Y}-{date:%m-%d}") == found("inbox/{date}/")
    assert found("inbox/{date}/*.txt", exclude=("{date}/e.txt", "e.*")) == "d"
    assert found("inbox/{date}/*.txt", "inbox/always/*") == "def"
    assert found("inbox/always/*", date=None) == "f"


def test_and_into_those_of_earlier_nights_that_are_published(inbox):
    for day in (13, 14, 16):
        published(inbox / "out", day)
    night: dict[str, Any] = {"only_new": True, "catch_up": 7}
    assert found("inbox/{date}/*.txt", **night) == "deca", "not that of the 15th, which is a night of its own"
    assert found("inbox/{date}/*.txt", "inbox/always/*", **night) == "defca"
    assert found("inbox/{date}/*.txt", only_new=True, catch_up=1) == "dec"
    assert found("inbox/{date}/*.txt", only_new=True) == "de"


def test_a_quiet_day_is_none_that_is_misspelled(inbox):
    assert found("inbox/{date}/*.txt", date="2026-11-18", only_new=True) == ""
    with pytest.raises(FileNotFoundError, match=r"--input=inbox/2026-11-18/\*\.txt matches no file"):
        found("inbox/{date}/*.txt", date="2026-11-18")
    with pytest.raises(FileNotFoundError) as error:
        found("inbax/{date}/*.txt", date="2026-11-18", only_new=True)
    assert str(error.value) == (
        "--input=inbax/{date}/*.txt matches no file, neither of 2026-11-18 nor of any other date"
    )
    with pytest.raises(FileNotFoundError, match="inbax"):
        found("inbox/{date}/*.txt", "inbax/*.txt", only_new=True)
