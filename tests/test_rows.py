"""What a row weighs is what its values take, whatever type holds them."""

import pyarrow as pa
import pytest

from seqcls_beam.rows import row_bytes

LISTS = [["a", "bb"], None, ["", "xyz"]]
WEIGHTS = [8 + 9 + 10, 8, 8 + 8 + 11]


def weights(values: pa.Array) -> list[int]:
    return row_bytes(pa.record_batch({"column": values})).tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None]), [8, 8]),
        (pa.array([1.0], pa.float16()), [8]),
        (pa.array(["abc", None, ""]), [11, 8, 8]),
        (pa.array(["é"], pa.large_string()), [10]),
        (pa.array(["a string that no view holds inline", None], pa.string_view()), [8 + 34, 8]),
        (pa.array([b"ab"], pa.binary_view()), [10]),
        (pa.array([b"abcd", None], pa.binary(4)), [12, 12]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), [8, 8, 8]),
        (pa.array([{"a": "xx", "b": 1}, None]), [8 + 10 + 8, 8 + 8 + 8]),
        (pa.array([[("k", "vv")], None], pa.map_(pa.string(), pa.string())), [8 + 8 + 9 + 10, 8]),
        (pa.array([[["a"], []], []], pa.list_(pa.list_(pa.string()))), [8 + (8 + 9) + 8, 8]),
    ],
)
def test_a_row_weighs_its_values(values, expected):
    assert weights(values) == expected


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.string()),
        pa.list_view(pa.string()),
        pa.large_list_view(pa.string()),
    ],
)
def test_lists_of_every_kind_weigh_alike(kind):
    values = pa.array(LISTS, kind)
    assert weights(values) == WEIGHTS
    assert weights(values.slice(2)) == WEIGHTS[2:]


def test_lists_of_one_size_weigh_as_any():
    values = pa.array([["a", "bb"], ["", "xyz"]], pa.list_(pa.string(), 2))
    assert weights(values) == [WEIGHTS[0], WEIGHTS[2]]
    assert weights(values.slice(1)) == WEIGHTS[2:]


def test_views_in_any_order_weigh_what_they_show():
    values = pa.array(["a", "bb", "", "xyz"])
    views = pa.ListViewArray.from_arrays(pa.array([2, 0], pa.int32()), pa.array([2, 2], pa.int32()), values)
    assert weights(views) == [WEIGHTS[2], WEIGHTS[0]]
