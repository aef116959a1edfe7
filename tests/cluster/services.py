"""Engines as services of this machine, started and stopped by the scripts of deploy/."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = ROOT / ".flink"
"""Where Flink and Beam's runner for it stay between two runs of these tests: 400 MB."""

SOONER = (
    "-Dheartbeat.interval=500 -Dslot.request.timeout=4000 -Drestart-strategy.exponential-delay.backoff-multiplier=1.5"
)
"""Settings with which a job gives up in half a minute, as it does in three by default."""

USUAL = {
    "FLINK_PROGRAMS": str(PROGRAMS),
    "FLINK_OPTIONS": SOONER,
    # Quick to start, and with few threads: each service lives for a minute or two.
    "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Variables of every cluster of the tests."""

AT_WORK = ("INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING")


class Services:
    """What deploy/ENGINE/start.sh starts in a folder, with the variables that it is given."""

    def __init__(self, engine: str, folder: Path, variables: dict[str, str], inside: Sequence[str] = ()) -> None:
        self.folder = folder
        self._scripts = DEPLOY / engine
        self._inside = list(inside)  # the words before a command that is to run where the services do
        self.variables = {**variables, f"{engine.upper()}_FOLDER": str(folder), "PYTHON": sys.executable}

    def start(self, **variables: str) -> None:
        """Start what does not run."""
        done = self.script("start.sh", **variables)
        assert done.returncode == 0, done.stderr + self.said()

    def stop(self, *names: str) -> None:
        """Stop these, or all."""
        done = self.script("stop.sh", *names)
        assert done.returncode == 0, done.stderr

    def script(self, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """One of the scripts, to its end."""
        command = [*self._inside, str(self._scripts / name), *words]
        env = {**os.environ, **self.variables, **variables}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=800)

    def process(self, name: str) -> int:
        """The number of a service's process, which is that of the group of all that it started, too."""
        return int((self.folder / "run" / name).read_text().split("\n")[0])

    def kill(self, name: str) -> None:
        """End a service outright, with all that it started, and wait until they are gone."""
        group = self.process(name)
        os.killpg(group, signal.SIGKILL)
        while any(True for _ in _living(lambda words: int(words[2]) == group)):
            time.sleep(0.01)

    def said(self) -> str:
        """The end of every log."""
        logs = sorted((self.folder / "log").glob("*.log"))
        return "".join(f"\n== {each.name}\n{each.read_text()[-3000:]}" for each in logs)


class Flink(Services):
    """A Flink on this machine, at ports of its own."""

    def __init__(self, folder: Path) -> None:
        names = ("REST", "RPC", "JOB", "ARTIFACT", "EXPANSION", "POOL")
        ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
        variables = {f"FLINK_{name}_PORT": port for name, port in ports.items()}
        super().__init__("flink", folder, {**variables, **USUAL})
        self.master = f"127.0.0.1:{ports['REST']}"
        self.flags = [
            "--runner=FlinkRunner",
            f"--flink_master={self.master}",
            f"--job_endpoint=127.0.0.1:{ports['JOB']}",
            f"--environment_config=localhost:{ports['POOL']}",
        ]

    def asked(self, path: str, method: str = "GET") -> Any:
        """What the JobManager answers over REST."""
        request = urllib.request.Request(f"http://{self.master}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def jobs(self, *states: str) -> list[str]:
        """Jobs that are in one of the states."""
        return [each["id"] for each in self.asked("jobs")["jobs"] if each["status"] in states]

    def idle(self, seconds: float = 10.0) -> bool:
        """Whether no job is at work any more, within so many seconds."""
        for _ in range(int(seconds * 10)):
            if not self.jobs(*AT_WORK):
                return True
            time.sleep(0.1)
        return False

    def end(self, seconds: float = 10.0) -> str:
        """The state that the newest job comes to within so many seconds."""
        self.idle(seconds)
        return str(max(self.asked("jobs/overview")["jobs"], key=lambda each: each["start-time"])["state"])

    def workers(self) -> list[int]:
        """Processes that the pool has started and that are there."""
        return list(children(self.process("pool")))


def children(parent: int) -> Iterator[int]:
    """Processes that a process has started and that are there."""
    return _living(lambda words: int(words[1]) == parent)


def _living(of: Callable[[list[str]], bool]) -> Iterator[int]:
    """Processes that have not ended, by what follows their name in /proc: state, parent, group …"""
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = each.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if of(words) and words[0] not in "ZX":
            yield int(each.parent.name)
