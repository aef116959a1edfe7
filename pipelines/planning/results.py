"""How fast another device is, by a file that somebody measured it into."""

import math
import re
from collections.abc import Iterator
from typing import Any

from pipelines.planning import documents
from pipelines.planning.speed import Speed, ensured, remembered, work

SHAPES = {"minilm": (6, 384, 1536), "distilbert": (6, 768, 3072), "bert-base": (12, 768, 3072)}
"""Layers, width and inner width of the models of the benchmarks."""
OURS = "seqcls_beam"
_EXPECTED = "expected what --plan_json wrote, or engine-cpu-*.json or gpu.json of benchmarks/results"
MOST = 2.0
"""By which a model may have more work, or less, than the one that was measured, for its speed to stand for both."""
_ROWS = 1000
"""A run of fewer shows how long a model takes to load."""
_HALVES = {"float16", "bfloat16"}
_CARDS = {
    "nvidia-tesla-a100": ("A100", "40GB"),
    "nvidia-a100-80gb": ("A100", "80GB"),
    "nvidia-h100-80gb": ("H100",),
    "nvidia-h100-mega-80gb": ("H100",),
    "nvidia-h200-141gb": ("H200",),
}
"""Accelerator → words in the name that its driver gives it, where the last word of its own is none."""


def read(file: str) -> list[Speed]:
    """The speeds in a file. Raises `ValueError` where it has none, or odd ones, and as `documents.read`."""
    said, option = documents.read("plan_speed", file), documents.named("plan_speed", file)
    if not isinstance(said, dict):
        raise ValueError(f"{option} is {documents.shown(said)}: {_EXPECTED}")
    try:
        found = list(map(ensured, _speeds(said, option.partition("=")[2])))
    except KeyError as error:
        raise ValueError(f"{option} is damaged: it has no {error.args[0]}; {_EXPECTED}") from error
    except (TypeError, AttributeError, IndexError, ArithmeticError) as error:
        # What Python says of these is of the code, and of no file.
        raise ValueError(f"{option} is damaged: a part of it is of another kind; {_EXPECTED}") from error
    except ValueError as error:
        raise ValueError(f"{option} is damaged: {error}; {_EXPECTED}") from error
    if not found:
        raise ValueError(f"{option} says no speed of this program: {_EXPECTED}")
    return found


def chosen(
    found: list[Speed], device: str | None, gpu: str | None, dtype: str, work: int | None, digest: str, length: float
) -> Speed | str:
    """Of several speeds the one that is nearest, or why none is of use.

    `device` is "cpu", "cuda" or None for any; `gpu` an accelerator as Google Cloud names it; `dtype` as in
    `ModelOptions`; `length` the mean tokens of a row.
    """
    on = [each for each in found if device in (None, each.device) and (gpu is None or _is(each.gpu or "", gpu))]
    if not on:
        wanted = gpu or {"cpu": "a CPU", "cuda": "a GPU"}[device or "cpu"]
        return f"the file is of {', '.join(sorted({each.on for each in found}))}, and the worker has {wanted}"
    typed = [each for each in on if _goes(each, dtype)]
    if not typed:
        return f"the file has {', '.join(sorted({each.dtype for each in on}))} on it, and not {dtype}"
    best = min(
        typed,
        key=lambda each: (
            each.digest != digest,
            _far(each.work, work),
            each.dtype != _usual(each.device) if dtype == "auto" else each.dtype != dtype,
            not each.whole,
            abs(math.log(each.tokens_per_row / max(length, 1.0))),
        ),
    )
    if best.digest != digest and _far(best.work, work) > math.log(MOST):
        times = "" if not best.work or not work else f", {best.work / work:.2g} times the work of this one a token"
        return f"the nearest is {best.source}{times}: measure this model there"
    return best


def _goes(each: Speed, dtype: str) -> bool:
    wanted = _usual(each.device) if dtype == "auto" else dtype
    return each.dtype == wanted or (each.device == "cuda" and {each.dtype, wanted} <= _HALVES)


def _usual(device: str) -> str:
    """What the engine takes where it may choose."""
    return "float32" if device == "cpu" else "float16"


def _far(one: int | None, other: int | None) -> float:
    return abs(math.log(one / other)) if one and other else math.inf


def _is(name: str, gpu: str) -> bool:
    """Whether a GPU, as its driver names it, is of a kind."""
    words = set(re.split(r"[^A-Z0-9]+", name.upper()))
    return words.issuperset(_CARDS.get(gpu, (gpu.rpartition("-")[2].upper(),)))


def _speeds(said: dict[str, Any], file: str) -> Iterator[Speed]:
    if said.get("kind") == "plan":
        for key in ("speed", "here"):
            if said.get(key) is not None and said[key]["source"] == "measured on this machine":
                yield remembered(said[key], file)
    elif "cells" in said:
        yield from _of_engine(said, file)
    elif "steps" in said and not said.get("small"):
        yield from _of_gpu(said, file)


def _of_engine(said: dict[str, Any], file: str) -> Iterator[Speed]:
    """engine-cpu-*.json: the engine alone, on ids."""
    for cell in said["cells"]:
        for name, peer in cell["peers"].items():
            if not name.startswith(OURS):
                continue
            length, dtype = cell["tokens"] / cell["texts"], peer["facts"]["dtype"]
            yield Speed(
                tokens_per_second=peer["tokens_per_second"],
                source=_told(file, cell["model"], dtype, said["processor"], length, "the engine alone"),
                device=said["device"],
                dtype=dtype,
                tokens_per_row=length,
                work=work(*SHAPES[cell["model"]]) if cell["model"] in SHAPES else None,
                processor=said["processor"],
                cores=said["cores"],
                threads=said["threads"],
                model_tokens_per_second=peer["tokens_per_second"],
                seconds=sum(peer["seconds"]),
            )


def _of_gpu(said: dict[str, Any], file: str) -> Iterator[Speed]:
    """gpu.json: whole runs of one process, from files to parts."""
    for step in said["steps"].values():
        command = step.get("command", "")
        model = re.search(r"--model=(\S+)", command)
        one = "pipelines.classify" in command and "num_workers" not in command and step.get("rows", 0) >= _ROWS
        if not (model and one and step.get("Mtokens_s")):
            continue
        length, dtype = step["tokens"] / step["rows"], step["engines"][0]["dtype"]
        card = said["gpu"]["name"] if said.get("gpu") else None
        whole = "a run from file to parts"
        yield Speed(
            tokens_per_second=1e6 * step["Mtokens_s"],
            source=_told(file, model[1], dtype, card or said["processor"], length, whole),
            device=said["device"],
            dtype=dtype,
            tokens_per_row=length,
            work=work(*SHAPES[model[1]]) if model[1] in SHAPES else None,
            gpu=card,
            processor=said["processor"],
            cores=said["cores"],
            threads=step["engines"][0]["threads"],
            whole=True,
            seconds=step["wall_seconds"],
        )


def _told(file: str, model: str, dtype: str, on: str, length: float, what: str) -> str:
    return f"{file}: {model} in {dtype} on {on}, texts of {length:.0f} tokens, {what}"
