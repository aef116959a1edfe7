"""What is told of splits beside their counts."""

from typing import Any

import numpy as np
import pytest

from seqcls_beam.preparation import findings, statistics


@pytest.mark.parametrize("sizes", [[70, 25, 5], [103, 97, 0, 0], [0, 1], [5000, 0, 3, 1]])
def test_class_weights_are_scikit_learns_and_average_one_over_the_rows(sizes):
    """Labels that have no row are named ones: they weigh 1, which no row has."""
    from sklearn.metrics import f1_score
    from sklearn.utils.class_weight import compute_class_weight

    counts = np.array(sizes)
    rows, there = np.repeat(np.arange(len(counts)), counts), counts > 0
    found = {name: np.array(each) for name, each in statistics.weights(counts).items()}
    expected = compute_class_weight("balanced", classes=np.flatnonzero(there), y=rows)
    assert np.allclose(found["inverse_frequency"][there], expected)
    for each in found.values():
        assert np.isclose(each[rows].mean(), 1) and (each[~there] == 1).all()
        order = np.argsort(counts[there])
        assert (np.diff(each[there][order]) <= 0).all()  # the rarer, the heavier
    most = counts.argmax()
    told = statistics.majority(counts)
    assert told["accuracy"] == pytest.approx((rows == most).mean())
    assert told["macro_f1"] == pytest.approx(f1_score(rows, np.full(len(rows), most), average="macro", zero_division=0))


def split(label_counts: dict[str, int], unlabelled: int = 0) -> dict[str, Any]:
    """A split as the manifest has it, as far as training goes."""
    rows = sum(label_counts.values()) + unlabelled
    return {"rows": rows, "label_counts": label_counts, "length": {"p99": 20}}


def test_what_has_no_labels_has_no_majority_and_what_has_no_rows_no_imbalance():
    made = {"train": split({"a": 30, "b": 10, "c": 0}), "test": split({"a": 0, "b": 0, "c": 0}, 8)}
    found = statistics.for_training(made, "single_label", 128)
    assert list(found["majority_baseline"]) == ["train"] and found["imbalance"] == 3


def part(rows: int, label_counts: list[int]) -> list[dict[str, Any]]:
    """A shard as it was counted, as far as skew goes."""
    return [{"rows": rows, "label_counts": label_counts, "lengths": {"9": rows}}]


def test_rows_without_a_label_make_no_skew_of_labels():
    train = part(100, [75, 25])
    assert statistics.skew(train, part(80, [30, 10]), "single_label")["labels"] == 0  # half of them have one
    assert "labels" not in statistics.skew(train, part(80, [0, 0]), "single_label")
    assert statistics.skew(train, part(80, [40, 20]), "multi_label")["labels"] == 0.25  # 0.75 and 0.5 of the rows


def test_labels_without_rows_are_named_by_split():
    many = {f"l{i}": int(i == 0) for i in range(9)}
    told = findings.absent({"train": split({"a": 3, "b": 0}), "validation": split(many), "test": split({"a": 0}, 4)})
    assert told == "train has no row of 'b'; validation has no row of 'l1', 'l2', 'l3', 'l4', 'l5', 3 more"
    assert findings.absent({"train": split({"a": 1}), "test": {"rows": 3, "target": {}}}) is None
