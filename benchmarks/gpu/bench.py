"""Steps, each with its time: what one raises, or that it dies or hangs, is its result, and the next one runs."""

import contextlib
import gc
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Result = dict[str, Any]

PATIENCE = 3  # times the seconds that a step needs, after which it is cut off


@dataclass(frozen=True)
class Bench:
    """What every step is told."""

    device: str  # "cuda" or "cpu"
    small: bool  # a rehearsal: tiny models, few texts
    work: Path  # checkpoints, corpora and the like; may be thrown away
    out: Path
    step: str = ""  # that is running
    until: float = 0.0  # time.monotonic() at which the running step is cut off
    found: Mapping[str, Result] = field(default_factory=dict)  # results of the steps before

    @property
    def half(self) -> str:
        """The precision that is measured first."""
        return "float16" if self.device == "cuda" else "float32"

    @property
    def logs(self) -> Path:
        """Folder of what the steps and their commands print."""
        return self.work / "logs"

    def left(self) -> float:
        """Seconds until the running step is cut off."""
        return self.until - time.monotonic()


@dataclass(frozen=True)
class Step:
    """One thing to measure. `work` must be picklable."""

    name: str
    needs: float  # seconds; with fewer left it is skipped
    work: Callable[[Bench], Result]
    gpu: bool = False  # means nothing elsewhere
    patience: float = PATIENCE
    files: tuple[str, ...] = ()  # steps whose files it reads
    figures: tuple[str, ...] = ()  # steps whose results it compares with


class Record:
    """The results so far, on the disk after every step: gpu.json, and what was printed in logs.txt.

    `about` is what is to be said of this run. `earlier` is the gpu.json of another one, to which this one adds: it
    stays as it is but for what is measured anew, and `later` says of each run that was added what `about` says, and
    which steps are its own.
    """

    def __init__(self, bench: Bench, about: Result, earlier: Result | None = None) -> None:
        self.steps: dict[str, Result] = dict(earlier["steps"]) if earlier else {}
        self._bench = bench
        self._own: list[str] = []
        self._about = about if earlier is None else {**earlier, "later": [*earlier.get("later", []), about]}
        if earlier is not None:
            about["steps"] = self._own

    @property
    def whole(self) -> Result:
        """What gpu.json holds."""
        return {**self._about, "steps": self.steps}

    def keep(self, name: str, result: Result) -> None:
        """Add a step's result, but not that there is none where an earlier run has one.

        Whoever reads gpu.json meanwhile sees the one before or this one, whole.
        """
        if measured(result) or not measured(self.steps.get(name)):
            self.steps[name] = result
            self._own.append(name)
        self._write("gpu.json", json.dumps(self.whole, indent=1) + "\n")
        logs = sorted(self._bench.logs.glob("*.txt"), key=lambda path: path.stat().st_mtime)
        texts = [(path.stem, path.read_text(errors="replace")[-100_000:]) for path in logs]
        self._write("logs.txt", "".join(f"===== {stem}\n{text}\n" for stem, text in texts))

    def _write(self, name: str, text: str) -> None:
        aside = self._bench.out / f"{name}.new"
        aside.write_text(text)
        aside.replace(self._bench.out / name)


def measured(result: Result | None) -> bool:
    """Whether a step came to its end."""
    return result is not None and not {"skipped", "error"} & set(result)


def only(steps: list[Step], names: list[str], before: Mapping[str, Result]) -> list[Step]:
    """The steps of these names, and those that they need: for files always, for figures where `before` has none."""
    wanted = set(names)
    for step in reversed(steps):  # each stands behind those that it needs
        if step.name in wanted:
            wanted |= {*step.files, *(each for each in step.figures if not measured(before.get(each)))}
    return [step for step in steps if step.name in wanted]


def run(steps: list[Step], bench: Bench, record: Record, seconds: float) -> None:
    """Run the steps in order, as far as `seconds` reach; shows each as it begins and ends."""
    began = time.monotonic()
    worker: Worker | None = None
    try:
        for step in steps:
            now = time.monotonic()
            left = max(0.0, seconds - (now - began))
            print(f"[{now - began:4.0f} s, {left:4.0f} left] {step.name}", flush=True)
            if step.gpu and bench.device != "cuda":
                result: Result = {"skipped": "needs a GPU"}
            elif left < step.needs:
                result = {"skipped": f"no time: {left:.0f} s left, {step.needs:.0f} needed"}
            else:
                worker = worker or Worker(bench)
                until = min(now + step.patience * step.needs, began + seconds)
                result = worker.ask(step.work, replace(bench, step=step.name, until=until, found=dict(record.steps)))
                result["step_seconds"] = round(time.monotonic() - now, 1)
                if "error" in result:
                    # After some errors nothing runs on a GPU from the same process any more.
                    worker.end()
                    worker = None
            record.keep(step.name, result)
            show(result)
    finally:
        if worker:
            worker.end()


def digits(value: float, count: int = 4) -> float:
    """A measured value without the digits that mean nothing."""
    return float(f"{value:.{count}g}")


def show(result: Result, indent: str = "    ") -> None:
    """A line for each part of a result."""
    for name, value in result.items():
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            print(f"{indent}{name}:")
            show(value, indent + "    ")
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        print(f"{indent}{name}: {text if name == 'error' else text[:240]}", flush=True)


class Worker:
    """A process that runs one step after the other, and with it everything that steps start.

    What a step prints goes to a log: the screen is for results.
    """

    def __init__(self, bench: Bench) -> None:
        processes = multiprocessing.get_context("spawn")
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=_serve, args=(theirs, bench), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, work: Callable[[Bench], Result], bench: Bench) -> Result:
        """Run a step; an `error` where it raises, dies, or does not end in time."""
        self._pipe.send((work, bench))
        try:
            # A command that is cut off ends a little earlier, and its step says more.
            if not self._pipe.poll(max(0.0, bench.left()) + 3):
                return {"error": "cut off: it did not end in time"}
            answer: Result = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(5)
            return {"error": f"the process of the step died with exit code {self._process.exitcode}; see logs.txt"}
        return answer

    def end(self) -> None:
        """End the process and all that it started."""
        self._pipe.close()
        self._process.join(3)
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # where it was too young to lead a group
        self._process.join()


def _serve(pipe: Connection, bench: Bench) -> None:
    """The worker's side."""
    os.setpgid(0, 0)
    log = os.open(bench.logs / "steps.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A step that is killed has said all that it printed.
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    if bench.small:  # threads that share small products, and cores with others, wait for each other by spinning
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # figures are those of one card
    os.environ |= {"HF_HUB_OFFLINE": "1", "SEQCLS_BEAM_CACHE": str(bench.work / "cache")}
    while True:
        try:
            work, told = pipe.recv()
        except EOFError:
            return
        try:
            # Through JSON here, where a value that it does not know is still this step's error.
            answer = json.loads(json.dumps(work(told)))
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[-800:]}
        pipe.send(answer)
        _free()


def _free() -> None:
    """Give back the GPU's memory, which the next step's commands need."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
