"""How far two samples of rows lie apart, and how far they would by chance alone.

A difference is never 0, even between two halves of one night: what is measured comes with what chance gives, and only
what is beyond that can be called a change. Chance means rows that were drawn independently of each other; where rows
come in copies, or many from one place, it gives more.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

CHANCE = 0.001
"""How often two samples of one distribution may differ by more than `Difference.bound`."""

_SMOOTHING = 0.5


@dataclass(frozen=True)
class Difference:
    """A difference of two samples, and what chance makes of none."""

    value: float
    expected: float  # by chance: the mean of what two samples of one distribution differ by
    bound: float  # by chance: what they exceed once in a thousand times
    place: int = 0  # of the label that differs most, where there are several


def verdict(found: Difference | None, limit: float) -> str:
    """Whether a difference is within its limit: "within", "beyond", or "few" where there are too few rows to say.

    It is beyond where it exceeds both the limit and the bound of chance. Where the bound itself exceeds the limit, rows
    that differ by more than the limit allows could not be told from chance: whatever is not beyond is not judged then.
    None is a difference to no rows.
    """
    if found is None:
        return "few"
    if found.value > max(limit, found.bound):
        return "beyond"
    return "few" if found.bound > limit else "within"


def psi(first: Counts, second: Counts, of: int = 1) -> Difference | None:
    """The population stability index of two samples, from their rows by cell; None where one has no rows.

    Σ (p - q) ln(p / q) over cells, which is Jeffreys' divergence (1946) under the name that credit scoring gave it
    (Siddiqi, Credit Risk Scorecards, 2006). A cell that is empty in both is none. To each of the others half a row is
    added in both samples, as Jeffreys' prior has it (Krichevsky and Trofimov 1981), since an empty one would make the
    sum infinite; the customary small constant in its place would make it depend on that constant, and not on the rows.

    Of samples of n and m rows from one distribution over k cells it is (1/n + 1/m) times a chi-square variable of k - 1
    degrees of freedom (Yurdakul and Naranjo, Journal of Risk Model Validation 14, 2020): `expected` is its mean,
    `bound` its quantile at 1 - CHANCE / `of`, where `of` such indices are looked at and the largest is told.
    """
    rows = 1 / first.sum() + 1 / second.sum() if first.any() and second.any() else 0.0
    if not rows:
        return None
    there = first + second > 0
    p, q = (each[there] + _SMOOTHING for each in (first, second))
    p, q = p / p.sum(), q / q.sum()
    free = int(there.sum()) - 1
    value = float(((p - q) * np.log(p / q)).sum())
    return Difference(value, float(rows * free), float(rows * _chi_square(free, 1 - CHANCE / of)))


def largest_psi(first: Counts, rows: int, second: Counts, others: int) -> Difference | None:
    """The largest index of labels that each stand by themselves, present or absent; None where one has no rows.

    `first` and `second` are rows with each label, of `rows` and `others` rows in all.
    """
    found = [
        psi(np.array([one, rows - one]), np.array([other, others - other]), len(first))
        for one, other in zip(first.tolist(), second.tolist(), strict=True)
    ]
    told = [Difference(each.value, each.expected, each.bound, at) for at, each in enumerate(found) if each]
    return max(told, key=lambda each: each.value, default=None)


def shift(first: Counts, rows: int, second: Counts, others: int) -> Difference | None:
    """The largest difference of a label's share, to either side; None where one sample has no rows.

    `first` and `second` are as in `largest_psi`. `bound` is the largest of all labels' bounds, each at CHANCE over the
    number of labels and sides (Bonferroni).
    """
    if not rows or not others or not len(first):
        return None
    shares = np.abs(second / others - first / rows)
    error, skewness = _by_chance(first, rows, second, others)
    bounds = _bound(error, np.abs(skewness), rows, others, CHANCE / (2 * len(first)))
    place = int(shares.argmax())
    return Difference(float(shares[place]), float(np.sqrt(2 / np.pi) * error[place]), float(bounds.max()), place)


def rise(first: int, rows: int, second: int, others: int) -> Difference | None:
    """By how much a share rose, `first` of `rows` → `second` of `others`; None where one sample has no rows.

    Negative where it fell; `bound` is that of a rise. `expected` is the mean of a difference to either side.
    """
    if not rows or not others:
        return None
    error, skewness = _by_chance(np.array([first]), rows, np.array([second]), others)
    bound = _bound(error, skewness, rows, others, CHANCE)
    return Difference(second / others - first / rows, float(np.sqrt(2 / np.pi) * error[0]), float(bound[0]))


def _by_chance(first: Counts, rows: int, second: Counts, others: int) -> tuple[Shares, Shares]:
    """(standard error, skewness) of the difference of shares that are one share, that of all rows together."""
    share = (first + second) / (rows + others)
    variance = share * (1 - share) * (1 / rows + 1 / others)
    third = share * (1 - share) * (1 - 2 * share) * (1 / others**2 - 1 / rows**2)
    return np.sqrt(variance), np.divide(third, variance**1.5, out=np.zeros(len(share)), where=variance > 0)


def _bound(error: Shares, skewness: Shares, rows: int, others: int, chance: float) -> Shares:
    """What a difference of shares exceeds with a probability of `chance` at most.

    The normal distribution's quantile, corrected for skewness (Cornish and Fisher 1938) and for counts being whole
    (Yates 1934): of rare rows, in samples of different sizes, it alone is exceeded thirty times as often.
    """
    normal = NormalDist().inv_cdf(1 - chance)
    bound = error * (normal + (normal**2 - 1) * np.maximum(skewness, 0) / 6) + (1 / rows + 1 / others) / 2
    return np.asarray(bound)


def _chi_square(free: int, probability: float) -> float:
    """A quantile of the chi-square distribution; of several degrees of freedom by Wilson and Hilferty (1931)."""
    if free < 2:
        return NormalDist().inv_cdf((1 + probability) / 2) ** 2 if free else 0.0
    spread = 2 / (9 * free)
    return float(free * (1 - spread + NormalDist().inv_cdf(probability) * spread**0.5) ** 3)
