"""Alerts of how well a model answers."""

from collections.abc import Iterator
from typing import Any

from seqcls_beam.evaluation.formatting import METRICS, number
from seqcls_beam.reports.pages import Alert, brief, rows_of, upper

UNCALIBRATED = 0.1
"""Expected calibration error from which on probabilities are not what they say, where chance alone makes less."""

WEAK = 0.5
"""Recall below which more rows of a class are missed than found."""

FEW = 20
"""Gold rows below which a class, or a slice, is not judged."""

UNLABELLED = 0.1
"""Share of rows without a gold label that were not scored."""

_NAMED = 5


def gates(found: dict[str, Any]) -> Iterator[Alert]:
    """Gates that did not pass."""
    for each in found["gates"]:
        if not each["passed"]:
            value = "undefined" if each["value"] is None else number(each["value"])
            limit = f"{'at least' if each['gate'].startswith('min') else 'at most'} {each['limit']:g}"
            yield Alert(
                "gate",
                "act",
                f"Gate not passed: {each['metric']} is {value}, wanted {limit}.",
                "The model is not promoted, and the command ended with 3: worst errors and slices say where it fails.",
            )


def cautions(found: dict[str, Any]) -> Iterator[Alert]:
    """What rests on few rows."""
    for said in found.get("warnings", []):
        yield Alert("caution", "look", f"{upper(said)}.", "More gold rows of that kind make the figure one to rely on.")


def no_better(found: dict[str, Any]) -> Alert | None:
    """No better than the answer that is most frequent."""
    baseline, metrics = found.get("baseline") or {}, found["metrics"]
    for name in ("accuracy", "macro_f1"):
        if name in baseline and name in metrics:
            low = (metrics[name]["ci"] or [metrics[name]["value"]])[0]
            if low <= baseline[name]:
                return Alert(
                    "no_better",
                    "act",
                    f"No better than always answering the most frequent label: {METRICS[name]} is "
                    f"{number(metrics[name]['value'])}, and that has {number(baseline[name])}.",
                    "Look whether gold labels and answers mean the same (--labels, the order of classes) before the "
                    "model is blamed.",
                )
    return None


def weak_classes(found: dict[str, Any]) -> Alert | None:
    """Classes of which more rows are missed than found."""
    weak = [each for each in found.get("classes") or () if each["support"] >= FEW and each["recall"] < WEAK]
    if not weak:
        return None
    worst = sorted(weak, key=lambda each: (each["recall"], each["label"]))
    told = ", ".join(f"{brief(each['label'])} {each['recall']:.2f}" for each in worst[:_NAMED])
    told += f" and {len(weak) - _NAMED:,} more" if len(weak) > _NAMED else ""
    return Alert(
        "weak_classes",
        "look",
        f"Of {len(weak):,} of {len(found['classes']):,} labels more rows are missed than found (recall): {told}.",
        "The confusion says what they are taken for: more such rows to learn from, class weights or one label of two.",
    )


def uncalibrated(found: dict[str, Any]) -> Alert | None:
    """Probabilities that are not what they say."""
    told = found.get("calibration")
    if told is None or told["ece"] < UNCALIBRATED or told["ece"] <= 2 * told.get("ece_by_chance", 0.0):
        return None
    best = told.get("temperature")
    tip = f" A temperature of {best['value']:.2f} mends most of it." if best else ""
    return Alert(
        "uncalibrated",
        "look",
        f"Probabilities are off by {told['ece']:.2f} in the mean (expected calibration error).",
        f"Do not read them as chances, nor set a threshold by them.{tip}",
    )


def weak_slices(found: dict[str, Any]) -> Alert | None:
    """Slices that are surely below the whole."""
    name = next((each for each in ("accuracy", "subset_accuracy") if each in found["metrics"]), None)
    if name is None:
        return None
    whole = found["metrics"][name]["value"]
    groups = [(of, each) for of, rows in (*found["slices"].items(), ("length", found["lengths"])) for each in rows]
    weak = [
        (of, each)
        for of, each in groups
        if each["rows"] >= FEW and each.get("ci") and name in each and each["ci"][1] < whole
    ]
    if not weak:
        return None
    worst = sorted(weak, key=lambda item: item[1][name])[:_NAMED]
    told = ", ".join(f"{brief(of, 30)} {brief(str(each['value']), 30)} {each[name]:.2f}" for of, each in worst)
    return Alert(
        "weak_slices",
        "look",
        f"Surely below the {METRICS[name]} of all rows, {number(whole)}: {told}.",
        "What the mean hides: look at the worst errors of these, and measure them by themselves.",
    )


def unlabelled(found: dict[str, Any]) -> Alert | None:
    """Many rows without a gold label."""
    rows = found["rows"]
    if not rows["in"] or rows["unlabelled"] / rows["in"] < UNLABELLED:
        return None
    return Alert(
        "unlabelled",
        "look",
        f"{rows_of(rows['unlabelled'])} of {rows['in']:,} had no gold label.",
        "What is measured speaks of the others alone; --max_unlabelled refuses it.",
    )
