"""Two labellings, one of them the reference → how far they lie apart, and whether that is within limits."""

from typing import Any

import numpy as np

from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.evaluation import drift
from seqcls_beam.evaluation.drift import Counts, Difference
from seqcls_beam.evaluation.sample import Histogram, Sample

FORMAT_VERSION = 1

_MOST = {"label_shift": 1.0}
"""The largest value of a measure, where it is not infinite."""

_LIMITS = {
    "label_shift": "max_label_shift",
    "label_psi": "max_label_psi",
    "score_psi": "max_score_psi",
    "token_psi": "max_token_psi",
    "reject_rise": "max_reject_rise",
    "truncation_rise": "max_truncation_rise",
}
"""Measure → the option that limits it."""

_NAMED = 12  # labels that a sentence names

FAILED = ("beyond", "refused")
"""The verdicts with which a comparison does not pass."""


def compared(reference: Sample, others: list[Sample], limits: DriftOptions) -> dict[str, Any]:
    """Each of some labellings beside the reference: {format_version, kind, reference, runs, passed}.

    Of a run there are `measures`, each with `value`, `expected` and `bound` by chance as in `drift.Difference`,
    `limit`, `verdict` and, where that is not clear from the numbers, `why`; `labels`, shares by label, most moved
    first; and `rates`. Verdicts are those of `drift.verdict`, "missing" where a manifest does not tell, which passes,
    and "refused" where two runs cannot be compared, which does not.
    """
    runs = [_run(reference, each, limits) for each in others]
    return {
        "format_version": FORMAT_VERSION,
        "kind": "compare",
        "reference": _told(reference),
        "runs": runs,
        "passed": not any(each["verdict"] in FAILED for run in runs for each in run["measures"]),
    }


def failures(run: dict[str, Any]) -> list[str]:
    """Why a run of a comparison did not pass, a sentence each; none where it did."""
    whys: dict[str, list[str]] = {}
    for each in run["measures"]:
        if each["verdict"] in FAILED:
            options = whys.setdefault(each["why"] or _beyond(each), [])
            options.append(f"--{_LIMITS[each['measure']]}={each['limit']:g}")
    return [f"{' and '.join(options)}: {run['name']}: {why}" for why, options in whys.items()]


def _beyond(measure: dict[str, Any]) -> str:
    of = f" of {measure['of']}" if measure["of"] is not None else ""
    value, bound = measure["value"], measure["bound"]
    return f"{measure['measure']}{of} is {value:.4f}, and by chance it would be {bound:.4f} at the most"


def _run(reference: Sample, other: Sample, limits: DriftOptions) -> dict[str, Any]:
    pair = (reference, other)
    measures = [
        *_label_measures(reference, other),
        _of_histograms("score_psi", reference, other, ("score_histogram", "value_histogram")),
        _of_histograms("token_psi", reference, other, ("token_histogram",)),
        _measure("reject_rise", drift.rise(*(each for sample in pair for each in (_bad(sample), sample.rows["in"])))),
        _measure(
            "truncation_rise",
            drift.rise(*(each for sample in pair for each in (sample.truncated, sample.rows["labeled"]))),
        ),
    ]
    return {**_told(other), "measures": [_judged(each, limits) for each in measures], "labels": _shares(*pair)}


def _told(sample: Sample) -> dict[str, Any]:
    return {
        "name": sample.name,
        "partition": sample.partition,
        "version": sample.version,
        "run_id": sample.run_id,
        "models": sample.models,
        "engines": sample.engines,
        "problem": sample.problem,
        "rows": sample.rows,
        "rates": {
            "rejected": _share(sample.rows["rejected"], sample.rows["in"]),
            "lost": _share(sample.rows["lost"], sample.rows["in"]),
            "truncated": _share(sample.truncated, sample.rows["labeled"]),
        },
    }


def _bad(sample: Sample) -> int:
    return sample.rows["rejected"] + sample.rows["lost"]


def _share(count: int, rows: int) -> float | None:
    return count / rows if rows else None


def _measure(name: str, found: Difference | None, of: str | None = None) -> dict[str, Any]:
    return {"measure": name, "of": of, "found": found}


def _unmeasured(name: str, verdict: str, why: str) -> dict[str, Any]:
    return {"measure": name, "of": None, "found": None, "verdict": verdict, "why": why}


