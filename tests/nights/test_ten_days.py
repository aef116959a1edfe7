"""Ten days in the life of a table: what comes, what fails, who is killed; and each row is labelled exactly once."""

import datetime
import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.corpora import write_jsonl
from tests.nights.inbox import reviews
from tests.nights.oracle import NAMES
from tests.nights.starts import job, units_done, wait_for

pytestmark = [pytest.mark.nights, pytest.mark.timeout(1200)]

ALL_LIMITS_OFF = ["--max_label_shift=1", "--max_label_psi=999", "--max_score_psi=999", "--max_token_psi=999"]


def partition(date: str) -> str:
    return f"run_date={date}"


def nightly(date: str, fold: int = 0) -> list[str]:
    """The Job that labels a day: due at half past two on the next one; `fold` 1: for the second time."""
    return [job(datetime.date.fromisoformat(date) + datetime.timedelta(days=1), 2, 30, fold), "--days_before=1"]


def test_ten_days(tmp_path, models, disk):
    files, scheduler, oracle, watch, out = disk
    first, second = models
    a, b = f"--model={first}", f"--model={second}"
    chance = random.Random(20260324)

    def begun(date: str, least: int) -> None:
        """Wait for a moment at which a night writes units, another one each time."""
        many = least + chance.randrange(15)
        wait_for(scheduler.started[-1], lambda: len(units_done(oracle.fs, out, partition(date))) >= many)

    # A night as any other.
    files.day("2026-03-24/", 400, 24)
    night = scheduler.night(*nightly("2026-03-24"), a)
    night.demand(0)
    assert list(oracle.look(first)) == [partition("2026-03-24")]
    assert watch.newest["partition"] == partition("2026-03-24")

    # All texts of a day are of one kind: it is published, and not approved. A second start changes nothing.
    found = reviews(3_000, 25)
    of_one_kind = oracle.scorer.scores(first, found)[:, NAMES.index("negative")] > 0.5
    files.put(
        "2026-03-25/reviews.jsonl", [text for text, is_one in zip(found, of_one_kind, strict=True) if is_one][:400]
    )
    watch.refused = {partition("2026-03-25")}
    twice = []
    for _ in range(2):
        night = scheduler.night(*nightly("2026-03-25"), a)
        night.demand(3)
        twice.append(files_of(Path(out)))
        assert list(oracle.look(first)) == [partition("2026-03-24"), partition("2026-03-25")]
        assert watch.newest["partition"] == partition("2026-03-24")
        assert list(watch.newest["failed"]) == [partition("2026-03-25")]
    assert twice[0] == twice[1]

    # The next night is missed. An operator starts it at the moment at which the one after it begins, which catches up
    # too; and a file of a day that is labelled was changed in place.
    files.day("2026-03-26/", 400, 26)
    files.day("2026-03-27/", 400, 27)
    changed = files.put("2026-03-24/table.csv", reviews(60, 240))
    nights = [scheduler.night("2026-03-26", a), scheduler.night(*nightly("2026-03-27"), a)]
    for each in nights:
        each.demand(0)
    seen = oracle.look(first)
    assert list(seen) == [partition(f"2026-03-{day}") for day in (24, 25, 26, 27)]
    assert "2026-03-24/table.csv~0" in seen[partition("2026-03-24")]
    assert sum(changed.name in each for each in seen.values()) == 1
    assert watch.newest["partition"] == partition("2026-03-27")

    # The day that was refused is approved by hand: what is newest stays so.
    watch.refused = set()
    scheduler.by_hand("approve", "--run_date=2026-03-25", *ALL_LIMITS_OFF).demand(0)
    assert watch.newest["partition"] == partition("2026-03-27") and not watch.newest["failed"]
    oracle.demand_approved({partition(f"2026-03-{day}") for day in (24, 25, 26, 27)})

    # Summer time begins: half past two is no time of the 29th, and no Job labels the 28th. The night after it catches
    # up; of its own day an upload broke off.
    files.day("2026-03-28/", 400, 28)
    with pytest.raises(ValueError, match=r"2026-03-29 has no 02:30"):
        nightly("2026-03-28")
    files.day("2026-03-29/", 400, 29)
    files.put_half("2026-03-29/late.jsonl.gz", reviews(300, 290))
    night = scheduler.night(*nightly("2026-03-29"), a)
    assert "late.jsonl.gz" in night.demand(1)
    assert list(oracle.look(first))[-1] == watch.newest["partition"] == partition("2026-03-28")

    # The upload is repaired. The night is killed with all that it started, while it writes units of its own day.
    files.put("2026-03-29/late.jsonl.gz", reviews(300, 290))
    files.day("2026-03-30/", 4_000, 30)
    night = scheduler.night(*nightly("2026-03-30"), a)
    begun("2026-03-30", 3)
    night.end()
    assert night.code() == -signal.SIGKILL
    assert list(oracle.look(first))[-1] == partition("2026-03-29")

    # A new model from here on, and it is measured before its nights are judged. Of the night before, which was killed
    # before it was judged, that says nothing, for the old model labelled it: it stays open until an operator judges it.
    # A file grows while it is read.
    files.day("2026-03-31/", 4_000, 31)
    answers = np.array(NAMES)[oracle.scorer.scores(first, reviews(300, 7)).argmax(1)]
    gold = [{"text": text, "label": str(label)} for text, label in zip(reviews(300, 7), answers, strict=True)]
    write_jsonl(tmp_path / "gold.jsonl", gold)
    measured = ["--gold", f"--input={tmp_path}/gold.jsonl", "--min_accuracy=0.95", "--threads=1"]
    with files.growing("2026-03-31/unended.jsonl", 310) as grow:
        night = scheduler.night(*nightly("2026-03-31"), b, *measured)
        wait_for(night, lambda: any(tmp_path.glob("out/_attempts/run_date=2026-03-31/*/plan.parquet")))
        grow()
        assert "unended.jsonl had " in night.demand(1)
    assert list(oracle.look(second))[-1] == watch.newest["partition"] == partition("2026-03-30")
    assert not watch.newest["failed"] and partition("2026-03-29") not in watch.newest["passed"]
    scheduler.by_hand("approve", "--run_date=2026-03-29").demand(0)
    assert watch.newest["partition"] == partition("2026-03-30") and not watch.newest["failed"]

    # A night is halted while it writes units, for longer than its lease lasts. Nothing comes on the last day, of which
    # the night does what the halted one was at. That wakes, and does no harm.
    files.day("2026-04-01/", 4_000, 1)
    halted = scheduler.night(*nightly("2026-04-01"), b, expires=15)
    begun("2026-04-01", 3)
    halted.signal(signal.SIGSTOP)
    oracle.look(second)
    time.sleep(16)
    night = scheduler.night(*nightly("2026-04-02"), b, expires=15)
    night.demand(0)
    seen = oracle.look(second)
    assert list(seen)[-1] == watch.newest["partition"] == partition("2026-04-02") and not seen[partition("2026-04-02")]
    halted.signal(signal.SIGCONT)
    halted.demand(0, 1)
    oracle.look(second)

    # All ten nights once more: nothing is left to do. What failed and was killed has left work, which is tidied away.
    before = files_of(Path(out))
    scheduler.night("2026-03-24..2026-04-02", b).demand(0)
    scheduler.by_hand("clean", "--remove", expires=1).demand(0)
    assert files_of(Path(out)) == before
    assert len(oracle.look(second)) == 10
    oracle.demand_all()
    oracle.demand_approved(set(oracle.models))
    assert watch.newest["partition"] == partition("2026-04-02") and len(watch.newest["passed"]) == 10


def files_of(out: Path) -> dict[str, bytes]:
    """All that is published, but for the claims."""
    names = ("labels", "_versions", "_rejects", "_APPROVED.json")
    found = [path for name in names for path in [out / name, *(out / name).rglob("*")] if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def test_an_hour_that_comes_twice(models, disk):
    """Summer time ends: half past two comes twice on the 25th, and so two Jobs label the 24th."""
    files, scheduler, oracle, watch, out = disk
    files.day("2026-10-24/", 400, 24)
    jobs = [nightly("2026-10-24", fold) for fold in (0, 1)]
    first, second = (int(name.rpartition("-")[2]) for name, _ in jobs)
    assert second - first == 60
    nights = [scheduler.night(*each, f"--model={models[0]}") for each in jobs]
    for night in nights:
        night.demand(0)
    assert list(oracle.look(models[0])) == [watch.newest["partition"]] == [partition("2026-10-24")]
    state = json.loads(Path(out, "_APPROVED.json").read_bytes())
    assert state["passed"] == {partition("2026-10-24"): 1}
    scheduler.by_hand("clean", "--remove", expires=1).demand(0)  # work of the one that came too late
    oracle.demand_all()
