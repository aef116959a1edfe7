"""The engine alone: token ids in, logits out."""

import gc
import json
import statistics
import time
from collections import Counter
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.engine import compared
from benchmarks.gpu.bench import Bench, Result, digits
from benchmarks.gpu.ceilings import beside, expected
from benchmarks.gpu.models import sequences, shapes

CALL = 1 << 20  # tokens of a call, as far as a step chooses them
KINDS = {
    # FlashAttention's kernels name CUTLASS too, so they are told first.
    "attention": ("flash", "fmha", "attention", "bmm", "softmax"),
    "products": ("gemm", "gemv", "nvjet", "xmma", "cutlass", "splitk", "linear", "addmm", "aten::mm"),
    "copies": ("memcpy", "memset"),
}
"""What the names of kernels have in them, by kind; all others are pointwise, norms and look-ups among them."""


def engine(bench: Bench, model: str, dtype: str, budgets: tuple[int, ...]) -> Result:
    """M tokens/s for several `batch_tokens`; then, at the first: distance to float32, kernels, how near the ceilings.

    Batches have 8,192 rows of 128 tokens or so. The fastest and the median of some turns, after a first one.
    """
    ids, offsets = sequences(64 if bench.small else 8192)
    found: Result = {"model": model, "mean_tokens": round(float(np.diff(offsets).mean()), 1), "batch_tokens": {}}
    for budget in budgets:
        classifier, seconds = _load(bench, model, dtype, budget)
        found["batch_tokens"][str(budget)] = _speed(bench, classifier, ids, offsets) | {"load_seconds": seconds}
        if budget == budgets[0]:
            found["facts"] = _facts(classifier)
            found |= _kernels(bench, classifier, model, dtype, ids, offsets)
            some = min(len(offsets) - 1, 512)
            ours = classifier.logits(ids[: offsets[some]], offsets[: some + 1], None)
        del classifier
        _forget()
    plain, _ = _load(bench, model, "float32", 0)
    theirs = plain.logits(ids[: offsets[some]], offsets[: some + 1], None)
    return found | {"from_float32": compared(ours, theirs, "logits")}


def own(bench: Bench, model: str, source: str) -> Result:
    """M tokens/s on a corpus' own token ids, the first 8 Mi or so, as nothing but the options' defaults has it."""
    from seqcls_beam.model.checkpoints import resolve
    from seqcls_beam.model.tokens import encode

    checkpoint = resolve(str(bench.work / model))
    calls: list[tuple[Any, Any]] = []
    texts = pq.read_table(bench.work / source, columns=["text"])["text"].slice(0, 1 << 20).combine_chunks()
    total, at, rows = 0, 0, 64
    while at < len(texts) and total < 1 << 23:
        column = encode([texts.slice(at, rows)], checkpoint, checkpoint.max_length, 0)[0].input_ids
        calls.append((column.values.to_numpy(), column.offsets.to_numpy().astype(np.int64)))
        total, at = total + len(column.values), min(at + rows, len(texts))
        rows = CALL * at // total
    classifier, seconds = _load(bench, model, "auto", 0)
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        for ids, offsets in calls:
            classifier.logits(ids, offsets, None)
        spent.append(time.perf_counter() - began)
    facts = {"facts": _facts(classifier), "load_seconds": seconds}
    return {"Mtokens_s": digits(total / min(spent[1:]) / 1e6), "mean_tokens": round(total / at, 1)} | facts


def compiled(bench: Bench, model: str) -> Result:
    """M tokens/s compiled and as it is usually, on sequences of one width, each of which costs a compilation."""
    rows = 64 if bench.small else 8192
    ids, offsets = sequences(rows, 65, 128)
    found: Result = {"mean_tokens": round(float(np.diff(offsets).mean()), 1)}
    for name, compile in (("eager", False), ("compiled", True)):
        classifier, seconds = _load(bench, model, bench.half, 65_536, max_length=128, compile=compile)
        found[name] = _speed(bench, classifier, ids, offsets) | {"load_seconds": seconds} | _facts(classifier)
        del classifier
        _forget()
    return found


def bundled(bench: Bench) -> Result:
    """The checkpoint that comes with the package, --dtype=auto, on its sample: the way that was chosen, its answers."""
    from seqcls_beam.model.checkpoints import resolve
    from seqcls_beam.model.tokens import encode

    checkpoint = resolve("sentiment")
    lines = (files("seqcls_beam") / "sample" / "reviews.jsonl").read_bytes().decode(errors="replace").splitlines()
    texts = [text for line in lines if (text := _text(line))]
    column, _ = encode([pa.array(texts)], checkpoint, checkpoint.max_length, 0)
    ids = column.input_ids.values.to_numpy()
    offsets = column.input_ids.offsets.to_numpy().astype(np.int64)
    auto, seconds = _load(bench, "sentiment", "auto", 0)
    answers = auto.logits(ids, offsets, None)
    found = {"facts": _facts(auto), "load_seconds": seconds, "texts": len(offsets) - 1}
    del auto
    plain, _ = _load(bench, "sentiment", "float32", 0)
    return found | {"from_float32": compared(answers, plain.logits(ids, offsets, None), "logits")}


