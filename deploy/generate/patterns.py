"""Ranges and shapes of values → regular expressions, in what JavaScript, Java, RE2 and Python have in common.

A whole value is meant to match. Numbers are written plainly: no sign, no exponent, no zero before other digits.
"""

from collections.abc import Iterator

ANYTHING = r"[\s\S]+"
"""What is not empty."""
SWITCH = "true|false"
_NAME = r"\s*[^,\s][^,]*"
_FRACTION = r"(\.[0-9]+)?"


def anchored(pattern: str) -> str:
    """A pattern that a whole value must match, also for who searches in it."""
    return f"^({pattern})$"


def one_of(values: tuple[str, ...]) -> str:
    """Exactly one of some words, which have no sign that means something in a pattern but dots."""
    return "|".join(each.replace(".", r"\.") for each in values)


def listed(item: str = _NAME, may_be_empty: bool = False) -> str:
    """One after the other, separated by commas."""
    items = f"({item})(,({item}))*"
    return f"({items})?" if may_be_empty else items


def whole(low: int, high: int | None) -> str:
    """Whole numbers from `low`, which is not negative, to `high`, or without an end."""
    return "|".join(_whole(low, high))


def decimal(low: str, high: str | None) -> str:
    """Numbers from `low`, which is not negative, to `high`, or without an end; both written plainly.

    Raises `ValueError` where both lie between the same two whole numbers and `low` is no whole one.
    """
    first, above = _split(low)
    if high is None:
        return "|".join([*_from(first, above), f"({whole(first + 1, None)}){_FRACTION}"])
    last, below = _split(high)
    if first == last and above:
        raise ValueError(f"{low} to {high}: expected a whole number between them")
    parts = [] if first == last else _from(first, above)
    if first + 1 < last:
        parts.append(f"({whole(first + 1, last - 1)}){_FRACTION}")
    return "|".join([*parts, *_to(last, below)])


def _split(number: str) -> tuple[int, str]:
    """Before the dot, and what of digits counts after it."""
    before, _, after = number.partition(".")
    return int(before), after.rstrip("0")


def _from(first: int, above: str) -> list[str]:
    """Numbers between `first`.`above` and the next whole one."""
    if not above:
        return [f"{first}{_FRACTION}"]
    more = [f"{above[:at]}[{int(digit) + 1}-9][0-9]*" for at, digit in enumerate(above) if digit != "9"]
    return [rf"{first}\.({'|'.join([*more, f'{above}[0-9]*'])})"]


def _to(last: int, below: str) -> list[str]:
    """Numbers between the whole one and `last`.`below`."""
    if not below:
        return [rf"{last}(\.0+)?"]
    less = [f"{below[:at]}[0-{int(digit) - 1}][0-9]*" for at, digit in enumerate(below) if digit != "0"]
    cut = [below[:at] for at in range(1, len(below))]
    return [rf"{last}(\.({'|'.join([*less, *cut, f'{below}0*'])}))?"]


def _whole(low: int, high: int | None) -> Iterator[str]:
    """By the number of digits."""
    digits = len(str(low))
    if high is not None and len(str(high)) == digits:
        yield from _same_length(str(low), str(high))
        return
    yield from _same_length(str(low), "9" * digits)
    if high is None:
        yield f"[1-9]{_digits(digits, None)}"
        return
    most = len(str(high))
    if most - digits > 1:
        yield f"[1-9]{_digits(digits, most - 2)}"
    yield from _same_length("1" + "0" * (most - 1), str(high))


def _same_length(low: str, high: str) -> Iterator[str]:
    """Numbers of as many digits, from one to the other."""
    if not low:
        yield ""
        return
    rest = len(low) - 1
    if low[0] == high[0]:
        yield from (low[0] + each for each in _same_length(low[1:], high[1:]))
        return
    first, last = int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        yield from (low[0] + each for each in _same_length(low[1:], "9" * rest))
        first += 1
    if high[1:] != "9" * rest:
        last -= 1
    if first <= last:
        yield (f"{first}" if first == last else f"[{first}-{last}]") + _digits(rest, rest)
    if high[1:] != "9" * rest:
        yield from (high[0] + each for each in _same_length("0" * rest, high[1:]))


def _digits(least: int, most: int | None) -> str:
    """So many digits, whichever they are."""
    if least == most:
        return {0: "", 1: "[0-9]"}.get(least, f"[0-9]{{{least}}}")
    if most is None and least == 1:
        return "[0-9]+"
    return f"[0-9]{{{least},{'' if most is None else most}}}"
