"""An evaluation as evaluation.json has it → plots, as SVG to stand in a page of HTML.

Lines and letters take the colour of the text around them, so that a plot is right on light and on dark ground. The
same evaluation makes the same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from seqcls_beam.evaluation.extras import wanted
from seqcls_beam.evaluation.formatting import METRICS, matrix, measured

MOST_CLASSES = 30
MOST_SLICES = 20

# Of the palette of Okabe and Ito, which colour-blind people can tell apart; brightened to be seen on dark ground too.
_BLUE, _ORANGE = "#2a8fd0", "#e08a00"
_INK = "#010203"  # replaced by the colour of the text around
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seqcls_beam",
    "text.parse_math": False,  # a label may have dollar signs
    "font.size": 10,
    "font.family": "sans-serif",
    **{key: _INK for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
}


def confusion(found: dict[str, Any]) -> str | None:
    """A heat map of shares of each gold label's rows; None where there are too many labels, or several a row."""
    size = len(found["labels"])
    if "confusion" not in found or not 2 <= size <= MOST_CLASSES:
        return None
    cells = matrix(found)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        blues = wanted("matplotlib.colors").LinearSegmentedColormap.from_list("blues", [f"{_BLUE}00", _BLUE])
        edges = np.arange(size + 1) - 0.5
        axes.pcolormesh(edges, edges, shares, cmap=blues, vmin=0, vmax=1, edgecolor="none", linewidth=0)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        names = [_short(name, 22) for name in found["labels"]]
        slanted = size > 4 or max(map(len, names)) > 10
        axes.set_xticks(
            range(size),
            names,
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor",
        )
        axes.set_yticks(range(size), names)
        axes.tick_params(length=0)
        axes.set(xlabel="answer", ylabel="gold label")
        if size <= 12:
            for row, column in np.ndindex(cells.shape):
                told = f"{shares[row, column]:.0%}" + (f"\n{cells[row, column]:,}" if size <= 6 else "")
                axes.text(column, row, told, ha="center", va="center", size=10 if size <= 6 else 8)

    side = min(2.6 + 0.55 * size, 10.5)
    return _svg(draw, side + 0.6, side, "Confusion matrix; each row is shared out over the answers.")


def reliability(found: dict[str, Any]) -> str | None:
    """Accuracy by confidence, and rows by confidence; None without probabilities."""
    if "calibration" not in found:
        return None
    bins = found["calibration"]["bins"]

    def draw(figure: Any) -> None:
        axes, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        middle = np.array([(each["from"] + each["to"]) / 2 for each in bins])
        width = 0.92 / len(bins)
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle="--", alpha=0.6)
        accuracy = [each["accuracy"] or 0.0 for each in bins]
        axes.bar(middle, accuracy, width, color=_BLUE)
        there = [each for each in bins if each["rows"]]
        axes.plot(
            [each["confidence"] for each in there], [each["accuracy"] for each in there], "o", color=_ORANGE, ms=4
        )
        several = found["problem"] == "multi_label"
        axes.set(xlim=(0, 1), ylim=(0, 1.03), ylabel="present" if several else "right")
        below.bar(middle, [each["rows"] for each in bins], width, color=_BLUE, alpha=0.6)
        below.set(xlabel="probability", ylabel="decisions" if several else "rows")
        below.ticklabel_format(axis="y", style="plain")
        below.locator_params(axis="y", nbins=3)

    return _svg(
        draw,
        4.6,
        4.4,
        "Reliability: what share of each probability is right (dots at its mean), and how many there are.",
    )


def classes(found: dict[str, Any]) -> str | None:
    """F1 of every label, with its interval; of many labels those with most rows."""
    rows = found.get("classes")
    if not rows:
        return None
    shown = sorted(rows, key=_support)[:MOST_CLASSES] if len(rows) > MOST_CLASSES else rows
    names = [each["label"] for each in shown]
    return _bars(names, [each["f1"] for each in shown], [each["ci"] for each in shown], "F1")


def curves(found: dict[str, Any]) -> str | None:
    """ROC and precision-recall curves, where there are any."""
    told = found.get("curves") or {}
    kinds = [name for name in ("roc", "precision_recall") if name in told]
    if not kinds:
        return None

    def draw(figure: Any) -> None:
        for axes, name in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            x, y = np.array(told[name]).T
            axes.plot(x, y, color=_BLUE, linewidth=1.8)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
            if name == "roc":
                axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle="--", alpha=0.6)
                axes.set(xlabel="false positive rate", ylabel="true positive rate")
            else:
                axes.set(xlabel="recall", ylabel="precision")

    return _svg(draw, 4.3 * len(kinds), 3.7, _CURVES[kinds[-1] if len(kinds) == 1 else ""])


_CURVES = {"roc": "ROC curve.", "precision_recall": "Precision and recall.", "": "ROC curve; precision and recall."}


def slices(groups: list[dict[str, Any]]) -> str | None:
    """The first metric of every value of a column, or of every bucket of lengths."""
    shown = groups[:MOST_SLICES]
    name = next(iter(measured(shown)), None)
    if name is None:
        return None
    names = [f"{_short(group['value'], 26)} ({group['rows']:,})" for group in shown]
    intervals = [group.get("ci") for group in shown]
    return _bars(names, [group.get(name, 0.0) for group in shown], intervals, METRICS.get(name, name))


def _bars(names: list[str], values: list[float], intervals: list[Any], said: str) -> str:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        place = np.arange(len(names))
        axes.barh(place, values, 0.7, color=_BLUE)
        for row, interval in enumerate(intervals):
            if interval is not None:
                axes.plot(interval, [row, row], color=_ORANGE, linewidth=2.2)
        axes.set_yticks(place, [_short(name, 36) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set(xlabel=said, ylim=(len(names) - 0.4, -0.6))
        if min(values) >= 0 and max(values) <= 1:
            axes.set_xlim(0, 1)

    return _svg(draw, 6.4, 0.9 + 0.27 * len(names), f"{said} by value.")


def _support(each: dict[str, Any]) -> tuple[int, str]:
    return -each["support"], each["label"]


def _short(name: str, most: int) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _svg(draw: Callable[[Any], None], width: float, height: float, told: str) -> str:
    """A figure, in inches of 72 pixels, as an <svg> element."""
    matplotlib, figures = wanted("matplotlib"), wanted("matplotlib.figure")
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser draws the letters, with fonts that have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    made = sink.getvalue()
    made = made[made.index("<svg") :].replace(_INK, "currentColor")
    made = re.sub(r"<metadata>.*?</metadata>", "", made, flags=re.DOTALL)
    made = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", made)  # numbers that every figure begins anew, and nothing points to
    return made.replace("<svg ", f'<svg role="img" aria-label="{told}" ', 1).strip()
