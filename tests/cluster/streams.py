"""Messages on a broker, and what is made of them by a command whose workers see it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import broker
from tests.cluster.runs import Command
from tests.cluster.services import DEPLOY, children
from tests.corpora import texts
from tests.ports import free_ports
from tests.streams.test_classify_stream import KEYED, keyed, pieces_of, sealed, window_of

ROWS = 1_800
SHARES = 3
FLAGS = (*KEYED, "--threads=1", "--window=300", "--max_latency=1", "--batch_rows=60")


class Topic:
    """A subscription, of whose messages a share is published at a time."""

    def __init__(self, service: broker.Broker, name: str) -> None:
        self._service, self._name = service, f"topic-{name}"
        self.messages = keyed(texts(ROWS, seed=len(name), longest=12), len(name))
        (self.subscription,) = service.topic(self._name, f"subscription-{name}", deadline=2)
        self.broker = service.address
        self._published = 0

    def publish(self) -> None:
        """The next share."""
        until = self._published + ROWS // SHARES
        self._service.publish(self._name, self.messages[self._published : until])
        self._published = until

    def left(self) -> list[str]:
        """What nobody has acknowledged, when all leases have ended."""
        return self._service.pull(self.subscription, 3)


def stream(folder: Path, topic: Topic, *flags: str) -> Command:
    """The command that labels them."""
    words = (f"--subscription={topic.subscription}", *FLAGS, *flags)
    return Command("classify", folder, *words, PUBSUB_EMULATOR_HOST=topic.broker)


def until_more(command: Command, pieces: int) -> None:
    """Wait for so many pieces more than there are."""
    there = len(pieces_of(command.out))
    command.until(lambda: len(pieces_of(command.out)) >= there + pieces, f"{pieces} pieces more")


def until_quiet(command: Command, seconds: float) -> None:
    """Wait until no piece was written for so long, and what was is acknowledged."""
    seen, since = 0, time.monotonic()
    while time.monotonic() - since < seconds:
        if (count := len(pieces_of(command.out))) != seen:
            seen, since = count, time.monotonic()
        time.sleep(0.1)


def all_are_rows(out: Path, topic: Topic) -> bool:
    """Whether every message is a row of some piece, before anything is sealed."""
    found: set[int] = set()
    for each in pieces_of(out):
        found.update(pq.read_table(each, columns=["id"], partitioning=None)["id"].to_pylist())
    return found == set(range(len(topic.messages)))


def each_is_one_row(out: Path, topic: Topic) -> bool:
    """Seal all; whether every message is a row of its window, once."""
    labels, rejects = sealed(out)
    found = list(zip(labels["id"].to_pylist(), labels["window"].to_pylist(), strict=True))
    meant = [(n, window_of(datetime.fromisoformat(at["at"]))) for n, (_, at) in enumerate(topic.messages)]
    assert sorted(found) == meant
    return len(rejects) == 0


@contextmanager
def pool(topic: Topic) -> Iterator["Pool"]:
    """A pool of workers that are led to the broker."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, DEPLOY / "flink" / "pool.py", f"--port={port}"], env=broker.environment(topic.broker)
    )
    try:
        yield Pool(process, port)
    finally:
        for each in children(process.pid):
            os.kill(each, signal.SIGKILL)
        process.kill()
        process.wait()


class Pool:
    """One that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.flag = f"--environment_config=localhost:{port}"

    def workers(self) -> list[int]:
        """The processes that it started and that are there."""
        return list(children(self._process.pid))

    def kill_workers(self) -> None:
        """All at once; there must be some."""
        there = self.workers()
        assert there
        for each in there:
            os.kill(each, signal.SIGKILL)


@pytest.fixture(scope="module")
def service() -> Iterator[broker.Broker]:
    """A broker."""
    with broker.running(deadline=2) as running:
        yield running
