"""The page of an evaluation says what evaluation.json says, and what to act on."""

from typing import Any

import pytest

from seqcls_beam.reports.evaluate import document
from tests.reports.reading import Element, parsed


def metric(value: float, ci: list[float] | None = None) -> dict[str, Any]:
    return {"value": value, "ci": ci, "why": None}


def named(label: str, recall: float, support: int = 100) -> dict[str, Any]:
    return {"label": label, "precision": 0.9, "recall": recall, "f1": 0.8, "ci": [0.7, 0.9], "support": support,
            "predicted": 90}  # fmt: skip


def evaluation(**more: Any) -> dict[str, Any]:
    """An evaluation of two hundred rows with nothing to act on."""
    bins = [{"from": place / 10, "to": (place + 1) / 10, "rows": 20, "confidence": place / 10 + 0.05, "accuracy": 0.5}
            for place in range(10)]  # fmt: skip
    return {
        "command": "", "versions": {}, "finished": "2026-11-20T02:00:00Z", "problem": "single_label",
        "data": {"kind": "rows", "inputs": [{"path": "/d/gold.jsonl", "size": 3, "version": "1", "rows": 200}]},
        "model": {"name": "/m/best", "digest": "0" * 64}, "labels": ["a", "b"],
        "rows": {"in": 200, "scored": 200, "unlabelled": 0, "rejected": 0, "rejected_by_reason": {}, "lost": 0,
                 "lost_weight": "counted", "lost_by_reason": {}, "unknown_labels": []},
        "truncated_rows": 0, "gates": [], "warnings": [], "slices": {}, "lengths": [], "worst": [],
        "metrics": {"accuracy": metric(0.85, [0.8, 0.9]), "macro_f1": metric(0.84, [0.79, 0.89])},
        "baseline": {"accuracy": 0.5, "macro_f1": 0.33},
        "classes": [named("a", 0.9), named("b", 0.8)],
        "confusion": {"gold": [0, 0, 1, 1], "predicted": [0, 1, 0, 1], "rows": [90, 10, 20, 80]},
        "calibration": {"ece": 0.02, "ece_by_chance": 0.02, "brier": 0.1, "nll": 0.3, "bins": bins,
                        "temperature": None},
        **more,
    }  # fmt: skip


def page(**more: Any) -> Element:
    return parsed(document(evaluation(**more)))


def test_numbers_are_those_of_the_document():
    found = page(slices={"shop": [{"value": "x", "rows": 50, "ci": [0.6, 0.9], "accuracy": 0.8}]})
    assert found.headline() == {"accuracy": "0.8500", "macro F1": "0.8400", "rows scored": "200"}
    assert found.section("Metrics").table()["accuracy"] == ["0.8500", "0.8000 – 0.9000", "0.5000"]
    assert found.section("Labels").table()["b"] == ["0.8000", "0.7000 – 0.9000", "0.9000", "0.8000", "100", "90"]
    assert found.section("By shop").table() == {"x": ["0.8000", "0.6000 – 0.9000", "50"]}
    cells = {each.text for each in found.section("Confusion").all("title")}
    assert cells == {"a answered a: 90", "a answered b: 10", "b answered a: 20", "b answered b: 80"}
    reliable = {each.text for each in found.section("Reliability").all("title")}
    assert "0.00–0.10: 50.0 % right of 20" in reliable and "0.90–1.00: 20" in reliable


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({}, {}),
        (
            {"gates": [{"gate": "min_f1", "metric": "macro_f1", "limit": 0.9, "value": 0.84, "passed": False}]},
            {"gate": "act"},
        ),
        ({"gates": [{"gate": "min_f1", "metric": "macro_f1", "limit": 0.8, "value": 0.84, "passed": True}]}, {}),
        ({"metrics": {"accuracy": metric(0.52, [0.45, 0.6])}}, {"no_better": "act"}),
        ({"classes": [named("a", 0.9), named("b", 0.49)]}, {"weak_classes": "look"}),
        ({"classes": [named("a", 0.9), named("b", 0.49, support=19)]}, {}),
        ({"calibration": {**evaluation()["calibration"], "ece": 0.1}}, {"uncalibrated": "look"}),
        ({"calibration": {**evaluation()["calibration"], "ece": 0.1, "ece_by_chance": 0.06}}, {}),
        ({"warnings": ["few rows"]}, {"caution": "look"}),
        ({"truncated_rows": 2}, {"truncated": "look"}),
        (
            {"slices": {"shop": [{"value": "x", "rows": 50, "ci": [0.5, 0.84], "accuracy": 0.7}]}},
            {"weak_slices": "look"},
        ),
        ({"rows": {**evaluation()["rows"], "in": 250, "unlabelled": 50}}, {"unlabelled": "look"}),
    ],
)
def test_what_a_person_should_act_on(more, kinds):
    assert page(**more).alerts() == kinds
