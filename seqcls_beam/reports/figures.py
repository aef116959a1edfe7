"""Pictures of how well a model answers: confusion, reliability, curves over thresholds and over steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqcls_beam.evaluation.formatting import matrix
from seqcls_beam.reports.charts import HEIGHT, WIDTH, Chart, Shape, short
from seqcls_beam.reports.pages import brief, percent

MOST_CLASSES = 30
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 10, 34
_POINTS = 200  # of a line


def confusion(found: dict[str, Any]) -> Chart | None:
    """Shares of each gold label's rows by answer; None where there are too many labels, or several a row."""
    size = len(found["labels"])
    if "confusion" not in found or not 2 <= size <= MOST_CLASSES:
        return None
    cells = matrix(found)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    names = [brief(name, 14) for name in found["labels"]]
    room = (560 if size > 6 else WIDTH) - 10 - 6.5 * max(map(len, names))
    numbered = 6.5 * max(map(len, names)) > room / size  # columns are too narrow for names
    rows = [f"{place} {name}" if numbered else name for place, name in enumerate(names, 1)]
    left, top = 10 + 6.5 * max(map(len, rows)), 22
    side = (560 if size > 6 else WIDTH) - left
    step, low = side / size, min(side / size, 46)
    shapes = [Shape("text", "axis", left + side / 2, 10, text="answer")]
    for row, name in enumerate(rows):
        y = top + 14 + row * low
        shapes.append(Shape("text", "tick", left - 6, y + low / 2 + 4, text=name, anchor="end"))
        for column, other in enumerate(found["labels"]):
            x, share = left + column * step, float(shares[row, column])
            told = f"{brief(found['labels'][row])} answered {brief(other)}: {cells[row, column]:,}"
            shapes.append(Shape("rect", "cell", x, y, step - 1, low - 1, text=told))
            if share:
                shapes.append(Shape("rect", "fill", x, y, step - 1, low - 1, text=told, opacity=round(0.75 * share, 3)))
            if size <= 6:
                shapes.append(Shape("text", "value", x + step / 2, y + low / 2 - 2, text=percent(share, 1)))
                shapes.append(Shape("text", "tick", x + step / 2, y + low / 2 + 12, text=f"{cells[row, column]:,}"))
            elif size <= 12:
                shapes.append(Shape("text", "value", x + step / 2, y + low / 2 + 4, text=f"{100 * share:.0f}"))
    for column, name in enumerate(names):
        said = str(column + 1) if numbered else name
        shapes.append(Shape("text", "tick", left + column * step + step / 2, top + 8, text=said))
    told = "Confusion: each row is a gold label, shared out over the answers."
    return Chart(told, tuple(shapes), left + side, top + 16 + size * low)


def reliability(found: dict[str, Any]) -> list[Chart]:
    """What share of each probability is right, and how many rows have it; nothing without probabilities."""
    if "calibration" not in found:
        return []
    bins = found["calibration"]["bins"]
    several = found["problem"] == "multi_label"
    x, y = _axes((0, 1), (0, 1))
    shapes = _frame("1", "probability", ("0", "1"))
    shapes.append(Shape("line", "grid", points=f"{x(0):.1f},{y(0):.1f} {x(1):.1f},{y(1):.1f}"))
    counts = []
    for each in bins:
        wide = x(each["to"]) - x(each["from"])
        counts.append((f"{each['from']:.2f}–{each['to']:.2f}", each["rows"]))
        if each["rows"]:
            right = each["accuracy"] or 0.0
            told = f"{counts[-1][0]}: {percent(right, 1)} right of {each['rows']:,}"
            shapes.append(
                Shape("rect", "fill", x(each["from"]) + wide * 0.04, y(right), wide * 0.92, y(0) - y(right), text=told)
            )
            shapes.append(Shape("dot", "dot odd", x(each["confidence"]), y(right), text=told))
    most = max((count for _, count in counts), default=0) or 1
    below = [Shape("line", "base", points=f"{_LEFT},{60} {WIDTH - _RIGHT},{60}")]
    below.append(Shape("text", "tick", _LEFT - 5, 14, text=short(most), anchor="end"))
    for each in bins:
        if each["rows"]:
            tall, wide = max(50 * each["rows"] / most, 1), x(each["to"]) - x(each["from"])
            below.append(
                Shape("rect", "fill", x(each["from"]) + wide * 0.04, 60 - tall, wide * 0.92, tall,
                      text=f"{each['from']:.2f}–{each['to']:.2f}: {each['rows']:,}", opacity=0.7)
            )  # fmt: skip
    what = "decisions" if several else "rows"
    return [
        Chart(f"Reliability: what share of each probability is {'present' if several else 'right'}.", tuple(shapes)),
        Chart(f"How many {what} have each probability.", tuple(below), height=66),
    ]


def curves(found: dict[str, Any]) -> list[Chart]:
    """ROC and precision-recall curves, where there are any."""
    told = found.get("curves") or {}
    said = {
        "roc": ("ROC curve.", "false positive rate"),
        "precision_recall": ("Precision by recall.", "recall"),
    }
    return [lines([told[name]], axis, text, (0, 1), (0, 1)) for name, (text, axis) in said.items() if told.get(name)]


def lines(
    series: Sequence[Sequence[Sequence[float]]],
    axis: str,
    told: str,
    across: tuple[float, float],
    upward: tuple[float, float],
) -> Chart:
    """One or two lines through points (x, y), thinned where there are many."""
    x, y = _axes(across, upward)
    shapes = _frame(short(upward[1]), axis, (short(across[0]), short(across[1])), short(upward[0]))
    for points, style in zip(series, ("stroke", "second"), strict=False):
        count = min(len(points), _POINTS)
        kept = [points[place * (len(points) - 1) // max(count - 1, 1)] for place in range(count)]
        if count == 1:
            shapes.append(Shape("dot", f"dot {'odd' * (style == 'second')}".strip(), x(points[0][0]), y(points[0][1])))
        shapes.append(Shape("line", style, points=" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in kept)))
    return Chart(told, tuple(shapes))


def _axes(across: tuple[float, float], upward: tuple[float, float]) -> tuple[Any, Any]:
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + wide * (value - across[0]) / ((across[1] - across[0]) or 1)

    def y(value: float) -> float:
        return _TOP + tall - tall * (value - upward[0]) / ((upward[1] - upward[0]) or 1)

    return x, y


def _frame(top: str, axis: str, ends: tuple[str, str], low: str = "0") -> list[Shape]:
    base, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    return [
        Shape("line", "grid", points=f"{_LEFT},{_TOP} {right},{_TOP}"),
        Shape("line", "base", points=f"{_LEFT},{base} {right},{base}"),
        Shape("text", "tick", _LEFT - 5, _TOP + 4, text=top, anchor="end"),
        Shape("text", "tick", _LEFT - 5, base + 3, text=low, anchor="end"),
        Shape("text", "tick", _LEFT, base + 14, text=ends[0]),
        Shape("text", "tick", right, base + 14, text=ends[1], anchor="end"),
        Shape("text", "axis", (_LEFT + right) / 2, HEIGHT - 4, text=axis),
    ]
