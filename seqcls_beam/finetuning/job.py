"""A fine-tuning as all of its processes know it, and what is told of it on the way and at the end. No torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson

from seqcls_beam import storage
from seqcls_beam.cache import cache
from seqcls_beam.config.finetune import FinetuneConfig, TrainOptions, best_metric
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.preparation.prepared import Prepared
from seqcls_beam.runs.run import Run

_OVER = "trained.json"
LOG = "log.jsonl"
"""What is written while a training runs, beside its checkpoints, and published with the model."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    scores: dict[str, dict[str, float]]  # split → metrics of the published weights
    history: list[dict[str, float | None]]  # logs in order: step, epoch, and loss or eval_* metrics; None: no number
    best_step: int  # the step whose weights these are …
    steps: int  # … of how many that were made …
    planned: int  # … and of how many that were to be, had early stopping not ended it
    scored: dict[str, int]  # split → its rows that the scores are of: those that have a label
    began: int  # the step that the last start began at …
    seconds: float  # … and the time it took
    machine: dict[str, Any]  # device, dtype, processes, threads, share of padding


@dataclass(frozen=True)
class Job:
    """What is to be trained, from what, and where it goes."""

    config: FinetuneConfig
    prepared: Prepared
    base: Checkpoint
    run: Run

    @property
    def work(self) -> Path:
        """The folder of this machine for checkpoints to resume from, and for the files that will be published."""
        if storage.is_local(self.run.attempt):
            return Path(self.run.attempt)
        return cache() / f"finetune-{self.digest}"

    @property
    def digest(self) -> str:
        """What this run into this output is known by on a machine."""
        return hashlib.blake2b(f"{self.run.output} {self.run.run_id}".encode(), digest_size=8).hexdigest()

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint of an earlier start, if there is one: a kill may leave parts of one."""
        return max(filter(_is_whole, self.work.glob("checkpoint-*")), key=step_of, default=None)

    def relocate_best(self) -> None:
        """Let the newest checkpoint name the best one where it lies now: the folder may have been moved since."""
        last = self.last_checkpoint()
        if last is None:
            return
        path = last / _STATE
        state = json.loads(path.read_bytes())
        best = state["best_model_checkpoint"]
        if best is not None and Path(best).parent != self.work:
            state["best_model_checkpoint"] = str(self.work / Path(best).name)
            aside = path.with_suffix(".aside")
            aside.write_text(json.dumps(state), encoding="utf-8")
            aside.replace(path)

    def keep(self, trained: Trained) -> None:
        """Leave word that training is over, so that whatever fails after it need not train again."""
        (self.work / _OVER).write_bytes(orjson.dumps(asdict(trained)))

    def trained(self) -> Trained | None:
        """What an earlier start came to, if it came to the end: none where a kill, or another version of this program,
        left something else. Raises `StoreError` for what is no file."""
        told = left(self.work / _OVER)
        found = None if told is None else _object(told, get_type_hints(Trained))
        return None if found is None or found.keys() != get_type_hints(Trained).keys() else Trained(**found)

    @property
    def best_metric(self) -> str:
        """The validation metric by which checkpoints are compared."""
        return best_metric(self.config.train, self.prepared.problem)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels of the head; the one number of a regression is called "value"."""
        return self.prepared.labels or ("value",)

    @property
    def keeps_head(self) -> bool:
        """Whether the base is a classifier of the same labels, whose head is trained on."""
        return self.base.labels == self.label_names and self.base.problem in ("", self.prepared.problem)


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int = 0
    steps: int = 0
    loss: float | None = None  # mean over the steps since the log before
    judged: float | None = None  # the metric that chooses the checkpoint, at the last evaluation
    evaluating: bool = False
    began: int = 0  # the step this start began at


def label_weights(options: TrainOptions, data: dict[str, Any]) -> list[float] | None:
    """What a row's loss is multiplied by, by the number of its label; of several labels, where it has that label.

    `data` is the manifest of the prepared data. None where nothing is weighed.
    """
    if options.class_weights != "none":
        return [float(each) for each in data["class_weights"][options.class_weights]]
    if options.pos_weight == "none":
        return None
    train = data["splits"]["train"]
    counts = [train["label_counts"][name] for name in data["labels"]]
    # Of a label that no row has, or each, there is nothing to balance.
    balanced = [(train["rows"] - have) / have if 0 < have < train["rows"] else 1.0 for have in counts]
    return [min(each, options.max_pos_weight) for each in balanced]


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def left(path: Path) -> bytes | None:
    """What stands in a file of an earlier start; None where there is none. Raises `StoreError` for what is no file."""
    if not path.exists():
        return None
    storage.ensure_file(str(path))
    return path.read_bytes()


_STATE = "trainer_state.json"
_OF_STATE: dict[str, Any] = {
    "global_step": int,
    "max_steps": int,
    "epoch": float | None,
    "log_history": list[dict[str, Any]],
    "best_global_step": int | None,
    "best_metric": float | None,
    "best_model_checkpoint": str | None,
    "stateful_callbacks": dict[str, dict[str, dict[str, Any]]],
}
"""What is read of the state that the Trainer writes."""


def _is_whole(checkpoint: Path) -> bool:
    names = (_STATE, "optimizer.pt", "scheduler.pt")  # the state is written last
    return (
        checkpoint.name.rpartition("-")[2].isdecimal()
        and all((checkpoint / name).is_file() for name in names)
        and any(checkpoint.glob("model*.safetensors"))
        and _object((checkpoint / _STATE).read_bytes(), _OF_STATE) is not None
    )


def _object(data: bytes, kinds: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON object that stands in a file, where its entries are of these kinds; else None.

    Not by orjson: the Trainer writes a norm that is not finite as Python does.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, dict) and all(name in found and _fits(found[name], kind) for name, kind in kinds.items())
    return found if fits else None


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of a type, as annotations have it."""
    origin, inside = get_origin(kind), get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, each) for each in inside)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, inside[1]) for each in value.values())
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inside[0]) for each in value)
    return kind is Any or type(value) in ((float, int) if kind is float else (NoneType if kind is None else kind,))
