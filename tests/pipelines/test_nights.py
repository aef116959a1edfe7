"""Scheduled runs into one output: who takes which files, what a new model changes, what is made again."""

import gzip
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import classify, clean, labelling, prepare
from seqcls_beam.runs import lease
from seqcls_beam.runs.job import Job
from seqcls_beam.runs.plan import plan
from seqcls_beam.runs.run import RunError, begin
from seqcls_beam.runs.store import Disk
from seqcls_beam.runs.table import open_labels, read_manifest
from tests import halt, tiny
from tests.corpora import plain_scores, texts, write_jsonl

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("newer"), seed=1)


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def arrive(inbox: Path, name: str, rows: int, seed: int) -> None:
    write_jsonl(
        inbox / f"{name}.jsonl", [{"id": f"{name}{i}", "text": text} for i, text in enumerate(texts(rows, seed))]
    )


def flags(model: Path, inbox: Path, *more: str) -> list[str]:
    out = inbox.parent / "out"
    return [f"--model={model}", f"--input={inbox}/*.jsonl", f"--output={out}", "--threads=1", "--id_column=id", *more]


def night(model: Path, inbox: Path, date: str, *more: str) -> int:
    return classify.main(flags(model, inbox, "--only_new", f"--run_date={date}", *more))


def ids(inbox: Path) -> list[tuple[str, str]]:
    """(date, id) of all labelled rows."""
    table = open_labels(str(inbox.parent / "out")).to_table(columns=["run_date", "id"])
    return sorted(zip(table["run_date"].to_pylist(), table["id"].to_pylist(), strict=True))


def test_a_partition_whose_parts_are_gone_is_made_again_by_its_own_date_alone(tmp_path, model, inbox, capsys):
    out = tmp_path / "out"
    arrive(inbox, "a", 20, 1)
    assert night(model, inbox, "2026-11-19") == 0
    before = ids(inbox)
    arrive(inbox, "b", 10, 2)
    shutil.rmtree(out / "labels" / "run_date=2026-11-19")
    capsys.readouterr()
    assert night(model, inbox, "2026-11-20") == 0
    said = capsys.readouterr().err
    assert "is gone, and a version names it: start that night again, with --run_date=2026-11-19" in said
    assert night(model, inbox, "2026-11-19") == 0
    after = ids(inbox)
    assert [each for each in after if each[0] == "2026-11-19"] == before
    assert [name for date, name in after if date == "2026-11-20"] == sorted(f"b{i}" for i in range(10))


def test_a_partition_whose_parts_and_files_are_gone_is_told(tmp_path, model, inbox, capsys):
    arrive(inbox, "a", 20, 1)
    arrive(inbox, "b", 20, 2)
    assert night(model, inbox, "2026-11-19") == 0
    shutil.rmtree(tmp_path / "out" / "labels")
    (inbox / "b.jsonl").unlink()
    assert night(model, inbox, "2026-11-19") == 1
    said = capsys.readouterr().err
    assert "is gone, and of the files that run_date=2026-11-19 was made of" in said and "b.jsonl" in said
    assert night(model, inbox, "2026-11-19", "--overwrite") == 0
    assert [name for _, name in ids(inbox)] == sorted(f"a{i}" for i in range(20))


def test_a_new_model_labels_new_files_and_relabel_the_others(tmp_path, model, newer, inbox, capsys):
    out = tmp_path / "out"
    arrive(inbox, "a", 20, 1)
    assert night(model, inbox, "2026-11-19") == 0
    arrive(inbox, "b", 20, 2)
    assert night(newer, inbox, "2026-11-20") == 0
    assert night(newer, inbox, "2026-11-21") == 0  # a quiet one
    manifest = read_manifest(str(out), "run_date=2026-11-20")
    assert manifest is not None and len(manifest["inputs"]) == 1
    capsys.readouterr()
    assert classify.main(flags(newer, inbox, "--relabel")) == 0
    said = capsys.readouterr().err
    assert "run_date=2026-11-19 is labelled again" in said and "2026-11-20" not in said and "2026-11-21" not in said
    assert len(list((out / "_versions" / "run_date=2026-11-20").iterdir())) == 1
    rows = open_labels(str(out)).to_table().to_pylist()
    assert sorted(row["id"] for row in rows) == sorted([*(f"a{i}" for i in range(20)), *(f"b{i}" for i in range(20))])
    expected = dict(zip((f"a{i}" for i in range(20)), plain_scores(newer, texts(20, 1)), strict=True))
    for row in rows:
        if row["id"] in expected:
            np.testing.assert_allclose(row["scores"], expected[row["id"]], atol=1e-5)
    assert classify.main(flags(newer, inbox, "--relabel")) == 0
    assert "nothing to label again" in capsys.readouterr().err


