"""int8: a float32 model on the CPU is fitted to the first rows of a corpus, and judged by others of them.

Every other sequence shows what the inputs of each product are, and which products cost the logits most when their
numbers are bytes; those stay in 16 or 32 bits. On the rest the labels of int8 are compared with those of float32.
Nothing is drawn at random: the same checkpoint and sequences give every worker on such processors the same model.

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
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.linear import Bfloat16Linear, Int8Linear, Linear, multiplies_bfloat16
from seqcls_beam.model.engine.packing import Ints, of_rows
from seqcls_beam.model.tokens import Sequences

AGREEMENT = 0.995  # of labels, below which int8 is refused
_AGREED = 0.9975  # of the labels it is fitted to, with which no more products stay wide
_NEAR = 0.002  # of probabilities, on average: likewise, where others are at hand for little time
_WIDE = 3  # one product in so many may stay in 16 or 32 bits
_WEIGHED_BY = 1024  # tokens on which it is measured what bytes cost a product, and one product's bytes the logits
_EXPONENTS = (0.5, 0.65, 0.8)
_log = logging.getLogger(__name__)

Run = Callable[[Ints, Ints, Ints | None], npt.NDArray[np.float32]]


def quantize(
    model: Any,
    checkpoint: Checkpoint,
    first: Sequences,
    run: Run,
    changed: Callable[[], None] | None = None,
    halve: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Replace the products below the head of `model` by int8; facts about how well that went.

    `run` is the model as it stands: (ids [T], offsets [N + 1], token types [T] or None) → float32 [N, L]; `changed` is
    called whenever products have become other ones; `halve` has all that is no product in bfloat16, where that is
    faster. Raises `EngineError` where fewer than 99.5 % of the labels are
    those of float32.
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
    offsets_N1 = first[1]
    rows_N = np.arange(len(offsets_N1) - 1)
    if len(rows_N) < 2:
        raise EngineError("--dtype=int8: there are not two texts to fit it to and to judge it by; take float32")

    def logits(rows_R: Ints) -> npt.NDArray[np.float32]:
        return run(*of_rows(first, rows_R))

    def put(modules: dict[str, nn.Module]) -> None:
        for name, module in modules.items():
            parent, _, attribute = name.rpartition(".")
            setattr(model.base_model.get_submodule(parent), attribute, module)
        if changed is not None:
            changed()

    fitted, judged = rows_N[::2], rows_N[1::2]
    expected_RL = logits(judged)
    few = fitted[: np.searchsorted(np.cumsum(np.diff(offsets_N1)[fitted]), _WEIGHED_BY) + 1]
    wanted_RL, ranges = _ranges(products, lambda: logits(fitted))
    inputs = _inputs(products, lambda: logits(few))
    narrow: dict[str, nn.Module] = {name: _fitted(products[name], *ranges[name], inputs[name]) for name in inputs}
    costs = {}
    for name, module in narrow.items():
        put({name: module})
        costs[name] = float(np.square(logits(few) - wanted_RL[: len(few)]).mean())
        put({name: products[name]})
    put(narrow)
    half = multiplies_bfloat16()
    wide: list[str] = []
    for name in sorted(costs, key=lambda name: -costs[name])[: len(costs) // _WIDE]:
        labels, deltas = compared(wanted_RL, logits(fitted), checkpoint.problem)
        if labels >= _AGREED and (not half or deltas <= _NEAR):  # bfloat16 costs less time than float32
            break
        put({name: Bfloat16Linear(products[name]) if half else products[name]})
        wide.append(name)
    rest = "float32"
    if half and halve is not None:
        halve()
        rest = "bfloat16"
    labels, deltas = compared(expected_RL, logits(judged), checkpoint.problem)
    facts = {
        "dtype": "int8",
        "parity": {"sequences": len(judged), "label_agreement": labels, "mean_delta": deltas},
        "rest": rest,
        "wide": {"dtype": "bfloat16" if half else "float32", "products": wide},
    }
    summary = (
        f"{labels:.2%} of the labels of {len(judged)} sequences, mean |Δp| {deltas:.2g}, with {len(wide)} of "
        f"{len(narrow)} products in {'bfloat16' if half else 'float32'}"
    )
    if labels < AGREEMENT:
        raise EngineError(
            f"--dtype=int8: {checkpoint.name} loses too much: it keeps {summary}; {AGREEMENT:.1%} are asked for: "
            "take float32"
        )
    _log.info("%s: int8 keeps %s", checkpoint.name, summary)
    return facts


def _ranges(
    products: dict[str, Linear], run: Callable[[], npt.NDArray[np.float32]]
) -> tuple[npt.NDArray[np.float32], dict[str, tuple[Tensor, Tensor]]]:
    """What `run` gives, and the lowest and highest value of each input of each product meanwhile: float32 [I] each."""
    ranges: dict[str, tuple[Tensor, Tensor]] = {}

    def observe(name: str, x_RI: Tensor) -> None:
        low_I, high_I = x_RI.aminmax(dim=0)
        if name in ranges:
            low_I, high_I = torch.minimum(low_I, ranges[name][0]), torch.maximum(high_I, ranges[name][1])
        ranges[name] = low_I, high_I

    return _observed(products, observe, run), ranges


def _inputs(products: dict[str, Linear], run: Callable[[], Any]) -> dict[str, Tensor]:
    """The inputs of each product while `run` runs: by name, float32 [R, I]."""
    inputs: dict[str, list[Tensor]] = {}
    _observed(products, lambda name, x_RI: inputs.setdefault(name, []).append(x_RI.clone()), run)
    return {name: torch.cat(each) for name, each in inputs.items()}


def _observed(products: dict[str, Linear], observe: Callable[[str, Tensor], None], run: Callable[[], Any]) -> Any:
    """What `run` gives; `observe` is called with the name and the inputs [R, I] of each product that takes part."""
    hooks = [
        each.register_forward_pre_hook(lambda _, inputs, name=name: observe(name, inputs[0].flatten(0, -2)))
        for name, each in products.items()
    ]
    try:
        return run()
    finally:
        for each in hooks:
            each.remove()


def _fitted(product: Linear, low_I: Tensor, high_I: Tensor, some_RI: Tensor) -> Int8Linear:
    """The product in bytes that is nearest to it on some of its inputs."""
    exact_RO = product(some_RI)
    candidates = (Int8Linear(product, low_I, high_I, exponent) for exponent in _EXPONENTS)
    return min(candidates, key=lambda each: (each(some_RI) - exact_RO).square().mean().item())


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
