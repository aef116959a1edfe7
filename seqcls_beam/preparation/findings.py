"""What is said of texts once their splits are known: why each that goes does, and what near-duplicates and leaks are
among those given.

All arrays are over the texts of all partitions: `given` is the split each came with, `rows` how many rows it has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcls_beam.preparation import splits
from seqcls_beam.preparation.clusters import Edges, digests_of

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


def cluster_sizes(linked: Array, reference: Array) -> dict[str, int]:
    """How many clusters have several texts, references aside, how many texts are in those, and in the largest."""
    members = np.bincount(linked[~reference], minlength=len(linked))
    several = members[members > 1]
    return {
        "clusters": len(several),
        "clustered_texts": int(several.sum()),
        "largest_cluster": int(several.max(initial=0)),
    }


def near_duplicates(edges: Edges, given: Array, label: Array, problem: str) -> dict[str, Any]:
    """Pairs of near-duplicates, references aside; `label` is a number for each label, -1 for none."""
    first, second, similarity = edges
    real = (given[first] != splits.REFERENCE) & (given[second] != splits.REFERENCE)
    torn = real & (label[first] != label[second]) & (label[first] >= 0) & (label[second] >= 0)
    return {
        "pairs": int(real.sum()),
        "pairs_with_other_labels": 0 if problem == "regression" else int(torn.sum()),
        "lowest_similarity": float(similarity[real].min()) if real.any() else None,
    }


def near_leaks(edges: Edges, given: Array, rows: Array) -> dict[str, int]:
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
        if len(hit):
            report[splits.pair_name(high, low)] = int(rows[hit].sum())
    return report


def sentence_leaks(sentences: Array, owner: Array, given: Array, rows: Array) -> dict[str, int]:
    """By pair of splits: sentences of the higher one's rows that stand in the lower one's.

    `owner` is the text that each of `sentences` stands in.
    """
    report = {}
    for high, low in splits.PAIRS:
        lower = np.unique(sentences[given[owner] == low])
        upper = given[owner] == high
        count = int((np.isin(sentences[upper], lower) * rows[owner[upper]]).sum())
        if count:
            report[splits.pair_name(high, low)] = count
    return report
