"""Compressed files with a byte changed in any place, and small ones that hold very much."""

import random
from pathlib import Path

import pytest

from tests.reading.fuzz import cases, corpus, mutations

SEED = 14
MEMORY = 768 * 2**20  # bytes, of which the libraries take a sixth


def check(bases: list[corpus.Base], count: int | None, folder: Path) -> None:
    """So many mutations of each file, or all of them."""
    chance = random.Random(SEED)
    some: list[cases.Case] = []
    for number, base in enumerate(bases):
        data = Path(base.path).read_bytes()
        offsets = list(range(len(data)))
        if count is None:
            some += [(number, *mutation) for mutation in mutations.every(data, offsets, chance)]
        else:
            some += [(number, *mutation) for mutation in mutations.some(data, offsets, count, chance)]
    report = cases.run("compressed", bases, some, folder)
    print(f"seed {SEED}, {len(some)} cases: {dict(report.verdicts)}, {report.peak >> 20} MiB")
    assert not report.faults, "\n".join(report.faults)
    assert report.verdicts.total() == len(some)
    assert report.verdicts["lost"] > len(some) // 2
    assert report.peak < MEMORY


def bounded(folder: Path, size: int, kinds: list[str]) -> None:
    """The first batches of each large file, in a process of its own."""
    for base in corpus.huge(folder, size, kinds):
        same = (0, 0, Path(base.path).read_bytes()[0])
        report = cases.run("bounded", [base], [same], folder)
        print(f"{base.name}: {report.peak >> 20} MiB")
        assert not report.faults
        assert 0 < report.peak < MEMORY, base.name


def test_damage_in_some_places(tmp_path):
    check(corpus.compressed(tmp_path), 20, tmp_path)


def test_damage_long_before_the_checksum(tmp_path):
    check(corpus.long(tmp_path), 1, tmp_path)


def test_memory_is_bounded(tmp_path):
    bounded(tmp_path, 64 * 2**20, ["zst"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damage_in_every_place(tmp_path):
    check(corpus.compressed(tmp_path), None, tmp_path)
    check(corpus.long(tmp_path), 50, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_is_bounded_whatever_the_size(tmp_path):
    bounded(tmp_path, 2**28, list(corpus.PACKERS))
