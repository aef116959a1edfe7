"""What a person sees of labellings beside each other."""

from typing import Any

from pipelines.terminal import screen
from pipelines.terminal.screen import Table, Text
from seqcls_beam.evaluation.comparison import FAILED

MOST_LABELS = 8

_NAMES = {
    "label_shift": "labels, shift in points",
    "label_psi": "labels, PSI",
    "score_psi": "scores, PSI",
    "token_psi": "lengths, PSI",
    "reject_rise": "rejected or lost, points",
    "truncation_rise": "cut, points",
}
_SAID = {
    "within": "within",
    "beyond": "BEYOND",
    "few": "few rows",
    "missing": "not told",
    "refused": "REFUSED",
}


def compared(found: dict[str, Any]) -> None:
    """Print each run beside the reference."""
    console = screen.console()
    for run in found["runs"]:
        console.print(Text(f"{run['name']} beside {found['reference']['name']}", "bold"))
        console.print(_facts(found["reference"], run))
        console.print(_measures(run))
        if run["labels"]:
            console.print(_labels(run["labels"]))
        untold = [each for each in run["measures"] if each["why"] and each["verdict"] not in FAILED]
        for why in dict.fromkeys(each["why"] for each in untold):
            names = ", ".join(_NAMES[each["measure"]] for each in untold if each["why"] == why)
            console.print(Text(f"{names}: {why}"), soft_wrap=True)


def _facts(reference: dict[str, Any], run: dict[str, Any]) -> Table:
    """What the two are; what both have is said once."""
    facts = screen.facts("fold")
    rows = [f"{each['rows']['in']:,} in, {each['rows']['labeled']:,} labelled" for each in (reference, run)]
    facts.add_row("rows", Text(" → ".join(rows)))
    for name, rate in run["rates"].items():
        before = reference["rates"][name]
        if before or rate:
            facts.add_row(name, f"{_percent(before)} → {_percent(rate)}")
    for name, said in (("model", _models), ("engine", _engines)):
        before, now = said(reference), said(run)
        facts.add_row(name, Text(now if before == now else f"{before} → {now}"))
    return facts


def _models(run: dict[str, Any]) -> str:
    told = []
    for each in run["models"]:
        threshold = "" if each["threshold"] is None else f" from {each['threshold']:g}"
        told.append(f"{each['name'] or 'unknown'} {(each['digest'] or '')[:12]}{threshold}".strip())
    return ", ".join(told) or "not told"


def _engines(run: dict[str, Any]) -> str:
    return ", ".join(run["engines"]) or "not told"


def _measures(run: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("measure")
    for name in ("value", "chance", "at most", "limit"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in run["measures"]:
        points = not each["measure"].endswith("_psi")
        numbers = [_number(each[key], points) for key in ("value", "expected", "bound")]
        of = f" of {each['of']}" if each["of"] is not None and not points else ""
        failed = each["verdict"] in FAILED
        limit = "none" if each["limit"] is None else f"{100 * each['limit'] if points else each['limit']:g}"
        table.add_row(
            Text(_NAMES[each["measure"]] + of), *numbers, limit, Text(_SAID[each["verdict"]], "bold" if failed else "")
        )
    return table


def _labels(labels: list[dict[str, Any]]) -> Table:
    table = Table()
    table.add_column("label", max_width=40, overflow="ellipsis", no_wrap=True)
    for name in ("reference", "run", "points"):
        table.add_column(name, justify="right")
    for each in labels[:MOST_LABELS]:
        shift = f"{100 * (each['run'] - each['reference']):+.2f}"
        table.add_row(Text(each["label"]), _percent(each["reference"]), _percent(each["run"]), shift)
    if len(labels) > MOST_LABELS:
        table.add_row(f"… {len(labels) - MOST_LABELS} more, which moved less")
    return table


def _number(value: float | None, points: bool) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f}" if points else f"{value:.4f}"


def _percent(share: float | None) -> str:
    return "no rows" if share is None else f"{share:.2%}"
