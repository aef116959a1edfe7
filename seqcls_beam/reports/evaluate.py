"""evaluation.json → what its page says."""

from collections.abc import Iterator
from typing import Any

from seqcls_beam.evaluation.formatting import METRICS, cell, interval, measured, number
from seqcls_beam.reports import figures
from seqcls_beam.reports.alerts import rows, scores
from seqcls_beam.reports.making import made
from seqcls_beam.reports.pages import Bar, Figure, Page, Section, base_name, percent, sections, sorted_alerts
from seqcls_beam.reports.rendering import html

MOST = 200
"""Rows of a table of classes or slices; evaluation.json has all."""

_HEADLINE = 4
_LONGER = "What stands behind the cut did not count: measure with --overflow=window, as it would be labelled."


def document(found: dict[str, Any]) -> str:
    """evaluation.json → the whole page."""
    return html(page(found))


def page(found: dict[str, Any]) -> Page:
    """What the page of an evaluation says."""
    count = {"rejected_by_reason": {}, "lost": 0, **found["rows"]}
    counted = {"rows": count, "inputs": found["data"].get("inputs", [])}
    alerts = [
        *scores.gates(found),
        scores.no_better(found),
        rows.lost(counted),
        rows.rejected(counted),
        rows.truncated(found["truncated_rows"], count["scored"], None, _LONGER),
        scores.weak_classes(found),
        scores.weak_slices(found),
        scores.uncalibrated(found),
        scores.unlabelled(found),
        *scores.cautions(found),
    ]
    confusion = figures.confusion(found)
    wide = 2 if len(found["labels"]) > 6 else 1
    drawn = [
        Section("chart", "Confusion", {"charts": [confusion]}, width=wide) if confusion is not None else None,
        _charts("Reliability", figures.reliability(found)),
        _charts("Over thresholds", figures.curves(found)),
    ]
    return Page(
        "Evaluation",
        _title(found),
        _subtitle(found),
        tuple(_headline(found)),
        sorted_alerts(alerts),
        sections(
            [
                _metrics(found),
                *drawn,
                _classes(found),
                *(_slices(f"By {name}", groups) for name, groups in found["slices"].items()),
                _slices("By length in tokens", found["lengths"]),
                _calibration(found),
                _tuned(found),
                _gates(found),
                _worst(found),
            ]
        ),
        made(found, f"evaluation.json of format {found.get('format_version', 1)}"),
    )


def _charts(title: str, charts: list[Any]) -> Section | None:
    return Section("chart", title, {"charts": charts}) if charts else None


def _title(found: dict[str, Any]) -> str:
    model = base_name(found["model"]["name"]) if found["model"] else "given answers"
    data = found["data"]
    if data["kind"] == "prepared":
        return f"{model} on the {data['split']} split of {base_name(data['folder'])}"
    paths = [base_name(each["path"]) for each in data["inputs"]]
    return f"{model} on {', '.join(paths[:3])}" + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _subtitle(found: dict[str, Any]) -> str:
    count = found["rows"]
    told = [f"{count['scored']:,} of {count['in']:,} rows were scored"]
    if "gold" in found:
        told.append(f"gold labels in {found['gold']['column']!r}, read as {found['gold']['read_as']}")
    if count["unknown_labels"]:
        told.append("unknown labels " + ", ".join(map(repr, count["unknown_labels"][:5])))
    told += [f"{name} has too many values to slice by" for name in found.get("unsliced", ())]
    return f"{'; '.join(told)}, {found['finished'].replace('T', ' ').replace('Z', ' UTC')}."


