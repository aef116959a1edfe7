"""Alerts of rows, whatever a command does with them: what was lost, rejected, cut, and files without a row."""

from typing import Any

from seqcls_beam.reports.pages import Alert, brief, percent, rows_of
from seqcls_beam.runs.accounting import PREFIX, cure, named, without_rows

REJECTED = (0.01, 0.05)
"""Shares of rejected rows to look at, and to act on: 5 % is what `--max_rejected` allows by default."""

TRUNCATED = (0.01, 0.1)
"""Shares of cut texts to look at, and to act on."""


def lost(manifest: dict[str, Any]) -> Alert | None:
    """Rows that nobody could read: none is too few to act on."""
    rows = manifest["rows"]
    if not rows.get("lost"):
        return None
    damaged = [file for file in manifest.get("inputs", []) if file.get("rows_lost")]
    reasons, about = ", ".join(rows.get("lost_by_reason", {})), PREFIX[rows["lost_weight"]].capitalize()
    return Alert(
        "lost",
        "act",
        f"{about}{rows_of(rows['lost'])} of {rows['in']:,} could not be read ({reasons})"
        + (f", in {named(damaged)}." if damaged else "."),
        "Fetch these files again and run once more: what is read then replaces what is published here.",
    )


def rejected(manifest: dict[str, Any]) -> Alert | None:
    """Rows that were read and are no good."""
    rows = manifest["rows"]
    count, there = rows["rejected"], rows["in"]
    if not count:
        return None
    share = count / there
    reasons = list(rows["rejected_by_reason"].items())
    told = ", ".join(f"{brief(reason)} {each:,}" for reason, each in reasons[:4])
    told += f" and {rows_of(len(reasons) - 4, 'other reason')}" if len(reasons) > 4 else ""
    # What mends it are options of files, which messages have not.
    hint = "" if "models" in manifest else cure(dict(reasons[:1])).removeprefix(". ")
    hint += "." * bool(hint)
    return Alert(
        "rejected",
        "act" if share >= REJECTED[1] else "look" if share >= REJECTED[0] else "know",
        f"{rows_of(count)} of {there:,} {'was' if count == 1 else 'were'} rejected ({percent(count, there)}): {told}.",
        hint or "They lie in _rejects/ with the reason and the bytes as they were read; samples are below.",
    )


def truncated(count: int | None, rows: int, longest: int | None, do: str, where: str = "texts") -> Alert | None:
    """Texts that are longer than what is read of them: what stands behind the cut did not count."""
    if not count or not rows or count / rows < TRUNCATED[0]:
        return None
    reads = f"the {longest:,} tokens that are read" if longest else "the model reads"
    return Alert(
        "truncated",
        "act" if count / rows >= TRUNCATED[1] else "look",
        f"{count:,} of {rows:,} {where} ({percent(count, rows)}) are longer than {reads}, and were cut there.",
        do,
    )


def files_without_rows(manifest: dict[str, Any]) -> Alert | None:
    """Files that have bytes, and no row."""
    empty = without_rows(manifest.get("inputs", []))
    if not empty:
        return None
    return Alert(
        "no_rows",
        "look",
        f"{rows_of(len(empty), 'file')} with bytes {'has' if len(empty) == 1 else 'have'} no row: {named(empty)}.",
        "A table with a header alone looks so, and so does an export that broke off: look what wrote them.",
    )
