"""Two versions of a tiny checkpoint, which agree on labels and not on how sure they are."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny
from tests.corpora import plain_scores
from tests.nights.inbox import reviews

SURER = 1.1


def versions(folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint that gives each label to half of the texts of a usual day, and one that is surer of them."""
    first = tiny.checkpoint(folder / "v1")
    scores = plain_scores(first, reviews(400, 0))
    middle = float(np.median(np.log(scores[:, 0] / scores[:, 1])))
    _change(first, "classifier.bias", lambda bias: bias - middle * bias.new_tensor([0.5, -0.5]))
    second = shutil.copytree(first, folder / "v2")
    for name in ("classifier.weight", "classifier.bias"):
        _change(second, name, lambda weights: weights * SURER)
    return first, second


def _change(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({**weights, name: change(weights[name])}, folder / "model.safetensors", {"format": "pt"})
