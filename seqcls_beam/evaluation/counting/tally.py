"""Tally: all that metrics are computed from, of any number of rows, in memory that is bounded.

Tallies of parts of the rows are merged in any order to the same tally. What it holds, with L labels:

    pairs of gold and answered class that occur, 3 L counts (and for each of at most 1,000 values a sliced column)
    histograms of log-odds: of two labels one of 262,144 cells, of several one each, 1 million cells together
    up to 4,194,304 decisions themselves, and of more than these none
    41 × 15 bins of calibration, the worst rows
    multi_label: 3 L counts a replicate of the bootstrap; regression: 8 sums, and a sample of 1,000,000 pairs
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from seqcls_beam.evaluation.counting import histograms
from seqcls_beam.evaluation.counting.calibration import Calibration
from seqcls_beam.evaluation.counting.decisions import Decisions
from seqcls_beam.evaluation.counting.groups import LENGTHS, Array, Group, bucket, facts
from seqcls_beam.evaluation.counting.moments import COLUMNS, Moments, about
from seqcls_beam.evaluation.counting.outcomes import Outcomes
from seqcls_beam.evaluation.counting.sampling import Sample, weights
from seqcls_beam.evaluation.counting.worst import Worst

MOST_VALUES = 1000
"""Different values of a sliced column; one that has more is not sliced by."""

MOST_REPLICATES = 200
"""Of the Poisson bootstrap, whose replicates are summed row by row; where cells can be redrawn there may be more."""


@dataclass(frozen=True)
class Asked:
    """What a tally is asked for. All tallies that are merged are asked for the same."""

    problem: str  # "single_label", "multi_label" or "regression"
    labels: tuple[str, ...]  # in the order of the scores
    threshold: float = 0.5  # from which a label of several is assigned
    slices: tuple[str, ...] = ()
    worst: int = 0
    bootstrap: int = 0
    seed: int = 0


class Tally:
    """Additive statistics of outcomes. Picklable."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        problem, size = asked.problem, len(asked.labels)
        replicates = 0 if problem == "single_label" else min(asked.bootstrap, MOST_REPLICATES)
        self.scored = 0  # rows that came with scores
        self.all = self._group()
        self.slices: dict[str, dict[str, Group]] = {name: {} for name in asked.slices}
        self.unsliced: set[str] = set()  # columns of too many values
        self.lengths = [self._group() for _ in range(len(LENGTHS) + 1)]
        self.pairs: Counter[int] = Counter()  # gold class * labels + answered class
        ranked = size if problem == "multi_label" else 1 if problem == "single_label" and size == 2 else 0
        # Rows by [label, absent or present, cell of the log-odds]; of two classes those of the second.
        self.odds = np.zeros((ranked, 2, histograms.cells(ranked) if ranked else 0), np.int64)
        self.decisions = Decisions(ranked)
        self.calibration = None if problem == "regression" else Calibration()
        self.sample = Sample(2) if problem == "regression" else None  # gold, predicted
        self.worst = Worst(asked.worst)
        # By replicate; for several labels `Group.counts`, else `Group.sums`.
        self.replicated_counts = np.zeros((replicates, 3 * size if problem == "multi_label" else 0), np.int64)
        self.replicated_sums = Moments(replicates if problem == "regression" else 0)

    def add(self, outcomes: Outcomes) -> None:
        """Count the rows of a batch."""
        if not len(outcomes):
            return
        problem = self.asked.problem
        chosen = outcomes.chosen(problem, self.asked.threshold)
        found = facts(problem, outcomes.gold, chosen)
        self.all.add(found)
        self._add_groups(outcomes, found)
        if problem == "single_label":
            codes, counts = np.unique(found[:, 0] * len(self.asked.labels) + found[:, 1], return_counts=True)
            self.pairs.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
        else:
            self._add_replicates(found, outcomes.batch)
        if outcomes.scores is None:
            return
        self.scored += len(outcomes)
        if self.calibration is not None:
            self.calibration.add(outcomes.gold, outcomes.scores)
        if self.sample is not None:
            self.sample.add(np.stack([outcomes.gold, chosen], axis=1), self.asked.seed, outcomes.batch)
        self._add_odds(outcomes.gold, outcomes.scores)
        self.worst.add(problem, outcomes, chosen)

    def merge(self, other: "Tally") -> None:
        """Add what another has counted; it is not changed, and must not be used afterwards."""
        self.scored += other.scored
        self.all.merge(other.all)
        for name in sorted(other.unsliced):
            self._slice_no_more(name)
        for name, groups in other.slices.items():
            for value, group in groups.items():
                mine = self._slice(name, value)
                if mine is not None:
                    mine.merge(group)
        for one, more in zip(self.lengths, other.lengths, strict=True):
            one.merge(more)
        self.pairs.update(other.pairs)
        self.odds += other.odds
        self.decisions.merge(other.decisions)
        if self.calibration is not None and other.calibration is not None:
            self.calibration.merge(other.calibration)
        if self.sample is not None and other.sample is not None:
            self.sample.merge(other.sample)
        self.worst.merge(other.worst)
        self.replicated_counts += other.replicated_counts
        self.replicated_sums.merge(other.replicated_sums)

    def _group(self) -> Group:
        return Group(self.asked.problem, len(self.asked.labels))

    def _slice(self, name: str, value: str) -> Group | None:
        """The group of a value; None where the column has too many, which does not depend on their order."""
        if name in self.unsliced:
            return None
        groups = self.slices[name]
        if value not in groups:
            if len(groups) == MOST_VALUES:
                self._slice_no_more(name)
                return None
            groups[value] = self._group()
        return groups[value]

    def _slice_no_more(self, name: str) -> None:
        self.unsliced.add(name)
        self.slices[name] = {}

    def _add_groups(self, outcomes: Outcomes, found: Array) -> None:
        for name in self.slices:
            if name in self.unsliced:
                continue
            values, where = np.unique(outcomes.slices[name], return_inverse=True)
            for number, value in enumerate(values.tolist()):
                group = self._slice(name, value)
                if group is None:
                    break
                group.add(found[where == number])
        if outcomes.tokens is not None:
            buckets = bucket(outcomes.tokens)
            for number in np.unique(buckets).tolist():
                self.lengths[number].add(found[buckets == number])

    def _add_odds(self, gold: Array, scores: Array) -> None:
        ranked, _, count = self.odds.shape
        if not ranked:
            return
        several = self.asked.problem == "multi_label"
        present, absent = (scores, 1 - scores) if several else (scores[:, 1:], scores[:, :1])
        truth = (gold > 0) if several else (gold == 1)[:, None]
        cells = histograms.cell(histograms.log_odds(present, absent), count)
        self.decisions.add(truth, scores)
        flat = (np.arange(ranked) * 2 + truth) * count + cells
        self.odds += np.bincount(flat.ravel(), minlength=self.odds.size).reshape(self.odds.shape)

    def _add_replicates(self, found: Array, batch: tuple[int, int]) -> None:
        several = self.asked.problem == "multi_label"
        replicates = len(self.replicated_counts) if several else self.replicated_sums.groups
        if not replicates:
            return
        pivot, columns = about(found) if not several else ((0.0, 0.0), found)
        sums = np.zeros((replicates, COLUMNS))
        for some, drawn in weights(replicates, len(found), self.asked.seed, batch):
            part = columns[some]
            if several:
                wide = part.reshape(len(part), -1).astype(np.float64)
                # Whole numbers, so that it matters to no bit how the product is computed.
                self.replicated_counts += (drawn @ wide).astype(np.int64)
            else:
                sums += np.stack([(drawn * column).sum(axis=1) for column in part.T], axis=1)
        if not several:
            self.replicated_sums.add_sums(sums, pivot)
