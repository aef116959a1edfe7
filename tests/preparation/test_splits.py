"""Splits and shards: shares, quotas, and what a number alone decides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam.preparation import splits
from seqcls_beam.preparation.shards import bounds


def drawn(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 64, rows, np.uint64, endpoint=False)


def test_a_hash_gives_the_shares_that_were_asked_for():
    found = splits.by_hash(drawn(100_000), 0.1, 0.2)
    shares = np.bincount(found, minlength=3) / len(found)
    assert np.abs(shares - [0.7, 0.1, 0.2]).max() < 0.005
    assert (splits.by_hash(drawn(100), 0, 0) == splits.TRAIN).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200), st.sampled_from([0, 0.1, 0.25, 0.4]))
def test_stratified_quotas_are_met_to_the_row(classes, share):
    classes = np.array(classes)
    found = splits.stratified(drawn(len(classes)), classes, np.ones(len(classes), int), share, share)
    for each in set(classes.tolist()):
        mine = found[classes == each]
        rounded = int(share * len(mine) + 0.5)
        assert (mine == splits.TEST).sum() == rounded
        assert abs((mine == splits.VALIDATION).sum() - rounded) <= 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=60))
def test_a_group_misses_a_quota_by_half_of_itself_at_most(groups):
    classes, sizes = np.array(groups).T
    found = splits.stratified(drawn(len(classes)), classes, sizes, 0, 0.3)
    for each in set(classes.tolist()):
        mine = classes == each
        taken = sizes[mine & (found == splits.TEST)].sum()
        assert abs(taken - 0.3 * sizes[mine].sum()) <= sizes[mine].max() / 2 + 0.5


@given(st.integers(0, 500), st.integers(1, 64), st.integers(1, 64))
def test_shards_are_equal_and_so_are_ranks_that_take_every_nth(rows, shards, ranks):
    edges = bounds(rows, shards)
    sizes = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == rows and np.ptp(sizes) <= 1
    if shards % ranks == 0:
        assert np.ptp([sizes[rank::ranks].sum() for rank in range(ranks)]) <= 1
