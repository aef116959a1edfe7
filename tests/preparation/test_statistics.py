"""What is told of splits beside their counts."""

import numpy as np

from seqcls_beam.preparation import statistics


def test_class_weights_are_scikit_learns_and_a_majority_is_counted():
    from sklearn.metrics import f1_score
    from sklearn.utils.class_weight import compute_class_weight

    rows = [0] * 70 + [1] * 25 + [2] * 5
    counts = np.bincount(rows)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows)
    found = statistics.weights(counts)
    assert np.allclose(found["inverse_frequency"], expected)
    effective = np.array(found["effective_number"])
    assert np.isclose((effective * counts).sum(), 100) and (np.diff(effective) > 0).all()
    assert statistics.majority(counts)["accuracy"] == 0.7
    macro = f1_score(rows, [0] * 100, average="macro", zero_division=0)
    assert np.isclose(statistics.majority(counts)["macro_f1"], macro)
