"""Gates: what a metric must be for a model to pass."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from seqcls_beam.config.evaluate import GateOptions
from seqcls_beam.config.option import option_fields
from seqcls_beam.evaluation.intervals import NOT_ASKED, UNMEASURED


@dataclass(frozen=True)
class Kind:
    """What decides which metrics there are."""

    problem: str
    labels: int
    scores: bool = True  # probabilities are known, not labels alone


class _Gate(NamedTuple):
    metric: str
    problems: tuple[str, ...]
    two: bool = False  # labels, no more and no fewer
    scores: bool = False


_GATES = {
    "min_accuracy": _Gate("accuracy", ("single_label",)),
    "min_f1": _Gate("macro_f1", ("single_label", "multi_label")),
    "min_positive_f1": _Gate("positive_f1", ("single_label",), two=True),
    "min_micro_f1": _Gate("micro_f1", ("multi_label",)),
    "min_auc": _Gate("auc", ("single_label",), two=True, scores=True),
    "min_map": _Gate("map", ("multi_label",), scores=True),
    "min_pearson": _Gate("pearson", ("regression",)),
    "min_spearman": _Gate("spearman", ("regression",)),
    "max_mse": _Gate("mse", ("regression",)),
    "max_ece": _Gate("ece", ("single_label", "multi_label"), scores=True),
}


def check(gates: GateOptions, kind: Kind) -> None:
    """Raise `ValueError` for a gate on a metric that there will not be."""
    for name, limit in given(gates).items():
        gate = _GATES[name]
        if kind.problem not in gate.problems:
            raise ValueError(
                f"--{name}={limit:g} is for {' and '.join(gate.problems)} models, and this is a {kind.problem} one"
            )
        if gate.two and kind.labels != 2:
            raise ValueError(f"--{name}={limit:g} is for two labels, and there are {kind.labels}")
        if gate.scores and not kind.scores:
            raise ValueError(f"--{name}={limit:g} needs the probabilities, and there is no column 'scores'")


def judged(gates: GateOptions, metrics: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The gates that were asked for: gate, metric, limit, value, ci, why, passed. An undefined metric does not pass.

    A gate judges the value; `ci` says how far that may be off, and where it is None `why` says why nobody can tell.
    """
    found = []
    for name, limit in given(gates).items():
        metric = _GATES[name].metric
        told = metrics.get(metric)
        value = None if told is None else told["value"]
        passed = value is not None and (value >= limit if name.startswith("min_") else value <= limit)
        rest = {"ci": None, "why": None} if told is None else {key: told[key] for key in ("ci", "why")}
        found.append({"gate": name, "metric": metric, "limit": limit, "value": value, **rest, "passed": passed})
    return found


def sentence(gate: dict[str, Any]) -> str:
    """Why a gate did not pass."""
    if gate["value"] is None:
        return f"--{gate['gate']}={gate['limit']:g}: {gate['metric']} is undefined on these rows"
    said = f"--{gate['gate']}={gate['limit']:g}: {gate['metric']} is {gate['value']:.4f}"
    if gate["ci"]:
        return f"{said} (95 % interval {gate['ci'][0]:.4f} to {gate['ci'][1]:.4f})"
    why = _untold(gate)
    return f"{said}, and how far that is off cannot be told: {why}" if why else said


def unsure(gate: dict[str, Any]) -> str | None:
    """What speaks against a gate that passed: that chance may have let it; None where nothing does."""
    said = f"--{gate['gate']}={gate['limit']:g} passed, and"
    if gate["ci"]:
        low, high = gate["ci"]
        if not low < gate["limit"] < high:
            return None
        return f"{said} the 95 % interval of {gate['metric']}, {low:.4f} to {high:.4f}, lies on both sides of it"
    why = _untold(gate)
    return f"{said} whether by chance cannot be told: {gate['metric']} has no interval ({why})" if why else None


def _untold(gate: dict[str, Any]) -> str | None:
    """Why a metric that has intervals has none here."""
    why: str | None = gate.get("why")
    return None if why in (NOT_ASKED, UNMEASURED) else why


def given(gates: GateOptions) -> dict[str, float]:
    """The gates that were asked for, with their limits."""
    values = {each.name: getattr(gates, each.name) for each in option_fields(GateOptions)}
    return {name: value for name, value in values.items() if value is not None}
