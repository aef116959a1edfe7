"""How labelled rows are spread: their scores and their lengths, counted in cells that are the same for every run.

A histogram with n edges has n + 1 cells. A value that is an edge lies in the cell above it; the first cell has no
beginning and the last one no end, so that every row is in one.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def _half_octaves(low: int, high: int, of: int = 2) -> npt.NDArray[np.float64]:
    return np.asarray(2.0 ** (np.arange(low * of, high * of + 1) / of))


SCORES = np.linspace(0.0, 1.0, 21)[1:-1]
"""Between cells of probabilities: twenty of one width."""

VALUES = np.concatenate([-_half_octaves(-6, 20, 4)[::-1], _half_octaves(-6, 20, 4)])
"""Between cells of what a regression predicts: quarter octaves of its size, and one cell for what is nearly 0."""

TOKENS = np.unique(np.rint(_half_octaves(1, 20)).astype(np.int64))
"""Between cells of lengths in tokens: half octaves, from 2 to 1,048,576.

What a model cuts is as long as it reads, nearly always a power of two, and so in the lower end of a cell: it does not
hide among texts that are shorter.
"""

EDGES = {"score_histogram": SCORES, "value_histogram": VALUES, "token_histogram": TOKENS}
"""What stands in a record and in a manifest → its edges. There is one of the first two: scores or values."""


class Histograms:
    """The histograms of some rows that one kind of model labelled."""

    def __init__(self, labels: int, several: bool) -> None:
        """`labels` that the model has, `several` of which a row may have; a single one that is not is a regression."""
        self._of = "value_histogram" if labels == 1 and not several else "score_histogram"
        self._counts = {name: np.zeros(len(EDGES[name]) + 1, np.int64) for name in (self._of, "token_histogram")}

    def add(self, scores: npt.NDArray[np.float32], tokens: npt.NDArray[np.int32]) -> None:
        """Count rows, by the score of their most probable label or what a regression predicts, and by their length."""
        self._counts[self._of] += counted(EDGES[self._of], scores)
        self._counts["token_histogram"] += counted(TOKENS, tokens)

    @property
    def counts(self) -> dict[str, list[int]]:
        """Rows by cell, by a key of `EDGES`."""
        return {name: counts.tolist() for name, counts in self._counts.items()}


def counted(edges: npt.NDArray[Any], values: npt.NDArray[Any]) -> Counts:
    """Values, in any order → how many are in each cell, [edges + 1]."""
    # Few numbers are found among many in a moment, once these are in order.
    below = np.searchsorted(np.sort(values), edges)
    return np.diff(below, prepend=0, append=len(values))


def told(found: Iterable[dict[str, list[int]]], rows: int) -> dict[str, dict[str, Any]]:
    """Counts of some rows each → the histograms as a manifest has them: {edges, or from and to; counts}.

    One that does not count each of `rows` is left out: some were labelled by a program that did not count them so, or
    by a model of another kind.
    """
    made, parts = {}, list(found)
    for name, edges in EDGES.items():
        counts = [each[name] for each in parts if len(each.get(name, ())) == len(edges) + 1]
        summed = [sum(cell) for cell in zip(*counts, strict=True)]
        if counts and sum(summed) == rows:
            made[name] = _as_told(name, summed)
    return made


def counts_in(manifest: dict[str, Any]) -> dict[str, list[int]]:
    """The counts of a manifest's histograms, by a key of `EDGES`, as far as they have the cells of today."""
    found = {name: manifest[name] for name in EDGES if is_histogram(manifest.get(name))}
    today = {name: cells(_as_told(name, [0] * (len(EDGES[name]) + 1))) for name in found}
    return {name: each["counts"] for name, each in found.items() if cells(each) == today[name]}


def is_histogram(value: Any) -> bool:
    """Whether what stands in a manifest is a histogram, of any cells."""
    if not isinstance(value, dict) or not isinstance(value.get("counts"), list) or not value["counts"]:
        return False
    edges = value.get("edges", [])
    return (
        all(type(each) is int and each >= 0 for each in value["counts"])
        and isinstance(edges, list)
        and all(type(each) in (int, float) for each in edges)
        and (len(value["counts"]) == len(edges) + 1 if "edges" in value else {"from", "to"} <= value.keys())
    )


def cells(histogram: dict[str, Any]) -> dict[str, Any]:
    """What says where the cells of a histogram lie: two with the same can be compared."""
    return {**{key: value for key, value in histogram.items() if key != "counts"}, "cells": len(histogram["counts"])}


def _as_told(name: str, counts: list[int]) -> dict[str, Any]:
    edges = EDGES[name]
    return {**({"from": 0.0, "to": 1.0} if edges is SCORES else {"edges": edges.tolist()}), "counts": counts}
