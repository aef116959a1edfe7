"""Which rows were read, which of them scored, and what became of the others."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from seqcls_beam.runs.accounting import by_file

_NAMED = 10  # unknown labels that are told by name

Place = tuple[int, int, int]
"""Unit, batch in it, row in that."""


@dataclass
class Account:
    """Additive. rows = scored + unlabelled + the sum of `rejected`."""

    rows: int = 0
    scored: int = 0
    unlabelled: int = 0  # rows without a gold label
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    tokens: int = 0
    truncated: int = 0
    unknown: dict[str, Place] = field(default_factory=dict)  # label → where it stands first
    ways: Counter[str] = field(default_factory=Counter)  # rows by how their gold labels were read, see `gold.Read`
    examples: dict[str, tuple[Place, str]] = field(default_factory=dict)  # way → the first value that was read so
    span: tuple[int, int] | None = None  # of the numbers that gold labels may be, see `gold.Read`
    engines: dict[bytes, dict[str, Any]] = field(default_factory=dict)  # what classified rows, once each
    seconds: Counter[str] = field(default_factory=Counter)  # by stage
    pieces: list[dict[str, Any]] = field(default_factory=list)  # of the files that were read: `Mark.inputs`

    def merge(self, other: "Account") -> None:
        """Add what another has counted."""
        self.rows += other.rows
        self.scored += other.scored
        self.unlabelled += other.unlabelled
        self.rejected.update(other.rejected)
        self.tokens += other.tokens
        self.truncated += other.truncated
        self.engines |= other.engines
        self.seconds.update(other.seconds)
        self.pieces += other.pieces
        self.name_unknown(other.unknown)
        self.reach(other.span)
        for way, count in other.ways.items():
            self.read(way, count, *other.examples[way])

    @cached_property
    def files(self) -> list[dict[str, Any]]:
        """What became of each file that was read, by its name, see `runs.accounting.by_file`; once all is counted."""
        return by_file(sorted(self.pieces, key=lambda piece: (piece["path"], piece["start"])))

    def ran(self, engine: dict[str, Any]) -> None:
        """Note an engine."""
        if engine:
            self.engines.setdefault(orjson.dumps(engine, option=orjson.OPT_SORT_KEYS), engine)

    def reject(self, reasons: dict[str, int]) -> None:
        """Count rows that were rejected before, and are not there any more."""
        self.rows += sum(reasons.values())
        self.rejected.update(reasons)

    def read(self, way: str, rows: int, place: Place, value: str) -> None:
        """Note rows whose gold labels were read in a way, and the first of them."""
        self.ways[way] += rows
        self.examples[way] = min((place, value), self.examples.get(way, (place, value)))

    def reach(self, span: tuple[int, int] | None) -> None:
        """Note the lowest and the highest of some numbers."""
        if span is not None:
            low, high = self.span or span
            self.span = min(low, span[0]), max(high, span[1])

    def name_unknown(self, found: dict[str, Place]) -> None:
        """Note unknown labels, each with the first place; the first of all are kept."""
        for name, place in found.items():
            self.unknown[name] = min(place, self.unknown.get(name, place))
        first = sorted(self.unknown.items(), key=_place)[:_NAMED]
        self.unknown = dict(first)


def _place(item: tuple[str, Place]) -> Place:
    return item[1]
