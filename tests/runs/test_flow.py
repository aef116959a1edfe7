"""A stream in its process: what is open, what was sealed, and what is said of times that are read two ways."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from seqcls_beam.runs.flow import Flow, Took
from seqcls_beam.runs.sealing import Sealed

DAY = 86_400_000_000
NOW = 1_763_632_800_000_000  # 2025-11-20T10:00:00Z, as `date -u -d @1763632800` has it
TOOK = Took(1, 1, 1.0, 0.0)


def test_open_is_what_has_pieces_whoever_wrote_or_sealed_them():
    flow = Flow()
    flow.written([("window=a", 10, 1), ("window=b", 5, 0)], TOOK)
    assert flow.open == {"window=a", "window=b"}
    # Another job sealed both meanwhile, and one that was killed left a third one.
    flow.looking()
    flow.left(["window=c"])
    assert flow.open == {"window=c"}
    # A row that comes while windows are sealed keeps its window open, until the next look finds what became of it.
    flow.looking()
    flow.written([("window=c", 1, 0)], TOOK)
    flow.published(Sealed("window=c", version=1, duplicates=2))
    flow.left([])
    assert flow.open == {"window=c"}
    flow.looking()
    flow.published(Sealed("window=c", version=2, amended=1))
    assert flow.open == set()
    assert (flow.rows, flow.rejected, flow.duplicates) == (16, 1, 2)


def test_amendments_are_counted_apart_from_windows():
    flow = Flow()
    for number in range(3):
        flow.published(Sealed("window=a", version=number + 1, amended=number))
    flow.published(Sealed("window=a", duplicates=1, amended=2))  # nothing was new
    assert (flow.sealed, flow.amendments, flow.duplicates) == (1, 2, 1)


def pulled(caplog: pytest.LogCaptureFixture, event: int, published: int) -> list[str]:
    caplog.clear()
    flow = Flow()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            flow.pulled(0, pa.array([published, event]), pa.array([published, published]))
    return [record.getMessage() for record in caplog.records]


def test_seconds_that_are_read_as_milliseconds_are_told_of_once(caplog):
    seconds = NOW // 1_000_000
    (said,) = pulled(caplog, seconds * 1000, NOW + DAY // 2)
    assert str(seconds) in said
    for event, published in (
        (seconds * 1000, NOW + 2 * DAY),  # no such second is near
        (NOW - 4_000 * DAY, NOW),  # years old
        (0, 0),
        (DAY // 2, DAY),
        (np.iinfo(np.int64).max, NOW),
        (-62_135_596_800_000_000, NOW),
    ):
        assert pulled(caplog, event, published) == []
