"""Windows by their names, and every row in exactly one."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.runs import windows

EPOCH = datetime.datetime(1970, 1, 1)
YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800  # seconds since 1970
LENGTHS = st.sampled_from([1, 7, 60, 300, 3600, 86_400, 10**9])


def times(*values: int) -> pa.Array:
    return pa.array(values, pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (0, "window=19700101T000000Z"),
        (-1, "window=19691231T235959Z"),
        (YEAR_1, "window=00010101T000000Z"),
        (YEAR_10000 - 1, "window=99991231T235959Z"),
        (YEAR_10000, "window=100000101T000000Z"),
    ],
)
def test_a_window_is_called_by_its_start(start, name):
    assert windows.name(start) == name
    assert windows.start_of(name) == start


@given(st.integers(-(2**63) // 10**6 + 1, 2**63 // 10**6 - 1))
def test_a_name_tells_its_start_in_any_year(start):
    assert windows.start_of(windows.name(start)) == start


@given(st.integers(YEAR_1, YEAR_10000 - 1))
def test_names_are_what_python_calls_the_time(start):
    told = (EPOCH + datetime.timedelta(seconds=start)).isoformat().replace("-", "").replace(":", "")
    assert windows.name(start) == f"window={told}Z"


@pytest.mark.parametrize(
    "name", ["window=20260230T000000Z", "window=x", "run_date=2026-11-20", "window=19700101T000060Z", "scratch", ""]
)
def test_another_name_is_none_of_a_window(name):
    assert windows.start_of(name) is None


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50), LENGTHS)
def test_every_row_is_in_the_one_window_that_holds_it(values, length):
    cuts = windows.cut(times(*values), length)
    assert sorted(row for _, rows in cuts for row in rows.tolist()) == list(range(len(values)))
    starts = [start for name, _ in cuts if (start := windows.start_of(name)) is not None]
    assert starts == sorted(set(starts))
    for start, (_, rows) in zip(starts, cuts, strict=True):
        assert start % length == 0
        assert rows.tolist() == sorted(rows.tolist())
        for row in rows:
            assert start * 10**6 <= values[row] < (start + length) * 10**6


def test_a_row_without_a_time_is_in_none():
    with pytest.raises(ValueError, match="1 of 2 rows have no event time"):
        windows.cut(pa.array([0, None], pa.timestamp("us", "UTC")), 300)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_what_is_told_of_a_time_is_that_time(value):
    assert windows.moment(windows.told(value)) == value


def test_times_are_told_as_manifests_have_them():
    assert [windows.told(value) for value in (0, 1, 1_500_000)] == [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000001Z",
        "1970-01-01T00:00:01.500000Z",
    ]
