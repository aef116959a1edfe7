"""`python -m pipelines.report`: where a page goes, and what is said where there is none."""

import json
from pathlib import Path

import pytest

from pipelines import report
from pipelines.reporting import report as at_the_end
from seqcls_beam.runs.run import Run
from tests.reports.outputs import labelling, rows
from tests.reports.reading import parsed


def test_it_writes_the_page_and_says_where(tmp_path, capsys):
    out = tmp_path / "with a blank"
    labelling(out, rows(30))
    assert report.main([str(out)]) == 0
    said = capsys.readouterr()
    assert "with%20a%20blank/_report/report.html" in "".join(said.out.split()) and "file:///" in said.out
    assert parsed((out / "_report" / "report.html").read_text()).headline()["labelled"] == "30"


def test_it_writes_elsewhere_on_request_and_leaves_the_folder_alone(tmp_path):
    labelling(tmp_path / "out", rows(30), "run_date=2026-11-20")
    assert report.main([str(tmp_path / "out"), f"--output={tmp_path}/mine.html", "--report_texts=0"]) == 0
    found = parsed((tmp_path / "mine.html").read_text())
    assert "2026-11-20" in found.text and "text 3" not in found.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_versions", "labels"]


def test_it_writes_into_a_store(tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    labelling(tmp_path, rows(30))
    assert report.main([str(tmp_path), "--output=memory://pages/report.html"]) == 0
    assert b"<!doctype html>" in MemoryFileSystem().cat_file("/pages/report.html")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "which folder?"),
        (["{out}/nothing"], 1, "holds nothing that a command published"),
        (["{out}", "--which=run_date=2026-11-20"], 1, "no run_date=2026-11-20, and no partitions at all"),
        (["{out}", "--which=day=2026-11-20"], 1, "holds no day=2026-11-20"),
        (["{out}", "--which=../.."], 1, "holds no ../.."),
        (["{out}", "--output=-"], 2, "a page is a file for a browser"),
        (["s3://user:secret@bucket/out"], 2, "keys in front of a bucket are not read"),
        (["{out}", "--output={out}/labels"], 1, "labels"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(tmp_path, capsys, words, code, said):
    labelling(tmp_path, rows(3))
    assert report.main([word.format(out=tmp_path) for word in words]) == code
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_page_that_cannot_be_made_is_a_warning_of_a_run(tmp_path, capsys):
    labelling(tmp_path, rows(3))
    (tmp_path / "_report").write_text("in the way")
    at_the_end(Run(str(tmp_path), "r"), "FnApiRunner")
    assert "warning: no report was written" in capsys.readouterr().err


def test_of_a_run_elsewhere_no_page_is_written(tmp_path, capsys):
    labelling(tmp_path, rows(3))
    at_the_end(Run(str(tmp_path), "r"), "DataflowRunner")
    assert not (tmp_path / "_report").exists() and capsys.readouterr() == ("", "")


def test_a_manifest_that_somebody_edited_is_a_sentence(tmp_path, capsys):
    labelling(tmp_path, rows(3))
    version: Path = tmp_path / "_versions" / "00000001.json"
    told = json.loads(version.read_text())
    for key, value in {
        "score_histogram": {"from": 0, "to": 1, "counts": ["x"]},
        "engines": "none",
        "seconds": None,
    }.items():
        version.write_text(json.dumps({**told, key: value}))
        assert report.main([str(tmp_path)]) == 1
        assert "no command wrote" in capsys.readouterr().err
