"""Prepare, killed or failing anywhere: nothing half-published counts, and the next start makes the same bytes."""

import signal
from pathlib import Path

import pytest

from pipelines import prepare
from pipelines.options import parse, parser
from seqcls_beam.preparation import tasks
from seqcls_beam.preparation.plan import plan
from seqcls_beam.runs.table import read_manifest
from tests.corpora import version_digests, write_jsonl
from tests.crash import interrupted
from tests.prepared import digests, labelled, lasting, sentences

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A corpus of several units and partitions, duplicates and bad rows in it, and what an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("job")
    source = labelled(sentences(150, 30) + sentences(30, 30) + ["", ""])
    flags = [f"--input={write_jsonl(folder / 'in.jsonl', source)}", "--unit_bytes=15000", "--partition_bytes=65536"]
    flags += ["--num_shards=2"]
    assert prepare.main([*flags, f"--output={folder}/undisturbed"]) == 0
    return flags, digests(folder / "undisturbed"), lasting(folder / "undisturbed")


# A run takes about 700 steps, most of them files between stages; the last 40 publish it. Of those 1 to 5 open the
# stage, 9 decides, 11 to 16 fill the folder of shards, which 17 moves to its name; 31 does so with the rows that were
# left out and 32 with the card; 33 puts the attempt away and 36 closes the stage. `make test-slow` tries all of them.
@pytest.mark.parametrize(
    ("how", "step"),
    [
        *(("kill", step) for step in (300, "publish-9", "publish-17")),
        *(("fail", step) for step in (400, "publish-33")),
    ],
)
def test_interrupted_at_a_step(tmp_path, job, how, step):
    interrupt(tmp_path, job, how, step)


@pytest.mark.slow
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_interrupted_at_every_step_of_publishing_and_many_before(tmp_path, job, how):
    step = 1
    while interrupt(tmp_path / str(step), job, how, step):
        step += 9
    assert step > 620
    step = 1
    while interrupt(tmp_path / f"publish-{step}", job, how, f"publish-{step}"):
        step += 1
    assert step > 30


def interrupt(folder: Path, job: tuple, how: str, step: int | str) -> bool:
    """Interrupt a run at a step, check what is seen, run it again, compare; whether it had so many steps."""
    flags, expected, told = job
    out = folder / "out"
    folder.mkdir(exist_ok=True)
    done = interrupted("prepare", step, how, [*flags, f"--output={out}"], folder / "log")
    published = read_manifest(str(out)) is not None
    assert done.code() in ((-signal.SIGKILL, 0) if how == "kill" else (0, 1)), done.said()[-2000:]
    assert not (out / "data").is_dir() or digests(out) == expected, "the folder appears with all its files"
    assert not published or lasting(out) == told
    assert not published or shards_of_version(out) == expected, "decided is published, wherever the files lie by then"
    assert done.code() != 0 or digests(out) == expected, "what it said was true"
    assert prepare.main([*flags, f"--output={out}"]) == 0
    assert digests(out) == expected and lasting(out) == told
    # A page is written after all is published, by whoever published it.
    assert {path.name for path in out.iterdir()} - {"_report"} == {"README.md", "_rejects", "_versions", "data"}
    return "there are fewer steps" not in done.said()


def shards_of_version(out: Path) -> dict[str, str]:
    return {
        name.removeprefix("data/"): digest for name, digest in version_digests(out).items() if name.startswith("data/")
    }


def test_finished_tasks_are_kept(tmp_path, job, capsys):
    flags, expected, _ = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
    assert "--max_rejected=0 allows" in capsys.readouterr().err
    shards = {path.name: path.stat().st_ino for path in (out / "_attempts").rglob("data/*.parquet")}
    records = sorted((out / "_attempts").rglob("records/shards/*.json"))
    assert len(shards) == 6 and len(records) == 2
    records[1].unlink()
    units = sorted((out / "_attempts").rglob("records/*.json"))
    assert prepare.main([*flags, f"--output={out}"]) == 0
    assert (
        f"{len([each for each in units if each.parent.name == 'records'])} of them done before"
        in capsys.readouterr().err
    )
    assert digests(out) == expected
    kept = {path.stat().st_ino for path in (out / "data").iterdir()} & set(shards.values())
    assert len(kept) == 3


