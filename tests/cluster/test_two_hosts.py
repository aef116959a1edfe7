"""A Flink over two hosts and this one, with the output in a store that all of them reach: one host is cut off."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests import s3
from tests.cluster.faults import failed_with_a_sentence
from tests.cluster.hosts import HERE, Host, hosts
from tests.cluster.runs import Command, made
from tests.cluster.services import USUAL, Services

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CLASSIFY = ["--text_column=text", "--keep_columns=id", "--unit_bytes=16384", "--threads=1"]
PREPARE = ["--text_column=text", "--label_column=label", "--unit_bytes=65536", "--num_shards=4"]
FLAGS = ["--runner=FlinkRunner", f"--flink_master={HERE}:8081"]
"""All that a user adds: every port is the usual one."""


HIDING = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"']


class Network:
    """A JobManager and a job server here, a TaskManager and a pool of workers on each host, and a bucket.

    `hidden` is a folder of this machine that the second host does not see: it has another one of that name.
    """

    def __init__(self, away: list[Host], services: list[Services], bucket: str, hidden: Path) -> None:
        self.hosts = away
        self.hidden = hidden
        self._services = services
        self.bucket = bucket
        self.output = f"{bucket}/out"
        self._store = fsspec.filesystem("s3")

    def taskmanagers(self) -> int:
        """How many the JobManager hears of."""
        with urllib.request.urlopen(f"http://{HERE}:8081/overview", timeout=10) as answer:
            return int(json.load(answer)["taskmanagers"])

    def complete(self) -> None:
        """Wait until both hosts have a TaskManager that is heard of; one that gave up, cut off, is started again."""
        for _ in range(200):
            if self.taskmanagers() == len(self.hosts):
                return
            for each in self._services:
                each.script("start.sh")
            time.sleep(0.3)
        raise AssertionError(f"a TaskManager does not come back: {self.said()}")

    def records(self) -> int:
        """How many units are done in the attempt of a run."""
        self._store.invalidate_cache()
        return len(self._store.glob(f"{self.output}/_attempts/*/records/*.json"))

    def versions(self) -> list[str]:
        """What is published."""
        self._store.invalidate_cache()
        return list(self._store.glob(f"{self.output}/_versions/*.json"))

    def taken(self, folder: Path) -> Path:
        """What is in the output, as a folder of this machine; it is taken away."""
        self._store.invalidate_cache()
        self._store.get(f"{self.output}/", str(folder / "taken"), recursive=True)
        self._store.rm(self.output, recursive=True)
        return folder / "taken"

    def command(self, module: str, folder: Path, source: Path, *flags: str) -> Command:
        return Command(module, folder, f"--input={self.bucket}/{source.name}", *flags, output=self.output)

    def run(self, module: str, folder: Path, source: Path, *flags: str) -> tuple[Any, Any]:
        """A command to its end; what it made."""
        with self.command(module, folder, source, *flags) as command:
            assert command.code(240) == 0, command.said() + self.said()
        return made(self.taken(folder))

    def said(self) -> str:
        return "".join(each.said() for each in self._services)


@pytest.fixture(scope="module")
def cables(tmp_path_factory: pytest.TempPathFactory, many: Path, rows: Path) -> Iterator[Network]:
    assert os.geteuid() == 0, "hosts are namespaces, which takes a root user"
    with ExitStack() as stack:
        away = stack.enter_context(hosts(2, 3))
        bucket = stack.enter_context(s3.bucket("corpus", HERE))
        for each in (many, rows):
            fsspec.filesystem("s3").put(str(each), f"{bucket}/{each.name}")
        usual = {**USUAL, "FLINK_TASKMANAGERS": "1"}
        here = {"FLINK_ROLES": "jobmanager jobserver", "FLINK_HOST": HERE}
        services = [Services("flink", tmp_path_factory.mktemp("here"), {**usual, **here})]
        hidden = tmp_path_factory.mktemp("hidden")
        for host, hides in zip(away, ([], [*HIDING, str(hidden)]), strict=True):
            there = {"FLINK_ROLES": "taskmanager pool", "FLINK_HOST": host.address, "FLINK_JOBMANAGER": HERE}
            services.append(
                Services("flink", tmp_path_factory.mktemp("there"), {**usual, **there}, [*host.inside, *hides])
            )
        for service in services:
            stack.callback(service.stop)
            service.start()
        yield Network(away, services, bucket, hidden)


@pytest.fixture
def network(cables: Network) -> Network:
    """All of it at work, whatever was cut off before."""
    cables.complete()
    return cables


def test_a_host_is_cut_off_in_the_middle_of_classify_and_comes_back(network, many, tmp_path):
    """What it did meanwhile, alone, does no harm: its workers go on where they were."""
    whole = network.run("classify", tmp_path / "here", many, *CLASSIFY, "--runner=DirectRunner")
    with network.command("classify", tmp_path, many, *CLASSIFY, *FLAGS) as command:
        command.until(lambda: network.records() > 0, "the first record")
        network.hosts[0].cut_off()
        assert network.records() < len(whole[0]["parts"])
        command.until(lambda: network.taskmanagers() == 1, "that its TaskManager is missed")
        network.hosts[0].plug_in()
        assert command.code() == 0, command.said() + network.said()
    assert made(network.taken(tmp_path)) == whole


def test_a_host_is_cut_off_in_the_middle_of_prepare_and_stays_away(network, rows, tmp_path):
    whole = network.run("prepare", tmp_path / "here", rows, *PREPARE, "--runner=DirectRunner")
    with network.command("prepare", tmp_path, rows, *PREPARE, *FLAGS) as command:
        command.until(lambda: network.records() > 0, "the first record")
        network.hosts[1].cut_off()
        try:
            assert network.records() < 8
            failed_with_a_sentence(command)
            assert not network.versions()
            assert network.run("prepare", tmp_path, rows, *PREPARE, *FLAGS) == whole
        finally:
            network.hosts[1].plug_in()


def test_a_host_that_does_not_see_the_output_says_so(network, many):
    """The launcher's disk is not the workers'."""
    with Command("classify", network.hidden, f"--input={network.bucket}/{many.name}", *CLASSIFY, *FLAGS) as command:
        assert "does not see" in failed_with_a_sentence(command)
