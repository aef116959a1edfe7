"""The matmul peak of a machine: the fastest product of two matrices there is for the shapes of a model.

    python -m benchmarks.peers.matmul CHECKPOINT cpu|cuda

Prints JSON: FLOP/s by kernel and shape. On a CPU torch.mm goes to MKL, which holds back on processors that are not
Intel's; oneDNN, which torch takes for its compiled and its bfloat16 products, does not.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.work import shape

SECONDS = 0.7  # per kernel and shape
# Rows of a product, and products between two waits: a GPU does one in less time than it takes to launch it and wait.
CPU, GPU = (2048, 1), (65_536, 20)


def best(product: Callable[[], Any], flops: float, at_once: int, wait: Callable[[], None]) -> float:
    """FLOP/s of the fastest of many turns of `at_once` calls."""
    shortest, until = float("inf"), time.perf_counter() + SECONDS
    product()
    wait()
    while time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(at_once):
            product()
        wait()
        shortest = min(shortest, time.perf_counter() - started)
    return flops * at_once / shortest


def kernels(device: str, m: int, k: int, n: int) -> dict[str, Callable[[], Any]]:
    """Ways to multiply [m, k] by [k, n]."""
    if device == "cuda":
        x, w = (torch.randn(*each, device="cuda", dtype=torch.bfloat16) for each in ((m, k), (k, n)))
        return {f"torch.mm bfloat16, {torch.cuda.get_device_name()}": lambda: torch.mm(x, w)}
    x, w, b = torch.randn(m, k), torch.randn(n, k), torch.zeros(n)
    reordered = torch.ops.mkldnn._reorder_linear_weight(w, None)
    return {
        "torch.mm": lambda: torch.mm(x, w.t()),
        "oneDNN": lambda: torch.ops.mkldnn._linear_pointwise(x, reordered, b, "none", [], "none"),
    }


def main() -> None:
    """Measure, print."""
    h, ffn, _ = shape(json.loads((Path(sys.argv[1]) / "config.json").read_text()))
    device = sys.argv[2]
    rows, at_once = CPU if device == "cpu" else GPU
    wait = (lambda: None) if device == "cpu" else torch.cuda.synchronize
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for m, k, n in ((2048, 2048, 2048), (rows, h, h), (rows, h, ffn), (rows, ffn, h)):
            for kernel, product in kernels(device, m, k, n).items():
                found.setdefault(kernel, {})[f"{m}x{k}x{n}"] = best(product, 2.0 * m * k * n, at_once, wait)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
