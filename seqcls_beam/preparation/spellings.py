"""One label in several spellings: made one where that is certain, refused where it may be, told where it may not."""

import unicodedata
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from seqcls_beam.preparation.keys import normal
from seqcls_beam.preparation.labels import is_number, is_whole, whole_name
from seqcls_beam.runs.run import RunError

_TOLD = 5  # groups of names that a sentence shows


def one_spelling(found: set[str]) -> dict[str, str]:
    """Labels that were found, all of a column → what they are called: 1.0 is 1 where all are whole numbers."""
    numbers = all(map(is_whole, found))
    return {each: whole_name(each) if numbers else each for each in found}


def spelled(labels: pa.Array, names: dict[str, str]) -> pa.Array:
    """Labels as `canonical` gives them for classes → by the names that `one_spelling` gives them."""
    if all(each == name for each, name in names.items()):
        return labels
    rows = labels.to_pylist()
    if pa.types.is_list(labels.type):
        return pa.array([row and sorted({names.get(each, each) for each in row}) for row in rows], labels.type)
    return pa.array([names.get(each, each) for each in rows], labels.type)


def refuse_spellings(found: set[str], column: str) -> None:
    """Raise `RunError` where one value may be there in several spellings: they would be classes of their own."""
    apart = set(one_spelling(found).values())
    several = [sorted(each) for each in _groups(filter(is_number, apart), _number_of)]
    if several:
        first, second = min(several)[:2]
        others = {name for each in several for name in each}
        name = min((each for each in found - others if not is_whole(each)), default=None)
        beside = "" if name is None else f", and beside them {name!r}, which is no whole number"
        one = "write all rows alike"
        if whole_name(first) == whole_name(second):
            one = f"name what is there with --labels, {whole_name(first)!r} alone"
        raise RunError(
            f"--label_column={column} holds {first!r} and {second!r}{beside}: whether the two are one label or names "
            f"of two cannot be told; {one} for the first, or name both with --labels for the second"
        )
    spelled = sorted(each for each in found if each.casefold() in ("true", "false"))
    numbers = sorted(found & {"0", "1"})
    if len({each.casefold() for each in spelled}) < len(spelled) or (spelled and numbers):
        raise RunError(
            f"--label_column={column} holds {', '.join(map(repr, [*numbers, *spelled]))}: whether true is True, or 1, "
            "or a label of its own cannot be told; write all rows alike, or name what is there with --labels"
        )


def alike(names: Iterable[str]) -> list[list[str]]:
    """Of the names of classes those that differ in case, blanks or Unicode form alone: groups, in order."""
    return sorted(sorted(each) for each in _groups(names, _bare))


def told(groups: list[list[str]]) -> str | None:
    """What is said of names that `alike` found; None where there are none."""
    if not groups:
        return None
    more = f" and {len(groups) - _TOLD:,} more such" * (len(groups) > _TOLD)
    said = "; ".join(", ".join(map(_shown(group), group)) for group in groups[:_TOLD])
    return (
        f"{said}{more} differ only in case, blanks or Unicode form, and are labels of their own: if they are one, "
        "write all rows alike"
    )


def _shown(group: list[str]) -> Callable[[str], str]:
    """How names are shown that a screen may draw alike."""
    return repr if len({normal("NFC", name) for name in group}) == len(group) else ascii


def _groups(names: Iterable[str], key: Callable[[str], Any]) -> list[set[str]]:
    """Names of one key together, where there are several."""
    found: dict[Any, set[str]] = {}
    for name in names:
        found.setdefault(key(name), set()).add(name)
    return [each for each in found.values() if len(each) > 1]


def _number_of(name: str) -> Decimal | str:
    try:
        return Decimal(name.replace(",", "."))
    except InvalidOperation:  # an exponent that no number has
        return name


def _bare(name: str) -> str:
    """A name without what two spellings of one word may differ in: NFKC, casefolded, no blanks and invisible signs."""
    folded = normal("NFKC", normal("NFKC", name).casefold())
    return "".join(each for each in folded if not each.isspace() and unicodedata.category(each) != "Cf")
