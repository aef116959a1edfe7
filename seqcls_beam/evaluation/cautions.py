"""What of an evaluation rests on too few rows, a sentence each: said once, of how many figures it may be true."""

from typing import Any

from seqcls_beam.evaluation.formatting import METRICS
from seqcls_beam.evaluation.intervals import NOT_ASKED, UNMEASURED, named

FEW = 50
"""Rows of a class, or of a slice, below which its figures are rough, and a wide interval is all that can be said."""


def cautions(made: dict[str, Any]) -> list[str]:
    """Sentences for the user, of what `metrics.measure` made."""
    return [*_rows(made), *_intervals(made), *_slices(made), *_calibration(made)]


def _rows(made: dict[str, Any]) -> list[str]:
    classes = made.get("classes")
    if classes is None:
        return [f"there are fewer than {FEW} rows: every figure is rough"] if made["rows"] < FEW else []
    rare = [each for each in classes if each["support"] < FEW]
    if not rare:
        return []
    names = named([each["label"] for each in sorted(rare, key=_support)])
    has = "has" if len(rare) == 1 else "have"
    return [
        f"{len(rare):,} of {len(classes):,} labels {has} fewer than {FEW} gold rows ({names}): their figures are "
        "rough, and so are means over labels"
    ]


def _support(each: dict[str, Any]) -> int:
    return int(each["support"])


def _intervals(made: dict[str, Any]) -> list[str]:
    """Which figures of the headline have no interval, by the reason."""
    reasons: dict[str, list[str]] = {}
    for name, said in METRICS.items():
        why = made["metrics"].get(name, {}).get("why")
        if why not in (None, NOT_ASKED, UNMEASURED):
            reasons.setdefault(why, []).append(said.format(positive=made.get("positive", "")))
    return [f"no interval of {', '.join(names)}: {why}" for why, names in reasons.items()]


def _slices(made: dict[str, Any]) -> list[str]:
    found = []
    for name, groups in (*made["slices"].items(), ("length", made["lengths"])):
        rare = sum(group["rows"] < FEW for group in groups)
        if rare:
            has = "has" if rare == 1 else "have"
            told = f"{rare:,} of {len(groups):,} groups {has} fewer than {FEW} rows"
            found.append(f"by {name}: {told}, which is few to tell them apart")
    return found


def _calibration(made: dict[str, Any]) -> list[str]:
    told = made.get("calibration")
    if told is None or told["ece"] > 2 * told["ece_by_chance"]:
        return []
    return [
        f"calibration: the expected error is {told['ece']:.4f}, and in so few rows it would be about "
        f"{told['ece_by_chance']:.4f} if every probability meant what it says"
    ]
