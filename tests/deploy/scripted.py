"""A script of deploy/ as a process, with a stand-in for Python that records what it is called with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
NIGHTLY = DEPLOY / "nightly.sh"
FINETUNE = DEPLOY / "finetune.sh"
REAL = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(DEPLOY.parent), "TZ": "Europe/Berlin"}
"""An environment in which the script runs the commands of this project, by this very Python."""


def _minding_signals() -> None:
    """A script cannot catch what was ignored when it started, as SIGHUP is where tests run under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


_PYTHON = """\
#!{python} -SE
import json, os, signal, sys, time

folder, words = {folder!r}, sys.argv[1:]
if words[1] == "torch.distributed.run":  # which runs what it is given
    words = words[words.index("-m", 2):]
do = os.environ.get("CHECK" * ("--only_check" in words) + words[1].removeprefix("pipelines.").upper(), "0")

def say(file, what):
    with open(os.path.join(folder, file), "a") as opened:
        opened.write(json.dumps(what) + "\\n")

def tidy(number, _):
    time.sleep(0.4)
    say("signals", signal.Signals(number).name)
    sys.exit(0)

say("calls", sys.argv[1:])
if do.isdigit():
    sys.exit(int(do))
if do == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if do == "tidy":
    signal.signal(signal.SIGTERM, tidy)
say("at work", os.getpid())
try:
    time.sleep(60)
except KeyboardInterrupt:
    say("signals", "SIGINT")
    sys.exit(130)
"""


class Script:
    """The script, with an environment of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(_PYTHON.format(python=sys.executable, folder=str(folder)))
        self.python.chmod(0o755)

    def run(self, *words: str, script: Path = NIGHTLY, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end. Variables such as CLASSIFY say what that command does: an exit code, or `killed`.

        CHECKEVALUATE and the like are of a command that only looks whether it is called well.
        """
        return subprocess.run(
            [str(script), *words],
            cwd=self.folder,
            env=self.environ(environ),
            capture_output=True,
            text=True,
            timeout=60,
        )

    @contextmanager
    def started(
        self, *words: str, script: Path = NIGHTLY, before: tuple[str, ...] = (), **environ: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start it, and wait until a command waits in it: one that is to `wait`, or to `tidy` up at SIGTERM."""
        process = subprocess.Popen(
            [*before, str(script), *words],
            cwd=self.folder,
            env=self.environ(environ),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_minding_signals,
        )
        try:
            for _ in range(2000):
                if self.said("at work") or process.poll() is not None:
                    break
                time.sleep(0.01)
            assert self.said("at work"), "no command came to wait"
            yield process
        finally:
            process.kill()
            process.wait(10)
            for pid in self.said("at work"):
                if self._is_ours(pid):
                    os.kill(pid, signal.SIGKILL)
            assert process.stderr is not None
            process.stderr.close()

    def environ(self, more: dict[str, str]) -> dict[str, str]:
        """The environment of the script: nothing of this process's but the path."""
        return {"PATH": os.environ["PATH"], "PYTHON": str(self.python), **more}

    def calls(self) -> list[list[str]]:
        """The words of each command, by its name in place of `-m` and the module."""
        said = self.said("calls")
        assert all(each[0] == "-m" and each[1].startswith("pipelines.") for each in said), said
        return [[each[1].removeprefix("pipelines."), *each[2:]] for each in said]

    def said(self, file: str) -> list:
        """What the stand-in said of one thing, in order."""
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is the stand-in: its number may be that of another namespace, or be used again."""
        try:
            return os.fsencode(self.python) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
