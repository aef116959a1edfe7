"""A cloud on loopback: a bucket, who gives tokens, and the double of Dataflow; and commands that are led to it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import gcsfs
import pytest

from tests import gcs, halt
from tests.dataflow.credentials import account
from tests.dataflow.service import Service, service

ROOT = Path(__file__).parents[2]
PROJECT, REGION, BUCKET = "test-project", "us-central1", "corpus"
IMAGE = "registry.example/seqcls_beam:1"
PACE = 50
"""How much faster than on the wall time goes for whoever waits for the service in a forked command."""


@dataclass(frozen=True)
class Ended:
    """A command that is over: its exit code, and what it said on both outputs."""

    code: int
    said: str

    @property
    def sentences(self) -> list[str]:
        """What it told in sentences."""
        return [
            line.removeprefix("seqcls_beam: ") for line in self.said.splitlines() if line.startswith("seqcls_beam: ")
        ]

    @property
    def last(self) -> str:
        """Its last line."""
        return self.said.strip().rpartition("\n")[2]


@dataclass(frozen=True)
class Cloud:
    """What a command is told of it."""

    double: Service
    endpoint: str
    folder: Path  # for logs

    def flags(self, *more: str) -> list[str]:
        """Of a job for the double."""
        return [
            "--runner=DataflowRunner",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--temp_location=gs://{BUCKET}/temp",
            f"--sdk_container_image={IMAGE}",
            f"--dataflow_endpoint={self.endpoint}",
            *more,
        ]

    def start(self, name: str, *argv: str) -> halt.Process:
        """A command in a process of its own, for which the service's time goes fast."""
        log = self.folder / f"command-{len(list(self.folder.iterdir()))}.log"
        return halt.Process(quickly, name, list(argv), log=log)

    def run(self, name: str, *argv: str) -> Ended:
        """As `start`, to its end."""
        return ended(self.start(name, *argv))


def ended(process: halt.Process) -> Ended:
    """Wait for the end of a command."""
    code = process.code()
    return Ended(code, plain(process.said()))


def plain(said: str) -> str:
    """Without what google-auth says where it cannot ask in which regions an account may be used."""
    return re.sub(r"^WARNING:urllib3.*/allowedLocations\n", "", said, flags=re.MULTILINE)


def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def quickly(name: str, argv: list[str]) -> int:
    """Run a command for which the service's time goes fast; its exit code."""
    from apache_beam.utils import retry
    from tenacity import nap

    from pipelines import submitted

    def sleep(seconds: float) -> None:
        time.sleep(seconds / PACE)

    constants = ("POLL_SECONDS", "PATIENCE", "_BUSY_SECONDS", "_LAST_WORDS")
    for owner, attribute, value in (
        *((submitted, constant, getattr(submitted, constant) / PACE) for constant in constants),
        (retry.Clock, "sleep", lambda _, seconds: sleep(seconds)),
        (nap, "time", SimpleNamespace(sleep=sleep)),
    ):
        setattr(owner, attribute, value)
    return halt.command(name, argv)


def spawned(name: str, *argv: str, **environ: str) -> "subprocess.Popen[str]":
    """A command as people call it."""
    return subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{name}", *argv],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """A running one, to which this process and those that it starts are led."""
    key = folder / "key.json"
    with ExitStack() as stack:
        storage = stack.enter_context(gcs.server(BUCKET))
        stack.enter_context(account(key, PROJECT))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("STORAGE_EMULATOR_HOST", storage)
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        gcsfs.GCSFileSystem.clear_instance_cache()
        stack.callback(gcsfs.GCSFileSystem.clear_instance_cache)
        endpoint, double = stack.enter_context(service(folder))
        yield Cloud(double, endpoint, folder)
