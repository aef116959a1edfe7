"""Which rows were read, which of them scored, and what became of the others."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

_NAMED = 10  # unknown labels that are told by name


@dataclass
class Account:
    """Additive. rows = scored + unlabelled + the sum of `rejected`."""

    rows: int = 0
    scored: int = 0
    unlabelled: int = 0  # rows without a gold label
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    tokens: int = 0
    truncated: int = 0
    unknown: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # label → where it stands first
    engines: dict[bytes, dict[str, Any]] = field(default_factory=dict)  # what classified rows, once each
    seconds: Counter[str] = field(default_factory=Counter)  # by stage

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
        self.name_unknown(other.unknown)

    def ran(self, engine: dict[str, Any]) -> None:
        """Note an engine."""
        if engine:
            self.engines.setdefault(orjson.dumps(engine, option=orjson.OPT_SORT_KEYS), engine)

    def name_unknown(self, found: dict[str, tuple[int, int, int]]) -> None:
        """Note unknown labels, each with the first place (unit, batch, row); the first of all are kept."""
        for name, place in found.items():
            self.unknown[name] = min(place, self.unknown.get(name, place))
        first = sorted(self.unknown.items(), key=_place)[:_NAMED]
        self.unknown = dict(first)


def _place(item: tuple[str, tuple[int, int, int]]) -> tuple[int, int, int]:
    return item[1]
