"""Sections of a labelling's page that show rows: the least and most sure of each label, and rejects."""

from typing import Any

import numpy as np

from seqcls_beam.reports import charts
from seqcls_beam.reports.pages import Bar, Section, base_name, percent, rows_of
from seqcls_beam.reports.sample import CELLS, Sample
from seqcls_beam.schema import LOSSES, PUBSUB, REASONS

_LEFT_OUT = " Texts are left out, as --report_texts=0 asks."
_MOST_REASONS = 20
_MOST_TEXTS = 8  # labels whose texts are shown


def by_label(found: Sample, rows: int) -> Section | None:
    """The scores of each label, from the rows that were looked at."""
    if len(found.labels) < 2:
        return None
    made: list[list[Any]] = []
    for name, each in found.labels.items():
        told = f"Scores of {name} between 0 and 1"
        unsure = int(each.cells[: CELLS * 3 // 5].sum())
        chart = charts.spark(each.cells.tolist(), told)
        made.append([name, f"{each.rows:,}", _median(each.cells.tolist()), percent(unsure, each.rows), chart])
    heads = [{"name": name, "text": False} for name in ("label", "rows", "median", "below 0.6", "0 to 1")]
    return Section("table", "Scores per label", {"heads": heads, "rows": made, "more": 0}, looked_at(found, rows), 2)


def _median(cells: list[int]) -> str:
    """The cell in which the middle row lies, by its lower edge."""
    half, seen = sum(cells) / 2, 0
    for place, count in enumerate(cells):
        seen += count
        if seen >= half:
            return f"{place / len(cells):.2f}–{(place + 1) / len(cells):.2f}"
    return "–"


def looked_at(found: Sample, rows: int) -> str:
    """What a part of a page rests on."""
    if found.rows >= rows:
        return f"All {rows_of(rows)} were looked at."
    return f"{found.rows:,} of {rows_of(rows)} were looked at, spread over the run."


def texts(found: Sample, rows: int, column: str, allowed: bool) -> Section | None:
    """The least and the most sure texts of each label; of a table that has no texts, in `column`, the rows' ids."""
    groups = []
    for name, each in list(found.labels.items())[:_MOST_TEXTS]:
        parts = [("least sure", each.least), ("most sure", each.most)]
        shown = [{"name": said, "rows": [_text(row) for row in kept]} for said, kept in parts if kept]
        if shown:
            groups.append({"name": name, "parts": shown})
    if not groups:
        return None
    note = looked_at(found, rows)
    if not allowed:
        note += _LEFT_OUT
    elif not any(row["text"] for each in found.labels.values() for row in each.most):
        note += f" These are their ids: --keep_columns={column} keeps their texts in the table, and shows them here."
    return Section("texts", "Least and most sure texts", {"groups": groups}, note, width=3)


def _text(row: dict[str, Any]) -> dict[str, Any]:
    return {"score": f"{row['score']:.3f}", "text": row["text"], "place": row["id"] or ""}


def rejects(manifest: dict[str, Any], found: Sample, allowed: bool) -> Section | None:
    """Rejected and lost rows by reason, what the reasons mean, and some of the rows."""
    rows = manifest["rows"]
    reasons = {**rows.get("rejected_by_reason", {}), **rows.get("lost_by_reason", {})}
    if not reasons:
        return None
    total = sum(reasons.values())
    made = [
        Bar(
            reason,
            count / total,
            (f"{count:,}",),
            REASONS.get(reason, ""),
            "warm" if reason in LOSSES else "",
        )
        for reason, count in list(reasons.items())[:_MOST_REASONS]
    ]
    body = {
        "head": "reason",
        "heads": ("rows",),
        "rows": made,
        "more": max(len(reasons) - _MOST_REASONS, 0),
        "samples": _samples(found),
    }
    return Section("rejects", "Rejected rows", body, "" if allowed else _LEFT_OUT.strip(), 3 if body["samples"] else 1)


def samples(found: Sample) -> Section | None:
    """Some rows that were left out, as they were read."""
    if not found.rejects:
        return None
    return Section("samples", "Rows that were left out", {"samples": _samples(found)}, width=3)


def _samples(found: Sample) -> list[dict[str, Any]]:
    """Rejected rows, with the places where they came from; files of one folder go by their names."""
    made = []
    for each in found.rejects:
        source = each["source"] or ""
        folder = source.removesuffix(base_name(source))
        detail = (each["detail"] or "").replace(folder, "") if "/" in folder else each["detail"] or ""
        at = each["position"] or 0
        place = f"{base_name(source)} at {_moment(at) if source == PUBSUB else f'{at:,}'}"
        made.append({**each, "detail": detail, "place": place})
    return made


def _moment(microseconds: int) -> str:
    """When a message happened, as people write it."""
    return str(np.datetime64(microseconds, "us").astype("datetime64[s]")).replace("T", " ") + " UTC"
