"""How fast a device labels: what is known of it, whoever measured it."""

import json
import platform
import subprocess
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from pipelines.planning.documents import shown
from pipelines.workers import cores
from seqcls_beam.model.checkpoints import Checkpoint

SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "width": ("hidden_size", "dim", "d_model", "n_embd"),
    "inner": ("intermediate_size", "hidden_dim", "d_ff", "n_inner"),
}
"""What configurations of different families call them."""
_RATES = ("tokens_per_second", "model_tokens_per_second", "tokens_per_row")
_LEAST, _MOST = 1e-3, 1e15
"""Beyond these nobody measured a number."""
_KINDS: dict[Any, str] = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


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
    return {"gpu": _gpu(device) if device != "cpu" else None, "processor": _processor(), "cores": cores()}


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
    """A speed as `described` wrote it, into a file, not `ensured`. Raises `ValueError` for other fields."""
    known = {each.name: each.default is MISSING for each in fields(Speed)}
    for name, needed in known.items():
        if needed and name not in said:
            raise ValueError(f"it has no {name}")
    if more := said.keys() - known:
        raise ValueError(f"it has {shown(min(more))}, which is nothing of a speed")
    return Speed(**{**said, "source": f"measured into {file}"})


def ensured(speed: Speed) -> Speed:
    """The same. Raises `ValueError` where a field is not what it says, or no number that anybody measured."""
    for each in fields(speed):
        value: Any = getattr(speed, each.name)
        kinds = get_args(each.type) or (each.type,)
        if float in kinds and type(value) is int:
            value = float(value)
        if type(value) not in kinds:
            raise ValueError(f"{each.name} is {shown(value)}: expected {_KINDS[kinds[0]]}")
        least = _LEAST if each.name in _RATES else 0
        if type(value) in (int, float) and not least <= value <= _MOST:
            raise ValueError(f"{each.name} is {value:g}: expected {least:g} to {_MOST:g}")
    if speed.device not in ("cpu", "cuda"):
        raise ValueError(f"device is {shown(speed.device)}: expected cpu or cuda")
    return speed
