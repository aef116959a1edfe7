"""A stream on Prism: the command killed, its Prism killed, told to end; every message is one row."""

import signal
import subprocess

import pytest

from tests import broker
from tests.cluster.services import children
from tests.cluster.streams import Topic, each_is_one_row, service, stream, until_more

__all__ = ["service"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), broker.needs_go]


def test_every_message_is_one_row_whoever_is_killed(tmp_path, service, prism):
    topic = Topic(service, "prism")
    flags = ("--runner=PrismRunner", f"--prism_location={prism}")

    topic.publish()
    with stream(tmp_path, topic, *flags) as command:
        until_more(command, 20)  # and then it is killed, in the middle of a batch

    with stream(tmp_path, topic, *flags) as command:
        topic.publish()
        until_more(command, 20)
        (its_own,) = [each for each in children(command.process) if runs(each, prism)]
        subprocess.run(["kill", "-KILL", str(its_own)], check=True)
        until_more(command, 20)
        assert "nothing of this is acknowledged, and it is tried again" in command.said()
        command.ask(signal.SIGTERM)
        assert command.code() == 0, command.said()
        assert "SIGTERM came: no more messages are pulled" in command.said()

    topic.publish()
    with stream(tmp_path, topic, *flags, "--until_idle=4", "--allowed_lateness=7200") as command:
        assert command.code() == 0, command.said()
        assert "Traceback" not in command.said()
    assert topic.left() == []
    assert each_is_one_row(command.out, topic)


def runs(process: int, program: str) -> bool:
    """Whether it is what a process runs."""
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0].decode() == program
