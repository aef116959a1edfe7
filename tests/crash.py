"""Kill or fail a process at its n-th step on disk.

Python raises an audit event before it opens for writing, renames, links, removes or makes a name. A hook on them
counts those below one folder, and at the n-th either kills the process outright (SIGKILL, nothing is flushed or
cleaned) or makes the step fail with EIO. So every state that a crash can leave is reached, with the real code.
Counting may begin with the first step that names something: "publish-" is how the steps of a publication begin.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.halt import Process, command, output_of

STEPS = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def interrupt_at(step: int, folder: str, how: str, since: str = "") -> Callable[[], bool]:
    """From now on the `step`-th event below `folder` kills this process ("kill") or fails ("fail").

    Events count from the first on whose name has `since` in it. The function returned says whether it came to that.
    """
    count, begun = 0, False

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count, begun
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if not (event in STEPS or writes) or not str(args[0]).startswith(folder):
            return
        begun = begun or since in str(args[0])
        count += begun
        if count == step:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.EIO, "injected", str(args[0]))

    sys.addaudithook(hook)
    return lambda: count >= step


def in_child(do: Callable[[], None], step: int, folder: str, how: str) -> str:
    """Run `do` in a forked child that is interrupted at a step.

    "killed", "failed", "survived" (it did what it should although the step failed) or "done" (it had fewer steps).
    """
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            interrupted = interrupt_at(step, folder, how)
            do()
            code = 4 if interrupted() else 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return {0: "done", 4: "survived"}.get(os.WEXITSTATUS(status), "failed")


def command_interrupted(name: str, step: str, how: str, argv: list[str]) -> int:
    """Run a command of this project, in a process of its own, as far as a step below its output; its exit code.

    `step` is a number, or one with what the steps are counted from, as in publish-9. Where there are fewer this is
    said at the end of the standard error.
    """
    since, _, number = step.rpartition("-")
    interrupted = interrupt_at(int(number), output_of(argv), how, f"{since}-" if since else "")
    code = command(name, argv)
    if not interrupted():
        print("there are fewer steps", file=sys.stderr)
    return code


def interrupted(name: str, step: int | str, how: str, argv: list[str], log: Path) -> Process:
    """The same in a process that has ended; what it said is in `log`."""
    process = Process(command_interrupted, name, str(step), how, argv, log=log)
    process.code()
    return process
