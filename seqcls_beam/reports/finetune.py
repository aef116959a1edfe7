"""The manifest of a fine-tuning and its metrics.json → what its page says."""

from collections.abc import Iterator
from typing import Any

from seqcls_beam.evaluation.formatting import METRICS, number
from seqcls_beam.reports.alerts import training
from seqcls_beam.reports.figures import lines
from seqcls_beam.reports.making import made
from seqcls_beam.reports.pages import Bar, Figure, Page, Section, base_name, seconds_of, sections, sorted_alerts, upper

MOST = 40
"""Labels of a table."""


def page(manifest: dict[str, Any], history: list[dict[str, Any]], title: str, version: str) -> Page:
    """What the page of a fine-tuning says; `history` is what was logged at its steps."""
    alerts = [
        training.no_better(manifest),
        training.ended_early(manifest),
        training.few_rows(manifest),
        training.overfitted(manifest, history),
        training.still_learning(manifest, history),
    ]
    told, curves = {**manifest, "model": manifest["base"]}, list(_curves(manifest, history))
    data = manifest["data"]
    return Page(
        "Fine-tuning",
        title,
        f"{base_name(manifest['base']['name'])} learned {len(manifest['labels']):,} labels from "
        f"{base_name(data['path'])}, {data['rows'].get('train', 0):,} rows, on {manifest['machine']['device']}, "
        f"{manifest['finished'].replace('T', ' ').replace('Z', ' UTC')}.",
        tuple(_headline(manifest)),
        sorted_alerts(alerts),
        sections([*curves, _scores(manifest, 3 if len(curves) > 1 else 2), _weights(manifest)]),
        (*_recipe(manifest), *made(told, version)),
    )


def _headline(manifest: dict[str, Any]) -> Iterator[Figure]:
    scores, best = manifest["scores"], manifest["best"]
    split = next((name for name in ("test", "validation") if scores.get(name)), None)
    usual = manifest["majority_baseline"].get(split or "", {})
    for key, value in list(scores.get(split or "", {}).items())[:4]:
        if key != "loss":
            note = f"; most frequent label: {number(usual[key])}" if key in usual else ""
            yield Figure(_said(key), number(value), f"of the {split} rows{note}")
    note = f"the best by {best['metric'].replace('_', ' ')}" if best.get("metric") else ""
    yield Figure("step", f"{best.get('step', manifest['steps']):,}", f"of {manifest['steps']:,}, {note}".rstrip(", "))
    yield Figure("time", seconds_of(manifest["seconds"]))


def _curves(manifest: dict[str, Any], history: list[dict[str, Any]]) -> Iterator[Section]:
    """Loss by step, of training and validation rows, and what the best was chosen by."""
    losses = [(each["step"], each["loss"]) for each in history if "loss" in each]
    validation = [(each["step"], each["eval_loss"]) for each in history if "eval_loss" in each]
    values = [value for _, value in (*losses, *validation)]
    if len(values) > 1:
        across = (0.0, float(max(step for step, _ in (*losses, *validation))))
        told = "Loss by step, of training rows in blue"
        if validation:
            told += f" and of validation rows in orange (the last is {validation[-1][1]:.4f})"
        chart = lines([losses, validation], "step", f"{told}.", across, (0.0, max(values)))
        yield Section("chart", "Loss", {"charts": [chart]})
    metric = manifest["best"].get("metric")
    scored = [(each["step"], each[f"eval_{metric}"]) for each in history if f"eval_{metric}" in each]
    if len(scored) > 1:
        values = [value for _, value in scored]
        upward = (min(0.0, *values), max(1.0, *values))
        told = f"{upper(_said(metric))} of validation rows by step; the best is {max(values):.4f}."
        chart = lines([scored], "step", told, (0.0, float(scored[-1][0])), upward)
        yield Section("chart", "Validation", {"charts": [chart]})


def _said(metric: str) -> str:
    return METRICS.get(metric, metric).format(positive="the last label")


def _scores(manifest: dict[str, Any], width: int) -> Section | None:
    """Metrics of each split that was scored, beside what the most frequent label gets."""
    scores, baseline = manifest["scores"], manifest["majority_baseline"]
    if not scores:
        return None
    splits = list(scores)
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    body = []
    for name in names:
        cells = [number(scores[split][name]) if name in scores[split] else "" for split in splits]
        usual = baseline.get(splits[-1], {}).get(name)
        body.append([_said(name), *cells, "" if usual is None else number(usual)])
    rows = manifest["scored_rows"]
    heads = [{"name": "metric", "text": False}]
    heads += [{"name": f"{split}, {rows.get(split, 0):,} rows", "text": False} for split in splits]
    heads.append({"name": f"most frequent, {splits[-1]}", "text": False})
    note = "Measured once, at the end; pipelines.evaluate adds intervals, confusion, calibration and the worst errors."
    return Section("table", "Scores", {"heads": heads, "rows": body, "more": 0}, note, width)


def _weights(manifest: dict[str, Any]) -> Section | None:
    """What rows of each label counted for, where not all the same."""
    weights = manifest["label_weights"]
    if not weights:
        return None
    most = max(weights.values()) or 1.0
    bars = [Bar(name, weight / most, (f"{weight:.3f}",)) for name, weight in list(weights.items())[:MOST]]
    body = {"head": "label", "heads": ("weight",), "rows": bars, "more": max(len(weights) - MOST, 0)}
    return Section("bars", "Weights of labels", body)


def _recipe(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How it learned, and on what."""
    for name in ("recipe", "machine"):
        told = {key: value for key, value in manifest[name].items() if value is not None}
        yield name, ", ".join(f"{key} {value}" for key, value in told.items())
