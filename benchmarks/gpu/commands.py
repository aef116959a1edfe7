"""The commands and the tests, run as their users run them."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench, Result, digits
from benchmarks.gpu.busy import Busy
from benchmarks.peers.worker import ROOT
from seqcls_beam.runs.table import read_manifest


def gpu_tests(bench: Bench) -> Result:
    """`pytest -m gpu`; a rehearsal collects them only.

    Warnings are told and are no errors: the versions here need not be those that are pinned.
    """
    paths = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "pytest.mark.gpu" in path.read_text()]
    flags = ["-v", "-m", "gpu", "-o", "filterwarnings=default", "-p", "no:cacheprovider", "--tb=short", "-r", "fE"]
    processes = min(8, len(os.sched_getaffinity(0)))
    flags += ["--collect-only"] if bench.small else [f"-n={processes}", "--timeout=60"]
    try:
        code: Any = _run(bench, "pytest", *flags, *map(str, paths))
    except subprocess.TimeoutExpired:
        code = "cut off"
    lines = _log(bench).read_text(errors="replace").splitlines()
    return {
        "files": [path.name for path in paths],
        "exit_code": code,
        "said": lines[-1].strip("= ") if lines else "",
        # From the summary, or, where it was cut off, from what was told on the way.
        "failed": _lines(lines, r"(FAILED|ERROR) ") or _lines(lines, r"\[gw\d+\].*(FAILED|ERROR) "),
    }


def _lines(lines: list[str], pattern: str) -> list[str]:
    return [line[:200] for line in lines if re.match(pattern, line)]


def end_to_end(
    bench: Bench, source: str, model: str, flags: tuple[str, ...] = (), start: str = "", engine: str = ""
) -> Result:
    """`pipelines.classify`: its own seconds and how busy the card was.

    `start` and `engine` name steps before: what one text took, start-up mostly, is taken off, and what is left is
    compared with the engine alone on the same texts.
    """
    target = bench.work / "labels"
    shutil.rmtree(target, ignore_errors=True)
    asked = [f"--input={bench.work / source}", f"--model={bench.work / model}", f"--device={bench.device}", *flags]
    began = time.monotonic()
    with Busy() as busy:
        _succeed(bench, "pipelines.classify", *asked, f"--output={target}")
    whole = time.monotonic() - began
    manifest = read_manifest(str(target)) or {}
    seconds: float = manifest["seconds"]["wall"]
    return _net(bench, manifest["tokens"], seconds, start, engine) | {
        "wall_seconds": seconds,
        "command_seconds": round(whole, 1),
        "rows": manifest["rows"]["labeled"],
        "tokens": manifest["tokens"],
        "units": len(manifest["parts"]),
        "stages": manifest["seconds"],
        "engines": [_short(each) for each in manifest["engines"]],
        "gpu": busy.result(),
        "command": " ".join(["python -m pipelines.classify", *asked]).replace(f"{bench.work}/", ""),
    }


def _net(bench: Bench, tokens: int, seconds: float, start: str, engine: str) -> Result:
    """M tokens/s without the start, and their share of the engine's."""
    before = bench.found.get(start, {}).get("wall_seconds")
    if before is None:
        return {}
    if seconds <= before:
        return {"no_rate": "all texts took no longer than one"}
    net, alone = tokens / (seconds - before) / 1e6, bench.found.get(engine, {}).get("Mtokens_s")
    beside = {"share": digits(net / alone, 3), "engine_Mtokens_s": alone} if alone else {}
    return {"Mtokens_s": digits(net)} | beside


def prepared(bench: Bench) -> Result:
    """`pipelines.prepare`: all rows are for training, so that a training does nothing else."""
    target = bench.work / "prepared"
    shutil.rmtree(target, ignore_errors=True)
    asked = [f"--input={bench.work / 'labelled.parquet'}", f"--model={bench.work / 'bert-base'}"]
    asked += ["--near_duplicates=off", "--validation_fraction=0", "--test_fraction=0"]
    _succeed(bench, "pipelines.prepare", *asked, f"--output={target}")
    manifest = read_manifest(str(target)) or {}
    train = manifest["splits"]["train"]
    return {"rows": train["rows"], "tokens": train["tokens"], "wall_seconds": manifest["seconds"]["wall"]}


def training(bench: Bench, flags: tuple[str, ...] = (), padded: str = "") -> Result:
    """`pipelines.finetune`, one pass over the rows: tokens/s of the training itself, start and end left out.

    `padded` names the step to compare with.
    """
    if "tokens" not in (data := bench.found.get("prepare", {})):
        raise RuntimeError("the step that prepares them left no data")
    target = bench.work / "tuned"
    shutil.rmtree(target, ignore_errors=True)
    asked = [f"--data={bench.work / 'prepared'}", f"--model={bench.work / 'bert-base'}", f"--device={bench.device}"]
    asked += ["--epochs=1", "--batch_size=64", *flags]
    with Busy() as busy:
        _succeed(bench, "pipelines.finetune", *asked, f"--output={target}")
    manifest = read_manifest(str(target)) or {}
    history = json.loads((target / "metrics.json").read_text())["history"]
    (seconds,) = [each["train_runtime"] for each in history if "train_runtime" in each]
    speed = data["tokens"] / seconds
    other = bench.found.get(padded, {}).get("tokens_s")
    return ({"times": digits(speed / other, 3)} if other else {}) | {
        "tokens_s": round(speed),
        "train_seconds": seconds,
        "steps": manifest["steps"],
        "machine": manifest["machine"],
        "gpu": busy.result(),
        "command": " ".join(["python -m pipelines.finetune", *asked]).replace(f"{bench.work}/", ""),
    }


def _succeed(bench: Bench, module: str, *flags: str) -> None:
    """Run a module; raises `RuntimeError` with the last that it said where it fails."""
    try:
        code: Any = _run(bench, module, *flags)
    except subprocess.TimeoutExpired:
        code = "cut off"
    if code != 0:
        said = " | ".join(_log(bench).read_text(errors="replace").strip().splitlines()[-6:])
        raise RuntimeError(f"{module}: {code}: {said[-600:]}")


def _run(bench: Bench, module: str, *flags: str) -> int:
    """Run a module until the step is cut off; its exit code."""
    with _log(bench).open("w") as log:
        command = [sys.executable, "-m", module, *flags]
        return subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, timeout=max(1.0, bench.left())).returncode


def _log(bench: Bench) -> Path:
    return bench.logs / f"{bench.step}.txt"


def _short(engine: dict[str, Any]) -> Result:
    names = ("engine", "dtype", "batch_tokens", "refused", "threads")
    return {name: engine[name] for name in names if name in engine}
