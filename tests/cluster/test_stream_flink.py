"""A stream on Flink: workers, a TaskManager and the command killed, then told to end; every message is one row."""

import signal

import pytest

from tests import broker
from tests.cluster.services import Flink
from tests.cluster.streams import Topic, all_are_rows, each_is_one_row, pool, service, stream, until_more, until_quiet
from tests.streams.test_classify_stream import until

__all__ = ["service"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), broker.needs_go]

CHECKPOINT = 2.0


def flags(flink: Flink) -> list[str]:
    return [*flink.flags[:3], f"--checkpointing_interval={CHECKPOINT * 1000:.0f}", "--execution_retry_delay=1000"]


def checkpoints(flink: Flink, job: str) -> int:
    """How many are done."""
    return int(flink.asked(f"jobs/{job}/checkpoints")["counts"]["completed"])


def test_every_message_is_one_row_whoever_is_killed(tmp_path, service, flink):
    topic = Topic(service, "flink")
    with pool(topic) as workers:
        words = (*flags(flink), workers.flag)
        topic.publish()
        with stream(tmp_path, topic, *words) as command:
            until_more(command, 20)
            (job,) = flink.jobs("RUNNING")
            command.until(lambda: checkpoints(flink, job) > 0, "a checkpoint to go on from")
            workers.kill_workers()
            until_more(command, 20)
            assert "is started again; what is not acknowledged comes again" in command.said()
            topic.publish()
            flink.kill("taskmanager-1")
            flink.start()
            until_more(command, 20)
            # What Flink knows of event time is later than what a new worker sees.
            assert "Watermark" not in command.said()
        # It was killed with that: its job works on.
        assert flink.jobs("RUNNING") == [job]
        topic.publish()
        with stream(tmp_path, topic, *words) as command:
            command.until(lambda: "this stream is at work already" in command.said(), "the job that is there")
            assert flink.jobs("RUNNING", "RESTARTING") == [job]
            assert until(lambda: all_are_rows(command.out, topic)), command.said()
            until_quiet(command, 3 * CHECKPOINT)
            command.ask(signal.SIGTERM)
            assert command.code() == 0, command.said()
            assert f"SIGTERM came: job {job} is cancelled" in command.said()
        assert flink.jobs("RUNNING", "RESTARTING") == []
        assert until(lambda: not workers.workers(), 60)
    assert topic.left() == []
    assert each_is_one_row(command.out, topic)
