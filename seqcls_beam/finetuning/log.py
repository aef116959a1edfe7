"""The log of a training, written while it runs: a line of JSON for each point of its curves."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from seqcls_beam.finetuning.job import left
from seqcls_beam.runs.manifest import iso

_OF_CURVES = ("loss", "learning_rate", "grad_norm")
_TIMING = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time")


class Log(TrainerCallback):
    """Appends to a file, on the first process alone; what a start before wrote of steps made again is taken out.

    A line has `time`, `step`, `epoch`, and either `loss` (mean over the steps since the line before), `learning_rate`,
    `grad_norm` and `tokens_per_second` (of all processes, without evaluations), or the metrics of an evaluation,
    `eval_…`. `tokens` tells how many this start has trained on.
    """

    def __init__(self, path: Path, tokens: Callable[[], int]) -> None:
        self._path = path
        self._tokens = tokens
        self._writes = False
        self._began = 0.0
        self._before = 0

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, __: TrainerControl, **___: Any) -> None:
        """Take up the file where the checkpoint is that this start goes on from."""
        if not state.is_world_process_zero:
            return
        kept = _up_to(state.global_step, self._path)
        aside = self._path.with_suffix(".aside")
        aside.write_bytes(kept)
        aside.replace(self._path)
        self._writes = True

    def on_step_begin(self, _: TrainingArguments, __: TrainerState, ___: TrainerControl, **____: Any) -> None:
        """The clock runs from the first step after a line on: an evaluation comes between the two."""
        if not self._began:
            self._began = time.monotonic()

    def on_log(
        self, _: TrainingArguments, state: TrainerState, __: TrainerControl, logs: dict[str, Any], **___: Any
    ) -> None:
        """A loss or an evaluation; what is told after the training is none."""
        if not self._writes:
            return
        if "loss" in logs:
            told = {name: logs[name] for name in _OF_CURVES if name in logs}
            made, seconds = self._tokens() - self._before, time.monotonic() - self._began
            told["tokens_per_second"] = round(made / seconds, 1)
            self._began, self._before = 0.0, self._tokens()
        else:
            told = {name: each for name, each in logs.items() if name.startswith("eval_") and name not in _TIMING}
        if told:
            line = {"time": iso(time.time()), "step": state.global_step, "epoch": state.epoch, **told}
            with self._path.open("ab") as file:
                file.write(orjson.dumps(line) + b"\n")

    def on_train_end(self, _: TrainingArguments, __: TrainerState, ___: TrainerControl, **____: Any) -> None:
        """Nothing comes after this."""
        self._writes = False


def _up_to(step: int, path: Path) -> bytes:
    """The lines of a log up to a step; a kill may have cut the last one short. Raises `StoreError` for no file."""
    kept = b""
    for line in (left(path) or b"").splitlines(keepends=True):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            break
        made = found.get("step") if isinstance(found, dict) else None
        if not line.endswith(b"\n") or not isinstance(made, int) or made > step:
            break
        kept += line
    return kept
