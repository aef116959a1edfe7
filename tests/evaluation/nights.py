"""Manifests of labellings made by hand, for tests of what compares them."""

from pathlib import Path
from typing import Any

from seqcls_beam.evaluation.sample import Sample, sample
from seqcls_beam.runs.meant import labelling
from tests.runs.attempts import write_version

EDGES = [2, 4, 8, 16]


def night(
    counts: dict[str, int], rows: int | None = None, problem: str = "single_label", **more: Any
) -> dict[str, Any]:
    """A manifest of `rows` labelled rows (by default those that are counted), none rejected, lost or cut."""
    labeled = sum(counts.values()) if rows is None else rows
    model = {"name": "m", "revision": None, "digest": "d" * 64, "problem": problem, "labels": list(counts)}
    return {
        "rows": {"in": labeled, "labeled": labeled, "rejected": 0, "rejected_by_reason": {}, "lost": 0},
        "truncated_rows": 0,
        "label_counts": counts,
        "score_histogram": {"from": 0.0, "to": 1.0, "counts": [0, labeled]},
        "token_histogram": {"edges": EDGES, "counts": [0, 0, labeled, 0, 0]},
        "model": model,
        "threshold": None,
        "engines": [{"engine": "packed", "dtype": "float32", "device": "cpu"}],
        "seconds": {},
        "inputs": [],
        **more,
    }


def read(folder: Path, **manifests: dict[str, Any]) -> list[Sample]:
    """What is read of some manifests, each called by its name."""
    for name, manifest in manifests.items():
        write_version(folder / name, manifest)
    return [sample(name, labelling(str(folder / name))) for name in manifests]
