"""Rows are cut into blocks that hold all of them, in order, and no more than they may."""

from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation.blocks import blocks, offsets_of


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 30), st.integers(1, 10))
def test_blocks_are_as_large_as_they_may_be(sizes, size, rows):
    found = list(blocks(offsets_of(sizes), size, rows))
    assert [row for low, high in found for row in range(low, high)] == list(range(len(sizes)))
    for low, high in found:
        assert high - low <= rows
        assert sum(sizes[low:high]) <= size or high - low == 1
        assert high in (len(sizes), low + rows) or sum(sizes[low : high + 1]) > size
