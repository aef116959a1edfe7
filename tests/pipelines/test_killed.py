"""Runs that replace each other, killed at random moments, while others read: those see one whole version."""

import hashlib
import json
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from seqcls_beam.preparation.prepared import open_prepared
from seqcls_beam.runs.table import open_labels
from tests.halt import Process, command
from tests.pipelines.halted import Job, assert_whole, flags_of, jobs_in, replacing, run, undisturbed, versions

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The commands, tiny."""
    return jobs_in(tmp_path_factory.mktemp("jobs"))


def replace_for_ever(job: Job, out: Path) -> int:
    """Two runs in turn, each with --overwrite, over what the other one published."""
    while command(job.command, flags_of(job, replacing(job, out), out)) == 0:
        pass
    return 1


def until_stopped(look: Any, out: Path, *args: Any) -> int:
    """Look again and again, until there is a file that says stop; print how often a look was whole."""
    whole = late = 0
    while not out.with_name("stop").exists():
        seen = look(out, *args)
        whole, late = whole + seen, late + (not seen)
    print(f"{whole} whole, {late} late")
    return 0


def read_rows(out: Path, expected: list[list[dict[str, Any]]]) -> bool:
    """Read the labels; False where a file was replaced after they had been opened."""
    labels = open_labels(str(out))
    try:
        rows = labels.to_table().to_pylist()
    except FileNotFoundError:
        return False
    assert rows in expected, f"rows of no run: {len(rows)}"
    return True


def list_parts(out: Path) -> bool:
    """List labels/: all parts of a version that counts, or did a moment ago, and else none but of those beside it."""
    before = _numbers(out)[-1]
    names = set(os.listdir(out / "labels"))
    after = _numbers(out)[-1]
    parts = {number: _parts(out, number) for number in range(max(before - 1, 1), after + 1)}
    parts_of_none = names - set().union(*parts.values())
    assert not {name for name in parts_of_none if not name.startswith(".")}, (before, after, parts_of_none)
    assert any(each <= names for each in parts.values()), (before, after, names)
    return True


def read_shards(out: Path) -> bool:
    """Read what a version of prepared data names; False where another one was decided meanwhile."""
    manifest = open_prepared(str(out)).manifest
    try:
        found = [hashlib.sha256((out / each["path"]).read_bytes()).hexdigest() for each in manifest["parts"]]
    except FileNotFoundError:
        found = []
    whole = found == [each["sha256"] for each in manifest["parts"]]
    assert whole or _numbers(out)[-1] > manifest["commit"]["version"], "files of the newest version are not its own"
    return whole


def _numbers(out: Path) -> list[int]:
    return sorted(int(name[:8]) for name in os.listdir(out / "_versions") if re.fullmatch(r"\d{8}\.json", name))


def _parts(out: Path, number: int) -> set[str]:
    manifest = json.loads((out / "_versions" / f"{number:08d}.json").read_bytes())
    return {each["path"].rpartition("/")[2] for each in manifest["parts"]}


def kill_and_read(job: Job, out: Path, kills: int, looks: list[tuple[Any, ...]]) -> None:
    """Kill again and again, with a reader of each kind beside it; then a last start publishes."""
    log, chance = out.with_name("log"), random.Random(kills)
    began = time.monotonic()
    assert run(job, "x", out, log).code() == 0, log.read_text()
    longest = 2 * (time.monotonic() - began)
    readers = [Process(until_stopped, *look, log=out.with_name(f"reader{i}")) for i, look in enumerate(looks)]
    for number in range(kills):
        log = out.with_name(f"{number}.log")
        # Most of a run's time goes before it is published; so every other one dies at a step of that.
        step = str(chance.randint(20, 60)) if number % 2 else ""
        process = Process(replace_for_ever, job, out, log=log, step=step, output=str(out))
        if step:
            process.halted()
        else:
            time.sleep(chance.uniform(0.3, longest))
        process.kill()
        assert process.code() == -9, process.said()[-2000:]
    letter = replacing(job, out)
    last = run(job, letter, out, out.with_name("last.log"))
    assert last.code() == 0, last.said()[-2000:]
    out.with_name("stop").touch()
    for reader in readers:
        assert reader.code() == 0, reader.said()[-2000:]
        whole, late = (int(word) for word in reader.said().split() if word.isdigit())
        assert whole > 5 * late and whole > kills, reader.said()
    assert len(versions(job, out)) >= 2
    assert command("clean", [str(out), "--remove"]) == 0
    assert assert_whole(job, out) == letter
    assert not (out / "_attempts").exists()


OFTEN = pytest.mark.parametrize("kills", [4, pytest.param(25, marks=pytest.mark.slow)])


@OFTEN
@pytest.mark.timeout(400)
def test_readers_of_labels_see_one_whole_version(tmp_path, jobs, kills):
    job, out = jobs["classify"], tmp_path / "out"
    expected = [undisturbed(job, letter)[1] for letter in "xy"]
    kill_and_read(job, out, kills, [(read_rows, out, expected), (list_parts, out)])


@OFTEN
@pytest.mark.timeout(400)
def test_readers_of_prepared_data_see_one_whole_version(tmp_path, jobs, kills):
    job, out = jobs["prepare"], tmp_path / "out"
    kill_and_read(job, out, kills, [(read_shards, out)])
