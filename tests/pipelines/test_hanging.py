"""A step that hangs ends the run, and says what it was at."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.hanging import Hanging, Watch
from seqcls_beam.runs.progress import Seen
from tests.corpora import texts, write_jsonl

SLOW = """
import sys, time
import seqcls_beam.transforms.classify as classify
from seqcls_beam.schema import Mark

read = classify.read_unit_again

def slow(unit, layout):
    for batch in read(unit, layout):
        yield batch
        if Mark.of(unit).unit == 1:
            time.sleep(600)

classify.read_unit_again = slow
from pipelines.classify import main
sys.exit(main(sys.argv[1:]))
"""


class Told:
    """A reader of what nobody wrote."""

    def __init__(self) -> None:
        self.seen = Seen()

    def look(self) -> Seen:
        return self.seen


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("pipelines.hanging.time.monotonic", lambda: now[0])
    return now


def test_what_stands_still_is_named_and_what_goes_on_is_not(clock):
    told = Told()
    hanging = Hanging(told, 60)  # type: ignore[arg-type]
    for second in range(0, 120, 10):
        clock[0] = 1000.0 + second
        told.seen = Seen(
            {"rows": float(second)},
            {"unit 1": (("a.json", 4),), "unit 2": (("a.json", second),)},
            {"unit 1": "in/a.jsonl", "unit 2": "in/b.jsonl"},
        )
        said = hanging.look()
        if second < 60:
            assert said is None
        else:
            assert said == "unit 1 (in/a.jsonl) gave no sign of life for 60 s (--step_timeout)"


def test_another_process_that_takes_a_unit_over_is_a_sign(clock):
    told = Told()
    hanging = Hanging(told, 60)  # type: ignore[arg-type]
    told.seen = Seen({}, {"unit 1": (("dead.json", 4),)})
    assert hanging.look() is None
    clock[0] += 50
    told.seen = Seen({}, {"unit 1": (("dead.json", 4), ("b.json", 0))})
    assert hanging.look() is None
    clock[0] += 50
    assert hanging.look() is None
    clock[0] += 11
    assert "unit 1 gave no sign of life" in str(hanging.look())


def test_what_a_dead_process_had_in_hand_may_wait_as_long_as_others_work(clock):
    told = Told()
    hanging = Hanging(told, 60)  # type: ignore[arg-type]
    for second in range(0, 200, 10):
        clock[0] = 1000.0 + second
        told.seen = Seen(
            {"rows": float(second)},
            {"unit 1": (("dead.json", 4),)},
            {"unit 1": "in/a.jsonl"},
            frozenset(["dead.json"]),
        )
        assert hanging.look() is None
    clock[0] += 61
    said = "no worker gave a sign of life for 60 s (--step_timeout); unit 1 (in/a.jsonl) was not done"
    assert hanging.look() == said


def test_a_job_of_a_service_waits_for_its_machines_and_then_must_go_on(clock):
    told = Told()
    hanging = Hanging(told, 60, waits=True)  # type: ignore[arg-type]
    for _ in range(5):
        clock[0] += 50
        assert hanging.look() is None
    told.seen = Seen({"rows": 1.0})
    assert hanging.look() is None
    clock[0] += 61
    assert hanging.look() == "no worker gave a sign of life for 60 s (--step_timeout)"


@pytest.mark.parametrize("reader", [Told(), None])
def test_workers_that_never_come_are_missed(clock, reader):
    hanging = Hanging(reader, 60)
    assert hanging.look() is None
    clock[0] += 61
    assert hanging.look() == "no worker gave a sign of life for 60 s (--step_timeout)"


def test_a_run_that_is_over_while_it_is_looked_at_has_not_hung():
    class Late:
        def look(self) -> str:
            watch.over()
            return "too late"

    watch = Watch(Late(), 0.1)  # type: ignore[arg-type]
    watch.cancel = lambda: pytest.fail("cancelled")
    watch.run()
    assert watch.hung is None


@pytest.mark.engine
def test_a_run_that_hangs_ends_with_its_unit_and_goes_on_when_started_again(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", [{"text": each} for each in texts(300)])
    argv = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", "--unit_bytes=2000", "--threads=1"]
    slow = tmp_path / "slow.py"
    slow.write_text(SLOW)
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, str(slow), *argv, "--step_timeout=20"],
        capture_output=True, text=True, timeout=120, check=False, cwd=root, env={"PYTHONPATH": str(root), "PATH": ""},
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith(f"seqcls_beam: unit 1 ({tmp_path}/in.jsonl) gave no sign of life for 20 s (--step_timeout)")
    assert "Traceback" not in ran.stderr and not (tmp_path / "out/labels").exists()
    assert not list(tmp_path.glob("out/_attempts/*/lease")) and not list(tmp_path.glob("out/_attempts/*/progress"))

    again = subprocess.run(
        [sys.executable, "-m", "pipelines.classify", *argv], capture_output=True, text=True, timeout=120, check=False,
        cwd=root,
    )  # fmt: skip
    assert again.returncode == 0 and "of them done before" in again.stderr, again.stderr
