"""What the weights of a checkpoint are by their headers: names and shapes, without a number read."""

from collections.abc import Iterable
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor → its shape."""

_LAST = (
    *("classifier.out_proj", "classifier.linear_out", "classification_head.out_proj", "score.out_proj"),
    *("logits_proj", "classifier", "score", "sequence_summary.summary"),
)
"""What models of transformers 5.23 call the last layer of a classifier's head: its first dimension is the outputs'."""


def shapes(weights: Iterable[Path]) -> Shapes | None:
    """Those of the tensors in files that were checked; None where one is no safetensors, and shows them only loaded."""
    from safetensors import safe_open

    found: Shapes = {}
    for path in weights:
        if path.suffix != ".safetensors":
            return None
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            found.update((each, tuple(file.get_slice(each).get_shape())) for each in names)
    return found


def outputs_of(tensors: Shapes) -> int | None:
    """How many outputs a classifier has by the shape of its head's last layer; None where no name shows that."""
    for layer in _LAST:
        if shape := tensors.get(f"{layer}.weight"):
            return shape[0]
    return None


def largest(tensors: Shapes) -> int:
    """The largest dimension of any."""
    return max((max(shape, default=0) for shape in tensors.values()), default=0)
