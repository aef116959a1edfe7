"""What transformers' Trainer is given: our batches, our loss, the metrics, and who hears of it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from seqcls_beam.config.finetune import TrainOptions
from seqcls_beam.evaluation.headline import headline
from seqcls_beam.finetuning.batches import Batches, Loader, as_it_is
from seqcls_beam.finetuning.job import Job, Progress, label_weights
from seqcls_beam.finetuning.packed import Packing
from seqcls_beam.runs.run import RunError

POINTS = 200  # of a learning curve, or so


class BatchTrainer(Trainer):
    """The stock Trainer, whose training batches are ours."""

    batches: Batches
    packing: Packing | None = None  # where the training rows are `PackedRows`
    tokens = 0
    """What all processes have trained on since this start began, without padding, when a loss was told last."""
    _mine = 0

    def get_train_dataloader(self) -> Loader:
        """Batches of this process: not prepared by accelerate, which would deal them out a second time."""
        return Loader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=as_it_is,
            pin_memory=self.args.device.type == "cuda",
        )

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        """What `Loss` divides by. The Trainer's leaves out labels of -100, which are numbers like others here."""
        # Filled in on the device: a copy of a number that lies here would wait for all that the device has to do.
        count = torch.full((), sum(batch["labels"].numel() for batch in batch_samples), device=device)
        return self.accelerator.gather(count).sum() if self.args.average_tokens_across_devices else count

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **how: Any) -> Any:
        """What the Trainer's own does, and its tokens counted while they are in this machine's memory."""
        self._mine += int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["input_ids"].numel()
        return super().training_step(model, inputs, *args, **how)

    def log(self, logs: dict[str, float], *args: Any, **how: Any) -> None:
        """Add up what processes counted, where a loss is told: all of them come here together."""
        if "loss" in logs:
            mine = torch.tensor([self._mine], device=self.args.device)
            self.tokens = int(self.accelerator.gather(mine).sum())
        super().log(logs, *args, **how)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **how: Any) -> Any:
        """What the Trainer's own gives, also of a batch without padding; rows to evaluate on are padded."""
        if self.packing is None or "offsets" not in inputs:
            return super().compute_loss(model, inputs, *args, **how)
        with self.packing.on(inputs.pop("offsets"), inputs.pop("longest")) as layout:
            return super().compute_loss(model, {**inputs, "layout": layout}, *args, **how)


def is_point(step: int, every: int, steps: int) -> bool:
    """Whether a learning curve of so many steps has a point after this one: some `POINTS`, evenly.

    There is one wherever a checkpoint is, `every` so many steps: the mean of a loss over steps is not in a checkpoint.
    """
    points = min(every, max(1, round(POINTS * every / steps)))
    place = (step - 1) % every
    return (place + 1) * points // every > place * points // every or step == steps


def remedy(options: TrainOptions, computed: torch.dtype, stored: str = "float32") -> str:
    """What there is to try where numbers are not finite, of a model computed and `stored` in these precisions."""
    found = ["lower --learning_rate"] if options.learning_rate else []
    found += ["clip gradients with --max_grad_norm=1"] if options.max_grad_norm == 0 else []
    found += ["give --dtype=float32"] if computed != torch.float32 else []
    found += ["give --stored_dtype=float32"] if stored != "float32" else []
    return ", or ".join(found) or "look at the base, whose own answers they are"


class Loss:
    """Logits and labels → the loss of a micro-batch: its part of the mean over the rows of the whole batch."""

    def __init__(self, job: Job) -> None:
        self._problem = job.prepared.problem
        self._smoothing = job.config.train.label_smoothing
        weights = label_weights(job.config.train, job.prepared.manifest)
        self._weights = None if weights is None else torch.tensor(weights).float()

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """float32 []. `num_items_in_batch` are the numbers in the labels of the whole batch, over all parts and
        processes: as many as rows, or as rows times classes where a row has several labels."""
        logits = outputs["logits"].float()
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        if self._weights is not None:
            self._weights = self._weights.to(logits.device)  # a copy that waits: once, and not in every step
        if self._problem == "multi_label":
            total = functional.binary_cross_entropy_with_logits(
                logits, labels, reduction="sum", pos_weight=self._weights
            )
        elif self._problem == "regression":
            total = functional.mse_loss(logits.squeeze(-1), labels, reduction="sum")
        else:
            each = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
            if self._weights is not None:
                # Not divided by the sum of a batch's weights: then the parts of a batch add up to the whole.
                each = each * self._weights[labels]
            total = each.sum()
        return total / items