def ladder(bench: Bench) -> Result:
    """Lack of memory: the tokens of a pass are halved until they fit, and the answers stay."""
    import torch

    ids, offsets = sequences(8192, 65, 128)
    # Far above what lies free in the allocator's blocks, which cannot be taken from it.
    classifier, _ = _load(bench, "minilm", bench.half, 1 << 19)
    before = classifier.logits(ids, offsets, None)
    _forget()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (256 << 20)) / total)
    try:
        after = classifier.logits(ids, offsets, None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {
        "batch_tokens": {"before": 1 << 19, "after": classifier.facts["batch_tokens"]},
        "max_logit_difference": float(np.abs(before - after).max()),
    }


def kind(kernel: str) -> str:
    """What a kernel does, by its name."""
    name = kernel.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "pointwise")


def _load(bench: Bench, model: str, dtype: str, budget: int, **options: Any) -> tuple[Any, float]:
    """(a `Classifier`, the seconds it took)."""
    from seqcls_beam.config import ModelOptions
    from seqcls_beam.model.checkpoints import resolve
    from seqcls_beam.model.engine import Classifier

    began = time.monotonic()
    own = bench.work / model
    checkpoint = resolve(str(own) if own.is_dir() else model)
    asked = ModelOptions(device=bench.device, dtype=dtype, batch_tokens=budget, **options)
    return Classifier(checkpoint, asked), round(time.monotonic() - began, 1)


def _facts(classifier: Any) -> Result:
    names = ("engine", "dtype", "passes", "refused", "batch_tokens")
    return {name: classifier.facts[name] for name in names if name in classifier.facts}


def _speed(bench: Bench, classifier: Any, ids: Any, offsets: Any) -> Result:
    spent = []
    for _ in range(3 if bench.small else 7):
        began = time.perf_counter()
        classifier.logits(ids, offsets, None)
        spent.append(time.perf_counter() - began)
    first, *rest = spent
    return {
        "Mtokens_s": digits(len(ids) / min(rest) / 1e6),
        "median_Mtokens_s": digits(len(ids) / statistics.median(rest) / 1e6),
        "first_seconds": round(first, 2),
        "reserved_GiB": _reserved(bench),
    }


def _reserved(bench: Bench) -> float | None:
    import torch

    return round(torch.cuda.max_memory_reserved() / 2**30, 2) if bench.device == "cuda" else None


def _kernels(bench: Bench, classifier: Any, model: str, dtype: str, ids: Any, offsets: Any) -> Result:
    """Where a batch's time goes, by kernel and by kind of kernel; the full list is written to a file."""
    from torch.profiler import ProfilerActivity, profile

    cuda = bench.device == "cuda"
    where = "CUDA" if cuda else "CPU"  # the host's own events count the kernels that they launch once more
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        classifier.logits(ids, offsets, None)
        wall = time.perf_counter() - began
    rows = [
        (each.self_device_time_total if cuda else each.self_cpu_time_total, each.count, each.key)
        for each in seen.key_averages()
        if each.device_type.name == where
    ]
    rows = sorted((each for each in rows if each[0] > 0), reverse=True)
    lines = [f"{us / 1e3:10.2f} ms {count:6d} {kind(key):10s} {key[:160]}" for us, count, key in rows]
    (bench.out / f"kernels-{model}-{dtype}.txt").write_text("\n".join(lines) + "\n")
    spent: Counter[str] = Counter()
    for us, _, key in rows:
        spent[kind(key)] += us
    measured = {name: us / len(ids) for name, us in spent.items()} | {"all": spent.total() / len(ids)}
    found: Result = {
        "kernels": {
            "busy": round(spent.total() / 1e6 / wall, 3),
            "us_per_token": {name: digits(us) for name, us in measured.items()},
            "top": [f"{us / spent.total():.3f} {key[:70]}" for us, _, key in rows[:8]],
        }
    }
    ceilings = bench.found.get("ceilings", {})
    if f"{dtype}_TFLOP_s" in ceilings:
        mean = float(np.diff(offsets).mean())
        floor = expected(shapes(bench.small)[model], mean, ceilings, dtype)
        found["beside_ceilings"] = beside(measured, floor)
    return found


def _text(line: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError):
        return ""
    return text.strip() if isinstance(text, str) else ""


def _forget() -> None:
    """Let the next model have all of the memory, and its peak for itself."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
