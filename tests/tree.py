"""A command and the processes it starts, watched from outside: memory, time of the processor, and what it said."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Watched:
    """What became of a command."""

    code: int | None  # None: it still ran when it had had its time, and was ended
    bytes: int  # the most that all its processes had in memory at once, what they share counted once
    seconds: float  # of the processor, of all of them
    said: str


def watch(
    name: str, *argv: str, log: Path, seconds: float, most: int, environ: dict[str, str] | None = None
) -> Watched:
    """Run a command for `seconds` of the processor, or until it has more than `most` bytes in memory."""
    command = [sys.executable, "-m", f"pipelines.{name}", *argv]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, env={**os.environ, **(environ or {})}
        )
    found, spent = 0, 0.0
    try:
        while process.poll() is None and found <= most and spent < seconds:
            tree = _tree(process.pid)
            found = max(found, sum(_memory(pid, "smaps_rollup", "Pss") for pid in tree))
            found = max(found, *(_memory(pid, "status", "VmHWM") for pid in tree))
            spent = max(spent, sum(map(_seconds, tree)))
            time.sleep(0.05)
    finally:
        code = process.poll()
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Watched(code, found, spent, log.read_text(errors="replace"))


def _tree(pid: int) -> list[int]:
    """A process and those that come of it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _memory(pid: int, file: str, field: str) -> int:
    try:
        found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{pid}/{file}").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
