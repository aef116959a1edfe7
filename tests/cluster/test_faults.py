"""Processes of a Flink cluster that are killed while it classifies: what they end in, and what a rerun makes."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.faults import busy, failed_with_a_sentence, freeze, thaw
from tests.cluster.runs import Command, made, records, run
from tests.cluster.services import Flink

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

UNITS = 40  # at least, of what is classified
CLASSIFY = ["--text_column=text", "--keep_columns=id", "--unit_bytes=16384", "--threads=1"]


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory, many: Path) -> tuple[Any, Any]:
    """What nobody disturbed made."""
    out = run("classify", tmp_path_factory.mktemp("here"), f"--input={many}", *CLASSIFY, "--runner=DirectRunner")
    found = made(out)
    assert len(found[0]["parts"]) >= UNITS
    return found


def classify(folder: Path, many: Path, flink: Flink, *flags: str) -> Command:
    return Command("classify", folder, f"--input={many}", *CLASSIFY, *flink.flags, *flags)


def published_by_a_rerun(folder: Path, many: Path, flink: Flink, of: tuple[Any, Any]) -> None:
    before = records(folder / "out")
    assert before > 0
    with classify(folder, many, flink) as again:
        assert again.code() == 0, again.said()
    assert made(again.out) == of


def test_a_taskmanager_is_killed_and_another_has_room(flink, many, classified, tmp_path):
    with classify(tmp_path, many, flink, "--parallelism=1") as command:
        assert freeze(command, flink) < UNITS
        flink.kill(busy(flink))
        thaw(flink)
        assert command.code() == 0, command.said() + flink.said()
    assert made(command.out) == classified


def test_a_taskmanager_is_killed_and_nobody_has_room(flink, many, classified, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        flink.kill("taskmanager-2")
        thaw(flink)
        failed_with_a_sentence(command)
    # By the one that is left.
    published_by_a_rerun(tmp_path, many, flink, classified)


def test_the_pool_is_killed_with_all_workers(flink, many, classified, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        flink.kill("pool")
        flink.start()
        assert command.code() == 0, command.said() + flink.said()
    assert made(command.out) == classified


def test_the_jobmanager_is_killed(flink, many, classified, tmp_path):
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        flink.kill("jobmanager")
        thaw(flink)
        flink.start()
        failed_with_a_sentence(command)
    published_by_a_rerun(tmp_path, many, flink, classified)


def test_the_job_server_is_killed(flink, many, classified, tmp_path):
    """The job may go on without it; what it publishes is whole."""
    with classify(tmp_path, many, flink) as command:
        assert freeze(command, flink) < UNITS
        flink.kill("jobserver")
        failed_with_a_sentence(command)
    thaw(flink)
    flink.start()
    assert flink.end(120) == "FINISHED"
    assert made(command.out) == classified
