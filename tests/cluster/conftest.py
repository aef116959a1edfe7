"""The engines, each started once, and what is labelled, prepared and measured on them."""

import fcntl
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.faults import thaw
from tests.cluster.services import DEPLOY, ROOT, Flink
from tests.corpora import texts, write_jsonl
from tests.prepared import sentences


@pytest.fixture(scope="session")
def prism() -> str:
    """Prism's binary: the one on PATH, else one that is installed for these tests."""
    found = shutil.which("prism")
    if found is not None:
        return found
    folder = ROOT / ".prism"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "prism").exists():
            install = [str(DEPLOY / "prism" / "install.sh")]
            done = subprocess.run(install, env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    return str(folder / "prism")


@pytest.fixture(scope="session")
def one_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """A Flink; which of its services run is up to who uses it."""
    cluster = Flink(tmp_path_factory.mktemp("flink"))
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def flink(one_machine: Flink) -> Flink:
    """A Flink with two TaskManagers and no job at work, whatever was killed before."""
    one_machine.start(FLINK_TASKMANAGERS="2")
    thaw(one_machine)  # what a test that failed has left halted would never end with its job
    for job in one_machine.jobs("INITIALIZING", "CREATED", "RUNNING", "RESTARTING"):
        one_machine.asked(f"jobs/{job}?mode=cancel", "PATCH")
    assert one_machine.idle()
    return one_machine


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 texts with labels, two that are none, in a file that is cut into some twenty units of 16 kB."""
    chance = random.Random(5)
    rows = [
        {"id": n, "text": text, "label": chance.choice(["negative", "positive"])} for n, text in enumerate(texts(2000))
    ]
    rows[7]["text"], rows[1900]["text"] = None, ""
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "reviews.jsonl", rows)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 texts, some seconds of work for two threads, in some fifty units of 16 kB."""
    rows = [{"id": n, "text": text} for n, text in enumerate(texts(6_000, seed=1))]
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "many.jsonl", rows)


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 rows to prepare: copies, near-duplicates and authors among them."""
    chance = random.Random(6)
    found = sentences(3000)
    found += chance.choices(found, k=400) + [f"{text} indeed" for text in chance.choices(found, k=600)]
    chance.shuffle(found)
    made = [
        {"id": n, "text": text, "label": chance.choice(["no", "yes"]), "author": f"a{chance.randrange(800)}"}
        for n, text in enumerate(found)
    ]
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "rows.jsonl", made)
