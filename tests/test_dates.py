"""Dates of nights in options and in patterns."""

import datetime
from typing import Any

import pytest

from seqcls_beam.config.classify import ClassifyConfig, ModelOptions, ReadOptions, RunOptions
from seqcls_beam.config.dates import filled, for_any_date, has_date, parse_dates

DAY = datetime.date(2026, 3, 9)


def test_one_date_and_a_range():
    assert parse_dates("run_date", "2026-03-09") == [DAY]
    leap = parse_dates("run_date", "2028-02-28..2028-03-01")
    assert [str(each) for each in leap] == ["2028-02-28", "2028-02-29", "2028-03-01"]
    assert parse_dates("run_date", "2026-03-09..2026-03-09") == [DAY]
    year = parse_dates("run_date", "2026-01-01..2026-12-31")
    assert len(set(year)) == 365 and year == sorted(year)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yesterday", "--run_date=yesterday: expected a date such as 2026-11-20"),
        ("20261120", "--run_date=20261120: expected a date"),
        ("2026-02-29", "--run_date=2026-02-29: expected a date"),
        ("2026-11-20..", "--run_date=2026-11-20..: expected a date"),
        ("..2026-11-20", "--run_date=..2026-11-20: expected a date"),
        ("2026-11-20..2026-11-21..2026-11-22", "expected a date"),
        ("2026-11-21..2026-11-20", "--run_date=2026-11-21..2026-11-20: it ends before it begins"),
        ("2006-11-21..2026-11-20", "these are more than 3,660 nights"),
    ],
)
def test_what_is_no_date(value, said):
    with pytest.raises(ValueError) as error:
        parse_dates("run_date", value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "then", "ever"),
    [
        ("in/{date}/*.jsonl", "in/2026-03-09/*.jsonl", "in/[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]/*.jsonl"),
        ("gs://b/{date:%Y/%m/%d}/x", "gs://b/2026/03/09/x", "gs://b/[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/x"),
        ("{date:dt=%y%j}.csv", "dt=26068.csv", "dt=[0-9][0-9][0-9][0-9][0-9].csv"),
        ("{date:%Y}/{date}", "2026/2026-03-09", "[0-9][0-9][0-9][0-9]/[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"),
        ("{dates}/{x}", "{dates}/{x}", "{dates}/{x}"),
    ],
)
def test_a_place_for_a_date(pattern, then, ever):
    assert has_date(pattern) == (then != pattern)
    assert (filled(pattern, DAY), for_any_date(pattern)) == (then, ever)


def config(pattern: str, **run: Any) -> ClassifyConfig:
    return ClassifyConfig(
        read=ReadOptions(input=(pattern,)),
        model=ModelOptions(),
        run=RunOptions(output="out", **run),
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("in/{date:%d %B}/x", "a date has %Y, %y, %m, %d and %j, and no %B"),
        ("in/{date:%Y-%m-%d %H}/x", "and no %H"),
        ("in/{date:%}/x", "and no %"),
        ("in/{date:%Y/%m}/x", "it is the same for many nights; say the day, with {date} or %d"),
        ("in/{date:%Y}/{date:%m}", "it is the same for many nights"),
        ("in/{date:}/x", "it is the same for many nights"),
    ],
)
def test_a_form_that_says_no_day_in_digits_is_refused(pattern, said):
    with pytest.raises(ValueError) as error:
        config(pattern, run_date="2026-03-09")
    assert f"--input={pattern}: " in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    "pattern", ["in/{date:%Y}/{date}.jsonl", "in/{date:%Y}/{date:%m}/{date:%d}/*", "2026/{date:%j}"]
)
def test_several_places_say_the_day_together(pattern):
    assert config(pattern, run_date="2026-03-09")


def test_a_place_for_a_date_needs_one():
    with pytest.raises(ValueError, match=r"--input=in/\{date\}/x has a place for a date: give --run_date"):
        config("in/{date}/x")


@pytest.mark.parametrize("run", [{"run_date": "2026-03-09..2026-03-11"}, {"run_date": "2026-03-09", "catch_up": 3}])
def test_several_nights_each_take_what_is_new(run):
    with pytest.raises(ValueError, match="is for nights that each take what is new: give --only_new, too"):
        config("in/x", **run)
    assert config("in/x", only_new=True, **run)
