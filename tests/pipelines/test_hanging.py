"""A step that hangs ends the run, and says what it was at."""

import pytest

from pipelines.hanging import Hanging, Watch
from seqcls_beam.runs.progress import Seen
from tests import forked, tiny
from tests.corpora import texts, write_jsonl

SLOW = """
import itertools, signal, time, types
import pipelines.hanging as hanging
import seqcls_beam.transforms.classify as classify
from seqcls_beam.schema import Mark

read = classify.read_unit_again

def slow(unit, layout):
    for batch in read(unit, layout):
        yield batch
        if Mark.of(unit).unit == 1:
            steps = itertools.count(time.monotonic(), 400)
            hanging.time = types.SimpleNamespace(monotonic=lambda: next(steps))
            time.sleep(600)

made = hanging.Watch.__init__

def often(self, *how):
    made(self, *how)
    self._pause = 0.5

classify.read_unit_again, hanging.Watch.__init__ = slow, often
signal.signal(signal.SIGINT, signal.{handler})
"""
"""One unit hangs, and from then on whoever looks at a clock is told that 400 s are over."""


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


def test_a_run_that_came_to_its_end_is_woken_no_more(monkeypatch):
    monkeypatch.setattr("pipelines.hanging.wake", lambda: pytest.fail("woken"))
    watch = Watch(None, 0.1)
    watch.over()
    watch._end()


@pytest.mark.engine
def test_a_run_that_hangs_ends_with_its_unit_and_goes_on_when_started_again(tmp_path):
    """Also where SIGINT is ignored, as a shell has it for what runs in the background of a script."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": each} for each in texts(300)])
    model = tiny.checkpoint(tmp_path / "model")
    with forked.quiet(tmp_path) as warm:
        for handler in ("SIG_IGN", "default_int_handler"):
            out = tmp_path / handler
            argv = ["classify", f"--input={tmp_path}/in.jsonl", f"--model={model}", f"--output={out}"]
            argv += ["--unit_bytes=2000", "--threads=1"]
            ran = warm.run([*argv, "--step_timeout=600"], setup=SLOW.format(handler=handler))
            assert ran.code == 1, ran.err
            told = f"seqcls_beam: unit 1 ({tmp_path}/in.jsonl) gave no sign of life for 600 s (--step_timeout): "
            assert ran.err.splitlines()[-1].startswith(told)
            assert "Traceback" not in ran.err and not (out / "labels").exists()
            assert not list(out.glob("_attempts/*/lease")) and not list(out.glob("_attempts/*/progress"))
        again = warm.run(argv)
    assert again.code == 0 and "of them done before" in again.err, again.err
