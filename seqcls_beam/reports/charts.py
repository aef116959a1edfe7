"""Numbers → shapes of a picture, in units of its view box; one template draws them all as SVG.

Colours are classes of the page's style, so that a picture is right on light and on dark ground, and no library that
draws is needed: jinja2 comes with torch. The same numbers make the same shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 18, 34


@dataclass(frozen=True)
class Shape:
    """A rectangle, a line through points, a dot or a word."""

    tag: str  # rect, line, dot or text
    style: str  # a class
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0
    points: str = ""
    text: str = ""  # of a word; else what is told of it where the pointer rests
    anchor: str = "middle"
    opacity: float = 1


@dataclass(frozen=True)
class Chart:
    """A picture, and what it shows in a sentence, for who does not see it."""

    told: str
    shapes: tuple[Shape, ...]
    width: float = WIDTH
    height: float = HEIGHT
    small: bool = field(default=False)


def histogram(
    cells: Sequence[tuple[str, int]],
    ticks: Sequence[tuple[float, str]],
    told: str,
    axis: str,
    mark: tuple[float, str] | None = None,
) -> Chart:
    """Bars of one width, (what the cell is called, rows) each.

    `ticks` and `mark` stand at places between 0 and the number of cells; the mark is a line across.
    """
    most = max((count for _, count in cells), default=0) or 1
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = wide / max(len(cells), 1)
    shapes = _grid(most)
    for place, (name, count) in enumerate(cells):
        if count:
            height = max(tall * count / most, 1.0)
            x, y = _LEFT + place * step + step * 0.06, _TOP + tall - height
            shapes.append(Shape("rect", "fill", x, y, step * 0.88, height, text=f"{name}: {count:,}"))
    for tick, name in ticks:
        shapes.append(Shape("text", "tick", _LEFT + tick * step, HEIGHT - _BOTTOM + 14, text=name))
    shapes.append(Shape("text", "axis", _LEFT + wide / 2, HEIGHT - 4, text=axis))
    if mark is not None:
        x = _LEFT + mark[0] * step
        shapes.append(Shape("line", "mark", points=f"{x:.1f},{_TOP} {x:.1f},{_TOP + tall}"))
        left = mark[0] > len(cells) / 2
        shapes.append(Shape("text", "marked", x, _TOP - 6, text=mark[1], anchor="end" if left else "start"))
    return Chart(told, tuple(shapes))


def _grid(most: float, top: str | None = None) -> list[Shape]:
    """A base line, and the largest value at the top of the axis."""
    base = HEIGHT - _BOTTOM
    return [
        Shape("line", "grid", points=f"{_LEFT},{_TOP} {WIDTH - _RIGHT},{_TOP}"),
        Shape("line", "base", points=f"{_LEFT},{base} {WIDTH - _RIGHT},{base}"),
        Shape("text", "tick", _LEFT - 5, _TOP + 4, text=top if top is not None else short(most), anchor="end"),
        Shape("text", "tick", _LEFT - 5, base + 3, text="0", anchor="end"),
    ]


def spark(counts: Sequence[int], told: str) -> Chart:
    """A histogram in a cell of a table."""
    most, wide, tall = max(counts, default=0) or 1, 100, 22
    step = wide / max(len(counts), 1)
    shapes = [Shape("line", "base", points=f"0,{tall} {wide},{tall}")]
    for place, count in enumerate(counts):
        if count:
            height = max(tall * count / most, 1.0)
            shapes.append(Shape("rect", "fill", place * step + 0.3, tall - height, step - 0.6, height))
    return Chart(told, tuple(shapes), wide, tall + 1, small=True)


def over_time(
    values: Sequence[float | None],
    names: Sequence[str],
    told: str,
    top: float | None = None,
    said: Sequence[str] = (),
    odd: Sequence[bool] = (),
) -> Chart:
    """Dots and a line over days; a day without a value leaves a gap. `odd` ones stand out."""
    there = [value for value in values if value is not None]
    most = top or max(there, default=0.0) or 1.0
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = wide / max(len(values) - 1, 1)
    at = [
        (_LEFT + place * step, _TOP + tall - tall * min(value, most) / most) if value is not None else None
        for place, value in enumerate(values)
    ]
    shapes = _grid(most, _scale(most))
    run: list[str] = []
    for point in [*at, None]:
        if point is not None:
            run.append(f"{point[0]:.1f},{point[1]:.1f}")
        else:
            if len(run) > 1:
                shapes.append(Shape("line", "stroke", points=" ".join(run)))
            run = []
    for place, point in enumerate(at):
        if point is not None:
            style = "dot odd" if place < len(odd) and odd[place] else "dot"
            shown = said[place] if place < len(said) else f"{values[place]:g}"
            shapes.append(Shape("dot", style, *point, text=f"{names[place]}: {shown}"))
    if names:
        base = HEIGHT - _BOTTOM + 14
        shapes.append(Shape("text", "tick", _LEFT, base, text=names[0], anchor="start"))
        if len(names) > 1:
            shapes.append(Shape("text", "tick", WIDTH - _RIGHT, base, text=names[-1], anchor="end"))
    return Chart(told, tuple(shapes), height=HEIGHT - 14)


def _scale(most: float) -> str:
    return f"{100 * most:.3g} %" if most <= 1 else short(most)


def short(value: float) -> str:
    """A number in few signs: 12.3k."""
    unit = min(max(len(f"{abs(value):.0f}") - 1, 0) // 3, 4)
    return f"{value / 1000**unit:.3g}{['', 'k', 'M', 'G', 'T'][unit]}"
