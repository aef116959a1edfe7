"""The manifests of nights, or of days of a stream → what the page says that has them beside each other."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Any

from seqcls_beam.config.compare import DriftOptions
from seqcls_beam.reports import charts
from seqcls_beam.reports.alerts.labels import QUIET
from seqcls_beam.reports.pages import Alert, Figure, Page, Section, brief, percent, rows_of, sections, sorted_alerts

MOST = 92
"""Nights that are shown: a quarter of a year."""

_LABELS = 6
_NAMED = 5


@dataclass(frozen=True)
class Night:
    """What a manifest says of a night."""

    name: str  # its date
    rows: int
    labelled: int
    bad: int  # rejected or lost
    cut: int
    labels: dict[str, int]
    score: float | None  # the mean probability of the most probable label
    why: tuple[str, ...] = ()  # it did not pass
    place: str | None = None  # of its page

    @property
    def odd(self) -> bool:
        """Whether it stands out among others, whatever they are."""
        return bool(self.why) or not self.rows


def night(name: str, manifest: dict[str, Any], why: list[str], place: str | None) -> Night:
    """A manifest → what is shown of it."""
    rows = manifest["rows"]
    return Night(
        name,
        rows["in"],
        rows["labeled"],
        rows["rejected"] + rows.get("lost", 0),
        manifest["truncated_rows"],
        manifest["label_counts"],
        _mean(manifest.get("score_histogram")),
        tuple(why),
        place,
    )


def _mean(found: dict[str, Any] | None) -> float | None:
    """The mean of a histogram between 0 and 1, each row in the middle of its cell."""
    if not found or found.get("to") != 1.0 or not sum(found["counts"]):
        return None
    counts = found["counts"]
    return float(sum((place + 0.5) / len(counts) * count for place, count in enumerate(counts)) / sum(counts))


def page(title: str, nights: list[Night], all_of: int, what: str = "night") -> Page:
    """What the page of `nights` says, at least one, in order; `all_of` is how many there are, shown or not."""
    last, refused = nights[-1], [each for each in nights if each.why]
    rows = [each.rows for each in nights]
    headline = [
        Figure(f"{what}s", f"{all_of:,}", f"the last {len(nights):,} are shown" if all_of > len(nights) else ""),
        Figure("rows", f"{sum(rows):,}", "of those shown" if all_of > len(nights) else "in all"),
        Figure(f"last {what}", f"{last.rows:,}", f"rows of {last.name}"),
        Figure("in the middle", f"{median(rows):,.0f}", f"rows a {what}"),
    ]
    if refused:
        headline.append(Figure("not passed", f"{len(refused):,}", f"{what}s that pipelines.approve refused"))
    quiet, moved = quiet_nights(nights), moved_nights(nights)
    return Page(
        f"{what.capitalize()}s",
        title,
        f"{nights[0].name} to {last.name}" if len(nights) > 1 else last.name,
        tuple(headline),
        sorted_alerts([_refused(refused, what), _quiet(quiet, what), _moved(moved, what), _gaps(nights, what)]),
        sections([_multiples(nights, quiet, what), _table(nights, quiet, [*moved], what)]),
    )


def quiet_nights(nights: list[Night]) -> list[Night]:
    """Those with far fewer rows than the seven before them have in the middle; one without rows is one."""
    found = []
    for place, each in enumerate(nights):
        before = [other.rows for other in nights[max(place - 7, 0) : place]]
        if not each.rows or (len(before) >= 2 and each.rows < QUIET * median(before)):
            found.append(each)
    return found


def _named(nights: list[Night]) -> str:
    last = [each.name for each in nights[-_NAMED:]]
    return ", ".join(last) + (f" and {len(nights) - _NAMED:,} before" if len(nights) > _NAMED else "")


def _refused(nights: list[Night], what: str) -> Alert | None:
    if not nights:
        return None
    return Alert(
        "refused",
        "act",
        f"{rows_of(len(nights), what)} did not pass pipelines.approve: {_named(nights)}.",
        f"The last one because {'; '.join(nights[-1].why[:2])}"[:400] + ".",
    )


def _quiet(nights: list[Night], what: str) -> Alert | None:
    if not nights:
        return None
    return Alert(
        "quiet",
        "look",
        f"{rows_of(len(nights), f'quiet {what}')}: {_named(nights)}.",
        "No row, or less than half of what the seven before had in the middle: look whether all of the input came.",
    )


def _moved(moved: dict[str, str], what: str) -> Alert | None:
    """Those where the share of a label is far from the one before."""
    if not moved:
        return None
    names = [*moved]
    told = ", ".join(names[-_NAMED:]) + (f" and {len(names) - _NAMED:,} before" if len(names) > _NAMED else "")
    return Alert(
        "moved",
        "look",
        f"Labels far from those of the {what} before: {told}.",
        f"On {names[-1]} {moved[names[-1]]}: either the texts changed or what reads them did; its page says more.",
    )


def moved_nights(nights: list[Night]) -> dict[str, str]:
    """By name, what label moved most, beyond what `pipelines.compare` allows and three standard errors."""
    found = {}
    for pair in pairwise(nights):
        if not all(each.labelled for each in pair):
            continue
        far = []
        for name in sorted({label for each in pair for label in each.labels}):
            before, now = shares = [each.labels.get(name, 0) / each.labelled for each in pair]
            error = sqrt(sum(share * (1 - share) / each.labelled for share, each in zip(shares, pair, strict=True)))
            if abs(now - before) > max(DriftOptions().max_label_shift, 3 * error):
                said = f"{brief(name)} went from {percent(before, 1)} to {percent(now, 1)}"
                far.append((abs(now - before), said))
        if far:
            found[pair[1].name] = max(far)[1]
    return found


def _gaps(nights: list[Night], what: str) -> Alert | None:
    """Dates between the first and the last that are not there."""
    there = {each.name for each in nights}
    first, last = (date.fromisoformat(nights[place].name) for place in (0, -1))
    dates = [str(first + timedelta(each)) for each in range((last - first).days)]
    gone = [each for each in dates if each not in there]
    if not gone:
        return None
    told = ", ".join(gone[-_NAMED:]) + (f" and {len(gone) - _NAMED:,} before" if len(gone) > _NAMED else "")
    return Alert(
        "gap",
        "look",
        f"{rows_of(len(gone), 'date')} between them {'has' if len(gone) == 1 else 'have'} no {what}: {told}.",
        "Where there should be one, --only_new --catch_up makes it." if what == "night" else "No message was of them.",
    )


def _multiples(nights: list[Night], quiet: list[Night], what: str) -> Section:
    names = [each.name for each in nights]
    odd = [each.odd or each in quiet for each in nights]

    def chart(title: str, values: list[float | None], top: float | None = None, whole: bool = False) -> dict[str, Any]:
        said = ["" if value is None else f"{value:,.0f}" if whole else f"{100 * value:.2f} %" for value in values]
        there = [value for value in values if value is not None]
        last = next((text for text in reversed(said) if text), "none")
        told = f"{title} by {what}; the last is {last}."
        drawn = charts.over_time(values, names, told, top if there else 1.0, said, odd)
        return {"title": title, "last": last, "chart": drawn}

    def shares(counts: list[int], of: list[int]) -> list[float | None]:
        return [count / rows if rows else None for count, rows in zip(counts, of, strict=True)]

    rows, labelled = [each.rows for each in nights], [each.labelled for each in nights]
    made = [
        chart("Rows", [float(each) for each in rows], whole=True),
        chart("Rejected or lost", shares([each.bad for each in nights], rows)),
        chart("Cut texts", shares([each.cut for each in nights], labelled)),
    ]
    if any(each.score is not None for each in nights):
        made.append(chart("Mean score", [each.score for each in nights], 1.0))
    totals: dict[str, int] = {}
    for each in nights:
        for label, count in each.labels.items():
            totals[label] = totals.get(label, 0) + count
    for label in sorted(totals, key=lambda each: (-totals[each], each))[:_LABELS]:
        made.append(chart(f"Label {label}", shares([each.labels.get(label, 0) for each in nights], labelled), 1.0))
    note = "Each on its own scale, but scores and labels, which go to 100 %. Dots that stand out are quiet or refused."
    return Section("multiples", "Over time", {"charts": made}, note, width=3)


def _table(nights: list[Night], quiet: list[Night], moved: list[str], what: str) -> Section:
    made = []
    for each in reversed(nights):
        said = [
            "not passed" if each.why else "",
            "quiet" if each in quiet else "",
            "labels moved" if each.name in moved else "",
        ]
        score = "–" if each.score is None else f"{each.score:.3f}"
        cells = [f"{each.rows:,}", percent(each.bad, each.rows), percent(each.cut, each.labelled), score]
        made.append({"name": each.name, "place": each.place, "cells": cells, "said": ", ".join(filter(None, said))})
    heads = ["rows", "rejected or lost", "cut", "mean score"]
    return Section("nights", f"{what.capitalize()}s", {"heads": heads, "rows": made}, width=3)
