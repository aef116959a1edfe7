"""Versions as manifests tell of them, and the numbers in them by the names that platforms know."""

from typing import Any

from seqcls_beam.announcing.figures import figures
from seqcls_beam.announcing.published import Announced

COMMON = ("output", "kind", "partition_key")

NIGHT: dict[str, Any] = {
    "format_version": 2,
    "kind": "classify",
    "run_id": "0123456789abcdef0123456789abcdef",
    "started": "2026-02-01T01:00:00Z",
    "finished": "2026-02-01T01:02:03Z",
    "versions": {"seqcls_beam": "0.1.0", "torch": "2.13.0"},
    "model": {"name": "sentiment", "digest": "ab" * 32},
    "skipped": 3,
    "rows": {
        "in": 100,
        "labeled": 90,
        "rejected": 7,
        "rejected_by_reason": {"invalid_json": 4, "empty_text": 3},
        "lost": 3,
        "lost_weight": "estimated",
        "lost_by_reason": {"truncated_file": 3},
    },
    "tokens": 4321,
    "truncated_rows": 2,
    "label_counts": {"negative": 50, "positive": 40},
    "seconds": {"read": 0.25, "classify": 12.5, "wall": 123.0},
    "inputs": [{"path": "a", "size": 1000, "rows": 60}, {"path": "b", "size": 24, "rows": 37}],
    "parts": [{"path": "p", "rows": 90, "bytes": 5000, "sha256": "0"}],
    "rejects": [{"path": "r", "rows": 7, "bytes": 300, "sha256": "0"}],
}
"""A labelling of a night."""


def version(
    manifest: dict[str, Any] | None = None,
    output: str = "/data/out",
    partition: str = "run_date=2026-01-31",
    number: int = 1,
    **more: Any,
) -> Announced:
    """A version; of `NIGHT` where nothing else is said."""
    made = {**(NIGHT if manifest is None else manifest), **more}
    return Announced(output=output, partition=partition, version=number, manifest=made)


def values(announced: Announced) -> dict[str, float]:
    """Name, and in braces the labels but for those that all have → value."""
    found: dict[str, float] = {}
    for each in figures(announced):
        own = [f"{name}={value}" for name, value in each.labels if name not in COMMON]
        if each.name == "seqcls_beam_run_info":
            own = []
        key = each.name.removeprefix("seqcls_beam_") + (f"{{{','.join(own)}}}" if own else "")
        assert key not in found
        found[key] = each.value
    return found
