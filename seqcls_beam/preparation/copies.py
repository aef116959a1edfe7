"""Rows of one key: which of them stay, by the policies.

All functions take arrays of the same rows, sorted by key: `group` numbers the keys, `split` is as in `splits` (highest
first within a key), `label` numbers the labels, -1 for none, `reason` is why a row goes, "" while it stays.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.preparation import splits

Array = npt.NDArray[Any]


def joined(group: Array, split: Array) -> Array:
    """Splits; a row without one gets the highest that was given to a copy of it."""
    top = np.full(group[-1] + 1, splits.NONE)
    given = split != splits.REFERENCE
    np.maximum.at(top, group[given], split[given])
    return np.where(split == splits.NONE, top[group], split)


def mark_leaks(group: Array, split: Array, reason: Array, remove: bool) -> None:
    """Rows whose text is in a higher split go as `leak`, if leaks are removed.

    Those whose text is in the reference always go, as `contaminated`.
    """
    top = np.full(group[-1] + 1, splits.NONE)
    np.maximum.at(top, group, split)
    top = top[group]
    spoiled = (split < top) & (top == splits.REFERENCE)
    reason[spoiled] = "contaminated"
    if remove:
        reason[(split < top) & ~spoiled] = "leak"


def mark_conflicts(group: Array, split: Array, label: Array, reason: Array, policy: str) -> Array:
    """Rows of one key with several labels go as `conflicting_labels`; which rows are those, whatever becomes of them.

    `majority` keeps the most frequent label of a key, and none where two are; `drop` keeps none.
    """
    left = np.flatnonzero((split != splits.REFERENCE) & (label >= 0) & (reason == ""))
    if not len(left):
        return left
    order = left[np.lexsort((label[left], group[left]))]
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(group[order]) != 0) | (np.diff(label[order]) != 0)]))
    counts = np.diff(np.append(begins, len(order)))
    owners, names = group[order[begins]], label[order[begins]]
    torn = np.bincount(owners, minlength=group[-1] + 1) > 1
    winner = np.full(len(torn), -1, np.int64)
    if policy == "majority":
        most = np.zeros(len(torn), np.int64)
        np.maximum.at(most, owners, counts)
        best = counts == most[owners]
        alone = np.bincount(owners[best], minlength=len(torn)) == 1
        winner[owners[best]] = np.where(alone[owners[best]], names[best], -1)
    of_torn = left[torn[group[left]]]
    if policy in ("majority", "drop"):
        reason[of_torn[label[of_torn] != winner[group[of_torn]]]] = "conflicting_labels"
    return of_torn


def mark_twins(group: Array, split: Array, label: Array, reason: Array) -> None:
    """Of rows of one key, label and split all but the first go as `duplicate`.

    So do those without a label beside one that has a label.
    """
    left = np.flatnonzero((split != splits.REFERENCE) & (reason == ""))
    if not len(left):
        return
    order = left[np.lexsort((left, label[left], split[left], group[left]))]
    together = (np.diff(group[order]) == 0) & (np.diff(split[order]) == 0)
    reason[order[1:][together & (np.diff(label[order]) == 0)]] = "duplicate"
    begins = np.flatnonzero(np.concatenate([[True], ~together]))
    beside = np.repeat(np.maximum.reduceat(label[order], begins) >= 0, np.diff(np.append(begins, len(order))))
    reason[order[beside & (label[order] < 0)]] = "duplicate"


def leaks(group: Array, split: Array, label: Array) -> dict[str, dict[str, int]]:
    """By pair of splits: rows of the higher one whose text is in the lower one, and texts with another label there.

    Of a reference the rows that are it are counted.
    """
    found: dict[str, dict[str, int]] = {}
    table = np.zeros((group[-1] + 1, 5), np.int64)  # rows, by key and by split from NONE to REFERENCE
    np.add.at(table, (group, split + 1), 1)
    for high, low in splits.PAIRS:
        both = (table[:, high + 1] > 0) & (table[:, low + 1] > 0)
        if both.any():
            rows = int(table[both, (low if high == splits.REFERENCE else high) + 1].sum())
            there = both[group] & ((split == high) | (split == low))
            torn = 0 if high == splits.REFERENCE else disagreeing(group[there], label[there])
            found[splits.pair_name(high, low)] = {"rows": rows, "texts_with_other_labels": torn}
    return found


def disagreeing(group: Array, label: Array) -> int:
    """Keys with more than one label."""
    group, label = group[label >= 0], label[label >= 0]
    if not len(group):
        return 0
    return int((np.bincount(np.unique(np.stack([group, label]), axis=1)[0]) > 1).sum())
