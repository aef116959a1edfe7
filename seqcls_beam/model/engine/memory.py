"""Memory: how much a model may still take of a device, and how much one has taken."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_ROOT = Path("/")
_UNLIMITED = 1 << 60
"""Version 1 of cgroups writes a number near 2^63 where there is no limit."""
_UNSEEN = 2
"""What a model takes at its peak where only what stays of it can be seen, in parts of that."""
_RESET_PEAK = "5"  # proc(5), clear_refs


@dataclass
class Taken:
    """What was taken at the most while something was done, in bytes."""

    bytes: int = 0


def free(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where nothing says it.

    What this process holds unused does not count: the next forward pass takes it.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_of_host()


@contextmanager
def measured(device: torch.device) -> Iterator[Taken]:
    """How much this process takes of a device inside the block, whatever takes it; 0 until its end."""
    taken = Taken()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield taken
        taken.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
        resets = True
    except OSError:
        resets = False
    yield taken
    taken.bytes = max(0, _status("VmHWM") - before if resets else _UNSEEN * (_status("VmRSS") - before))


def free_of_host(root: Path = _ROOT) -> int | None:
    """Bytes that this process may still take: what the machine has, and what each group it is in may use.

    Of a group what it reads of files does not count as used, since the kernel gives it back. None where neither is
    said. `root` is the folder that holds `proc` and `sys`.
    """
    found = []
    available = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if available:
        found.append(int(available[1]) * 1024)
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += _left(top, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            found += _left(top / "memory", path, *names)
    return max(0, min(found)) if found else None


def _left(top: Path, path: str, limit: str, usage: str, files: str) -> list[int]:
    """What a group and those above it leave, where they have a limit."""
    group = top / path.strip("/")
    # In a container the path may be that of the host, and what is seen is the group itself.
    folders = [each for each in (group, *group.parents) if each == top or top in each.parents]
    found = []
    for folder in folders:
        most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
        if most.isdecimal() and used.isdecimal() and int(most) < _UNLIMITED:
            cached = re.search(rf"^{files} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            found.append(int(most) - int(used) + (int(cached[1]) if cached else 0))
    return found


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    found = re.search(rf"^{name}:\s+(\d+) kB", _text(Path("/proc/self/status")), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
