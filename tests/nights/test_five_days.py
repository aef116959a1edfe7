"""Five days of a table in a store, through a proxy at which requests fail: and each row is labelled exactly once."""

import random
import signal
import time

import pytest

from tests.nights import stores
from tests.nights.inbox import reviews
from tests.nights.starts import Start, units_done, wait_for
from tests.nights.world import world

pytestmark = [pytest.mark.nights, pytest.mark.timeout(900)]

LEASE = 20.0
MISSED = "run_date=2026-11-22"


@pytest.fixture(params=["gs", "s3"])
def store(request):
    """A bucket behind a proxy."""
    with stores.faulty(request.param, seed=5) as found:
        yield found


@pytest.fixture
def table(tmp_path, store):
    """A world in the bucket, with one inbox for all days."""
    with world(tmp_path, store.fs, store.bucket, "inbox/*", store.scheme, **store.environ) as found:
        yield found


def test_five_days(models, store, table):
    files, scheduler, oracle, watch, out = table
    first, second = models
    a, b = f"--model={first}", f"--model={second}"
    chance = random.Random(20261120)

    def amid(*argv: str, expires: float | None = None) -> Start:
        """Start a night, and wait for a moment at which it writes units of the missed one."""
        before, many = units_done(store.fs, out, MISSED), 2 + chance.randrange(8)
        night = scheduler.night(*argv, expires=expires)
        wait_for(night, lambda: len(units_done(store.fs, out, MISSED) - before) >= many, 0.1)
        return night

    # The first night is late, and at work as the second one starts: the files of both days are there for both.
    files.day("20-", 300, 20)
    files.day("21-", 300, 21)
    nights = [scheduler.night(f"2026-11-{day}", a, "--catch_up=0") for day in (20, 21)]
    for night in nights:
        night.demand(0)
    seen = oracle.look(first)
    assert list(seen) == ["run_date=2026-11-20", "run_date=2026-11-21"]
    assert sum(map(len, seen.values())) == 8
    assert watch.newest["partition"] == "run_date=2026-11-21"

    # The next one is missed. The one after it catches up, and is killed with all that it started.
    files.day("22-", 300, 22)
    files.day("23-", 1_000, 23)
    night = amid("2026-11-23", a)
    night.end()
    assert night.code() == -signal.SIGKILL
    assert oracle.look(first) == seen

    # It is started again, with a new model, after a file was changed in place; and halted for longer than its
    # lease lasts.
    files.put("20-table.csv", reviews(60, 200))
    halted = amid("2026-11-23", b, expires=LEASE)
    halted.signal(signal.SIGSTOP)
    time.sleep(LEASE + 2)

    # So the next one, which catches up with nothing, takes the files that the halted one has claimed, and all
    # others. That wakes, and publishes none of them.
    files.day("24-", 300, 24)
    night = scheduler.night("2026-11-24", b, "--catch_up=0", expires=LEASE)
    night.demand(0)
    seen = oracle.look(second)
    assert sorted(seen) == [f"run_date=2026-11-{day}" for day in (20, 21, 24)]
    assert len(seen["run_date=2026-11-24"]) == 13
    halted.signal(signal.SIGCONT)
    assert "was taken for dead" in halted.demand(1)
    oracle.look(second)

    # All nights once more: those that are not there yet are quiet ones, and what is newest stays so.
    scheduler.night("2026-11-20..2026-11-24", b).demand(0)
    scheduler.by_hand("clean", "--remove", expires=1).demand(0)
    seen = oracle.look(second)
    assert sorted(seen) == [f"run_date=2026-11-{day}" for day in range(20, 25)]
    assert not any(seen[f"run_date=2026-11-{day}"] for day in (22, 23))
    assert watch.newest["partition"] == "run_date=2026-11-24" and len(watch.newest["passed"]) == 5
    oracle.demand_all()
    oracle.demand_approved(set(seen))
    print(f"{store.scheme} of {store.faults.asked} requests {store.faults.met} met with a fault")
    assert store.faults.met.total() > 30
