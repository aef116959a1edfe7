"""Sections of a labelling's page: what the manifest counts, as bars and histograms."""

import math
from typing import Any

from seqcls_beam.reports import charts
from seqcls_beam.reports.alerts.labels import UNSURE_BELOW
from seqcls_beam.reports.pages import Bar, Section, percent, rows_of, seconds_of

MOST = 30
"""Rows of a table; the manifest has all."""

_FEW = 8
_STAGES = ("read", "tokenize", "classify", "write")


def labels(manifest: dict[str, Any], moved: list[dict[str, Any]], reference: str) -> Section | None:
    """Rows by label, the most frequent first, with their shares in the run before."""
    counts, rows = manifest["label_counts"], manifest["rows"]["labeled"]
    known = (manifest.get("model") or {}).get("labels") or []
    if not counts:
        return None
    in_order = sorted({**dict.fromkeys(known, 0), **counts}.items(), key=lambda item: (-item[1], item[0]))
    before = {each["label"]: each["reference"] for each in moved}
    made = [
        Bar(
            name,
            count / max(rows, 1),
            (f"{count:,}", percent(count, rows), *([percent(before.get(name, 0.0), 1)] if before else [])),
        )
        for name, count in in_order[:MOST]
    ]
    heads = ("rows", "share", *(["before"] if before else []))
    several = (manifest.get("model") or {}).get("problem") == "multi_label"
    notes = ["A row may have several labels, or none."] * several
    notes += [f"Before: {reference}."] * bool(before)
    body = {"head": "label", "heads": heads, "rows": made, "more": max(len(in_order) - MOST, 0)}
    return Section("bars", "Labels", body, " ".join(notes), _wide(made, before))


def _wide(made: list[Bar], before: dict[str, float]) -> int:
    """Thirds of a row: many labels make a table that nothing beside it is as high as."""
    return 3 if len(made) > _FEW else 2 if before else 1


def scores(manifest: dict[str, Any]) -> Section | None:
    """The score of the most probable label of each row, or what a regression predicts."""
    found = manifest.get("score_histogram")
    if found and found.get("to") == 1.0 and sum(found["counts"]):
        counts = found["counts"]
        step = 1 / len(counts)
        cells = [(f"{place * step:.2f}–{(place + 1) * step:.2f}", count) for place, count in enumerate(counts)]
        ticks = [(place * len(counts) / 4, f"{place / 4:g}") for place in range(5)]
        single = (manifest.get("model") or {}).get("problem") == "single_label"
        mark = (UNSURE_BELOW * len(counts), f"unsure below {UNSURE_BELOW:g}") if single else None
        told = f"Rows by the probability of their most probable label; {_most(cells, sum(counts))}."
        return Section("chart", "Scores", {"charts": [charts.histogram(cells, ticks, told, "probability", mark)]})
    found = manifest.get("value_histogram")
    if found and sum(found["counts"]):
        chart = _of_edges(found, "Rows by what the model predicts", "predicted value", None, "{:.3g}")
        return Section("chart", "Predictions", {"charts": [chart]})
    return None


def lengths(manifest: dict[str, Any]) -> Section | None:
    """Rows by tokens, as far as they were read."""
    found = manifest.get("token_histogram")
    if not found or not sum(found["counts"]):
        return None
    limit, cut, rows = manifest.get("max_tokens"), manifest["truncated_rows"], manifest["rows"]["labeled"]
    windows = manifest.get("overflow") == "window"
    chart = _of_edges(found, "Rows by their length in tokens", "tokens", None if windows else limit, "{:,.0f}")
    mean = manifest.get("tokens", 0) / max(rows, 1)
    note = f"{mean:,.1f} tokens in the mean; {rows_of(cut, 'text')} cut ({percent(cut, rows)})."
    return Section("chart", "Lengths", {"charts": [chart]}, note)


def _of_edges(found: dict[str, Any], said: str, axis: str, limit: int | None, form: str) -> charts.Chart:
    """A histogram between edges; cells at both ends without rows are left out."""
    edges, counts = found["edges"], found["counts"]
    there = [place for place, count in enumerate(counts) if count]
    first, last = there[0], there[-1]
    at_limit = None
    if limit is not None:
        at_limit = next((place for place, edge in enumerate(edges) if edge > limit), len(edges))
        last = max(last, min(at_limit, len(counts) - 1))
    first, last = max(first - 1, 0), min(last + 1, len(counts) - 1)

    def name(place: int) -> str:
        if place == 0:
            return f"below {form.format(edges[0])}"
        if place == len(edges):
            return f"{form.format(edges[-1])} or more"
        return f"{form.format(edges[place - 1])}–{form.format(edges[place])}"

    cells = [(name(place), counts[place]) for place in range(first, last + 1)]
    every = math.ceil(len(cells) / 7)
    ticks = [
        (place - first, form.format(edges[place - 1]))
        for place in range(max(first, 1), last + 1)
        if (place - first) % every == 0
    ]
    mark = None
    if at_limit is not None and limit is not None:
        low, high = edges[at_limit - 1] if at_limit else 0, edges[at_limit] if at_limit < len(edges) else limit + 1
        mark = (at_limit - first + (limit - low) / max(high - low, 1), f"reads {limit:,}")
    told = f"{said}; {_most(cells, sum(counts))}."
    return charts.histogram(cells, ticks, told, axis, mark)


def _most(cells: list[tuple[str, int]], rows: int) -> str:
    name, count = max(cells, key=lambda cell: cell[1])
    return f"most lie in {name} ({percent(count, rows)})"


def times(manifest: dict[str, Any]) -> Section | None:
    """Where the time of the workers went."""
    seconds = manifest.get("seconds") or {}
    busy = {name: seconds[name] for name in _STAGES if seconds.get(name)}
    total = sum(busy.values())
    if not total:
        return None
    rows = manifest["rows"]["labeled"] + manifest["rows"]["rejected"]
    made = [Bar(name, spent / total, (seconds_of(spent), percent(spent, total))) for name, spent in busy.items()]
    note = f"{rows / total:,.0f} texts a second of a worker's time"
    note += f"; {seconds_of(seconds['wall'])} from begin to end." if "wall" in seconds else "."
    body = {"head": "stage", "heads": ("time", "share"), "rows": made, "more": 0}
    return Section("bars", "Where the time went", body, note)


def drift(run: dict[str, Any], reference: str) -> Section | None:
    """What `pipelines.compare` measures between this run and the one before."""
    rows = []
    for each in run["measures"]:
        if each["value"] is None:
            continue
        of = f" of {each['of']}" if each["of"] is not None else ""
        cells = [f"{each[key]:.4f}" if each[key] is not None else "–" for key in ("value", "bound", "limit")]
        verdict = {"few": "too few rows to say"}.get(each["verdict"], each["verdict"])
        rows.append([each["measure"].replace("_", " ").replace("psi", "PSI") + of, verdict, *cells])
    if not rows:
        return None
    heads = [
        {"name": name, "text": name == "verdict"} for name in ("measure", "verdict", "value", "by chance", "limit")
    ]
    note = f"Beside {reference}. Beyond is what exceeds both the limit and what chance gives."
    return Section("table", "What moved", {"heads": heads, "rows": rows, "more": 0}, note, width=3)
