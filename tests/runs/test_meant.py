"""What a person calls a labelling: the version that is meant, or why there is none."""

import json
import os
from pathlib import Path

import pytest

from seqcls_beam.runs.meant import labelling
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run, RunError, open_attempt, verified_record
from tests.runs.attempts import write_run, write_version
from tests.runs.publishing import Case, start

DAYS = [f"run_date=2026-11-{day}" for day in range(20, 28)]


def published(out: Path, run_id: str, partition: str = "") -> None:
    run = follow(Run(str(out), run_id * 32, overwrite=True, partition=partition))
    write_run(run, 1)
    publish(run, [verified_record(run, 0)])


def found(*name: Path | str) -> tuple[str, int, str]:
    version = labelling(os.path.join(*map(str, name))).version
    return version.partition, version.number, version.run_id[:1]


def test_a_folder_without_partitions(tmp_path, monkeypatch):
    published(tmp_path, "a")
    published(tmp_path, "b")
    assert found(tmp_path) == found(f"{tmp_path}/") == found(tmp_path, "labels") == ("", 2, "b")
    assert found(tmp_path, "_versions/00000002.json") == ("", 2, "b")
    assert found(tmp_path, "_versions/00000001.json") == ("", 1, "a"), "a file is itself, newest or not"
    monkeypatch.chdir(tmp_path)
    assert found(".") == found("labels") == found(tmp_path.as_uri()) == ("", 2, "b")


def test_an_output_folder_may_be_called_labels(tmp_path):
    published(tmp_path / "labels", "a", DAYS[0])
    assert found(tmp_path, "labels") == found(tmp_path, "labels", "labels", DAYS[0]) == (DAYS[0], 1, "a")


def test_partitions(tmp_path):
    published(tmp_path, "a", DAYS[0])
    assert found(tmp_path) == (DAYS[0], 1, "a"), "the only one"
    published(tmp_path, "b", DAYS[1])
    published(tmp_path, "c", DAYS[1])
    for name in (f"labels/{DAYS[1]}", f"labels/{DAYS[1]}/", f"_versions/{DAYS[1]}/00000002.json"):
        assert found(tmp_path, name) == (DAYS[1], 2, "c")
    with pytest.raises(RunError) as said:
        labelling(str(tmp_path))
    folders = ", ".join(f"{tmp_path}/labels/{day}" for day in DAYS[:2])
    assert str(said.value) == f"{tmp_path} has 2 partitions, and one is to be compared: {folders}"


def test_of_many_partitions_a_few_are_told(tmp_path):
    for day in DAYS:
        published(tmp_path, "a", day)
    with pytest.raises(RunError, match="has 8 partitions") as said:
        labelling(str(tmp_path))
    assert [day for day in DAYS if day in str(said.value)] == [DAYS[0], *DAYS[-3:]] and "…" in str(said.value)
    with pytest.raises(RunError, match=r"2026-12-01 holds no published run; there are .*labels/run_date=2026-11-20"):
        labelling(f"{tmp_path}/labels/run_date=2026-12-01")


@pytest.mark.parametrize("partition", ["", DAYS[0]])
def test_a_run_that_is_not_published(tmp_path, partition):
    run = follow(Run(str(tmp_path), "a" * 32, partition=partition))
    open_attempt(run)
    write_run(run, 1)
    with pytest.raises(RunError, match="is not published: a run is at work there, or was interrupted"):
        labelling(os.path.join(tmp_path, "labels" if partition else "", partition))


def test_nothing_of_another_kind_no_version_and_no_folder(tmp_path):
    assert start(Case("prepare"), str(tmp_path / "prepared"), "a") == 0
    (tmp_path / "empty").mkdir()
    (tmp_path / "some.json").write_text("{}")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "_MANIFEST.json").write_text("{}")
    write_version(tmp_path / "gone", {"kind": "nothing"})
    for name, why in {
        "prepared": r"holds no labels, but the output of pipelines\.prepare",
        "empty": "holds no published run",
        "missing": "holds no published run",
        "some.json": "is no version: a manifest is OUT/_versions/",
        "old": "is of an earlier layout",
        "gone": "holds no published run",
        "gone/_versions/00000001.json": "says that nothing is published",
        "gone/_versions/00000002.json": "is gone",
    }.items():
        with pytest.raises(RunError, match=why):
            labelling(str(tmp_path / name))


@pytest.mark.parametrize(
    "name", ["", "/labels/run_date=2026-11-20", "/_versions/00000001.json", "/_versions/x.json", "/report.json"]
)
def test_no_sentence_has_a_password(name):
    with pytest.raises(RunError) as said:
        labelling(f"memory://user:secret@host/out{name}")
    assert "memory://host/out" in str(said.value) and "secret" not in str(said.value)
    cause = said.value.__cause__
    assert cause is None and said.value.__suppress_context__


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: text.replace('"label_counts"', '"labels_counted"'),
        lambda text: json.dumps({**json.loads(text), "token_histogram": [1, 2]}),
        lambda text: json.dumps({**json.loads(text), "truncated_rows": "3"}),
        lambda text: json.dumps({**json.loads(text), "format_version": 1}),
    ],
)
def test_a_version_that_is_damaged(tmp_path, damage):
    published(tmp_path, "a")
    path = tmp_path / "_versions" / "00000001.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=r"00000001\.json"):
        labelling(str(tmp_path))
