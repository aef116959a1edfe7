"""The manifests of a stream's windows → one of their day."""

from collections import Counter
from typing import Any

from seqcls_beam.reports.making import models
from seqcls_beam.runs import histograms
from seqcls_beam.runs.table import Published

_SUMMED = ("in", "labeled", "rejected", "lost")


def merged(runs: list[Published]) -> dict[str, Any]:
    """What windows say together, at least one; what each says alone, such as its inputs, is left out."""
    manifests = [run.manifest for run in runs]
    rows = [each["rows"] for each in manifests]
    known = {key: value for each in manifests for key, value in each.get("models", {}).items()}
    makers = models({"models": known})
    sums: dict[str, Any] = {key: sum(each.get(key, 0) for each in rows) for key in _SUMMED}
    for key in ("rejected_by_reason", "lost_by_reason"):
        sums[key] = dict(sum((Counter(each.get(key, {})) for each in rows), Counter()).most_common())
    return {
        "kind": "classify",
        "finished": max(each["finished"] for each in manifests),
        "rows": {**sums, "lost_weight": "counted"},
        "models": known,
        **({"model": makers[0]} if len(makers) == 1 else {}),
        "tokens": sum(each.get("tokens", 0) for each in manifests),
        "truncated_rows": sum(each["truncated_rows"] for each in manifests),
        "label_counts": dict(sum((Counter(each["label_counts"]) for each in manifests), Counter())),
        **histograms.told([histograms.counts_in(each) for each in manifests], sums["labeled"]),
        "parts": [part for each in manifests for part in each["parts"]],
        "rejects": [part for each in manifests for part in each["rejects"]],
    }
