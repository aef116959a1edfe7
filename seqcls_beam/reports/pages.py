"""What a page is made of, before it is HTML: plain data, which tests can ask."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["act", "look", "know"]
_THIRDS = 3  # of a row on a desk
SEVERITIES: tuple[Severity, ...] = ("act", "look", "know")
"""Do something now; look whether it is as you expect; nothing to do, and yet good to know."""


@dataclass(frozen=True)
class Alert:
    """One thing that a person should act on."""

    kind: str
    severity: Severity
    said: str  # what is so, a sentence
    do: str  # what to do about it, a sentence


@dataclass(frozen=True)
class Figure:
    """One of the numbers at the top."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of a table with a bar in it."""

    name: str
    value: float  # of the bar, on the scale of all bars of the table
    cells: tuple[str, ...]  # numbers beside it, as they are read
    note: str = ""  # what is said beneath the name
    tone: str = ""
    interval: Sequence[float] | None = None  # drawn over the bar, on its scale


@dataclass(frozen=True)
class Section:
    """A part of a page; `kind` is the template that shows `body`."""

    kind: str
    title: str
    body: dict[str, Any]
    note: str = ""
    width: int = 1  # thirds of a row that it asks for


@dataclass(frozen=True)
class Page:
    """A page."""

    command: str  # what was done, a word
    title: str
    subtitle: str
    headline: tuple[Figure, ...]
    alerts: tuple[Alert, ...]
    sections: tuple[Section, ...]
    made: tuple[tuple[str, str], ...] = ()  # what tells how it was made, folded away
    links: tuple[tuple[str, str], ...] = field(default=())  # (what it is, where) of pages beside it


def sorted_alerts(found: Iterable[Alert | None]) -> tuple[Alert, ...]:
    """Those that there are, the most pressing first."""
    return tuple(sorted((each for each in found if each is not None), key=_pressing))


def _pressing(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)


def sections(found: Iterable[Section | None]) -> tuple[Section, ...]:
    """Those that there are, in rows without a hole: what fits comes forward, and what has room beside it grows.

    They ask for thirds of a row, and get sixths.
    """
    left, placed = [each for each in found if each is not None], []
    while left:
        row: list[Section] = []
        free = _THIRDS
        while fitting := [each for each in left if each.width <= free]:
            row.append(fitting[0])
            left.remove(fitting[0])
            free -= fitting[0].width
        more = 2 * free // len(row)  # 4 of one card, 1 of each of two, 0 of a full row, 2 of one that has two thirds
        placed += [replace(each, width=2 * each.width + more) for each in row]
    return tuple(placed)


def percent(count: float, of: float) -> str:
    """A share as it is read: one decimal, and what is not nothing is not shown as nothing."""
    if not of:
        return "–"
    share = 100 * count / of
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"


def rows_of(count: int, what: str = "row") -> str:
    """A count with its noun."""
    return f"{count:,} {what}{'s'[: count != 1]}"


def seconds_of(spent: float) -> str:
    """A time as people say it."""
    if spent < 100:
        return f"{spent:.1f} s"
    minutes, rest = divmod(round(spent), 60)
    return f"{minutes} min {rest:02} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def bytes_of(size: int) -> str:
    """A size as people say it, in powers of ten."""
    unit = min((len(str(size)) - 1) // 3, 5)
    return f"{size / 1000**unit:.1f} {['', 'kB', 'MB', 'GB', 'TB', 'PB'][unit]}" if unit else f"{size:,} bytes"


def base_name(path: str) -> str:
    """The last word of a path, which tells people more than all of it."""
    return path.rstrip("/").rsplit("/", 1)[-1] or path


def brief(name: str, most: int = 60) -> str:
    """A name of somebody's, such as a label, as long as a sentence or a table bears."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def upper(said: str) -> str:
    """A sentence with its first letter as sentences have it."""
    return said[:1].upper() + said[1:]
