"""What the machine can do at most: copies and products, and what a model would take at that speed."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.gpu.bench import Bench, Result, digits
from benchmarks.gpu.models import shapes

PRODUCTS = 20  # between two waits: one takes less time than to launch it and wait


def ceilings(bench: Bench) -> Result:
    """GB/s of a copy (read and written), TFLOP/s of products with a bias, by dtype and shape."""
    import torch

    rows, floats = (512, 1 << 22) if bench.small else (65_536, 1 << 30)
    x = torch.randn(floats, device=bench.device)
    y = torch.empty_like(x)
    found: Result = {"rows": rows, "copy_GB_s": digits(2 * x.nbytes / _seconds(bench, y.copy_, x) / 1e9)}
    del x, y
    for name in dict.fromkeys((bench.half, "bfloat16") if bench.device == "cuda" else (bench.half,)):
        how: Any = {"device": bench.device, "dtype": getattr(torch, name)}
        rates: dict[str, float] = {}
        for k, n in sorted({each for shape in shapes(bench.small).values() for each in layer(shape)}):
            a, w, b = torch.randn(rows, k, **how), torch.randn(n, k, **how), torch.randn(n, **how)
            seconds = _seconds(bench, _products, a, w, b)
            rates[f"{k}x{n}"] = digits(2e-12 * rows * k * n * PRODUCTS / seconds)
        found[f"{name}_TFLOP_s"] = rates
    return found


def _products(x: Any, w: Any, b: Any) -> None:
    import torch

    with torch.inference_mode():
        for _ in range(PRODUCTS):
            torch.nn.functional.linear(x, w, b)


def _seconds(bench: Bench, work: Callable[..., Any], *on: Any) -> float:
    """The median of some turns, after a first one."""
    import torch

    wait = torch.cuda.synchronize if bench.device == "cuda" else lambda: None
    spent = []
    for _ in range(3 if bench.small else 8):
        began = time.perf_counter()
        work(*on)
        wait()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])


def layer(shape: Mapping[str, int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of the products of a layer: query, key and value as one, projection, up, down."""
    h, f = shape["hidden_size"], shape["intermediate_size"]
    return [(h, 3 * h), (h, h), (h, f), (f, h)]


def expected(shape: Mapping[str, int], mean: float, found: Mapping[str, Any], dtype: str) -> dict[str, float]:
    """µs per token of each kind of kernel at the measured ceilings, for sequences of `mean` tokens.

    Products at the TFLOP/s of their shape. The rest by the bytes it must move: attention reads query, key and value and
    writes as much as one of them; around it stand two sums, two norms and GELU, each a kernel of its own. The last
    layer computes keys and values of all tokens, and the rest, with the pooler, for the first one. Embeddings: three
    look-ups, two sums and a norm.
    """
    h, f, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    rates, width = found[f"{dtype}_TFLOP_s"], 4 if dtype == "float32" else 2
    whole = sum(2 * k * n / rates[f"{k}x{n}"] for k, n in layer(shape))
    keys = 2 * h * 2 * h / rates[f"{h}x{3 * h}"]
    first = sum(2 * k * n / rates[f"{k}x{n}"] for k, n in [(h, h), (h, h), *layer(shape)[1:]])
    products = (layers - 1) * whole + keys + first / mean  # FLOP / (TFLOP/s) = 1e-12 s
    pointwise = (layers - 1) * (2 * 3 * h + 2 * 2 * h + 2 * f) + 3 * 2 * h + 2 * 3 * h + 2 * h
    attention = (layers - 1) * 4 * h + 2 * h
    us = {
        "products": products * 1e-6,
        "attention": attention * width / found["copy_GB_s"] * 1e-3,
        "pointwise": pointwise * width / found["copy_GB_s"] * 1e-3,
    }
    return us | {"all": sum(us.values())}


def beside(measured: Mapping[str, float], floor: Mapping[str, float]) -> Result:
    """µs per token, measured and expected, and how many times the one the other is."""
    return {
        kind: {"measured": digits(measured[kind]), "expected": digits(us), "ratio": digits(measured[kind] / us, 3)}
        for kind, us in floor.items()
        if measured.get(kind)
    }
