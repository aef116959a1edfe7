"""Parquet files with a byte changed in any place."""

import random
from pathlib import Path

import pytest

from tests.reading.fuzz import cases, corpus, mutations

SEED = 14
FOOTER = 2048  # bytes of a file, or of its footer, of which every one is tried


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return corpus.parquet(tmp_path_factory.mktemp("bases"))


def damaged(bases: list[corpus.Base], count: int | None) -> list[cases.Case]:
    """So many mutations of each file, or all."""
    chance = random.Random(SEED)
    picked = []
    for number, base in enumerate(bases):
        data = Path(base.path).read_bytes()
        offsets = mutations.headers(base.path, data, FOOTER)
        some = mutations.every(data, offsets, chance)
        if count is not None:
            fewer = count if len(data) < 2**16 else count // 8  # of a thousand columns, which take their time
            some = iter(mutations.some(data, offsets, fewer, chance))
        picked += [(number, *mutation) for mutation in some]
    return picked


def check(bases: list[corpus.Base], count: int | None, folder: Path) -> None:
    some = damaged(bases, count)
    report = cases.run("parquet", bases, some, folder)
    print(f"seed {SEED}, {len(some)} cases: {dict(report.verdicts)}, {report.peak >> 20} MiB")
    assert not report.faults, "\n".join(report.faults)
    assert report.verdicts.total() == len(some)
    assert report.verdicts["lost"] > len(some) // 10  # or nothing was damaged


def test_files_as_they_were_written_are_whole(bases, tmp_path):
    same = [(number, 0, ord("P")) for number in range(len(bases))]
    report = cases.run("parquet", bases, same, tmp_path)
    assert not report.faults
    assert report.verdicts == {"whole": len(bases) - 1, "lost": 1}  # the encrypted column is asked for


def test_damage_in_some_places(bases, tmp_path):
    check(bases, 16, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(corpus.PARQUETS))
def test_damage_in_every_place(bases, tmp_path, number):
    check([bases[number]], None, tmp_path)
