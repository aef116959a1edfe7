"""95 % intervals: how far figures of some rows may lie from those of all they were drawn from, or why none is told.

A share of n rows has Wilson's score interval (1927), which says something also where all or none are right. A metric
that is no share of rows is treated as one of its effective number of rows, t (1 - t) / variance (Kott and Carr 1997;
of intervals so made Franco, Little, Louis and Slud, J. Survey Statistics and Methodology 7, 2019, find Wilson's to
cover best). Its variance and its bias are those of replicates, which are not drawn from the rows as they are, of which
a class that is all right would have none, but from rows with `PRIOR` more in each class (`smoothing`). The bias is
taken off.

How often intervals hold the truth is measured by `benchmarks.intervals`; below the numbers here it is too rarely.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DEVIATIONS = 1.959964
"""Standard deviations of a normal distribution, to either side, that hold 95 %."""

PRIOR = 1.0
"""Rows that are added to each class before replicates are drawn, as right as classes are on the average."""

LEAST = 5
"""Rows of a class, below which nothing can be said of how far its figures may be off."""

_LEAST_PAIRS = 20  # of a regression
_LEAST_RANKED, _RANKED, _HIGH = 10, 50, 0.9  # positive rows behind an average precision that is high, that is any
_MOST_MISSING = 0.02  # of the labels, that may be without a gold row
_MANY = 10  # classes, of which no one decides their mean
_NAMED = 3  # labels that a sentence names

UNMEASURED = "none is made of it"
NOT_ASKED = "none was asked for (--bootstrap)"
"""Of `--bootstrap=0`, and of a single replicate, which has no spread."""


class Interval(NamedTuple):
    """[low, high], or why there is none."""

    ci: list[float] | None
    why: str | None = None


def wilson(share: float, rows: float) -> list[float]:
    """Wilson's score interval of a share of rows, [low, high]; it holds the share."""
    square = DEVIATIONS**2 / rows
    middle = share + square / 2
    width = math.sqrt(square * (share * (1 - share) + square / 4))
    low, high = (middle - width) / (1 + square), (middle + width) / (1 + square)
    return [float(min(max(low, 0.0), share)), float(max(min(high, 1.0), share))]


def of_share(right: float, rows: float, least: int = 1) -> Interval:
    """That of a share of `rows`, of which `least` are needed."""
    if rows < least:
        return Interval(None, few(rows))
    return Interval(wilson(right / rows, rows))


def of_f1(right: float, said: float, gold: float) -> Interval:
    """That of a class's F1, from its right answers, answers and gold labels.

    F1 is 2 s / (1 + s) of the share s of right ones among the rows that have the class as their gold label, their
    answer or both; Wilson's interval of s is carried over (Lam and others, arXiv 2309.14621, "Wilson indirect").
    """
    if gold < LEAST:
        return Interval(None, few(gold, "of this class"))
    rows = said + gold - right
    low, high = wilson(right / rows, rows)
    return Interval([2 * low / (1 + low), 2 * high / (1 + high)])


def bounded(value: float, drawn: Array, ends: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """That of a metric between `ends`; `drawn` is the metric of the smoothed rows, and then of its replicates."""
    low, high = ends
    smooth, replicates = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
    if len(drawn) < 3:
        return Interval(None, NOT_ASKED)
    if len(replicates) < 2 or not np.ptp(replicates):
        return Interval(None, "nothing of it varies with the rows that are drawn")
    centred = value - (float(replicates.mean()) - smooth)
    share, even = ((each - low) / (high - low) for each in (min(max(centred, low), high), smooth))
    rows = max(even * (1 - even), 1e-9) / (float(replicates.var(ddof=1)) / (high - low) ** 2)
    found = [low + (high - low) * each for each in wilson(share, rows)]
    return Interval([min(found[0], value), max(found[1], value)])


_SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "mse": (np.log, np.exp),
    "rmse": (np.log, np.exp),
    "mae": (np.log, np.exp),
    "r2": (lambda value: np.log(1 - value), lambda scaled: 1 - np.exp(scaled)),
    "pearson": (np.arctanh, np.tanh),
}
"""Where the metrics of a regression have a distribution that is about normal: (to it, and back)."""


def of_regression(name: str, value: float, drawn: Array, rows: int) -> Interval:
    """That of a metric of a regression from its replicates: Student's t, on the scale of `_SCALES`."""
    if rows < _LEAST_PAIRS:
        return Interval(None, few(rows))
    if len(drawn) < 2:
        return Interval(None, NOT_ASKED)
    there, back = _SCALES[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = there(np.append(value, drawn))
    if not np.isfinite(scaled).all():
        return Interval(None, "it is at the end of its scale, in these rows or in some that were drawn from them")
    from scipy.stats import t

    centre, width = 2 * scaled[0] - scaled[1:].mean(), t.ppf(0.975, rows - 1) * scaled[1:].std(ddof=1)
    found = sorted(float(back(each)) for each in (centre - width, centre + width))
    return Interval([min(found[0], value), max(found[1], value)])


def of_ranks(value: float, one: Array, other: Array) -> Interval:
    """That of a rank correlation, from the ranks [rows] of both: Student's t on the scale of Fisher's z.

    The variance is that of what each row adds to it, by its own ranks and by those of others which it moves
    (Hoeffding's projection, 1948), whatever the distribution.
    """
    rows = len(one)
    if rows < _LEAST_PAIRS:
        return Interval(None, few(rows))
    if abs(value) == 1:
        return Interval(None, "it is at the end of its scale")
    from scipy.stats import t

    one, other = one / rows, other / rows
    added = one * other
    for moved, of in ((one, other), (other, one)):
        order = np.argsort(-moved, kind="stable")
        added[order] += np.cumsum(of[order]) / rows
    width = float(t.ppf(0.975, rows - 1) * 12 * added.std(ddof=1) / math.sqrt(rows) / (1 - value**2))
    return Interval([math.tanh(math.atanh(value) - width), math.tanh(math.atanh(value) + width)])


def unranked(name: str, value: float, absent: int, present: int) -> str | None:
    """Why a ranking of so many rows has no interval; None where it has. A low average precision hangs on a few rows."""
    if name == "auc":
        least = min(absent, present)
        return few(least, "of the rarer class") if least < LEAST else None
    if present >= _RANKED or (present >= _LEAST_RANKED and value >= _HIGH):
        return None
    return f"{few(present, 'of the positive class')} (from {_RANKED} on it has one)"


def thin(labels: Sequence[str], gold: Array) -> str | None:
    """Why a mean over classes, `gold` labels each, has no interval; None where it has.

    A class without a gold row says nothing of itself. One of a few classes that has hardly any decides the mean; many
    such make up for each other.
    """
    missing = [name for name, rows in zip(labels, gold.tolist(), strict=True) if not rows]
    if len(missing) > _MOST_MISSING * len(labels):
        return f"{len(missing)} of {len(labels)} labels have no gold row ({named(missing)})"
    least = int(gold.argmin())
    if len(labels) < _MANY and gold[least] < LEAST:
        return few(gold[least], f"of class {labels[least]!r}")
    return None


def few(rows: float, of: str = "") -> str:
    """That there are too few rows; `of` says of what."""
    return f"too few rows: {rows:.0f} {of}".strip()


def named(names: Sequence[str]) -> str:
    """The first of some labels."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