class Metrics:
    """Logits and labels of a whole split → `headline`, and the plain loss.

    That takes the place of the Trainer's, which is the mean over batches that accelerate has filled up with rows that
    were there already, and is weighted and smoothed as the training is.
    """

    def __init__(self, job: Job, remedy: str) -> None:
        self._prepared = job.prepared
        self._metric = job.best_metric
        self._remedy = remedy

    def __call__(self, predicted: Any) -> dict[str, float]:
        """What the Trainer calls once all rows of a split are through. Raises `RunError` for logits that are no
        numbers."""
        logits, gold = torch.from_numpy(predicted.predictions).float(), torch.from_numpy(predicted.label_ids)
        if not logits.isfinite().all():
            raise RunError(f"the model answers with numbers that are not finite: {self._remedy}; nothing was published")
        problem = self._prepared.problem
        if problem == "regression":
            scores = logits.squeeze(-1)
            loss = functional.mse_loss(scores, gold)
        elif problem == "multi_label":
            scores = logits.sigmoid()
            loss = functional.binary_cross_entropy_with_logits(logits, gold)
        else:
            scores = logits.softmax(-1)
            loss = functional.cross_entropy(logits, gold)
        return {"loss": loss.item(), **headline(problem, self._prepared.labels, gold.numpy(), scores.numpy())}


class Judge(Metrics):
    """`Metrics` by which checkpoints are chosen: of answers that are all the same there is no correlation, and then
    nothing is worse."""

    def __call__(self, predicted: Any) -> dict[str, float]:
        """What the Trainer calls."""
        found = super().__call__(predicted)
        return {self._metric: -1.0, **found} if self._metric in ("pearson", "spearman") else found


def logits_of(outputs: Any, _: Any) -> Tensor:
    """The logits among what a model answers; they come first."""
    logits: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return logits


class Watch(TrainerCallback):
    """Tells of progress, says where the curves have their points, and ends a training whose loss is no number."""

    def __init__(self, job: Job, tell: Callable[[Progress], None], remedy: str) -> None:
        self._tell = tell
        self._metric = job.best_metric
        self._remedy = remedy
        self._now = Progress()

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, __: TrainerControl, **___: Any) -> None:
        """Where this start begins, and what earlier ones saw."""
        self._now = Progress(step=state.global_step, steps=state.max_steps, began=state.global_step)
        for logs in state.log_history:
            self._read(logs)
        self._say(state)

    def on_step_end(self, arguments: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """One step more."""
        control.should_log = is_point(state.global_step, int(arguments.save_steps), state.max_steps)
        self._now = replace(self._now, step=state.global_step)
        self._say(state)

    def on_prediction_step(self, _: TrainingArguments, state: TrainerState, __: TrainerControl, **___: Any) -> None:
        """A part of an evaluation."""
        if not self._now.evaluating:
            self._now = replace(self._now, evaluating=True)
            self._say(state)

    def on_log(
        self, _: TrainingArguments, state: TrainerState, __: TrainerControl, logs: dict[str, Any], **___: Any
    ) -> None:
        """A loss or an evaluation."""
        for name in ("loss", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise RunError(
                    f"the loss is {logs[name]} at step {state.global_step}: {self._remedy}; nothing was published"
                )
        self._read(logs)
        self._say(state)

    def _read(self, logs: dict[str, Any]) -> None:
        judged = logs.get(f"eval_{self._metric}", self._now.judged)
        self._now = replace(self._now, loss=logs.get("loss", self._now.loss), judged=judged, evaluating=False)

    def _say(self, state: TrainerState) -> None:
        if state.is_world_process_zero:
            self._tell(self._now)
