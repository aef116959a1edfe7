"""What is said of texts once their splits are known: why each that goes does, and what near-duplicates and leaks are
among those given. What is counted can be added up.

All arrays are over the texts that are known: `given` is the split each came with, `rows` how many rows it has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import labels, splits
from seqcls_beam.preparation.clusters import digests_of
from seqcls_beam.preparation.known import Edges, Known

Array = npt.NDArray[Any]


def details(texts: pa.RecordBatch, edges: Edges, reason: Array, there: Array) -> pa.Array:
    """Of texts that go, the nearest text that stays or is a reference."""
    one, other = np.concatenate([edges.first, edges.second]), np.concatenate([edges.second, edges.first])
    similarity = np.concatenate([edges.similarity, edges.similarity])
    told = (reason[one] != "") & there[other]
    one, other, similarity = one[told], other[told], similarity[told]
    order = np.lexsort((other, -similarity, one))
    best = order[np.diff(one[order], prepend=-1) != 0]
    found = np.full(len(reason), None, object)
    found[reason != ""] = "through others of its cluster or group"
    names = digests_of(texts, other[best])
    for text, name, near in zip(one[best].tolist(), names, similarity[best].tolist(), strict=True):
        found[text] = f"similarity {near:.3f} with {name}"
    return pa.array(found, pa.string())


def of_known(known: Known, linked: Array, problem: str) -> dict[str, Any]:
    """What near-duplicates are among texts; `linked` is the lowest text of each one's cluster."""
    given = known.texts["split"].to_numpy().astype(np.int64)
    rows = known.texts["rows"].to_numpy().astype(np.int64)
    label = labels.codes(known.texts["label"])
    return {
        "sizes": _cluster_sizes(linked, given == splits.REFERENCE),
        "near": _near_duplicates(known.edges, given, label, problem),
        "near_leaks": _near_leaks(known.edges, given, rows),
    }


def added(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """What `of_known` found of all texts, from what it found of some and of the others."""
    lowest = [each["near"]["lowest_similarity"] for each in parts if each["near"]["pairs"]]
    return {
        **{name: sum(each["sizes"][name] for each in parts) for name in ("clusters", "clustered_texts")},
        "largest_cluster": max(each["sizes"]["largest_cluster"] for each in parts),
        "near": {
            **{name: sum(each["near"][name] for each in parts) for name in ("pairs", "pairs_with_other_labels")},
            "lowest_similarity": min(lowest, default=None),
        },
        "near_leaks": added_leaks([each["near_leaks"] for each in parts]),
    }


def added_leaks(parts: list[dict[str, int]]) -> dict[str, int]:
    """Counts by pair of splits, in the order of those."""
    counts = {name: sum(each.get(name, 0) for each in parts) for name in (splits.pair_name(*e) for e in splits.PAIRS)}
    return {name: count for name, count in counts.items() if count}


def _cluster_sizes(linked: Array, reference: Array) -> dict[str, int]:
    """How many clusters have several texts, references aside, how many texts are in those, and in the largest."""
    members = np.bincount(linked[~reference], minlength=len(linked))
    several = members[members > 1]
    return {
        "clusters": len(several),
        "clustered_texts": int(several.sum()),
        "largest_cluster": int(several.max(initial=0)),
    }


def _near_duplicates(edges: Edges, given: Array, label: Array, problem: str) -> dict[str, Any]:
    """Pairs of near-duplicates, references aside; `label` is a number for each label, -1 for none."""
    first, second, similarity = edges
    real = (given[first] != splits.REFERENCE) & (given[second] != splits.REFERENCE)
    torn = real & (label[first] != label[second]) & (label[first] >= 0) & (label[second] >= 0)
    return {
        "pairs": int(real.sum()),
        "pairs_with_other_labels": 0 if problem == "regression" else int(torn.sum()),
        "lowest_similarity": float(similarity[real].min()) if real.any() else None,
    }


def _near_leaks(edges: Edges, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: rows of the higher one with a near-duplicate in the lower one; of a reference rows near it."""
    first, second, _ = edges
    report = {}
    for high, low in splits.PAIRS:
        counted, against = (low, high) if high == splits.REFERENCE else (high, low)
        there = [
            one[(given[one] == counted) & (given[other] == against)]
            for one, other in ((first, second), (second, first))
        ]
        hit = np.unique(np.concatenate(there))
        report[splits.pair_name(high, low)] = int(rows[hit].sum())
    return report


def sentence_leaks(sentences: Array, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: sentences of the higher one's rows that stand in the lower one's.

    `given` is the split of each sentence's row, `rows` how many such rows there are.
    """
    report = {}
    for high, low in splits.PAIRS:
        lower = np.unique(sentences[given == low])
        upper = given == high
        report[splits.pair_name(high, low)] = int((np.isin(sentences[upper], lower) * rows[upper]).sum())
    return report


FAR, FAR_POINTS = 0.2, 0.01
"""A share is far from what was asked where it differs by more than both: of what was asked, and of all rows."""


def far(told: dict[str, Any]) -> list[str]:
    """The splits whose shares are far from what was asked, of what `shares.told` found."""
    shares_ = {name: rows / told["rows"] for name, rows in told["got"].items()}
    return [name for name, asked in told["asked"].items() if abs(shares_[name] - asked) > max(FAR * asked, FAR_POINTS)]


def sentence(told: dict[str, Any]) -> str | None:
    """Which shares are far from what was asked, and why, of what `shares.told` found; None where none is."""
    said = ", ".join(
        f"{name} has {told['got'][name]:,} of {told['rows']:,} rows, {told['got'][name] / told['rows']:.1%} where "
        f"{told['asked'][name]:.1%} were asked"
        for name in far(told)
    )
    if not said:
        return None
    if told["effective_groups"] < told["rows"] / 2:
        return f"{said}: no group is cut, and {_largest(told['largest_group'])}"
    if told["split"] == "hash":
        return f"{said}: each row is drawn by chance (--split=stratified meets shares as far as rows can)"
    return f"{said}: of a class with too few rows for a share there are none"


_NAMED = 5  # labels that a sentence names


def absent(made: dict[str, Any]) -> str | None:
    """Which splits have no row of which labels, of what a manifest says of splits; None where there are no such.

    A split whose rows have no labels at all is left out.
    """
    told = []
    for name, each in made.items():
        counts = each.get("label_counts", {})
        gone = [label for label, count in counts.items() if not count]
        if gone and len(gone) < len(counts):
            more = [f"{len(gone) - _NAMED:,} more"] if len(gone) > _NAMED else []
            told.append(f"{name} has no row of {', '.join([*map(repr, gone[:_NAMED]), *more])}")
    return "; ".join(told) or None


def _largest(group: dict[str, Any]) -> str:
    value, joint, others = group["value"], group["joined_by"], group["values"] - 1
    said = f"the largest, in {group['split']}, has {group['rows']:,} rows"
    if value:
        said += f", {value['column']} {value['value']!r}"
        said += f" in {value['texts']:,} of its {group['texts']:,} texts" if value["texts"] < group["texts"] else ""
        said += f" beside {others:,} other value{'s'[: others > 1]}" if others else ""
    if joint is None:
        return said
    what = {"text": "one text", "near-duplicates": "near-duplicates of one text", "sentence": "one sentence"}
    whom = "texts" if joint["by"] == "sentence" or not group["values"] else "values"
    return f"{said}; {what[joint['by']]} in {joint['joins']:,} {whom}: {joint['text']!r}"
