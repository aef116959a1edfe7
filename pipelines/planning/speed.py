"""How fast a device labels: what is known of it, whoever measured it."""

import json
import os
import platform
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqcls_beam.model.checkpoints import Checkpoint

SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "width": ("hidden_size", "dim", "d_model", "n_embd"),
    "inner": ("intermediate_size", "hidden_dim", "d_ff", "n_inner"),
}
"""What configurations of different families call them."""


@dataclass(frozen=True)
class Speed:
    """Tokens by the second on one device, with what they depend on."""

    tokens_per_second: float  # of one worker process: the model, and tokenising where that takes its time
    source: str  # who measured it, and what: a sentence without its end
    device: str  # "cpu" or "cuda"
    dtype: str
    tokens_per_row: float
    work: int | None = None  # `work_of` the model
    digest: str | None = None  # of the model's checkpoint
    gpu: str | None = None  # as its driver calls it
    processor: str = ""
    cores: int = 0
    threads: int = 0
    whole: bool = False  # of a run from its first byte to its published parts
    model_tokens_per_second: float | None = None  # the model alone
    seconds: float = 0.0  # that were measured

    @property
    def on(self) -> str:
        """The device, for people."""
        return self.gpu or f"{self.processor}, {self.cores:,} core{'s'[: self.cores != 1]}"


def work(layers: int, width: int, inner: int) -> int:
    """Multiplications a token in the products of all layers, attention itself left out."""
    return layers * width * (4 * width + 2 * inner)


def work_of(checkpoint: Checkpoint) -> int | None:
    """`work` by the configuration of a checkpoint; None where that does not say its sizes."""
    said = json.loads((checkpoint.local() / "config.json").read_text())
    sizes = [next((said[name] for name in names if isinstance(said.get(name), int)), None) for names in SIZES.values()]
    return work(*sizes) if all(sizes) else None  # type: ignore[arg-type]


def this_machine(device: str) -> dict[str, Any]:
    """What a speed measured here is of: `gpu`, `processor`, `cores`; `device` as the engine has it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"gpu": _gpu(device) if device != "cpu" else None, "processor": _processor(), "cores": cores}


def _gpu(device: str) -> str:
    """What the driver's own tool calls a GPU; importing torch for its name alone would take its memory."""
    number = device.partition(":")[2] or "0"
    command = ["nvidia-smi", "-i", number, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "a GPU whose name is not known"
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "a GPU whose name is not known"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def described(speed: Speed) -> dict[str, Any]:
    """A speed as JSON has it."""
    return {**speed.__dict__}


def remembered(said: dict[str, Any], file: str) -> Speed:
    """A speed as `described` wrote it. Raises `ValueError` for something else."""
    try:
        speed = Speed(**said)
        if not speed.tokens_per_second > 0:
            raise ValueError("it has no tokens by the second")
    except (TypeError, ValueError) as error:
        raise ValueError(f"--plan_speed={file} was not written by --plan_json: {error}") from error
    return replace(speed, source=f"measured into {file}")