def test_a_signal_while_a_partition_is_shown_ends_a_relabelling_before_the_next(
    tmp_path, model, newer, inbox, capsys, monkeypatch
):
    for day, name in ((19, "a"), (20, "b")):
        arrive(inbox, name, 20, day)
        assert night(model, inbox, f"2026-11-{day}") == 0

    def shown(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.terminal.classify.summary", shown)
        assert classify.main(flags(newer, inbox, "--relabel")) == 143
    assert capsys.readouterr().err.splitlines()[-1].startswith("seqcls_beam: told to end (SIGTERM)")
    found = [read_manifest(str(tmp_path / "out"), f"run_date=2026-11-{day}") for day in (19, 20)]
    assert [each and each["model"]["name"] for each in found] == [str(newer), str(model)]
    assert classify.main(flags(newer, inbox, "--relabel")) == 0


def test_relabel_leaves_a_partition_whose_files_changed_and_does_the_others(tmp_path, model, newer, inbox, capsys):
    for day, name in ((19, "a"), (20, "b"), (21, "c")):
        arrive(inbox, name, 10, day)
        assert night(model, inbox, f"2026-11-{day}") == 0
    arrive(inbox, "b", 11, 3)
    capsys.readouterr()
    assert classify.main(flags(newer, inbox, "--relabel")) == 1
    said = capsys.readouterr().err
    assert "run_date=2026-11-20 stays as it is: of the 1 files that it was made of 1, such as" in said
    digests = {
        day: (read_manifest(str(tmp_path / "out"), f"run_date=2026-11-{day}") or {})["model"]["digest"]
        for day in (19, 20, 21)
    }
    assert digests[19] == digests[21] != digests[20]


def test_a_night_whose_rows_were_taken_away_has_nothing_to_do_and_its_files_stay_covered(model, inbox, capsys):
    out = inbox.parent / "out"
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19") == 0
    assert clean.main([str(out), "--before=2026-11-20", "--remove"]) == 0
    versions = out / "_versions" / "run_date=2026-11-19"
    before = sorted(versions.iterdir())
    assert night(model, inbox, "2026-11-19") == 0
    arrive(inbox, "b", 5, 2)
    capsys.readouterr()
    assert night(model, inbox, "2026-11-19") == 0
    said = capsys.readouterr().err
    assert "run_date=2026-11-19 was published, and its rows taken away; 1 file came since" in said
    assert sorted(versions.iterdir()) == before
    assert night(model, inbox, "2026-11-20") == 0
    assert ids(inbox) == sorted(("2026-11-20", f"b{i}") for i in range(5))
    assert night(model, inbox, "2026-11-19", "--overwrite") == 0
    assert ids(inbox) == [*(("2026-11-19", f"a{i}") for i in range(10)), *(("2026-11-20", f"b{i}") for i in range(5))]


def test_relabel_finds_a_file_that_is_called_otherwise_now(tmp_path, model, newer, inbox, capsys):
    arrive(inbox, "a", 10, 19)
    arrive(inbox, "b", 10, 20)
    (tmp_path / "mounted").symlink_to(inbox)
    assert night(model, tmp_path / "mounted", "2026-11-19", f"--output={tmp_path / 'out'}") == 0
    assert classify.main(flags(newer, inbox, "--relabel")) == 0
    assert "run_date=2026-11-19 is labelled again" in capsys.readouterr().err
    assert [name for _, name in ids(inbox)] == sorted(f"{name}{i}" for name in "ab" for i in range(10))


def test_relabel_of_what_holds_no_labels_fails(tmp_path, model, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    assert classify.main(flags(model, inbox, "--relabel")) == 1
    assert "out holds nothing that was published, so --relabel has nothing to replace there" in capsys.readouterr().err
    write_jsonl(tmp_path / "rows.jsonl", [{"text": text, "label": "xy"[i % 2]} for i, text in enumerate(texts(40))])
    made = [f"--input={tmp_path}/rows.jsonl", f"--model={model}", f"--output={tmp_path}/out"]
    assert prepare.main(made) == 0
    capsys.readouterr()
    assert classify.main(flags(model, inbox, "--relabel")) == 1
    assert "out holds prepared data (pipelines.prepare), and --relabel replaces labels" in capsys.readouterr().err
    assert not (tmp_path / "out" / "labels").exists()


@pytest.mark.parametrize("more", [(), ("b",)], ids=["nothing new", "a new file"])
def test_a_night_that_could_not_be_published_is_refused_before_it_claims(model, inbox, capsys, more):
    arrive(inbox, "a", 10, 1)
    assert classify.main(flags(model, inbox)) == 0
    for name in more:
        arrive(inbox, name, 10, 2)
    capsys.readouterr()
    assert night(model, inbox, "2026-11-19") == 1
    said = capsys.readouterr().err
    assert "is a table without partitions: leave out --run_date" in said and "nothing new" not in said
    assert not (inbox.parent / "out" / "_claims").exists()


def test_a_night_of_which_a_quiet_one_was_published_takes_what_came_since(model, inbox):
    arrive(inbox, "a", 10, 1)
    assert [night(model, inbox, "2026-11-19"), night(model, inbox, "2026-11-20")] == [0, 0]
    arrive(inbox, "b", 5, 2)
    assert [night(model, inbox, "2026-11-20"), night(model, inbox, "2026-11-20")] == [0, 0]
    assert [date for date, _ in ids(inbox)] == ["2026-11-19"] * 10 + ["2026-11-20"] * 5


def test_a_file_that_changed_is_labelled_again_and_said(model, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19") == 0
    arrive(inbox, "a", 12, 2)
    assert night(model, inbox, "2026-11-20") == 0
    said = capsys.readouterr().err
    assert "1 file that an earlier run labelled changed since" in said and "(labelled in run_date=2026-11-19)" in said
    assert [date for date, _ in ids(inbox)] == ["2026-11-19"] * 10 + ["2026-11-20"] * 12


def _impatient(argv: list[str]) -> int:
    """A night in a process of its own, which takes another one for dead after four seconds without a sign of life."""
    lease.RENEWED, lease.EXPIRES = 0.5, 4.0
    return halt.command("classify", argv)


Start = Callable[..., halt.Process]


@pytest.fixture
def start(tmp_path, model, inbox) -> Iterator[Start]:
    """Starts a night of a date as a process of its own; none outlives the test."""
    jobs: list[halt.Process] = []

    def started(date: str, *, impatient: bool = False) -> halt.Process:
        argv = flags(model, inbox, "--only_new", f"--run_date={date}")
        do = (_impatient, argv) if impatient else (halt.command, "classify", argv)
        jobs.append(halt.Process(*do, log=tmp_path / f"{len(jobs)}.log"))
        return jobs[-1]

    yield started
    for job in jobs:
        job.kill()  # also where it was halted


def begun(out: Path, job: halt.Process) -> None:
    """Wait until a night has begun to work."""
    deadline = time.monotonic() + 120
    while not list(out.glob("_attempts/*/*/plan.parquet")):
        assert time.monotonic() < deadline, "the night has not begun after two minutes"
        assert job.runs(), f"the night ended before it began: {job.said()}"
        time.sleep(0.02)


@pytest.mark.parametrize("dates", [("2026-11-19", "2026-11-20"), ("2026-11-19", "2026-11-19")], ids=["two", "one"])
def test_two_nights_at_once_label_each_file_once(inbox, start, dates):
    for i in range(12):
        arrive(inbox, f"f{i}.", 5, i)
    jobs = [start(date) for date in dates]
    assert [job.code() for job in jobs] == [0, 0], [job.said() for job in jobs]
    assert sorted(name for _, name in ids(inbox)) == sorted(f"f{i}.{row}" for i in range(12) for row in range(5))


def test_a_night_that_is_killed_goes_on_with_its_own_files(tmp_path, model, inbox, start, capsys):
    arrive(inbox, "a", 4_000, 1)
    job = start("2026-11-19")
    begun(tmp_path / "out", job)
    job.kill()
    assert not (tmp_path / "out" / "_versions").exists()
    arrive(inbox, "b", 10, 2)
    assert night(model, inbox, "2026-11-20") == 0  # takes what the other one, which may be alive, has not
    assert "1 file left to the run that labels them for run_date=2026-11-19" in capsys.readouterr().err
    arrive(inbox, "c", 10, 3)
    assert night(model, inbox, "2026-11-19") == 0
    said = capsys.readouterr().err
    assert "1 file came after this run was first started" in said
    dates = dict.fromkeys(json.dumps(each) for each in ids(inbox))
    assert len(dates) == 4_010 == len(ids(inbox))


def test_a_night_that_is_halted_until_another_one_took_its_files_publishes_nothing(tmp_path, model, inbox, start):
    arrive(inbox, "a", 3_000, 1)
    halted = start("2026-11-19", impatient=True)
    begun(tmp_path / "out", halted)
    halted.halt()
    time.sleep(5)
    other = start("2026-11-20", impatient=True)
    assert other.code() == 0, other.said()
    assert halted.wake().code() == 1 and "was taken for dead" in halted.said(), halted.said()
    assert "Traceback" not in halted.said()
    assert ids(inbox) == sorted(("2026-11-20", f"a{i}") for i in range(3_000))
    assert night(model, inbox, "2026-11-19") == 0  # has nothing to do any more, and says so
    assert len(ids(inbox)) == 3_000


def test_what_cannot_be_shared_is_said(model, inbox, capsys, monkeypatch):
    lines = "".join(json.dumps({"id": f"z{i}", "text": text}) + "\n" for i, text in enumerate(texts(400)))
    (inbox / "big.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    arrive(inbox, "a", 20, 1)
    inputs, more = f"--input={inbox}/*", ["--unit_bytes=2000", f"--output={inbox.parent}/out"]
    assert classify.main([*flags(model, inbox), inputs, *more]) == 0
    said = capsys.readouterr().err
    size = (inbox / "big.jsonl.gz").stat().st_size
    assert f"big.jsonl.gz ({size / 1000:.1f} kB) is most of the run and cannot be cut: it is one unit" in said
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=3"]

    def built(*_: Any, **__: Any) -> None:
        raise RunError("that is enough")  # it is said before a worker starts

    monkeypatch.setattr(labelling, "build", built)
    assert classify.main([*flags(model, inbox), *workers, f"--output={inbox.parent}/other"]) == 1
    said = capsys.readouterr().err
    assert "3 workers have 1 unit (a smaller --unit_bytes makes more): 2 of them have nothing to do" in said


def test_a_night_that_cannot_begin_leaves_its_files_to_others(tmp_path, model, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19", "--text_column=nope") == 2
    assert night(model, inbox, "2026-11-20") == 0
    assert night(model, inbox, "2026-11-19") == 0
    assert "left to" not in capsys.readouterr().err
    assert ids(inbox) == sorted(("2026-11-20", f"a{i}") for i in range(10))


def test_a_table_of_nights_without_rows_has_none(tmp_path, model, inbox):
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19") == 0
    assert clean.main([f"{tmp_path}/out", "--before=2026-11-20", "--remove"]) == 0
    assert night(model, inbox, "2026-11-20") == 0
    assert open_labels(str(tmp_path / "out")).count_rows() == 0


def test_relabel_reads_a_partition_as_it_was_read(tmp_path, model, newer, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19") == 0
    plain = [each for each in flags(newer, inbox, "--relabel") if not each.startswith("--id_column")]
    assert classify.main(plain) == 1
    assert "run_date=2026-11-19 stays as it is: it was read with other options (--id_column)" in capsys.readouterr().err


def test_a_date_made_again_without_some_of_its_files_says_so(model, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    arrive(inbox, "b", 10, 2)
    assert night(model, inbox, "2026-11-19") == 0
    (inbox / "b.jsonl").unlink()
    assert night(model, inbox, "2026-11-19", "--overwrite") == 0
    assert "1 file that run_date=2026-11-19 was made of, such as" in capsys.readouterr().err
    assert len(ids(inbox)) == 10


def test_a_night_that_was_taken_for_dead_while_it_was_planned_ends_before_it_works(model, inbox, capsys, monkeypatch):
    arrive(inbox, "a", 20, 1)
    clock = lease.clock

    def late(*what: Any) -> None:
        monkeypatch.setattr("pipelines.labelling.begin", begin)
        with monkeypatch.context() as later:
            later.setattr(lease, "clock", lambda store: clock(store) + lease.EXPIRES + 60)
            assert night(model, inbox, "2026-11-20") == 0
        monkeypatch.setattr(labelling, "build", lambda *_, **__: pytest.fail("it works"))
        begin(*what)

    monkeypatch.setattr("pipelines.labelling.begin", late)
    assert night(model, inbox, "2026-11-19") == 1
    assert "was taken for dead, and" in capsys.readouterr().err
    assert {date for date, _ in ids(inbox)} == {"2026-11-20"}


def test_a_plan_of_a_night_reads_each_version_once(model, inbox, monkeypatch):
    for day in (17, 18, 19):
        arrive(inbox, f"a{day}", 5, day)
        assert night(model, inbox, f"2026-11-{day}") == 0
    arrive(inbox, "z", 5, 1)
    asked, read = Counter[str](), Disk.read

    def counted(store: Disk, name: str) -> bytes | None:
        asked[name] += 1
        return read(store, name)

    def planned(*given: Any) -> Job:
        job = plan(*given)
        versions = {f"_versions/run_date=2026-11-{day}/00000001.json": 1 for day in (17, 18, 19)}
        assert {name: count for name, count in asked.items() if name.startswith("_versions/")} == versions
        return job

    monkeypatch.setattr(Disk, "read", counted)
    monkeypatch.setattr("pipelines.labelling.plan", planned)
    assert night(model, inbox, "2026-11-20") == 0


def test_a_night_whose_precision_cannot_be_found_leaves_its_files_to_others(model, inbox, monkeypatch):
    arrive(inbox, "a", 10, 1)

    def fails(job: Job, _: Any) -> Job:
        raise RunError("no precision")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.labelling.in_one_precision", fails)
        assert night(model, inbox, "2026-11-20") == 1
    assert night(model, inbox, "2026-11-21") == 0
    assert {date for date, _ in ids(inbox)} == {"2026-11-21"}


def test_a_night_that_failed_and_whose_files_went_away_becomes_a_quiet_one(tmp_path, model, inbox, capsys):
    arrive(inbox, "a", 10, 1)
    assert night(model, inbox, "2026-11-19") == 0
    (inbox / "b.jsonl").write_bytes(b"PAR1 is no JSON\n" * 10)
    assert night(model, inbox, "2026-11-20") == 1
    (inbox / "b.jsonl").unlink()
    capsys.readouterr()
    assert night(model, inbox, "2026-11-20") == 0
    assert "run_date=2026-11-20 is published without rows" in capsys.readouterr().err
    arrive(inbox, "b", 10, 2)
    assert night(model, inbox, "2026-11-21") == 0
    assert ids(inbox) == sorted(
        [*(("2026-11-19", f"a{i}") for i in range(10)), *(("2026-11-21", f"b{i}") for i in range(10))]
    )
