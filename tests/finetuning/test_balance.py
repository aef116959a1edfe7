"""What rows weigh in the loss by their labels, beside scikit-learn's balance and torch's own loss."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seqcls_beam.config.finetune import TrainOptions
from seqcls_beam.finetuning.job import label_weights
from seqcls_beam.finetuning.trainer import Loss

GOLD = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, 1]] * 10, np.float32)
NAMES = ["a", "b", "c", "d", "e"]  # of which no row has c, and each has e
DATA: dict[str, Any] = {
    "problem": "multi_label",
    "labels": NAMES,
    "splits": {"train": {"rows": 40, "label_counts": dict(zip(NAMES, (30, 10, 0, 20, 40), strict=True))}},
}


def loss_of(**options: Any) -> Loss:
    """The loss of a job of these options on these data."""
    data = SimpleNamespace(problem="multi_label", manifest=DATA)
    job: Any = SimpleNamespace(prepared=data, config=SimpleNamespace(train=TrainOptions(**options)))
    return Loss(job)


def test_several_labels_are_balanced_as_scikit_learn_balances_two_classes():
    from sklearn.utils.class_weight import compute_class_weight

    found = label_weights(TrainOptions(pos_weight="balanced"), DATA)
    assert found is not None
    for number in (0, 1, 3):
        without, with_ = compute_class_weight("balanced", classes=np.array([0, 1]), y=GOLD[:, number].astype(int))
        assert found[number] == pytest.approx(with_ / without)
    assert found[2] == found[4] == 1  # nothing to balance
    assert label_weights(TrainOptions(pos_weight="balanced", max_pos_weight=2), DATA) == [1 / 3, 2, 1, 1, 1]
    assert label_weights(TrainOptions(), DATA) is None


@pytest.mark.parametrize("parts", [1, 3])
def test_the_loss_of_several_labels_is_torchs_with_its_weights(parts):
    torch.manual_seed(0)
    logits, gold = torch.randn(40, 5), torch.from_numpy(GOLD)
    positive = torch.tensor([10 / 30, 2.5, 1.0, 1.0, 1.0])
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=positive)(logits, gold)
    by_hand = -(positive * gold * logits.sigmoid().log() + (1 - gold) * (1 - logits.sigmoid()).log()).mean()
    loss = loss_of(pos_weight="balanced", max_pos_weight=2.5)
    cut = [loss({"logits": logits[i::parts]}, gold[i::parts], torch.tensor(200)) for i in range(parts)]
    assert torch.allclose(sum(cut[1:], cut[0]), expected, rtol=1e-6) and torch.allclose(expected, by_hand, rtol=1e-5)
    plain = torch.nn.BCEWithLogitsLoss()(logits, gold)
    assert torch.allclose(loss_of()({"logits": logits}, gold), plain) and not torch.allclose(plain, expected)
