"""What a person sees of the input's account: rows read and lost, and the files behind what is missing."""

from collections.abc import Iterator
from typing import Any

from seqcls_beam.runs.accounting import PREFIX, named, unbounded, unreadable, without_rows


def rows(counts: dict[str, Any], **what: int) -> str:
    """`rows` of a manifest and what became of them → a line; lost rows are in it where there are any."""
    told = ", ".join(f"{count:,} {name}" for name, count in {"in": counts["in"], **what}.items())
    lost = counts.get("lost", 0)
    about = PREFIX[counts.get("lost_weight", "counted")]
    return f"{told}, {counts['rejected']:,} rejected" + (f", {about}{lost:,} lost" if lost else "")


def losses(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, sentence) for what was lost and for files without a row; nothing where there are none."""
    files = manifest["inputs"]
    reasons = manifest["rows"].get("lost_by_reason") or {}
    if reasons:
        damaged = [file for file in files if file.get("rows_lost")]
        yield "lost", ", ".join(f"{name} {count:,}" for name, count in reasons.items()) + f": {named(damaged)}"
    if gone := unreadable(files):
        yield "unreadable", named(gone)
    if cut := unbounded(files):
        yield "cut", f"nobody knows how many rows are missing: {named(cut)}"
    if empty := without_rows(files):
        whys = [loss["detail"] for file in empty for loss in file.get("losses", ())]
        yield "no rows in", named(empty) + (f" ({whys[0]})" if whys else "")
