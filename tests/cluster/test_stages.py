"""A TaskManager that is killed in each stage of a preparation."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.faults import failed_with_a_sentence, freeze, thaw
from tests.cluster.runs import Command, Ended, made, records, run
from tests.cluster.services import Flink

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PREPARE = [
    *("--text_column=text", "--label_column=label", "--group_by=author", "--unit_bytes=32768"),
    *("--partition_bytes=65536", "--num_shards=24"),
]
SINGLE = {"assign": "compare"}
"""Stages with one task, and the one before."""
STAGES = ["", "exact", "pairs", "keys", "compare", "assign", "shards"]


class Again:
    """A command that is started again whenever it has failed, which it must do as it should."""

    def __init__(self, stack: ExitStack, *how: Any) -> None:
        self._stack, self._how = stack, how
        self.starts = 0
        self._start()

    def frozen(self, flink: Flink, stage: str) -> int:
        """As `freeze`; of a stage with one task none is done, once all of the stage before it are."""
        try:
            if stage in SINGLE:
                index = f"_attempts/*-v1/index/{SINGLE[stage]}.json"
                self.command.until(lambda: any(self.command.out.glob(index)), f"the stage {stage}")
                return 0
            return freeze(self.command, flink, stage)
        except Ended:
            failed_with_a_sentence(self.command)
            self._start()
            return self.frozen(flink, stage)

    def published(self) -> Path:
        """Where it has published, in the end."""
        if self.command.code() == 1:
            failed_with_a_sentence(self.command)
            self._start()
        assert self.command.code() == 0, self.command.said()
        return self.command.out

    def _start(self) -> None:
        self.starts += 1
        assert self.starts < len(STAGES), "no two stages came to their end"
        self.command = self._stack.enter_context(Command(*self._how))


def test_a_taskmanager_is_killed_in_each_stage_of_prepare(flink, rows, tmp_path):
    """And started again. Above the cluster's few attempts the job is given up; then the command is started again."""
    whole = run("prepare", tmp_path / "here", f"--input={rows}", *PREPARE, "--runner=DirectRunner")
    seen = dict.fromkeys(STAGES, 0)
    with ExitStack() as stack:
        again = Again(stack, "prepare", tmp_path / "there", f"--input={rows}", *PREPARE, *flink.flags)
        for number, stage in enumerate(STAGES):
            seen[stage] = again.frozen(flink, stage)
            before = STAGES[number - 1]
            assert number == 0 or records(again.command.out, before) > seen[before], "it was killed after the last"
            flink.kill(f"taskmanager-{number % 2 + 1}")
            thaw(flink)
            flink.start()
        out = again.published()
    assert made(out) == made(whole)
    # A task of the last stage makes a shard of each split.
    assert len(list(out.glob("data/train-*"))) == 24 > seen["shards"]
