"""Differences of samples: what they are, and how often chance alone is taken for a change."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seqcls_beam.evaluation import drift
from seqcls_beam.evaluation.drift import CHANCE, Difference, verdict

DRAWS = 1000
LABELS = {
    "two": [0.5, 0.5],
    "rare": [0.97, 0.03],
    "28": (1 / np.arange(1, 29) ** 1.3).tolist(),
    "scores": np.exp(np.linspace(-6, 0, 20)).tolist(),
    "lengths": np.exp(-(((np.arange(40) - 12) / 3) ** 2) / 2).tolist(),
}


def shares(name):
    return np.array(LABELS[name]) / sum(LABELS[name])


@pytest.mark.parametrize(
    ("value", "bound", "limit", "said"),
    [
        (0.05, 0.01, 0.1, "within"),
        (0.1, 0.01, 0.1, "within"),
        (0.11, 0.01, 0.1, "beyond"),
        (0.11, 0.2, 0.1, "few"),  # chance alone may give it
        (0.05, 0.2, 0.1, "few"),  # within, but what is beyond would not be seen either
        (0.21, 0.2, 0.1, "beyond"),  # few rows, but so much is no chance
        (-0.3, 0.01, 0.1, "within"),  # a rate that fell
        (0.0, 0.0, 0.0, "within"),
    ],
)
def test_a_change_is_beyond_its_limit_and_beyond_chance(value, bound, limit, said):
    assert verdict(Difference(value, bound / 3, bound), limit) == said


def test_a_difference_to_no_rows_is_not_judged():
    none, some = np.zeros(3, np.int64), np.array([1, 2, 3])
    found = [drift.psi(none, some), drift.psi(some, none), drift.rise(0, 0, 1, 9), drift.rise(1, 9, 0, 0)]
    found += [drift.shift(none, 0, some, 6), drift.shift(some, 6, none, 0), drift.largest_psi(some, 6, none, 0)]
    assert {verdict(each, 0.1) for each in found} == {"few"} and found == [None] * 7


def test_the_index_of_two_samples_by_hand():
    found = drift.psi(np.array([30, 70, 0, 0]), np.array([50, 40, 0, 10]))
    assert found is not None
    p, q = [30.5 / 101.5, 70.5 / 101.5, 0.5 / 101.5], [50.5 / 101.5, 40.5 / 101.5, 10.5 / 101.5]
    assert found.value == pytest.approx(sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True)))
    assert found.expected == pytest.approx(2 * (1 / 100 + 1 / 100)), "the cell that is empty in both is none"
    assert found.bound == pytest.approx(0.02 * stats.chi2.ppf(0.999, 2), rel=0.03)


@pytest.mark.parametrize("free", [1, 2, 3, 5, 12, 19, 40, 200])
def test_the_bound_is_the_quantile_of_chi_square(free):
    rows = np.full(free + 1, 1000)
    found = drift.psi(rows, rows)
    assert found is not None and found.value == pytest.approx(0)
    assert found.bound * rows.sum() / 2 == pytest.approx(stats.chi2.ppf(1 - CHANCE, free), rel=0.03)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30))
def test_the_index_is_the_same_both_ways_and_never_negative(pairs):
    first, second = (np.array(each) for each in zip(*pairs, strict=True))
    found = drift.psi(first, second)
    assert (found is None) == (not first.sum() or not second.sum())
    if found is not None:
        other = drift.psi(second, first)
        assert other is not None and found.value == pytest.approx(other.value) and found.value >= 0


@pytest.mark.parametrize("rows", [(200, 200), (2000, 2000), (2000, 200), (200, 20_000)])
@pytest.mark.parametrize("name", LABELS)
def test_samples_of_one_distribution_are_seldom_beyond_chance(name, rows):
    """With a limit of 0, so that only chance decides; with any other fewer are beyond."""
    draws, p = np.random.default_rng(7), shares(name)
    firsts, seconds = (draws.multinomial(each, p, DRAWS) for each in rows)
    found = [drift.psi(*pair) for pair in zip(firsts, seconds, strict=True)]
    moved = [drift.shift(one, rows[0], other, rows[1]) for one, other in zip(firsts, seconds, strict=True)]
    for each in (found, moved):
        assert sum(verdict(one, 0.0) == "beyond" for one in each) <= DRAWS / 100
    means = [np.mean([getattr(each, name) for each in found]) for name in ("value", "expected")]
    assert means[0] == pytest.approx(means[1], rel=0.2), "what is told as chance is what chance gives"


@pytest.mark.parametrize("rows", [(200, 200), (2000, 2000), (1_000_000, 200), (2000, 200)])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.9])
def test_a_share_that_is_the_same_seldom_rises_beyond_chance(share, rows):
    draws = np.random.default_rng(7)
    pairs = zip(*(draws.binomial(each, share, DRAWS).tolist() for each in rows), strict=True)
    found = [drift.rise(one, rows[0], other, rows[1]) for one, other in pairs]
    assert sum(verdict(each, 0.0) == "beyond" for each in found) <= DRAWS / 100


def test_labels_of_which_a_row_has_several_are_seldom_beyond_chance():
    draws, p = np.random.default_rng(7), np.linspace(0.002, 0.4, 28)
    for rows in (200, 2000):
        pairs = [draws.binomial(rows, p, (2, 28)) for _ in range(DRAWS)]
        found = [drift.largest_psi(one, rows, other, rows) for one, other in pairs]
        moved = [drift.shift(one, rows, other, rows) for one, other in pairs]
        for each in (found, moved):
            assert sum(verdict(one, 0.0) == "beyond" for one in each) <= DRAWS / 100


@pytest.mark.parametrize("name", LABELS)
def test_a_shift_of_ten_points_is_found(name):
    draws, p, rows = np.random.default_rng(7), shares(name), 2000
    least, *_, most = np.argsort(p, kind="stable").tolist()
    moved = p.copy()
    moved[[least, most]] += [0.1, -0.1]
    firsts, seconds = draws.multinomial(rows, p, DRAWS), draws.multinomial(rows, moved, DRAWS)
    pairs = list(zip(firsts, seconds, strict=True))
    found = [drift.shift(one, rows, other, rows) for one, other in pairs]
    assert sum(verdict(each, 0.05) == "beyond" for each in found) >= 0.99 * DRAWS
    assert {each.place for each in found if each} <= {least, most}


def test_a_rare_label_that_becomes_frequent_is_found_in_few_rows():
    draws = np.random.default_rng(7)
    p, q = [0.5, 0.49, 0.01], [0.45, 0.44, 0.11]
    pairs = zip(draws.multinomial(400, p, DRAWS), draws.multinomial(400, q, DRAWS), strict=True)
    assert sum(verdict(drift.psi(one, other), 0.1) == "beyond" for one, other in pairs) >= 0.9 * DRAWS


def test_a_rate_that_rises_by_ten_points_is_found_and_one_that_falls_is_none():
    draws = np.random.default_rng(7)
    low, high = draws.binomial(2000, 0.02, DRAWS).tolist(), draws.binomial(2000, 0.12, DRAWS).tolist()
    pairs = list(zip(low, high, strict=True))
    assert all(verdict(drift.rise(one, 2000, other, 2000), 0.01) == "beyond" for one, other in pairs)
    assert not any(verdict(drift.rise(other, 2000, one, 2000), 0.01) == "beyond" for one, other in pairs)


def test_a_few_rows_are_too_few_for_a_change_that_chance_may_give():
    found = drift.shift(np.array([10, 10]), 20, np.array([13, 7]), 20)
    assert found is not None and found.value == pytest.approx(0.15) and verdict(found, 0.05) == "few"
    assert verdict(drift.shift(np.array([20, 0]), 20, np.array([0, 20]), 20), 0.05) == "beyond"
