"""A tally → every metric of it, ready for JSON.

scikit-learn computes what it has, from counts as weights; confidence intervals redraw the counts (`intervals`).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation import counts, intervals, ranking, smoothing
from seqcls_beam.evaluation.cautions import cautions
from seqcls_beam.evaluation.counting.groups import LENGTHS, Group
from seqcls_beam.evaluation.counting.sampling import CELLS, PRIORS, stream
from seqcls_beam.evaluation.counting.tally import Tally
from seqcls_beam.evaluation.extras import wanted
from seqcls_beam.evaluation.headline import correlation
from seqcls_beam.evaluation.intervals import NOT_ASKED, UNMEASURED, Interval

Array = npt.NDArray[Any]

_AT_ONCE = 1 << 22  # numbers that are drawn at once
_NONE = Interval(None, UNMEASURED)


def measure(tally: Tally, positive: str | None = None, ordinal: bool = False) -> dict[str, Any]:
    """Everything that a tally of at least one row says.

    metrics      name → {"value", "ci", "why"}; `ci` is the 95 % interval [low, high], or None, and `why` says then why
    classes      a label each, in order: precision, recall, f1, support, predicted, and so on; `ci` and `why` are of f1
    confusion    {"gold", "predicted", "rows"} lists of the pairs that occur, class numbers (single_label)
    curves       of two classes, or of several labels together
    ranked       what AUC and average precision are computed from: "exact", every decision, or "histogram"; None
                 where there are neither
    calibration  `Calibration.measure`; None without scores
    tuned        the best thresholds of several labels
    baseline     what the most frequent class gets, said always
    slices, lengths, worst
    unsliced     columns that have too many values for `slices`
    warnings     what of all this rests on too few rows, a sentence each

    `positive` is, of two labels, the one that F1, AUC and average precision speak of (default: the last). With
    `ordinal` labels are steps of a scale. A metric that is undefined is left out.
    """
    if not tally.all.rows:
        raise ValueError("no row was scored")
    problem, labels = tally.asked.problem, tally.asked.labels
    made: dict[str, Any] = {"rows": tally.all.rows, "metrics": {}, "ranked": None}
    if problem == "regression":
        _regression(tally, made)
    elif problem == "multi_label":
        _several(tally, made)
    else:
        _classes(tally, made, labels.index(positive) if positive is not None else len(labels) - 1, ordinal)
    if tally.calibration is not None and tally.scored:
        made["calibration"] = tally.calibration.measure()
        made["metrics"] |= {name: _metric(made["calibration"][name]) for name in ("ece", "brier", "nll")}
    made["slices"] = {
        name: sorted(_groups(groups, problem), key=lambda group: (-group["rows"], group["value"]))
        for name, groups in tally.slices.items()
        if name not in tally.unsliced
    }
    made["unsliced"] = sorted(tally.unsliced)
    ends = ["1", *(str(each + 1) for each in LENGTHS)]
    names = [f"{low}-{high}" for low, high in zip(ends[:-1], LENGTHS, strict=True)] + [f"{ends[-1]}+"]
    made["lengths"] = _groups(
        {name: each for name, each in zip(names, tally.lengths, strict=True) if each.rows}, problem
    )
    made["worst"] = [_told(row, problem, labels, tally.asked.threshold) for row in tally.worst.rows()]
    if not tally.asked.bootstrap:
        _without_intervals([*made["metrics"].values(), *made.get("classes", ())])
    made["warnings"] = cautions(made)
    return made


def _metric(value: float, interval: Interval = _NONE) -> dict[str, Any]:
    """A metric, with its interval."""
    return {"value": float(value), "ci": interval.ci, "why": interval.why}


def _without_intervals(measured: list[dict[str, Any]]) -> None:
    """Take away also those that cost no replicates, where none were asked for."""
    for each in measured:
        each |= {name: None for name in each if name.endswith("ci")} | {"why": NOT_ASKED}


def _classes(tally: Tally, made: dict[str, Any], positive: int, ordinal: bool) -> None:
    sklearn = wanted("sklearn.metrics")
    size = len(tally.asked.labels)
    codes = np.array(sorted(tally.pairs), np.int64)
    rows = np.array([tally.pairs[each] for each in codes.tolist()], np.int64)
    gold, said = codes // size, codes % size
    right, answers, support = tally.all.counts
    occurring = answers + support > 0
    tables = _redrawn(gold, said, rows, size, tally.asked.bootstrap, tally.asked.seed, ordinal)
    drawn = counts.of_classes(*tables[:3], occurring & (tables[2] > 0))
    how: dict[str, Any] = {"sample_weight": rows}
    values = {"accuracy": sklearn.accuracy_score(gold, said, **how)}
    for average in ("macro", "weighted"):
        found = sklearn.precision_recall_fscore_support(gold, said, average=average, zero_division=0, **how)
        values |= {
            f"{average}_{name}": each for name, each in zip(("precision", "recall", "f1"), found[:3], strict=True)
        }
    # scikit-learn's own warns of answers that no gold label has.
    values["balanced_accuracy"] = float(counts.ratio(right, support)[support > 0].mean())
    if occurring.sum() > 1:
        values |= {
            "kappa": sklearn.cohen_kappa_score(gold, said, **how),
            "mcc": sklearn.matthews_corrcoef(gold, said, **how),
        }
    why = intervals.thin(tally.asked.labels, support)
    for name in (each for each in drawn if each in values):
        ends = (-1.0, 1.0) if name in ("kappa", "mcc") else (0.0, 1.0)
        none = Interval(None, why) if why and not name.startswith("weighted") else None
        made["metrics"][name] = _metric(values[name], none or intervals.bounded(values[name], drawn[name], ends))
    agreed = intervals.of_share(right.sum(), rows.sum())
    for name in ("accuracy", "weighted_recall"):  # which are the same
        made["metrics"][name] = _metric(right.sum() / rows.sum(), agreed)
    found = sklearn.precision_recall_fscore_support(
        gold, said, labels=np.arange(size), average=None, zero_division=0, **how
    )
    made["classes"] = _by_label(tally, found[:3])
    if size == 2:
        one = made["classes"][positive]
        made["metrics"]["positive_f1"] = _metric(one["f1"], Interval(one["ci"], one["why"]))
        made["positive"] = tally.asked.labels[positive]
        _ranked(tally, made, positive)
    if ordinal:
        _steps(tally, made, gold, said, rows, tables)
    made["confusion"] = {"gold": gold.tolist(), "predicted": said.tolist(), "rows": rows.tolist()}
    made["baseline"] = _majority(support, positive, size)


def _by_label(tally: Tally, values: Sequence[Array]) -> list[dict[str, Any]]:
    """What is said of each label: `values` are precision, recall, F1, [labels] each."""
    found = []
    told = zip(tally.asked.labels, *(each.tolist() for each in (*values, *tally.all.counts)), strict=True)
    for name, precision, recall, f1, right, said, gold in told:
        of_f1 = intervals.of_f1(right, said, gold)
        found.append(
            {
                "label": name,
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "ci": of_f1.ci,
                "why": of_f1.why,
                "precision_ci": intervals.of_share(right, said, intervals.LEAST).ci,
                "recall_ci": intervals.of_share(right, gold, intervals.LEAST).ci,
                "support": gold,
                "predicted": said,
            }
        )
    return found


def _ranked(tally: Tally, made: dict[str, Any], positive: int) -> None:
    if not tally.scored:
        return
    histogram = _histograms(tally, made)[1]
    histogram = histogram if positive == 1 else histogram[::-1, ::-1]
    absent, present = histogram.sum(axis=1).tolist()
    drawn = ranking.redrawn(histogram, tally.asked.bootstrap, tally.asked.seed)
    for name, value, each in (
        ("auc", ranking.auc(histogram), drawn[0]),
        ("average_precision", ranking.average_precision(histogram), drawn[1]),
    ):
        if value is not None:
            why = intervals.unranked(name, value, absent, present)
            made["metrics"][name] = _metric(value, Interval(None, why) if why else intervals.bounded(value, each))
    made["curves"] = ranking.curves(histogram)


def _histograms(tally: Tally, made: dict[str, Any]) -> tuple[list[Array], Array]:
    """What is ranked: for each label, and for all of them together."""
    made["ranked"] = "exact" if tally.decisions.exact else "histogram"
    return tally.decisions.histograms() if tally.decisions.exact else (list(tally.odds), tally.odds.sum(axis=0))


def _redrawn(
    gold: Array, said: Array, rows: Array, size: int, replicates: int, seed: int, ordinal: bool
) -> tuple[Array, Array, Array, Array]:
    """Right answers, answers, gold labels, and where `ordinal` rows by steps between those, [1 + replicates, labels]
    each: those of the smoothed rows, and then of as many rows drawn from these.

    Rows are drawn by cells of the confusion matrix. The cells that are drawn are summed up at once: there may be as
    many as rows.
    """
    from scipy.sparse import csr_matrix

    total = rows.sum()
    gold, said, rows = smoothing.cells(gold, said, rows, size)
    count = len(rows)
    right = np.flatnonzero(gold == said)
    everything = np.arange(count)
    tables = [(gold, right), (said, everything), (gold, everything)]
    tables += [(np.abs(gold - said), everything)] if ordinal else []
    sums = [csr_matrix((np.ones(len(chosen)), (chosen, columns[chosen])), (count, size)) for columns, chosen in tables]
    found = np.zeros((4, 1 + replicates, size))
    draws = stream(seed, (0, 0), CELLS)
    at_once = max(1, _AT_ONCE // count)
    for start in range(0, 1 + replicates, at_once):
        part = slice(start, min(start + at_once, 1 + replicates))
        drawn = draws.multinomial(total, rows / rows.sum(), part.stop - start).astype(np.float64)
        if not start:
            drawn[0] = rows
        for number, each in enumerate(sums):
            found[number, part] = drawn @ each
    return found[0], found[1], found[2], found[3]


def _steps(tally: Tally, made: dict[str, Any], gold: Array, said: Array, rows: Array, tables: Any) -> None:
    size = len(tally.asked.labels)
    steps = np.bincount(np.abs(gold - said), rows, size)[None]
    found = counts.of_steps(steps, tally.all.counts[1:2], tally.all.counts[2:3])
    drawn = counts.of_steps(tables[3], tables[1], tables[2])
    values = {name: float(each[0]) for name, each in found.items()}
    if len({*gold.tolist(), *said.tolist()}) > 1:
        values["quadratic_kappa"] = wanted("sklearn.metrics").cohen_kappa_score(
            gold, said, labels=np.arange(size), weights="quadratic", sample_weight=rows
        )
    else:
        del values["quadratic_kappa"]
    ends = {"mae_steps": (0.0, max(size - 1.0, 1.0)), "quadratic_kappa": (-1.0, 1.0)}
    for name in (each for each in ends if each in values):
        made["metrics"][name] = _metric(values[name], intervals.bounded(values[name], drawn[name], ends[name]))
    within = intervals.of_share(steps[0, :2].sum(), rows.sum())
    made["metrics"]["within_one"] = _metric(values["within_one"], within)


def _majority(support: Array, positive: int, size: int) -> dict[str, Any]:
    most = int(support.argmax())
    share = float(support[most] / support.sum())
    score = 2 * share / (1 + share)
    found = {"accuracy": share, "macro_f1": score / int((support > 0).sum())}
    return {**found, "positive_f1": score if most == positive else 0.0} if size == 2 else found


def _several(tally: Tally, made: dict[str, Any]) -> None:
    right, said, gold = tally.all.counts
    size = len(tally.asked.labels)
    values = counts.of_labels(right[None], said[None], gold[None])
    replicates = tally.replicated_counts.reshape(-1, 3, size)
    tables = smoothing.labels(replicates, tally.all.counts, stream(tally.asked.seed, (0, 0), PRIORS))
    drawn = counts.of_labels(tables[:, 0], tables[:, 1], tables[:, 2], tables[:, 2] > 0)
    why = intervals.thin(tally.asked.labels, gold)
    for name, value in values.items():
        none = Interval(None, why) if why and name.startswith("macro") else None
        made["metrics"][name] = _metric(value[0], none or intervals.bounded(value[0], drawn[name]))
    exact = intervals.of_share(tally.all.exact, tally.all.rows)
    made["metrics"]["subset_accuracy"] = _metric(tally.all.exact / tally.all.rows, exact)
    each_label = (counts.ratio(right, said), counts.ratio(right, gold), counts.f1(right, said, gold))
    made["classes"] = _by_label(tally, each_label)
    if not tally.scored:
        return
    histograms, together = _histograms(tally, made)
    precisions = [ranking.average_precision(each) for each in histograms]
    for each, precision in zip(made["classes"], precisions, strict=True):
        each["average_precision"] = precision
    known = [each for each in precisions if each is not None]
    if known:
        made["metrics"]["map"] = _metric(float(np.mean(known)))
        made["metrics"]["micro_average_precision"] = _metric(ranking.average_precision(together) or 0.0)
    made["curves"] = ranking.curves(together)
    made["tuned"] = ranking.tuned(tally.odds)


def _regression(tally: Tally, made: dict[str, Any]) -> None:
    assert tally.all.sums is not None and tally.sample is not None
    values = counts.of_moments(tally.all.sums.centred())
    drawn = counts.of_moments(tally.replicated_sums.centred())
    for name in (each for each in values if math.isfinite(values[each][0])):
        value = float(values[name][0])
        made["metrics"][name] = _metric(value, intervals.of_regression(name, value, drawn[name], tally.all.rows))
    from scipy.stats import rankdata

    pairs = tally.sample.values()
    ranks = rankdata(pairs, axis=0).T
    found = correlation(*ranks)
    if math.isfinite(found):
        made["metrics"]["spearman"] = _metric(found, intervals.of_ranks(found, *ranks))
    if len(pairs) < tally.sample.seen:
        made["spearman_rows"] = len(pairs)


def _groups(groups: dict[str, Group], problem: str) -> list[dict[str, Any]]:
    """The metrics of slices, or of buckets of lengths: two of each; `ci` is of the first, if it is a share of rows."""
    if not groups:
        return []
    if problem == "regression":
        found = counts.of_moments(
            np.concatenate([each.sums.centred() for each in groups.values() if each.sums is not None])
        )
        names = ("mse", "pearson")
    else:
        tables = np.stack([each.counts for each in groups.values()])
        several = problem == "multi_label"
        found = (counts.of_labels if several else counts.of_classes)(tables[:, 0], tables[:, 1], tables[:, 2])
        names = ("micro_f1", "macro_f1") if several else ("accuracy", "macro_f1")
    return [
        {
            "value": value,
            "rows": group.rows,
            "ci": intervals.of_share(group.exact, group.rows).ci if problem == "single_label" else None,
            **{name: float(found[name][number]) for name in names if math.isfinite(found[name][number])},
        }
        for number, (value, group) in enumerate(groups.items())
    ]


def _told(row: dict[str, Any], problem: str, labels: tuple[str, ...], threshold: float) -> dict[str, Any]:
    """A row among the worst, with names for numbers; `probability` is that of what was answered, or of the labels
    on which gold and answer differ.
    """
    told = {key: value for key, value in row.items() if key not in ("gold", "predicted", "scores")}
    gold, predicted, scores = row["gold"], row["predicted"], row["scores"]
    if problem == "regression":
        return {**told, "gold": gold, "predicted": predicted}
    if problem == "single_label":
        return {
            **told,
            "gold": labels[gold],
            "predicted": labels[predicted],
            "probability": scores[predicted],
            "gold_probability": scores[gold],
        }
    sets = [[name for name, there in zip(labels, each, strict=True) if there] for each in (gold, predicted)]
    missed = {
        name: score
        for name, score, there, said in zip(labels, scores, gold, predicted, strict=True)
        if bool(there) != bool(said)
    }
    return {**told, "gold": sets[0], "predicted": sets[1], "probability": missed}
