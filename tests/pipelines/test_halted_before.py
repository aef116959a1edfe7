"""Three ways in which a process that was halted once harmed what others had published, by the real commands."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.halt import Process, is_halted
from tests.pipelines.halted import Job, assert_whole, flags_of, jobs_in, newest, run, versions

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The commands, tiny."""
    return jobs_in(tmp_path_factory.mktemp("jobs"))


def done(job: Job, letter: str, out: Path, log: Path) -> Process:
    """A run that was not halted, and published."""
    process = run(job, letter, out, log)
    assert process.code() == 0, process.said()[-2000:]
    return process


@pytest.mark.timeout(200)
def test_a_halted_overwrite_does_not_take_published_data_away(tmp_path, jobs):
    """It halts before it puts the old folder away; the same run is started again, and publishes; it wakes."""
    job, out = jobs["prepare"], tmp_path / "out"
    done(job, "x", out, tmp_path / "0.log")
    command = [sys.executable, "-m", "tests.halt", "rename:data *", "prepare", *flags_of(job, "y", out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as halted:
        try:
            assert is_halted(halted.pid)
            done(job, "y", out, tmp_path / "1.log")
            assert assert_whole(job, out) == "y"
            halted.send_signal(signal.SIGCONT)
            said, _ = halted.communicate(timeout=100)
        finally:
            halted.kill()
    assert halted.returncode == 0, said
    assert assert_whole(job, out) == "y" and len(versions(job, out)) == 2


@pytest.mark.timeout(200)
@pytest.mark.parametrize("step", ["put_if_absent:_versions/*", "rename:_attempts/* labels/part-*-v2-*"])
def test_a_halted_overwrite_does_not_replace_a_newer_manifest(tmp_path, jobs, step):
    """It halts just before its version counts, or just after; another run publishes; it wakes."""
    job, out = jobs["classify"], tmp_path / "out"
    done(job, "x", out, tmp_path / "0.log")
    halted = run(job, "y", out, tmp_path / "1.log", step)
    try:
        assert halted.halted(), halted.said()
        done(job, "z", out, tmp_path / "2.log")
        code = halted.wake().code()
    finally:
        halted.kill()
    assert newest(job, out)[1] == "z" and assert_whole(job, out) == "z"
    if step.startswith("put"):
        assert code == 1 and "nothing of this one was" in halted.said()
    else:
        assert code == 0 and "and replaced since by run" in halted.said()


@pytest.mark.timeout(200)
def test_a_halted_overwrite_does_not_remove_another_runs_decision(tmp_path, jobs):
    """One halts before it ends, another before it places what was decided; the first wakes; one publishes; all wake."""
    job, out = jobs["classify"], tmp_path / "out"
    done(job, "x", out, tmp_path / "0.log")
    first = run(job, "y", out, tmp_path / "1.log", f"rename:_attempts/publish-{'?' * 25} _attempts/over-*")
    second = None
    try:
        assert first.halted(), first.said()
        second = run(job, "z", out, tmp_path / "2.log", "rename:_attempts/* labels/part-*-v3-*")
        assert second.halted(), second.said()
        assert first.wake().code() == 0 and "replaced since" in first.said()
        assert [letter for _, letter in versions(job, out)] == ["x", "y", "z"]
        done(job, "x", out, tmp_path / "3.log")
        assert second.wake().code() == 0 and "replaced since" in second.said()
    finally:
        first.kill()
        if second is not None:
            second.kill()
    assert [letter for _, letter in versions(job, out)] == ["x", "y", "z", "x"]
    assert assert_whole(job, out) == "x"
