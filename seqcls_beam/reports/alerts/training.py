"""Alerts of a fine-tuning: whether it learned something, enough, or too much."""

from typing import Any

from seqcls_beam.evaluation.formatting import METRICS, number
from seqcls_beam.reports.pages import Alert, rows_of

FEW = 100
"""Rows of a split below which its scores are rough."""

OVERFITTED = 1.1
"""The last loss of validation rows beside the least: more says that the last steps learned training rows by heart."""


def no_better(manifest: dict[str, Any]) -> Alert | None:
    """No better than the answer that is most frequent."""
    for split in ("test", "validation"):
        for name in ("accuracy", "macro_f1"):
            score = manifest["scores"].get(split, {}).get(name)
            usual = manifest["majority_baseline"].get(split, {}).get(name)
            if score is not None and usual is not None and score <= usual:
                return Alert(
                    "no_better",
                    "act",
                    f"Of the {split} rows the model is no better than always answering the most frequent label: "
                    f"{METRICS[name]} is {number(score)}, and that has {number(usual)}.",
                    "More steps, a larger --learning_rate or --class_weights help where labels are right; look at some "
                    "of them first.",
                )
    return None


def ended_early(manifest: dict[str, Any]) -> Alert | None:
    """Steps that were planned and not made."""
    if manifest["steps"] >= manifest["steps_planned"]:
        return None
    return Alert(
        "ended_early",
        "know",
        f"It ended after {manifest['steps']:,} of {manifest['steps_planned']:,} steps: validation rows were no better "
        "for as long as --early_stopping waits.",
        "Nothing to do: the best step is what was published.",
    )


def few_rows(manifest: dict[str, Any]) -> Alert | None:
    """Scores that rest on few rows."""
    few = {name: rows for name, rows in manifest["scored_rows"].items() if rows < FEW}
    if not few:
        return None
    told = " and ".join(f"{rows_of(rows)} of {name}" for name, rows in few.items())
    return Alert(
        "few_rows",
        "look",
        f"Scores rest on {told}: a few rows more or less would move them.",
        "pipelines.evaluate gives intervals; more rows in these splits make them narrow.",
    )


def _validation(history: list[dict[str, Any]]) -> list[float]:
    return [float(each["eval_loss"]) for each in history if "eval_loss" in each]


def overfitted(manifest: dict[str, Any], history: list[dict[str, Any]]) -> Alert | None:
    """A loss of validation rows that rose again."""
    losses = _validation(history)
    if len(losses) < 3 or losses[-1] <= OVERFITTED * min(losses):
        return None
    return Alert(
        "overfitted",
        "know",
        f"The loss of validation rows rose again, from {min(losses):.4f} to {losses[-1]:.4f}: the last steps learned "
        "training rows by heart.",
        f"Step {manifest['best'].get('step', '?')} was published. Fewer --epochs, or --early_stopping, save the time.",
    )


def still_learning(manifest: dict[str, Any], history: list[dict[str, Any]]) -> Alert | None:
    """The last step was the best, and validation rows were getting better still."""
    losses = _validation(history)
    if len(losses) < 3 or losses[-1] > min(losses) or manifest["best"].get("step") != manifest["steps"]:
        return None
    return Alert(
        "still_learning",
        "look",
        "The last step was the best one, with the least loss of validation rows: more steps may give a better model.",
        "Start again with more --epochs.",
    )
