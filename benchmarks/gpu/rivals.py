"""Other loops on the same texts: `benchmarks.peers`, in half precision, in one process one after the other."""

import gc
import os
import time
from typing import Any

import pyarrow.parquet as pq

from benchmarks.gpu.bench import Bench, Result, digits
from benchmarks.gpu.models import LABELS
from benchmarks.peers import peer
from benchmarks.peers.base import Job

TURNS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("ours", 40_000, {}),
    ("torch", 10_000, {"batch_tokens": 131_072}),
    ("torch", 10_000, {"batch_tokens": 32_768}),
    ("pipeline", 2_000, {"batch_size": 128}),
    ("pipeline", 2_000, {"batch_size": 32}),
    ("pipeline", 256, {"batch_size": 1}),
    ("cross-encoder", 5_000, {"batch_size": 128}),
    ("cross-encoder", 5_000, {"batch_size": 32}),
    ("beam", 2_000, {"batch_size": 128, "sort": True}),
)
"""(peer, texts, setting), those first that a comparison needs most."""


def rivals(bench: Bench) -> Result:
    """Texts/s from texts to answers, loading excluded; the faster of two turns over the same texts."""
    texts: list[str] = pq.read_table(bench.work / "long", columns=["text"])["text"].to_pylist()
    found: Result = {"model": "bert-base", "dtype": bench.half, "texts_s": {}, "left_out": {}}
    loaded: dict[str, Any] = {}
    for name, count, setting in TURNS:
        row = peer(name).title + ": " * bool(setting) + ", ".join(f"{key} {value}" for key, value in setting.items())
        if bench.left() < 8:
            found["left_out"][row] = "no time"
            continue
        some = texts[: min(count, 64) if bench.small else count]
        try:
            if name not in loaded:
                loaded.clear()
                gc.collect()
                loaded[name] = _loaded(bench, name, texts)
            found["texts_s"][row] = digits(max(_rate(loaded[name], some, setting) for _ in range(2)))
        except ImportError as error:
            found["left_out"][row] = f"not installed: {error.name or error}"
        except Exception as error:
            found["left_out"][row] = f"{type(error).__name__}: {error}"[:200]
    return found


def _loaded(bench: Bench, name: str, texts: list[str]) -> Any:
    made = peer(name)()
    threads = len(os.sched_getaffinity(0))
    made.load(
        Job(
            str(bench.work / "bert-base"),
            bench.device,
            bench.half,
            threads,
            texts[:2000],
            list(LABELS),
            str(bench.work),
        )
    )
    return made


def _rate(one: Any, texts: list[str], setting: dict[str, Any]) -> float:
    one.loading = 0.0
    began = time.perf_counter()
    one.run(texts, **setting)
    return len(texts) / (time.perf_counter() - began - one.loading)
