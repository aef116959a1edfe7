"""How much memory is left, as the kernel says it of a machine and of the groups that a process is in."""

import numpy as np
import pytest
import torch

from seqcls_beam.model.engine.memory import free, free_of_host, measured

GB = 10**9


@pytest.fixture
def machine(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_machine_without_limits(machine):
    assert free_of_host(machine()) is None
    root = machine(
        proc__meminfo="MemTotal:  9 kB\nMemFree:   1 kB\nMemAvailable:   2048 kB\n", proc__self__cgroup="0::/\n"
    )
    assert free_of_host(root) == 2 * 2**20


def group(root, path, **files):
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{text}\n")


def test_groups_of_version_2(machine):
    root = machine(proc__meminfo="MemAvailable:  8000000 kB\n", proc__self__cgroup="0::/pods/mine\n")
    group(root, "pods/mine", memory_max="max", memory_current=3 * GB, memory_stat="anon 1\ninactive_file 7\n")
    assert free_of_host(root) == 8_000_000 * 1024
    group(root, "pods", memory_max=5 * GB, memory_current=4 * GB)
    assert free_of_host(root) == GB
    group(root, "pods", memory_stat=f"active_file 9\ninactive_file {2 * GB}\nworkingset 1")
    assert free_of_host(root) == 3 * GB
    group(root, "pods/mine", memory_max=4 * GB)
    assert free_of_host(root) == GB + 7
    group(root, "pods/mine", memory_current=9 * GB)
    assert free_of_host(root) == 0


def test_groups_of_version_1(machine):
    groups = "9:name=systemd:/x\n4:memory:/docker/abc\n3:cpuset:/y\n0::/\n"
    root = machine(proc__meminfo="MemAvailable:  8000000 kB\n", proc__self__cgroup=groups)
    none = (1 << 63) - 4096
    group(root, "memory/docker/abc", memory_limit_in_bytes=none, memory_usage_in_bytes=0)
    assert free_of_host(root) == 8_000_000 * 1024
    # As a container sees it: the path is the host's, and the group is what is at the top.
    group(root, "memory", memory_limit_in_bytes=4 * GB, memory_usage_in_bytes=3 * GB)
    group(root, "memory", memory_stat="inactive_file 1\ntotal_inactive_file 500")
    assert free_of_host(root) == GB + 500


def test_this_machine_says_something():
    found = free(torch.device("cpu"))
    assert found is not None and 2**20 < found < 2**50


def test_what_is_taken_and_given_back_is_measured():
    with measured(torch.device("cpu")) as taken:
        held = np.ones(40_000_000)
        assert held.sum() and taken.bytes == 0
        del held
    assert 300e6 < taken.bytes < 600e6
