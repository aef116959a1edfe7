"""What is done to a run at work, at a moment that is read from its output."""

import os
import signal
from contextlib import suppress

from tests.cluster.runs import Command, published, records
from tests.cluster.services import Flink


def freeze(command: Command, flink: Flink, stage: str = "") -> int:
    """Halt all workers once a first unit, or task of a stage, is done: how many are by then."""
    command.until(lambda: records(command.out, stage) > 0, f"the first record of {stage or 'reading'}")
    _send(flink, signal.SIGSTOP)
    return records(command.out, stage)


def thaw(flink: Flink) -> None:
    """Let all workers go on."""
    _send(flink, signal.SIGCONT)


def _send(flink: Flink, number: signal.Signals) -> None:
    for worker in flink.workers():
        with suppress(ProcessLookupError):
            os.kill(worker, number)


def busy(flink: Flink) -> str:
    """A TaskManager that has a task."""
    full = [each["id"] for each in flink.asked("taskmanagers")["taskmanagers"] if each["freeSlots"] == 0]
    return next(name for name in ("taskmanager-1", "taskmanager-2") if any(f"-{name}-" in each for each in full))


def failed_with_a_sentence(command: Command) -> str:
    """What a command said that ended with code 1, without a traceback, and published nothing."""
    assert command.code() == 1, command.said()
    assert published(command.out) is None
    sentence = command.sentence()
    assert sentence.startswith("seqcls_beam: "), command.said()
    return sentence
