"""The page of a fine-tuning says what its manifest says, and what to act on."""

from typing import Any

import pytest

from seqcls_beam.reports import finetune, rendering
from tests.reports.reading import Element, parsed


def made(**more: Any) -> dict[str, Any]:
    """A fine-tuning of sixty steps with nothing to act on."""
    scores = {"loss": 0.3, "accuracy": 0.9, "macro_f1": 0.89}
    usual = {"accuracy": 0.6, "macro_f1": 0.4}
    return {
        "command": "", "versions": {}, "started": "2026-11-20T02:00:00Z", "finished": "2026-11-20T02:10:00Z",
        "run_id": "r", "problem": "single_label", "labels": ["a", "b"],
        "data": {"path": "/d/prepared", "rows": {"train": 5000}}, "base": {"name": "/m/base", "digest": "d" * 64},
        "recipe": {"epochs": 3.0}, "machine": {"device": "cpu"}, "seconds": 600.0, "resumed_at": 0,
        "steps": 60, "steps_planned": 60, "best": {"metric": "accuracy", "step": 40},
        "scores": {"validation": scores, "test": scores}, "scored_rows": {"validation": 500, "test": 500},
        "label_weights": {}, "majority_baseline": {"validation": usual, "test": usual}, "parts": [], **more,
    }  # fmt: skip


def history(*losses: float) -> list[dict[str, Any]]:
    """A training row's loss at each of twenty steps, and then a validation."""
    return [
        each
        for place, loss in enumerate(losses, 1)
        for each in (
            {"step": 20 * place, "loss": 1.0 / place},
            {"step": 20 * place, "eval_loss": loss, "eval_accuracy": 1 - loss},
        )
    ]


def page(logged: list[dict[str, Any]], **more: Any) -> Element:
    return parsed(rendering.html(finetune.page(made(**more), logged, "model", "version 1")))


def test_numbers_are_those_of_the_manifest():
    found = page(history(0.5, 0.4, 0.41), label_weights={"a": 0.5, "b": 2.0})
    assert found.headline() == {"accuracy": "0.9000", "macro F1": "0.8900", "step": "40", "time": "10 min 00 s"}
    assert found.section("Scores").table()["accuracy"] == ["0.9000", "0.9000", "0.6000"]
    assert found.section("Weights of labels").table() == {"a": ["0.500"], "b": ["2.000"]}
    assert "the best is 0.6000" in found.section("Validation").text
    training, validation = [each.attributes["points"].split() for each in found.section("Loss").all("polyline")[-2:]]
    assert len(training) == len(validation) == 3


@pytest.mark.parametrize(
    ("losses", "more", "kinds"),
    [
        ((0.5, 0.4, 0.41), {}, {}),
        ((0.5, 0.4, 0.45), {}, {"overfitted": "know"}),
        ((0.5, 0.4, 0.3), {"best": {"metric": "accuracy", "step": 60}}, {"still_learning": "look"}),
        ((0.5, 0.4), {"steps_planned": 90}, {"ended_early": "know"}),
        ((0.5,), {"scored_rows": {"validation": 99, "test": 500}}, {"few_rows": "look"}),
        ((), {"scores": {"test": {"accuracy": 0.6, "macro_f1": 0.5}}}, {"no_better": "act"}),
        ((), {"scores": {}, "scored_rows": {}}, {}),
    ],
)
def test_what_a_person_should_act_on(losses, more, kinds):
    assert page(history(*losses), **more).alerts() == kinds


def test_a_long_history_is_a_short_page():
    assert len(rendering.html(finetune.page(made(), history(*[0.5] * 20_000), "model", "version 1"))) < 50_000
