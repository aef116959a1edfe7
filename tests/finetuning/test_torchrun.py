"""A process of a training whose torchrun was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import prepared, tiny
from tests.corpora import texts

PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
time.sleep(60)
"""
CHILD = """
import time
from seqcls_beam.finetuning.torchrun import end_with_torchrun
end_with_torchrun()
print("ready", flush=True)
time.sleep(60)
"""


def runs(pid: int) -> bool:
    """Whether a process is there, and not only not asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float) -> bool:
    """Whether processes end in time."""
    end = time.monotonic() + seconds
    while any(map(runs, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(runs, pids))


@pytest.mark.parametrize("started", ["torchrun", "anything else"])
def test_a_process_ends_with_the_torchrun_that_started_it(started):
    """What anything else starts goes on, as after a logout."""
    there = {"TORCHELASTIC_RUN_ID": "none"} if started == "torchrun" else {}
    environment = {**{name: each for name, each in os.environ.items() if "TORCHELASTIC" not in name}, **there}
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert parent.stdout.readline() == "ready\n"
            parent.kill()
            parent.wait()
            assert gone([child], 10 if there else 0.5) == bool(there)
        finally:
            if runs(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.usefixtures("own_cache")
def test_nothing_is_published_once_torchrun_was_killed(tmp_path):
    base = tiny.checkpoint(tmp_path / "base")
    flags = [f"--model={base}", "--near_duplicates=off", "--duplicates=keep"]
    data = prepared.run(prepared.labelled(texts(200, longest=12)), tmp_path / "data", *flags)
    out = tmp_path / "model"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m"]
    command += ["pipelines.finetune", f"--data={data}", f"--model={base}", f"--output={out}", "--eval_steps=5"]
    command += ["--epochs=20", "--batch_size=8", "--threads=1", "--device=cpu"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL) as torchrun:
        end = time.monotonic() + 200
        while not list(out.glob("_attempts/*/checkpoint-*")):
            assert torchrun.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        told = subprocess.run(["pgrep", "-P", str(torchrun.pid)], capture_output=True, text=True, check=True)
        ranks = [int(each) for each in told.stdout.split()]
        torchrun.kill()
        torchrun.wait()
    assert len(ranks) == 2 and gone(ranks, 10)
    assert not list(out.rglob("_versions/*.json"))
