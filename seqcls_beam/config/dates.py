"""Dates of nights, as options have them: one or a range, and a place for one in a pattern of files.

Imports nothing else of the project.
"""

import datetime
import re

_PLACE = re.compile(r"\{date(?::([^{}]*))?\}")
_SIGN = re.compile(r"%(.?)", re.DOTALL)
_DIGITS = {"Y": 4, "m": 2, "d": 2, "y": 2, "j": 3}
"""Directives of strftime that say a day in digits alone, so that they are read in no language."""

_MOST = 3660  # nights of a range: ten years are a slip of the pen


def parse_date(name: str, value: str) -> datetime.date:
    """The date that an option is. Raises `ValueError` where it is none of the form YYYY-MM-DD."""
    try:
        date = datetime.date.fromisoformat(value)
    except ValueError:
        date = None
    if date is None or date.isoformat() != value:
        raise ValueError(f"--{name}={value}: expected a date such as 2026-11-20")
    return date


def parse_dates(name: str, value: str) -> list[datetime.date]:
    """The dates, in order, of an option that is one date, or FROM..TO. Raises `ValueError` where it is neither."""
    first, dots, last = value.partition("..")
    try:
        begin = parse_date(name, first)
        end = parse_date(name, last) if dots else begin
    except ValueError:
        raise ValueError(f"--{name}={value}: expected a date such as 2026-11-20, or two, FROM..TO") from None
    if not 0 <= (end - begin).days < _MOST:
        why = "it ends before it begins" if end < begin else f"these are more than {_MOST:,} nights"
        raise ValueError(f"--{name}={value}: {why}")
    return [datetime.date.fromordinal(number) for number in range(begin.toordinal(), end.toordinal() + 1)]


def has_date(pattern: str) -> bool:
    """Whether a pattern has a place for a date: {date}, or {date:%Y/%m/%d} for one in another form."""
    return _PLACE.search(pattern) is not None


def filled(pattern: str, date: datetime.date) -> str:
    """A pattern for one date."""
    return _PLACE.sub(lambda place: date.strftime(place[1] or "%Y-%m-%d"), pattern)


def for_any_date(pattern: str) -> str:
    """A pattern → one that finds the files of all dates."""

    def digits(place: re.Match[str]) -> str:
        return _SIGN.sub(lambda sign: "[0-9]" * _DIGITS[sign[1]], place[1] or "%Y-%m-%d")

    return _PLACE.sub(digits, pattern)


def check_forms(name: str, pattern: str) -> None:
    """Raise `ValueError` for a pattern whose places would not tell the date in digits, or together not the day."""
    said: set[str] = set()
    for place in _PLACE.finditer(pattern):
        signs = ["Y", "m", "d"] if place[1] is None else _SIGN.findall(place[1])
        others = [sign for sign in signs if sign not in _DIGITS]
        if others:
            raise ValueError(f"--{name}={pattern}: a date has %Y, %y, %m, %d and %j, and no %{others[0]}")
        said |= set(signs)
    if not {"d", "j"} & said:
        raise ValueError(f"--{name}={pattern}: it is the same for many nights; say the day, with {{date}} or %d")
