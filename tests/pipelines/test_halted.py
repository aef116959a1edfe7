"""Every command, halted at the steps of publishing while others publish into the same folder, and then woken."""

from pathlib import Path

import pytest

from tests.pipelines.halted import JOBS, assert_told, assert_whole, halt_in_turn, jobs_in, run, versions

pytestmark = pytest.mark.engine

OPEN, CREATE, SYNC = "make_folder:_attempts/publish-*/old", "put_if_absent:_versions/*", "sync:_versions"
OLD = "rename:_attempts/publish-*/old _attempts/over-*"
DISCARD, CLOSE = "rename:_attempts/*-v[0-9]* _attempts/over-*", f"rename:*/publish-{'?' * 25} _attempts/over-*"
STEPS = {  # in an order in which each is come to
    "classify": [
        "rename:*/new/labels labels",
        CREATE,
        SYNC,
        "rename:_attempts/* labels/part-*",
        "remove_file:labels/part-*",
        DISCARD,
        CLOSE,
        "remove:_attempts/over-*",
    ],
    "day": ["rename:*/new/labels/* labels/*", CREATE, "rename:_attempts/* labels/*/part-*", DISCARD, CLOSE],
    "prepare": [
        SYNC,
        CREATE,
        "rename:data *",
        OLD,
        "rename:* _attempts/publish-*/new/data/*",
        "rename:*/new/data data",
        "rename:* README.md",
        CLOSE,
    ],
    "finetune": [
        SYNC,
        CREATE,
        "rename:config.json *",
        OLD,
        "rename:* model.safetensors",
        "rename:* config.json",
        CLOSE,
    ],
    "evaluate": [OPEN, CREATE, SYNC, "rename:evaluation.json *", "rename:* evaluation.json", CLOSE],
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """What is run, by name, and what each of its variants publishes undisturbed."""
    return jobs_in(tmp_path_factory.mktemp("jobs"))


# A checkpoint lies as an evaluation does, and a day as labels do.
OTHERS = ("day", "finetune")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each in OTHERS)) for each in JOBS])
def test_one_halted_after_the_other(tmp_path, jobs, name):
    halt_in_turn(jobs[name], tmp_path / "out", STEPS[name], tmp_path, Path)


@pytest.mark.slow
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("other", ["y", "x"])
@pytest.mark.parametrize("name", JOBS)
def test_halted_at_every_step(tmp_path, jobs, name, other):
    """At each step in turn, while another run, or the same one once more, publishes; into one folder all the time."""
    job, out = jobs[name], tmp_path / "out"
    for number in range(1, 1000):
        assert run(job, "z", out, tmp_path / f"{number}-before.log").code() == 0, number
        earlier = len(versions(job, out))
        woken = run(job, "x", out, tmp_path / f"{number}.log", str(number))
        try:
            if not woken.halted():
                assert woken.code() == 0, woken.said()[-1500:]
                break
            meanwhile = run(job, other, out, tmp_path / f"{number}-{other}.log")
            assert meanwhile.code() == 0, (number, meanwhile.said()[-1500:])
            published = len(versions(job, out))
            woken.wake().code()
        finally:
            woken.kill()
        assert_told(job, out, [("x", woken), (other, meanwhile)], earlier)
        assert assert_whole(job, out) == ("x" if len(versions(job, out)) > published else other), number
    assert number > 40
