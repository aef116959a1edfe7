"""A kept value is what stands in the file, or its row is rejected: never rounded, never of another kind."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from seqcls_beam.reading.formats.columns import cast


@pytest.mark.parametrize(
    ("values", "type", "expected", "bad"),
    [
        (pa.array(["1.5", "9007199254740992", "9007199254740993"]), pa.float64(), [1.5, 2.0**53, None], [2]),
        (pa.array(["12345678901234567890", "1e400", "1e300"]), pa.float64(), [None, None, 1e300], [0, 1]),
        (pa.array(["inf", "-inf", None, "x"]), pa.float64(), [float("inf"), float("-inf"), None, None], [3]),
        (pa.array([Decimal("9007199254740993.10"), Decimal("1.10")]), pa.float64(), [None, 1.1], [0]),
        (pa.array([2**53 + 1, 5]), pa.float64(), [None, 5.0], [0]),
        (pa.array([5, 0]), pa.bool_(), [None, None], [0, 1]),
        (pa.array([True, None]), pa.int64(), [None, None], [0]),
        (pa.array([7, 8], pa.timestamp("s")), pa.int64(), [None, None], [0, 1]),
        (pa.array([datetime.date(2026, 1, 1)]), pa.int32(), [None], [0]),
        (pa.array([1, 2]), pa.timestamp("s"), [None, None], [0, 1]),
        (pa.array(["true", "no"]), pa.bool_(), [True, None], [1]),
        (pa.array([True]), pa.string(), ["true"], []),
        (pa.array([[1, 0], None, [0]], pa.list_view(pa.int64())), pa.list_(pa.int64()), [[1, 0], None, [0]], []),
        (pa.array([1.0, 2.5]), pa.int64(), [1, None], [1]),
        (pa.array([300], pa.int64()), pa.int8(), [None], [0]),
        (pa.array([1e300, 0.5]), pa.float32(), [None, 0.5], [0]),
        (pa.array([2.555, 2.5]), pa.decimal128(5, 2), [None, Decimal("2.50")], [0]),
        (pa.array([3600, 86400], pa.timestamp("s")), pa.date32(), [None, datetime.date(1970, 1, 2)], [0]),
        (pa.array([3600], pa.timestamp("s")), pa.timestamp("s", "UTC"), [None], [0]),
        (pa.array(["0x10", "16"]), pa.int64(), [None, 16], [0]),
        (pa.array([datetime.date(1970, 1, 2)]), pa.string(), ["1970-01-02"], []),
    ],
)
def test_a_value_fits_as_it_is_or_not_at_all(values, type, expected, bad):
    made, unfit = cast(values, type)
    assert (made.to_pylist(), sorted(unfit)) == (expected, bad)
    assert made.type == type