def _named(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(key, name, metric) of the headline that are there."""
    for key, said in METRICS.items():
        metric = found["metrics"].get(key)
        if metric is not None:
            yield key, said.format(positive=found.get("positive", "")), metric


def _headline(found: dict[str, Any]) -> Iterator[Figure]:
    baseline = found.get("baseline") or {}
    for key, name, metric in list(_named(found))[:_HEADLINE]:
        notes = [f"95 %: {interval(metric['ci'])}"] * bool(metric["ci"])
        if key in baseline:
            notes.append(f"most frequent label: {number(baseline[key])}")
        yield Figure(name, number(metric["value"]), "; ".join(notes))
    yield Figure("rows scored", f"{found['rows']['scored']:,}", f"of {found['rows']['in']:,}")


def _heads(first: str, *names: str) -> list[dict[str, Any]]:
    return [{"name": name, "text": False} for name in (first, *names)]


def _metrics(found: dict[str, Any]) -> Section:
    baseline = found.get("baseline") or {}
    body = []
    for key, name, metric in _named(found):
        usual = [number(baseline[key]) if key in baseline else ""] if baseline else []
        body.append([name, number(metric["value"]), interval(metric["ci"]), *usual])
    heads = _heads("metric", "value", "95 % interval", *(["most frequent"] * bool(baseline)))
    return Section("table", "Metrics", {"heads": heads, "rows": body, "more": 0}, width=2 if baseline else 1)


def _classes(found: dict[str, Any]) -> Section | None:
    classes = found.get("classes")
    if not classes:
        return None
    ranked = any("average_precision" in each for each in classes)
    bars = []
    for each in classes[:MOST]:
        cells = [number(each[name]) for name in ("f1", "precision", "recall")]
        cells.insert(1, interval(each["ci"]))
        if ranked:
            precision = each.get("average_precision")
            cells.append("" if precision is None else number(precision))
        cells += [f"{each['support']:,}", f"{each['predicted']:,}"]
        bars.append(Bar(each["label"], each["f1"], tuple(cells), interval=each["ci"]))
    heads = ("F1", "95 % interval", "precision", "recall", *(["average precision"] * ranked), "gold", "answers")
    body = {"head": "label", "heads": heads, "rows": bars, "more": max(len(classes) - MOST, 0)}
    return Section("bars", "Labels", body, "F1 of each label, with its interval.", width=3)


def _slices(title: str, groups: list[dict[str, Any]]) -> Section | None:
    names = measured(groups)
    if not groups or not names:
        return None
    bars = []
    unit = all(0 <= group.get(names[0], 0.0) <= 1 for group in groups)
    most = 1.0 if unit else max(abs(group.get(names[0], 0.0)) for group in groups) or 1.0
    for group in groups[:MOST]:
        cells = [number(group[name]) if name in group else "" for name in names]
        cells[1:1] = [interval(group.get("ci")), f"{group['rows']:,}"]
        share = max(group.get(names[0], 0.0), 0.0) / most
        bars.append(Bar(str(group["value"]), share, tuple(cells), interval=group.get("ci") if unit else None))
    named = [METRICS.get(name, name) for name in names]
    heads = (named[0], "95 % interval", "rows", *named[1:])
    body = {"head": "value", "heads": heads, "rows": bars, "more": max(len(groups) - MOST, 0)}
    return Section("bars", title, body, width=3 if len(names) > 2 else 2)


def _calibration(found: dict[str, Any]) -> Section | None:
    told = found.get("calibration")
    if told is None:
        return None
    best = told["temperature"]
    lines = {
        "expected calibration error": "ece",
        "by chance": "ece_by_chance",
        "Brier score": "brier",
        "log loss": "nll",
    }
    body = [
        [said, number(told[key]), *([number(best[key]) if key in best else ""] if best else [])]
        for said, key in lines.items()
        if key in told
    ]
    heads = _heads("measure", "as it is", *([f"at temperature {best['value']:.2f}"] if best else []))
    note = "The temperature was found on these very rows." if best else ""
    return Section("table", "Calibration", {"heads": heads, "rows": body, "more": 0}, note)


def _tuned(found: dict[str, Any]) -> Section | None:
    if not found.get("tuned"):
        return None
    body = [[METRICS[name], number(each["threshold"]), number(each["value"])] for name, each in found["tuned"].items()]
    heads = _heads("metric", "threshold", "value")
    return Section("table", "Best thresholds", {"heads": heads, "rows": body, "more": 0}, "Found on these very rows.")


def _gates(found: dict[str, Any]) -> Section | None:
    if not found["gates"]:
        return None
    body = []
    for gate in found["gates"]:
        value = "undefined" if gate["value"] is None else number(gate["value"])
        limit = f"{'at least' if gate['gate'].startswith('min') else 'at most'} {gate['limit']:g}"
        body.append([gate["metric"], value, limit, "passed" if gate["passed"] else "not passed"])
    return Section("table", "Gates", {"heads": _heads("metric", "is", "wanted", "gate"), "rows": body, "more": 0})


def _worst(found: dict[str, Any]) -> Section | None:
    if not found["worst"]:
        return None
    shown = []
    for row in found["worst"]:
        place = row.get("id")
        if place is None:
            place = f"{base_name(str(row.get('source', '')))} at {row.get('position', '')}"
        answer = cell(row["predicted"])
        if "gold_probability" in row:
            answer += f", {percent(row['probability'], 1)} sure"
        text = " | ".join(str(row[name]) for name in ("text", "text_pair") if row.get(name) is not None)
        shown.append(
            {
                "place": cell(place),
                "gold": cell(row["gold"]),
                "answer": answer,
                "loss": number(row["loss"]),
                "text": text,
            }
        )
    return Section("errors", "Worst errors", {"rows": shown}, "The rows with the largest loss.", width=3)
