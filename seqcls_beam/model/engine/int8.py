"""int8: a float32 model on the CPU is fitted to the first rows of a corpus, and judged by others of them.

Every other sequence shows what range the inputs of each product have; on the rest the labels of int8 are compared
with those of float32.

Axes in names as in `seqcls_beam.model.engine`.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.engine.blocks import Block
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.linear import Bfloat16Linear, Int8Linear, Linear, multiplies_bfloat16
from seqcls_beam.model.engine.packing import Ints, take
from seqcls_beam.model.tokens import Sequences

AGREEMENT = 0.995  # of labels, below which int8 is refused
_log = logging.getLogger(__name__)

Run = Callable[[Ints, Ints, Ints | None], npt.NDArray[np.float32]]


def quantize(
    model: Any, checkpoint: Checkpoint, first: Sequences, run: Run, changed: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Replace the products below the head of `model` by int8; facts about how well that went.

    `run` is the model as it stands: (ids [T], offsets [N + 1], token types [T] or None) → float32 [N, L]; `changed` is
    called once the products are other ones. Raises `EngineError` where fewer than 99.5 % of the labels are those of
    float32.
    """
    products = {
        name: each
        for name, each in model.base_model.named_modules()
        if isinstance(each, Linear) and not name.startswith("pooler")
    }
    if not products:
        raise EngineError("--dtype=int8: this processor or this build of torch lacks oneDNN's products")
    if checkpoint.problem == "regression":
        raise EngineError(f"--dtype=int8: is judged by labels, and {checkpoint.name} gives numbers; take float32")
    ids_T, offsets_N1, types_T = first
    rows_N = np.arange(len(offsets_N1) - 1)
    if len(rows_N) < 2:
        raise EngineError("--dtype=int8: there are not two texts to fit it to and to judge it by; take float32")

    def logits(rows_R: Ints) -> npt.NDArray[np.float32]:
        where, offsets_R1 = take(offsets_N1, rows_R)
        return run(ids_T[where], offsets_R1, None if types_T is None else types_T[where])

    fitted, judged = rows_N[::2], rows_N[1::2]
    expected_RL = logits(judged)
    _replace(model.base_model, products, _ranges(products, lambda: logits(fitted)))
    if changed is not None:
        changed()
    labels, deltas = compared(expected_RL, logits(judged), checkpoint.problem)
    facts = {
        "dtype": "int8",
        "parity": {"sequences": len(judged), "label_agreement": labels, "mean_delta": deltas},
    }
    summary = f"{labels:.2%} of the labels of {len(judged)} sequences, mean |Δp| {deltas:.2g}"
    if labels < AGREEMENT:
        raise EngineError(
            f"--dtype=int8: {checkpoint.name} loses too much: it keeps {summary}; {AGREEMENT:.1%} are asked for: "
            "take float32"
        )
    _log.info("%s: int8 keeps %s", checkpoint.name, summary)
    return facts


def _ranges(products: dict[str, Linear], run: Callable[[], Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """The lowest and highest value of each input of each product while `run` runs: by name, float32 [I] each."""
    ranges: dict[str, tuple[Tensor, Tensor]] = {}

    def observe(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            low_I, high_I = inputs[0].flatten(0, -2).aminmax(dim=0)
            if name in ranges:
                low_I, high_I = torch.minimum(low_I, ranges[name][0]), torch.maximum(high_I, ranges[name][1])
            ranges[name] = low_I, high_I

        return hook

    hooks = [each.register_forward_pre_hook(observe(name)) for name, each in products.items()]
    try:
        run()
    finally:
        for each in hooks:
            each.remove()
    return ranges


def _replace(model: nn.Module, products: dict[str, Linear], ranges: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Put products of bytes in the place of those in float32.

    The second one of a feed-forward part stays in 16 or 32 bits: its inputs come out of GELU, a few of them a hundred
    times larger than most, and eight bits do not hold both.
    """
    bfloat16 = multiplies_bfloat16()
    for name, product in products.items():
        parent, _, attribute = name.rpartition(".")
        module = model.get_submodule(parent)
        in_block = isinstance(module, Block)
        if in_block and attribute == "down":
            if bfloat16:
                module.down = Bfloat16Linear(product)
        elif name in ranges:
            half = in_block and attribute == "up" and product.gelu and bfloat16
            setattr(module, attribute, Int8Linear(product, *ranges[name], torch.bfloat16 if half else torch.float32))


def compared(
    expected_RL: npt.NDArray[np.float32], found_RL: npt.NDArray[np.float32], problem: str
) -> tuple[float, float]:
    """Logits of the same sequences → (share of them with the same labels, mean difference of a probability)."""
    if problem == "multi_label":
        same_R = ((expected_RL > 0) == (found_RL > 0)).all(axis=1)
        one, other = (torch.from_numpy(each).sigmoid() for each in (expected_RL, found_RL))
    else:
        same_R = expected_RL.argmax(axis=1) == found_RL.argmax(axis=1)
        one, other = (torch.from_numpy(each).softmax(1) for each in (expected_RL, found_RL))
    return float(same_R.mean()), (one - other).abs().mean().item()
