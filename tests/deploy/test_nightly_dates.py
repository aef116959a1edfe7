"""deploy/nightly.sh: the day that the name of a Job stands for. Days expected are those of Python's calendar."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

BERLIN = "Europe/Berlin"
# When a Job was due, by the clock on the wall. In Berlin 29 March 2026 has 23 hours and 25 October 25; in Santiago
# 6 September begins at one o'clock.
DUE = [
    *((BERLIN, f"2026-03-{day}T03:30") for day in (28, 29, 30)),
    *((BERLIN, f"2026-10-{day}T03:30") for day in (24, 25, 26)),
    *((BERLIN, f"2026-03-{day}T{time}") for day in (29, 30) for time in ("00:15", "23:45")),
    *((BERLIN, f"2026-10-{day}T{time}") for day in (25, 26) for time in ("00:15", "23:45")),
    *((BERLIN, due) for due in ("2026-12-31T23:59", "2027-01-01T00:00", "2028-02-29T03:30", "2028-03-01T03:30")),
    *(("America/Santiago", f"2026-09-{day}T{time}") for day in ("06", "07") for time in ("01:30", "23:30")),
    *(("Pacific/Kiritimati", due) for due in ("2026-11-20T03:30", "2027-01-01T00:10")),
    *(("Pacific/Pago_Pago", due) for due in ("2026-11-20T23:30", "2026-12-31T13:10")),
    ("Etc/UTC", "2026-11-20T00:00"),
]


def job(zone: str, due: str, fold: int = 0) -> str:
    """The name of the Job that a CronJob makes."""
    at = datetime.fromisoformat(due).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return f"reviews-2026-{int(at.timestamp()) // 60}"


@pytest.mark.parametrize(("zone", "due"), DUE)
@pytest.mark.parametrize("days", [0, 1, 400])
def test_the_day_is_that_of_the_wall_clock(script, zone, due, days):
    given = [f"--days_before={days}"] if days else []
    done = script.run(f"--job={job(zone, due)}", *given, "--output=out", TZ=zone)
    expected = date.fromisoformat(due[:10]) - timedelta(days=days)
    assert done.returncode == 0, done.stderr
    assert script.calls()[0][3] == f"--run_date={expected}"


@pytest.mark.parametrize("fold", [0, 1])
def test_a_time_that_comes_twice_is_of_one_day(script, fold):
    assert script.run("--job", job(BERLIN, "2026-10-25T02:30", fold), "--output=out", TZ=BERLIN).returncode == 0
    assert script.calls()[0][3] == "--run_date=2026-10-25"


def test_the_options_of_the_day_stand_anywhere_before_the_sections(script):
    name = job(BERLIN, "2026-11-20T03:30")
    done = script.run("--output=out", "--days_before", "2", "--input=in", "--job", name, "--gates", "--x=1", TZ=BERLIN)
    assert done.returncode == 0, done.stderr
    assert script.calls()[0][3:] == ["--run_date=2026-11-18", "--report_texts=0", "--output=out", "--input=in"]


@pytest.mark.parametrize(
    "name",
    [
        "reviews",
        "reviews-",
        "29700000",
        "reviews-2970000",
        "reviews-297000000",
        "reviews-1782000000",
        "reviews-29700000-x",
        "reviews-20261120",
        "reviews-09700000",
        "reviews-2970000a",
    ],
)
def test_a_name_that_ends_in_no_minutes_is_refused(script, name):
    done = script.run(f"--job={name}", "--output=out", TZ=BERLIN)
    assert (done.returncode, script.calls()) == (2, [])
    assert f"--job={name} does not end in minutes since 1970" in done.stderr and "give a DATE" in done.stderr


@pytest.mark.parametrize("days", ["x", "-1", "1.5", "99999", "1 + 1"])
def test_days_that_are_no_number_are_refused(script, days):
    done = script.run("--job=reviews-29700000", f"--days_before={days}", "--output=out", TZ=BERLIN)
    assert (done.returncode, script.calls()) == (2, [])
    assert f"--days_before={days}: expected a number of days" in done.stderr


@pytest.mark.parametrize(
    "zone", [None, "", "Europe/Berln", "Europe", "zone.tab", "../zoneinfo/UTC", "CET-1CEST", ":UTC"]
)
def test_a_zone_that_is_not_there_is_refused(script, zone):
    """GNU date takes it for UTC."""
    done = script.run("--job=reviews-29700000", "--output=out", **({} if zone is None else {"TZ": zone}))
    assert (done.returncode, script.calls()) == (2, [])
    assert f"TZ='{zone or ''}' is no time zone of /usr/share/zoneinfo" in done.stderr


def test_missing_zone_data_is_an_error(script, tmp_path):
    done = script.run("--job=reviews-29700000", "--output=out", TZ=BERLIN, TZDIR=str(tmp_path / "none"))
    assert (done.returncode, script.calls()) == (2, [])
    assert f"no time zone of {tmp_path}/none" in done.stderr and "install tzdata" in done.stderr


def test_another_date_command_is_refused(script):
    """As those of BusyBox and of macOS, which know no --date and have no --version."""
    commands = script.folder / "commands"
    commands.mkdir()
    (commands / "date").write_text("#!/bin/sh\nexit 1\n")
    (commands / "date").chmod(0o755)
    path = f"{commands}:{script.environ({})['PATH']}"
    done = script.run("--job=reviews-29700000", "--output=out", TZ=BERLIN, PATH=path)
    assert (done.returncode, script.calls()) == (2, [])
    assert "--job needs the date command of GNU" in done.stderr
    assert script.run("2026-11-20", "--output=out", PATH=path).returncode == 0, "a DATE needs none"
