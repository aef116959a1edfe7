"""A night that is killed again and again, each time at another of its steps, and started again."""

import random
from pathlib import Path

import pytest

from tests.nights.starts import Start, units_done, wait_for

pytestmark = [pytest.mark.nights, pytest.mark.timeout(600)]

NIGHT = "run_date=2026-05-01"


def test_a_night_that_is_killed_at_every_step(disk, models):
    files, scheduler, oracle, watch, _ = disk
    first, out, model = models[0], Path(disk.out), f"--model={models[0]}"
    files.day("2026-04-30/", 300, 30)
    scheduler.night("2026-04-30", model).demand(0)
    files.day("2026-05-01/", 1_500, 1)
    units = random.Random(20260501).randrange(1, 12)
    steps = {
        "claimed": lambda _: len(list(out.glob("_claims/*.json"))) > 1,
        "planned": lambda _: any(out.glob(f"_attempts/{NIGHT}/*/plan.parquet")),
        "at work": lambda _: len(units_done(oracle.fs, disk.out, NIGHT)) >= units,
        "publishing": lambda _: any(out.glob(f"_attempts/{NIGHT}/publish-*")),
        "decided": lambda _: any(out.glob(f"_versions/{NIGHT}/*.json")),
        "judging": lambda night: "pipelines.approve" in night.said(),
    }
    reached = []
    for name, there in steps.items():
        night = scheduler.night("2026-05-01", model)
        if _comes_to(night, there):
            reached.append(name)
        night.end()
        oracle.look(first)
    assert len(reached) > 3, f"only {reached}: a step may be over when it is looked for, but not most of them"
    scheduler.night("2026-05-01", model).demand(0)
    assert list(oracle.look(first)) == ["run_date=2026-04-30", NIGHT]
    assert watch.newest["partition"] == NIGHT
    scheduler.by_hand("clean", "--remove", expires=1).demand(0)
    oracle.demand_all()
    oracle.demand_approved({"run_date=2026-04-30", NIGHT})


def test_a_night_beside_what_is_left_of_one_whose_shell_was_killed(disk, models):
    files, scheduler, oracle, watch, out = disk
    first, model = models[0], f"--model={models[0]}"
    files.day("2026-05-01/", 1_500, 1)
    night = scheduler.night("2026-05-01", model)
    wait_for(night, lambda: bool(units_done(oracle.fs, out, NIGHT)))
    night.orphan()
    scheduler.night("2026-05-01", model).demand(0)
    night.wait_for_all()
    assert list(oracle.look(first)) == [watch.newest["partition"]] == [NIGHT]
    scheduler.by_hand("clean", "--remove", expires=1).demand(0)
    oracle.demand_all()


def _comes_to(night: Start, there) -> bool:
    """Wait until something is there of a night; False where it ended before."""
    wait_for(night, lambda: not night.running() or there(night), 0.001)
    return night.running()
