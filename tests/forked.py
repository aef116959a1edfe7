"""Commands in processes forked from one that has imported everything: real descriptors, signals and exit codes in
milliseconds, where a start of Python takes seconds.

    with forked.Warm() as warm:
        done = warm.run(["classify", "--batch_rows=abc"])
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
CLOSED = "closed"
"""In place of a file: the descriptor is closed, as by `>&-`."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # below 0 where a signal ended it
    out: str
    err: str


class Running:
    """A command that was started."""

    def __init__(self, warm: "Warm", pid: int, out: Path, err: Path) -> None:
        self._warm, self.pid = warm, pid
        self.out, self.err = out, err

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def told(self) -> str:
        """What stands on its standard error so far."""
        return self.err.read_text(errors="backslashreplace")

    def until(self, told: str, seconds: float = 200) -> None:
        """Wait for what it tells on its standard error; raise where it ends, or time does, without that."""
        end = time.monotonic() + seconds
        while told not in self.told():
            running = not self._warm.has_ended(self.pid)
            if time.monotonic() > end or not (running or told in self.told()):
                raise AssertionError(f"it {'runs' if running else 'ended'} and did not say {told!r}: {self.told()}")
            time.sleep(0.02)

    def wait(self, seconds: float = 60) -> Ended:
        code = self._warm.wait(self.pid, seconds)
        return Ended(code, *(path.read_text(errors="backslashreplace") for path in (self.out, self.err)))


class Warm:
    """The process that others are forked from; a context."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self._folder, self._number = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT
        )
        self._codes: dict[int, int] = {}

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def start(
        self,
        argv: Sequence[str],
        out: str | int | None = None,
        err: str | int | None = None,
        cwd: Path | None = None,
        uid: int | None = None,
        setup: str = "",
        **environ: str,
    ) -> Running:
        """Start a command, by its name and its flags. `out` and `err` are files, CLOSED, or descriptors of this
        process; `setup` is Python that is executed before.
        """
        self._number += 1
        files = [self._folder / f"{self._number}.{name}" for name in ("out", "err")]
        for path in files:
            path.touch()
        how = {
            "argv": list(argv),
            "out": str(files[0]) if out is None else out,
            "err": str(files[1]) if err is None else err,
            "cwd": str(cwd or self._folder),
            "uid": uid,
            "setup": setup,
            "environ": environ,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(how).encode() + b"\n")
        self._process.stdin.flush()
        said = self._read(200)
        return Running(self, said["started"], *files)

    def run(self, argv: Sequence[str], **how: Any) -> Ended:
        """The same, to its end."""
        return self.start(argv, **how).wait()

    def wait(self, pid: int, seconds: float) -> int:
        until = time.monotonic() + seconds
        while pid not in self._codes:
            said = self._read(until - time.monotonic())
            self._codes[said["ended"]] = said["code"]
        return self._codes.pop(pid)

    def has_ended(self, pid: int) -> bool:
        assert self._process.stdout
        while pid not in self._codes and select.select([self._process.stdout], [], [], 0)[0]:
            said = self._read(0)
            self._codes[said["ended"]] = said["code"]
        return pid in self._codes

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout
        while True:
            if not select.select([self._process.stdout], [], [], max(seconds, 0))[0]:
                raise TimeoutError("a command did not end")
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the process that forks is gone")
            said: dict[str, Any] = json.loads(line)
            if "started" in said or "ended" in said:
                return said


def _child(how: dict[str, Any]) -> int:
    """In the new process: what the caller returns to becomes the end of it."""
    for number, name in ((1, "out"), (2, "err")):
        if how[name] == CLOSED:
            os.close(number)
        else:
            opened = os.open(how[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.update(how["environ"])
    os.chdir(how["cwd"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    for name, number, handled in (("stdout", 1, errors or "strict"), ("stderr", 2, "backslashreplace")):
        stream = None
        with contextlib.suppress(OSError):
            os.fstat(number)
            stream = io.TextIOWrapper(
                open(number, "wb", closefd=False),  # noqa: SIM115 - as long as the process
                encoding,
                handled,
                line_buffering=number == 2,
                write_through=False,
            )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if how["uid"] is not None:
        os.setgroups([])
        os.setgid(how["uid"])
        os.setuid(how["uid"])
    sys.argv = ["forked", *how["argv"]]
    name, *rest = how["argv"]
    scope: dict[str, Any] = {}
    exec(how["setup"], scope)
    return int(importlib.import_module(f"pipelines.{name}").main(rest))


def _leave(how: dict[str, Any]) -> NoReturn:
    """Run a command and end as Python does, but for taking all modules apart, which is seconds of work."""
    code: Any = 1
    try:
        code = _child(how)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # joins threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = 120
    os._exit(code)


def _serve() -> int:
    """Fork a process for every line; in each of those, the code that it is to end with."""
    from seqcls_beam.__main__ import COMMANDS

    for name in (*COMMANDS, "labelling", "looking", "preparing", "evaluating", "training", "approving"):
        importlib.import_module(f"pipelines.{name}")
    for name in (
        "seqcls_beam.model.engine",
        "seqcls_beam.model.engine.packed",
        "seqcls_beam.finetuning.training",
        "transformers.models.bert.modeling_bert",
        "transformers.models.auto.modeling_auto",
        "sklearn.metrics",
        "matplotlib.pyplot",
        "seqcls_beam.reports.writing",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # what was imported is not looked through again
    answers = os.dup(1)
    os.set_inheritable(answers, False)
    signal.set_wakeup_fd(_wakeup(), warn_on_full_buffer=False)
    pids: set[int] = set()
    waiting = b""
    while True:
        readable = select.select([0, _pipe[0]], [], [])[0]
        if _pipe[0] in readable:
            os.read(_pipe[0], 4096)
        for pid in list(pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                pids.remove(pid)
                _answer(answers, ended=pid, code=os.waitstatus_to_exitcode(status))
        if 0 not in readable:
            continue
        block = os.read(0, 1 << 20)
        if not block:
            return 0
        waiting += block
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has everything ignore
                os.close(answers)
                _leave(json.loads(line))
            pids.add(pid)
            _answer(answers, started=pid)


_pipe: list[int] = []


def _wakeup() -> int:
    _pipe.extend(os.pipe())
    for each in _pipe:
        os.set_blocking(each, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return _pipe[1]


def _answer(file: int, **said: int) -> None:
    os.write(file, json.dumps(said).encode() + b"\n")


def _main() -> NoReturn:
    sys.exit(_serve())


if __name__ == "__main__":
    _main()


def quiet(folder: Path) -> Warm:
    """One whose commands say nothing but what is this program's own, into files of the folder."""
    return Warm(folder / "said", HF_HUB_DISABLE_PROGRESS_BARS="1", PYTHONWARNINGS="ignore")