def _judged(measure: dict[str, Any], limits: DriftOptions) -> dict[str, Any]:
    """A measure with its numbers, its limit and its verdict."""
    name, found = measure["measure"], measure["found"]
    limit = getattr(limits, _LIMITS[name])
    said = measure.get("verdict") or drift.verdict(found, limit)
    if said == "refused" and limit >= _MOST.get(name, np.inf):
        said = "missing"  # whatever it were, it would be within
    return {
        "measure": name,
        "of": measure["of"],
        "value": found and found.value,
        "expected": found and found.expected,
        "bound": found and found.bound,
        "limit": limit if np.isfinite(limit) else None,
        "verdict": said,
        "why": measure.get("why"),
    }


def _label_measures(reference: Sample, other: Sample) -> list[dict[str, Any]]:
    """How labels moved; nothing of two regressions, which have none."""
    names = ("label_shift", "label_psi")
    if reference.problem == other.problem == "regression":
        return []
    if why := _incomparable(reference, other):
        return [_unmeasured(each, "refused", why) for each in names]
    labels, first, second = _side_by_side(reference, other)
    rows = (reference.rows["labeled"], other.rows["labeled"])
    shift = drift.shift(first, rows[0], second, rows[1])
    if _several(reference) or _several(other):
        psi = drift.largest_psi(first, rows[0], second, rows[1])
        return [_measure(names[0], shift, _at(labels, shift)), _measure(names[1], psi, _at(labels, psi))]
    return [_measure(names[0], shift, _at(labels, shift)), _measure(names[1], drift.psi(first, second))]


def _at(labels: list[str], found: Difference | None) -> str | None:
    return labels[found.place] if found else None


def _incomparable(reference: Sample, other: Sample) -> str | None:
    """Why the labels of two runs are not the same thing; None if they are, as far as their manifests say."""
    problems = (reference.problem, other.problem)
    if None not in problems and problems[0] != problems[1]:
        return f"the reference is {problems[0]}, and this run is {problems[1]}"
    if reference.labels is None or other.labels is None or reference.labels == other.labels:
        return None
    return (
        f"the labels of the reference are {_named(reference.labels, other.labels)}, and those of this run "
        f"{_named(other.labels, reference.labels)}"
    )


def _named(labels: frozenset[str], others: frozenset[str]) -> str:
    """Some labels, first those that the others do not have."""
    names = [*sorted(labels - others), *sorted(labels & others)]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _several(sample: Sample) -> bool:
    """Whether a row may have several labels, or none."""
    if sample.problem is not None:
        return sample.problem == "multi_label"
    return sum(sample.counts.values()) != sample.rows["labeled"]


def _side_by_side(reference: Sample, other: Sample) -> tuple[list[str], Counts, Counts]:
    """(labels, rows of the reference with each, rows of the other)."""
    labels = list(dict.fromkeys([*reference.counts, *other.counts]))
    first, second = (
        np.array([sample.counts.get(each, 0) for each in labels], np.int64) for sample in (reference, other)
    )
    return labels, first, second


def _shares(reference: Sample, other: Sample) -> list[dict[str, Any]]:
    """The share of each label in both, most moved first; nothing where there is nothing to compare."""
    rows = (reference.rows["labeled"], other.rows["labeled"])
    if not all(rows) or reference.problem == other.problem == "regression" or _incomparable(reference, other):
        return []
    labels, firsts, seconds = _side_by_side(reference, other)
    found = [
        {"label": label, "reference": _share(first, rows[0]), "run": _share(second, rows[1])}
        for label, first, second in zip(labels, firsts.tolist(), seconds.tolist(), strict=True)
    ]
    return sorted(found, key=_moved, reverse=True)


def _moved(each: dict[str, Any]) -> float:
    return float(abs(each["run"] - each["reference"]))


def _of_histograms(name: str, reference: Sample, other: Sample, keys: tuple[str, ...]) -> dict[str, Any]:
    found = [_first(sample, keys) for sample in (reference, other)]
    gone = [sample.name for sample, each in zip((reference, other), found, strict=True) if each is None]
    if gone:
        return _unmeasured(name, "missing", f"{' and '.join(dict.fromkeys(gone))} did not count them")
    first, second = (each for each in found if each)
    if name == "score_psi" and None not in (problems := {reference.problem, other.problem}) and len(problems) > 1:
        return _unmeasured(name, "refused", f"{reference.problem} scores and {other.problem} scores are two things")
    if first.cells != second.cells:
        return _unmeasured(name, "missing", "the two runs counted them in other cells")
    return _measure(name, drift.psi(np.array(first.counts), np.array(second.counts)))


def _first(sample: Sample, keys: tuple[str, ...]) -> Histogram | None:
    return next((sample.histograms[key] for key in keys if key in sample.histograms), None)
