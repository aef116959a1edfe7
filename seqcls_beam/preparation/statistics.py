"""What is counted of shards → what the manifest says of each split, and what a training job wants to know."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt


def of_split(parts: list[dict[str, Any]], names: list[str], problem: str) -> dict[str, Any]:
    """Rows, tokens, lengths and labels of a split, from what was counted of its shards."""
    lengths: Counter[int] = Counter()
    for part in parts:
        lengths.update({int(length): count for length, count in part["lengths"].items()})
    rows, tokens = sum(part["rows"] for part in parts), sum(part["tokens"] for part in parts)
    made: dict[str, Any] = {
        "rows": rows,
        "tokens": tokens,
        "shards": len(parts),
        "truncated_rows": sum(part["truncated_rows"] for part in parts),
        "truncated_tokens": sum(part["truncated_tokens"] for part in parts),
        "length": {
            "mean": round((tokens + sum(part["truncated_tokens"] for part in parts)) / max(rows, 1), 2),
            **_percentiles(lengths),
            "max": max(part["longest"] for part in parts),
        },
    }
    if problem == "regression":
        mean = sum(part["sum"] for part in parts) / max(rows, 1)
        variance = sum(part["squares"] for part in parts) / max(rows, 1) - mean**2
        made["target"] = {"mean": mean, "standard_deviation": max(variance, 0.0) ** 0.5}
    else:
        counts = np.sum([part["label_counts"] for part in parts], axis=0)
        made["label_counts"] = dict(zip(names, counts.tolist(), strict=True))
        if problem == "single_label" and int(counts.sum()) < rows:
            made["unlabelled_rows"] = rows - int(counts.sum())
    return made


def _percentiles(lengths: Counter[int]) -> dict[str, Any]:
    """Tokens before they were cut: nearest-rank percentiles."""
    values = np.array(sorted(lengths))
    ends = np.cumsum([lengths[each] for each in values.tolist()])
    if not len(values):
        return {}
    at = {f"p{share}": int(values[np.searchsorted(ends, share / 100 * ends[-1])]) for share in (50, 90, 95, 99)}
    return {"min": int(values[0]), **at}


def skew(train: list[dict[str, Any]], other: list[dict[str, Any]], problem: str) -> dict[str, float]:
    """How far a split is from the training rows, each 0 to 1: what TensorFlow Data Validation calls skew.

    labels   the largest difference of a label's share of the rows that have labels (L-infinity norm), if any have
    lengths  Jensen-Shannon divergence, in bits, of lengths between powers of two
    """
    shares = []
    for parts in (train, other):
        counts = np.sum([part["label_counts"] for part in parts], axis=0)
        rows = counts.sum() if problem == "single_label" else sum(part["rows"] for part in parts)
        bins = np.zeros(32)
        for part in parts:
            for length, count in part["lengths"].items():
                bins[int(length).bit_length()] += count
        shares.append((counts / rows if rows else None, bins / max(bins.sum(), 1)))
    (labels_, lengths), (other_labels, other_lengths) = shares
    middle = (lengths + other_lengths) / 2
    divergence = sum(
        float((each[each > 0] * np.log2(each[each > 0] / middle[each > 0])).sum()) / 2
        for each in (lengths, other_lengths)
    )
    far = {} if other_labels is None else {"labels": round(float(np.abs(labels_ - other_labels).max(initial=0)), 6)}
    return {**far, "lengths": round(max(divergence, 0.0), 6)}


def for_training(made: dict[str, Any], problem: str, longest: int) -> dict[str, Any]:
    """What a training job wants to know of the splits; its model reads `longest` tokens."""
    found: dict[str, Any] = {}
    train = made.get("train")
    if train:
        # Batches and kernels like multiples of 8.
        found["suggested_max_length"] = min(-(-train["length"]["p99"] // 8) * 8, longest)
    if train and problem == "single_label":
        counts = np.array(list(train["label_counts"].values()), np.int64)
        found["class_weights"] = weights(counts)
        found["imbalance"] = float(counts.max() / counts[counts > 0].min())
    if problem == "single_label":
        found["majority_baseline"] = {
            name: majority(np.array(list(each["label_counts"].values()), np.int64))
            for name, each in made.items()
            if any(each["label_counts"].values())
        }
    return found


def weights(counts: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    """Rows per class → weights that make rare classes count, mean 1 over the rows.

    inverse_frequency  n / (classes * n_c), scikit-learn's "balanced"
    effective_number   (1 - b) / (1 - b^n_c) with b = 0.999 (Cui et al. 2019), scaled

    Classes are those that have rows, as scikit-learn's are; one that has none weighs 1, for nothing.
    """
    made = {name: np.ones(len(counts)) for name in ("inverse_frequency", "effective_number")}
    there = counts > 0
    rows = counts[there].astype(np.float64)
    if len(rows):
        made["inverse_frequency"][there] = rows.sum() / (len(rows) * rows)
        effective = (1 - 0.999) / (1 - 0.999**rows)
        made["effective_number"][there] = effective * rows.sum() / (effective * rows).sum()
    return {name: each.tolist() for name, each in made.items()}


def majority(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """What a classifier gets that always says the most frequent of the classes, some of which have rows: accuracy and
    macro F1, which is over the classes that have."""
    share = float(counts.max() / counts.sum())
    return {"accuracy": share, "macro_f1": (2 * share / (1 + share)) / int(np.count_nonzero(counts))}
