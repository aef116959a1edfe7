"""A publication halted at every one of its steps on the real disk, while another one is made, and then woken.

What takes part is a process forked for it. `test_explorer.py` tries more interleavings, in memory.
"""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam.runs.table import open_labels
from tests.halt import Process, halting
from tests.runs.attempts import ROWS
from tests.runs.publishing import UNITS, Case, start


def versions(case: Case, out: Path) -> list[dict[str, Any]]:
    """All versions, oldest first, read without the code under test."""
    return [json.loads(path.read_bytes()) for path in sorted((out / "_versions" / case.partition).glob("*.json"))]


def found(out: Path) -> dict[str, str]:
    """Every published file, by what is in it; a stage that nobody closed is one too."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and not str(path.relative_to(out)).startswith("_versions/")
        # What a run left unfinished that lost, or came again, is for `pipelines.clean`.
        and not any(part[:8] in [letter * 8 for letter in UNITS] for part in path.relative_to(out).parts[:3])
    }


def assert_whole(case: Case, out: Path, step: object) -> str:
    """The newest version is there, file by file, and nothing else is; the letter of its run."""
    newest = versions(case, out)[-1]
    letter: str = newest["run_id"][0]
    named = {each["path"]: each["sha256"] for each in [*newest["parts"], *newest["rejects"]]}
    assert found(out) == named, (step, letter)
    if case.kind == "classify":
        ids = [row for row in range(UNITS[letter] * ROWS) if row != 1]
        assert open_labels(str(out)).to_table()["id"].to_pylist() == ids, step
    else:
        assert {name: (out / name).read_bytes() for name in named} == case.files(letter), step
    return letter


def halt(folder: Path, case: Case, before: str, first: str, others: str, step: int) -> bool:
    """Halt the first at a step, let others publish, wake it, let one more publish; whether there is such a step."""
    out = folder / "out"
    if before:
        assert start(case, str(out), before) == 0
    folder.mkdir(parents=True, exist_ok=True)
    with halting(start, case, str(out), first, step=str(step), output=out, log=folder / "first.log") as woken:
        if not woken.halted():
            assert woken.code() == 0, woken.said()
            return False
        for each in others:
            meanwhile = Process(start, case, str(out), each, log=folder / f"{each}.log")
            assert meanwhile.code() == 0, (step, meanwhile.said())
        published = len(versions(case, out))
        code, said = woken.wake().code(), woken.said()
    letter = assert_whole(case, out, step)
    runs = Counter(each["run_id"][0] for each in versions(case, out))
    assert code == 0 or (code == 1 and re.fullmatch("another run.* publish.*\n", said)), (step, said)
    assert first in others or (runs[first] > (before == first)) == (code == 0), (step, code, said)
    # The last one is the newest, and that is the woken one only where it came to publish after it woke.
    assert letter == (first if len(versions(case, out)) > published else others[-1]), (step, letter)
    assert start(case, str(out), "c") == 0 and assert_whole(case, out, step) == "c", "somebody is blocked"
    return True


def halt_at_steps(folder: Path, case: Case, before: str, first: str, others: str, every: int = 1) -> int:
    """Halt the first at each of its steps, or at every so many; how many it has, about."""
    step = 1
    while halt(folder / str(step), case, before, first, others, step):
        step += every
    return step - 1


TABLE, DAY, WHOLE = Case("classify"), Case("classify", "run_date=2026-11-20"), Case("prepare")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("case", "others"), [(TABLE, "b"), (WHOLE, "b"), (WHOLE, "a")])
def test_an_overwrite_halted_at_every_fourth_step(tmp_path, case, others):
    assert halt_at_steps(tmp_path, case, "c", "a", others, every=4) > 30


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", [TABLE, DAY, WHOLE], ids=["table", "day", "whole"])
@pytest.mark.parametrize("before", ["", "a", "b", "c"])
@pytest.mark.parametrize("others", ["a", "b", "ba", "ab"])
def test_a_publication_halted_at_every_step(tmp_path, case, others, before):
    assert halt_at_steps(tmp_path, case, before, "a", others) > (4 if before == "a" else 25)
