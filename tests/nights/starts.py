"""Nights as an operator's scheduler starts them: processes of `deploy/nightly.sh`, each a session of its own."""

import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import fsspec

ROOT = Path(__file__).parent.parent.parent
NIGHTLY = ROOT / "deploy" / "nightly.sh"
ZONE = "Europe/Berlin"
PATIENCE = 240.0
"""Seconds after which a night is taken for one that hangs."""

_SHORT = """\
import importlib, sys
from seqcls_beam.runs import lease
lease.RENEWED, lease.EXPIRES = 0.5, {expires}
assert sys.argv[1] == "-m", sys.argv
sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))
"""


class Start:
    """A process and all that it starts: a session, as a container or a unit of systemd has all of them."""

    def __init__(self, log: Path, *argv: str, **environ: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **environ},
                start_new_session=True,
            )

    def code(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it does not end: {self.said()[-2000:]}") from error

    def demand(self, *codes: int) -> str:
        """Demand that it ends with one of the codes, and without a traceback; what it wrote to both outputs."""
        code, said = self.code(), self.said()
        assert code in codes, f"{code} in place of {codes}:\n{said[-4000:]}"
        assert "Traceback" not in said, said[-6000:]
        return said

    def said(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of them. nightly.sh gives its children groups of their own."""
        for pid in self._session():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def orphan(self) -> None:
        """End the first process outright; what it started goes on."""
        self._process.kill()
        self._process.wait(10)

    def wait_for_all(self) -> None:
        """Wait until none of them is left."""
        deadline = time.monotonic() + PATIENCE
        while self._session():
            assert time.monotonic() < deadline, f"it does not end: {self.said()[-2000:]}"
            time.sleep(0.05)

    def end(self) -> None:
        """End all of them outright, halted or not; none is left."""
        while self._session():  # one may have started another one meanwhile
            self.signal(signal.SIGKILL)
            self._process.poll()
            time.sleep(0.01)
        self._process.wait(10)

    def _session(self) -> list[int]:
        """The processes that are there, this one first."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._process.pid and fields[0] != "Z":
                    found.append(int(stat.parent.name))
        return sorted(found)


@dataclass
class Scheduler:
    """Starts nights over one inbox into one output."""

    folder: Path  # of logs
    flags: list[str]  # of every night
    out: str
    environ: dict[str, str] = field(default_factory=dict)
    started: list[Start] = field(default_factory=list)

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.started:
            each.end()

    def night(self, when: str, *more: str, expires: float | None = None) -> Start:
        """Start a night: a date, FROM..TO or --job=NAME. `expires`: the seconds of a lease, if not the usual."""
        argv = [str(NIGHTLY), when, *self.flags, f"--output={self.out}", *more]
        return self._start(*argv, PYTHON=self._python(expires), TZ=ZONE)

    def by_hand(self, command: str, *more: str, expires: float | None = None) -> Start:
        """Start another command on the output."""
        return self._start(self._python(expires), "-m", f"pipelines.{command}", self.out, *more)

    def _start(self, *argv: str, **environ: str) -> Start:
        log = self.folder / f"start-{len(self.started):02}.log"
        self.started.append(Start(log, *argv, PYTHONPATH=str(ROOT), **self.environ, **environ))
        return self.started[-1]

    def _python(self, expires: float | None) -> str:
        """A Python whose runs are taken for dead after some seconds instead of ten minutes."""
        if expires is None:
            return sys.executable
        code, shell = self.folder / "short.py", self.folder / "python"
        code.write_text(_SHORT.format(expires=expires))
        shell.write_text(f'#!/bin/sh\nexec {sys.executable} {code} "$@"\n')
        shell.chmod(0o755)
        return str(shell)


def job(date: datetime.date, hour: int, minute: int, fold: int = 0) -> str:
    """--job= as a CronJob names the Job of a local time: by the minutes since 1970. `fold` 1: the second of two.

    Raises `ValueError` for a time that clocks do not show on that day: then there is no Job.
    """
    local = datetime.datetime.combine(date, datetime.time(hour, minute, fold=fold), ZoneInfo(ZONE))
    there = local.astimezone(datetime.UTC).astimezone(ZoneInfo(ZONE))
    if (there.hour, there.minute) != (hour, minute):
        raise ValueError(f"{date} has no {hour:02}:{minute:02} in {ZONE}")
    return f"--job=nightly-{int(local.timestamp()) // 60}"


def wait_for(start: Start, there: Callable[[], bool], every: float = 0.01) -> None:
    """Wait until something is there, which the night that is running brings about."""
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert start.running() or there(), f"it ended before: {start.said()[-2000:]}"
        assert time.monotonic() < deadline, f"it does not come to that: {start.said()[-2000:]}"
        time.sleep(every)


def units_done(fs: fsspec.AbstractFileSystem, out: str, partition: str) -> set[str]:
    """The records of units that attempts at a partition have written."""
    fs.invalidate_cache()
    return set(fs.glob(f"{out}/_attempts/{partition}/*/records/*.json"))
