"""Runs on Flink that are told to end, by those who may, and runs that hang."""

import os
import signal
import time
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from tests.cluster.faults import failed_with_a_sentence, freeze, thaw
from tests.cluster.runs import published
from tests.cluster.test_faults import UNITS, classify
from tests.streams.test_classify_stream import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_job_is_cancelled_on_its_engine(flink, many, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        (job,) = flink.jobs("RUNNING")
        flink.asked(f"jobs/{job}?mode=cancel", "PATCH")
        thaw(flink)
        assert "cancelled" in failed_with_a_sentence(command)


def test_a_command_that_is_told_to_end_takes_its_job_along(flink, many, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        command.ask(signal.SIGTERM)
        thaw(flink)
        assert command.code() == 128 + signal.SIGTERM, command.said()
        assert "Traceback" not in command.said()
    assert published(command.out) is None
    assert flink.end() == "CANCELED"


def test_a_job_goes_on_without_its_command_and_its_workers_end_with_it(flink, many, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        command.ask(signal.SIGKILL)
        assert command.code() == -signal.SIGKILL
    thaw(flink)
    assert flink.end(120) == "FINISHED"
    assert published(command.out) is not None
    assert sum(pq.read_metadata(each).num_rows for each in command.out.glob("labels/*.parquet")) == 6_000
    assert until(lambda: not flink.workers(), 30)


def in_hand(out: Path, process: int) -> bool:
    """Whether a worker has told of something that it is at."""
    told = out.glob(f"_attempts/*-v1/progress/*-{process}-*.json")
    return any(orjson.loads(each.read_bytes())["hand"] for each in told)


def test_a_step_that_hangs_ends_the_run(flink, many, tmp_path):
    with classify(tmp_path, many, flink, "--step_timeout=40") as command:
        assert freeze(command, flink) < UNITS
        first, *others = flink.workers()
        for each in others:
            os.kill(each, signal.SIGCONT)
        # A process that is halted tells nothing more: it must have said what it has in hand.
        while not in_hand(command.out, first):
            for number, seconds in ((signal.SIGCONT, 0.1), (signal.SIGSTOP, 0.0)):
                os.kill(first, number)
                time.sleep(seconds)
        sentence = failed_with_a_sentence(command)
        os.kill(first, signal.SIGKILL)
    assert "gave no sign of life for 40 s (--step_timeout)" in sentence, sentence
    assert "unit" in sentence, sentence
    assert flink.end() == "CANCELED"