def test_what_records_name_and_is_gone_is_made_again(tmp_path, job):
    flags, expected, told = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
    for prefix in ("examples", "texts", "edges", "placed", "train"):
        next((out / "_attempts").rglob(f"{prefix}-*")).unlink()
        assert prepare.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
        assert any((out / "_attempts").rglob(f"{prefix}-*"))
    assert prepare.main([*flags, f"--output={out}"]) == 0
    assert digests(out) == expected and lasting(out) == told


def test_a_damaged_file_of_an_attempt_is_made_again(tmp_path, job, capsys):
    flags, expected, told = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
    part = next((out / "_attempts").rglob("data/train-*"))
    part.write_bytes(part.read_bytes()[:-10])
    assert prepare.main([*flags, f"--output={out}"]) == 1
    assert "not as they were written" in capsys.readouterr().err and not (out / "data").exists()
    assert prepare.main([*flags, f"--output={out}"]) == 0
    assert digests(out) == expected and lasting(out) == told


def test_records_of_another_plan_do_not_count(tmp_path, job):
    flags, expected, _ = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}", "--max_rejected=0"]) == 1
    for record in (out / "_attempts").rglob("records/*.json"):
        record.write_text(record.read_text().replace('"units":', '"units":1'))  # 1 and the number behind it
    assert prepare.main([*flags, f"--output={out}"]) == 0
    assert digests(out) == expected


@pytest.mark.parametrize("step", ["publish-10", "publish-18"])
def test_a_commit_goes_on_where_an_earlier_try_stopped(tmp_path, job, step):
    flags, expected, told = job
    out = tmp_path / "out"
    given, _ = parse(parser("p", "", "", prepare.GROUPS), [*flags, f"--output={out}"], prepare.GROUPS)
    planned = plan(prepare.configured(given))[0]
    assert interrupted("prepare", step, "kill", [*flags, f"--output={out}"], tmp_path / "log").code() == -signal.SIGKILL
    assert tasks.finish(planned) == f"{out}/_versions/00000001.json"
    assert digests(out) == expected and lasting(out) == told


def test_a_commit_that_is_tried_again_is_done(tmp_path, job):
    flags, expected, _ = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}"]) == 0
    given, _ = parse(parser("p", "", "", prepare.GROUPS), [*flags, f"--output={out}"], prepare.GROUPS)
    assert tasks.finish(plan(prepare.configured(given))[0]) == f"{out}/_versions/00000001.json"
    assert digests(out) == expected


# Of the steps that publish 9 decides, 11 to 13 put card, rows that were left out and shards away, 14 closes the folder
# for these; 17 to 22 fill the folder of shards, which 23 moves to its name; 37 moves the card, 38 puts the attempt away
# and 41 closes the stage.
@pytest.mark.parametrize(
    ("how", "step"),
    [("kill", 10), ("kill", 23), ("fail", 13)],
)
def test_an_overwrite_interrupted_at_a_step(tmp_path, job, how, step):
    flags, expected, _ = job
    out = tmp_path / "out"
    assert prepare.main([*flags, f"--output={out}", "--seed=1"]) == 0
    before = digests(out)
    command = [*flags, f"--output={out}", "--overwrite"]
    done = interrupted("prepare", f"publish-{step}", how, command, tmp_path / "log")
    assert done.code() in ((-signal.SIGKILL,) if how == "kill" else (0, 1)), done.said()[-2000:]
    assert shards_of_version(out) in (before, expected)
    assert done.code() != 0 or digests(out) == expected, "what it said was true"
    assert not (out / "data").is_dir() or digests(out) in (before, expected), "one run or the other, never some of both"
    assert prepare.main(command) == 0
    assert digests(out) == expected
    # A page is written after all is published, by whoever published it.
    assert {path.name for path in out.iterdir()} - {"_report"} == {"README.md", "_rejects", "_versions", "data"}
