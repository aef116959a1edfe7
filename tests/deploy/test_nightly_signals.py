"""deploy/nightly.sh: what becomes of a signal, with real processes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

NIGHT = ("2026-11-20", "--output=out")


def processor_time(pid: int) -> float:
    """Seconds of user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("command", ["CLASSIFY", "EVALUATE", "APPROVE"])
def test_a_signal_ends_the_command_and_the_night(script, name, command):
    with script.started(*NIGHT, "--gold", "--input=g", **{command: "wait"}) as process:
        process.send_signal(name := signal.Signals[name])
        assert process.wait(10) == 128 + name
    (pid,) = script.said("at work")
    assert not Path(f"/proc/{pid}").exists()
    assert script.calls()[-1][0] == command.lower(), "no command after it"
    # Not ignored, as those of other background processes are.
    assert script.said("signals") == (["SIGINT"] if name == signal.SIGINT else [])


def test_the_end_of_a_command_is_waited_for(script):
    """Also where it ends well: the night was told to end."""
    with script.started(*NIGHT, CLASSIFY="tidy") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert script.said("signals") == ["SIGTERM"], "it was still at work"
        assert process.stderr is not None and "pipelines.approve" not in process.stderr.read(), "no command after it"


def test_a_signal_that_comes_before_the_command_ends_it(script):
    """While the day is looked up, by a date command that takes its time."""
    commands = script.folder / "commands"
    commands.mkdir()
    (commands / "date").write_text(
        f'#!/bin/sh\necho 0 >>"{script.folder}/at work"\nsleep 0.3\nPATH=/usr/bin:/bin date "$@"\n'
    )
    (commands / "date").chmod(0o755)
    path = f"{commands}:{script.environ({})['PATH']}"
    words = ("--job=reviews-29700000", "--output=out")
    with script.started(*words, CLASSIFY="wait", PATH=path, TZ="Etc/UTC") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143


def test_a_second_signal_is_passed_on_too(script):
    with script.started(*NIGHT, CLASSIFY="tidy") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (130, 143)
    assert [each[0] for each in script.calls()] == ["classify"]


def test_a_command_that_is_halted_is_waited_for(script):
    with script.started(*NIGHT, CLASSIFY="wait") as process:
        (pid,) = script.said("at work")
        os.kill(pid, signal.SIGSTOP)
        before = processor_time(process.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert processor_time(process.pid) - before < 0.3, "it does not ask again and again"
        os.kill(pid, signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143


def test_a_command_that_is_killed_ends_the_night(script):
    with script.started(*NIGHT, CLASSIFY="wait") as process:
        (pid,) = script.said("at work")
        os.kill(pid, signal.SIGKILL)
        assert process.wait(10) == 137
    assert [each[0] for each in script.calls()] == ["classify"]


@pytest.mark.deploy
def test_the_first_process_of_a_container_takes_signals(script):
    """In a namespace of processes, where the kernel keeps from the first one what it has no handler for."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with script.started(*NIGHT, before=inside, CLASSIFY="wait") as process:
        (first,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        status = Path(f"/proc/{first}/status").read_text()
        assert "\nNSpid:\t" in status and status.split("\nNSpid:\t")[1].split("\n")[0].split()[-1] == "1"
        os.kill(first, signal.SIGTERM)
        assert process.wait(10) == 143
    assert [each[0] for each in script.calls()] == ["classify"]
