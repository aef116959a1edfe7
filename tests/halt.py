"""Halt a process on entry to one of the storage calls of publishing, as a laptop that is closed does.

python -m tests.halt STEP COMMAND FLAGS      halt at a step: a number, or FUNCTION:PATTERN, such as rename:*/new/labels
python -m tests.halt --list COMMAND FLAGS    run undisturbed, and print the steps

A process halts by SIGSTOP to itself; who halted it does what others would do meanwhile, and wakes it by SIGCONT. Steps
are calls of `seqcls_beam.storage` below the output folder. What concerns the run's own unfinished work alone, and no
step of the protocol, is none.
"""

import fnmatch
import functools
import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from seqcls_beam import storage

FUNCTIONS = {  # → how many of the first arguments are names
    **dict.fromkeys(("exists", "read", "names", "size", "version_of", "sync"), 1),
    **dict.fromkeys(("put", "put_if_absent", "make_folder"), 1),
    **dict.fromkeys(("remove", "remove_file", "remove_version", "remove_if_empty"), 1),
    **dict.fromkeys(("rename", "copy"), 2),
}
_ALWAYS = ("rename", "copy", "remove", "remove_file", "remove_version")
"""Steps of the protocol even where they concern unfinished work alone."""

_WORK = re.compile(r"_attempts/([^/]+=[^/]+/)?[0-9a-f]+(-v\d+)?(/.*)?")

Do = Callable[..., int]


def halt_at(step: str, output: str, told: Callable[[str], None] = lambda _: None) -> Callable[[], bool]:
    """From now on the step halts this process; the function returned says whether it came to that.

    `told` is handed every step as it begins: its number, the function, the names.
    """
    output = storage.absolute(output)
    count, halted = 0, False
    function, _, pattern = step.partition(":")

    def begin(name: str, names: list[str]) -> None:
        nonlocal count, halted
        below = [each.removeprefix(output).lstrip("/") for each in names if f"{each}/".startswith(f"{output}/")]
        if not below or (name not in _ALWAYS and all(_WORK.fullmatch(each) for each in below)):
            return
        count += 1
        told(f"{count} {name} {' '.join(below)}")
        here = step == str(count) or (name == function and fnmatch.fnmatch(" ".join(below), pattern))
        if here and not halted:
            halted = True
            # To this very thread, which the kernel then stops before it returns; and with it all others.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    for name, arguments in FUNCTIONS.items():
        setattr(storage, name, _beginning(name, arguments, getattr(storage, name), begin))
    # One after the other, so that a number means the same step in every run.
    storage.each = lambda do, items: [do(item) for item in items]
    return lambda: halted


def _beginning(name: str, arguments: int, call: Do, begin: Callable[[str, list[str]], None]) -> Do:
    @functools.wraps(call)
    def counted(*args: Any, **more: Any) -> Any:
        begin(name, [str(each) for each in args[:arguments]])
        return call(*args, **more)

    return counted


def command(name: str, argv: list[str]) -> int:
    """Run a command of this project; its exit code."""
    return int(import_module(f"pipelines.{name}").main(argv))


WARM = [
    *(f"pipelines.{name}" for name in ("classify", "prepare", "finetune", "evaluate")),
    *("apache_beam.runners.direct.direct_runner", "apache_beam.runners.portability.fn_api_runner.fn_runner"),
    *("apache_beam.ml.inference.base", "transformers.models.bert.modeling_bert", "sklearn.metrics"),
    *("seqcls_beam.model.engine", "seqcls_beam.finetuning.training", "seqcls_beam.transforms.handler"),
    *("matplotlib.pyplot", "tests.tiny", "tests.runs.publishing"),
]
"""Modules that take long to import, or that only the first run of a process imports."""


class Process:
    """A function in a process forked off one that has imported everything and started no thread."""

    def __init__(self, do: Do, *args: Any, log: Path, step: str = "", output: str = "", **environ: str) -> None:
        self.log = log
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(WARM)
        whole = (do, args, str(log), step, output, {**os.environ, **environ})
        self._process = forks.Process(target=_child, args=whole, daemon=True)
        self._process.start()

    def halted(self) -> bool:
        """Wait until it is halted; False where it ended instead."""
        assert self._process.pid is not None
        return is_halted(self._process.pid)

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def halt(self) -> None:
        """Halt it where it is."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def wake(self) -> "Process":
        """Let it go on."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)
        return self

    def kill(self) -> None:
        """End it outright, halted or not."""
        self._process.kill()
        self._process.join(10)

    def code(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        self._process.join(100)
        assert self._process.exitcode is not None, f"it does not end: {self.said()[-2000:]}"
        return self._process.exitcode

    def said(self) -> str:
        """What it wrote to both outputs."""
        return self.log.read_text() if self.log.exists() else ""


def is_halted(pid: int) -> bool:
    """Wait until a process is halted; False where it ended instead."""
    for _ in range(20_000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state in "TZ":
            return state == "T"
        time.sleep(0.005)
    raise TimeoutError(f"{pid} neither halts nor ends")


@contextmanager
def halting(do: Do, *args: Any, step: str, output: Path | str, log: Path, **environ: str) -> Iterator[Process]:
    """A process that halts at a step, if it comes to it; it has come so far, or ended. Nothing is left of it."""
    process = Process(do, *args, log=log, step=step, output=str(output), **environ)
    try:
        process.halted()
        yield process
    finally:
        process.kill()


def _child(do: Do, args: tuple[Any, ...], log: str, step: str, output: str, environ: dict[str, str]) -> None:
    gc.freeze()  # what was imported is not looked through again
    os.environ.clear()  # it was forked off a process that another test may have started
    os.environ.update(environ)
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(opened, descriptor)
    if step:
        halt_at(step, output)
    code = 1
    try:
        code = do(*args)
    except BaseException:  # said as the interpreter would, which is not waited for: it takes long to tidy up
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def output_of(argv: list[str]) -> str:
    """The folder that a command is about."""
    flags = [flag.partition("=")[2] for flag in argv if flag.startswith("--output=")]
    return next(iter([*flags, *(flag for flag in argv if not flag.startswith("-"))]))


def main(step: str, name: str, *argv: str) -> int:
    """Run a command that halts at a step, or list its steps."""
    listing = step == "--list"
    halted = halt_at("" if listing else step, output_of(list(argv)), print if listing else lambda _: None)
    code = command(name, list(argv))
    if not listing and not halted():
        print("it does not come to that step", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
