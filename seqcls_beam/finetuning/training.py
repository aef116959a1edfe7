"""The training, taken up where a start before was killed."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import EarlyStoppingCallback, TrainerState, TrainingArguments

from seqcls_beam.evaluation.headline import headline
from seqcls_beam.finetuning import weights
from seqcls_beam.finetuning.batches import Batches, Rows, as_it_is
from seqcls_beam.finetuning.job import LOG, Job, Progress, Trained, step_of
from seqcls_beam.finetuning.log import Log
from seqcls_beam.finetuning.packed import SAID, PackedRows, Packing, check
from seqcls_beam.finetuning.shards import SPLITS, Array, Split, load_split
from seqcls_beam.finetuning.torchrun import processes
from seqcls_beam.finetuning.trainer import BatchTrainer, Judge, Loss, Metrics, Watch, logits_of, remedy
from seqcls_beam.model.checkpoints import load_tokenizer
from seqcls_beam.model.engine.attention import varlen
from seqcls_beam.model.engine.devices import cores
from seqcls_beam.runs.run import RunError

EVAL_ROWS = 64  # in a forward pass of an evaluation; they are sorted by length
GPU_EVAL_ROWS = 512  # … on a GPU …
GPU_EVAL_TOKENS = 1 << 17  # … or fewer, where so many long rows would not fit into its memory
LESS_IS_BETTER = ("loss", "mse")
# Families all of whose parameters have a part in every answer; of others DDP must find out in every step.
_USE_ALL = (
    "bert", "distilbert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl", "albert", "deberta-v2", "modernbert",
    "camembert", "ernie", "convbert", "mobilebert", "mpnet", "rembert",
)  # fmt: skip
EAGER_LENGTH = 256  # up to here plain matrix products are the faster attention to train with on a CPU


@contextmanager
def _without_cudnn_attention() -> Iterator[None]:
    """Let torch take its other attention kernels; then as before.

    cuDNN's needs a plan for every width that it has not seen, and batches of like length have many widths: a plan takes
    as long as several steps, and what the kernel wins in a step is little (docs/finetune.md).
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@_without_cudnn_attention()
def train(job: Job, tell: Callable[[Progress], None]) -> Trained:
    """Train on all processes together; each returns when the first has written the model into `job.work / "model"`.

    `tell` hears of every step, on the first process. Raises `RunError` for data or options that do not fit, or where
    training cannot go on.
    """
    began = time.monotonic()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    options, (rank, ranks) = job.config.train, processes()
    device = _device(job.config.machine.device)
    dtype = _dtype(options.dtype, device)
    if options.packed:
        check(job.base.model_type, device, dtype)
    threads = job.config.machine.threads or max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)
    splits = {name: load_split(job.prepared, name) for name in SPLITS if job.prepared.has(name)}
    padding = load_tokenizer(job.base.local(), job.base.name).pad_token_id
    if padding is None:
        raise RunError(f"--model={job.base.name}: its tokenizer has no padding token, which rows of a batch need")
    batches = Batches(
        splits["train"].lengths, options.batch_size, options.seed, options.gradient_accumulation, rank, ranks
    )
    transformers.set_seed(options.seed)
    longest = max(int(split.lengths.max()) for split in splits.values())
    attention = "eager" if device.type == "cpu" and longest <= EAGER_LENGTH else None
    model = weights.begin(job, attention)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = padding
    _check_ids(splits, model)
    labelled = {name: _labelled(split) for name, split in splits.items() if name != "train"}
    few = device.type == "cpu"
    scored = {name: Rows(splits[name], padding, rows, few_widths=few) for name, rows in labelled.items() if len(rows)}
    if "validation" in scored:
        _check_metric(job, splits["validation"])
    train = PackedRows(splits["train"], model) if options.packed else Rows(splits["train"], padding, few_widths=few)
    epoch = len(batches) // options.gradient_accumulation
    arguments = _arguments(job, device, dtype, epoch, longest, "validation" in scored)
    trainer = BatchTrainer(
        model=model,
        args=arguments,
        data_collator=as_it_is,
        train_dataset=train,
        eval_dataset=scored.get("validation"),
        compute_metrics=Judge(job, remedy(options, dtype)),
        preprocess_logits_for_metrics=logits_of,
        compute_loss_func=Loss(job),
        callbacks=[EarlyStoppingCallback(options.early_stopping)] if options.early_stopping else [],
    )
    trainer.add_callback(Log(job.work / LOG, lambda: trainer.tokens))
    trainer.add_callback(Watch(job, tell, remedy(options, dtype)))
    trainer.batches = batches
    trainer.packing = Packing(model, varlen) if options.packed else None
    trainer.remove_callback(transformers.PrinterCallback)
    transformers.set_seed(options.seed + rank)  # every process drops out what it likes
    last = job.last_checkpoint()
    try:
        _train(trainer, last)
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"a batch does not fit into the memory of {device}: raise --gradient_accumulation, which changes nothing "
            "else; nothing was published"
        ) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" in str(error) or "inline_container" in str(error):  # torch's words for a full disk
            raise RunError(
                f"a checkpoint cannot be written into {job.work}: is the disk full? Nothing was published"
            ) from error
        raise
    history = list(trainer.state.log_history)
    if rank == 0:
        weights.save(model, job, job.work / "model")
    weights.round_weights(model, job)
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # scores are those of float32
    trainer.compute_metrics = Metrics(job, remedy(options, torch.float32, options.stored_dtype))
    scores = {name: _scores(trainer.evaluate(rows, metric_key_prefix=name), name) for name, rows in scored.items()}
    trained = Trained(
        scores=scores,
        history=history,
        best_step=int(trainer.state.best_global_step or trainer.state.global_step),
        steps=trainer.state.global_step,
        planned=arguments.max_steps,
        scored={name: len(rows) for name, rows in scored.items()},
        began=step_of(last) if last else 0,
        seconds=round(time.monotonic() - began, 1),
        machine={
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "computed_in": str(dtype).removeprefix("torch."),
            "processes": ranks,
            "threads": threads,
            "attention": SAID if options.packed else model.config._attn_implementation,
            "padding": _padding(train, batches) if isinstance(train, Rows) else 0.0,
        },
    )
    if rank == 0:
        job.keep(trained)
    trainer.accelerator.wait_for_everyone()
    return trained


def _train(trainer: BatchTrainer, last: Path | None) -> None:
    """Train to the end, from a checkpoint where there is one; the model then has the weights that were best."""
    state = TrainerState.load_from_json(str(last / "trainer_state.json")) if last else None
    callbacks = state.stateful_callbacks if state else {}
    over = callbacks.get("TrainerControl", {}).get("args", {}).get("should_training_stop")
    if last is None or state is None or not (state.global_step >= trainer.args.max_steps or over):
        for each in trainer.callback_handler.callbacks:
            if isinstance(each, EarlyStoppingCallback) and "EarlyStoppingCallback" in callbacks:
                # How often nothing got better; the Trainer would begin to count anew.
                vars(each).update(callbacks["EarlyStoppingCallback"]["attributes"])
        trainer.train(resume_from_checkpoint=last and str(last))
        return
    # An earlier start came to the end; the Trainer would take a step more before it sees that.
    trainer.state = state
    trainer._load_from_checkpoint(state.best_model_checkpoint or str(last))
    trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)  # so that `evaluate` does not, in bfloat16


def _arguments(
    job: Job, device: torch.device, dtype: torch.dtype, epoch: int, longest: int, validates: bool
) -> TrainingArguments:
    """`epoch`: steps in one; `longest`: tokens of the longest row."""
    options, metric = job.config.train, job.best_metric
    steps = math.ceil(options.epochs * epoch)
    every = min(options.eval_steps or epoch, steps)
    made = TrainingArguments(
        output_dir=str(job.work),
        max_steps=steps,
        per_device_eval_batch_size=_eval_rows(device, longest),
        gradient_accumulation_steps=options.gradient_accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(options.schedule, options.schedule),
        warmup_steps=math.ceil(options.warmup * steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        optim="adamw_torch_fused",
        seed=options.seed,
        ddp_find_unused_parameters=job.base.model_type not in _USE_ALL,
        use_cpu=device.type == "cpu",
        ddp_backend="gloo" if device.type == "cpu" and processes()[1] > 1 else None,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        logging_strategy="no",  # `Watch` says when
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validates else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=validates,
        metric_for_best_model=f"eval_{metric}" if validates else None,
        greater_is_better=metric not in LESS_IS_BETTER if validates else None,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        report_to="none",
        disable_tqdm=True,
    )
    if made.device.type == "cuda":
        made._n_gpu = 1  # several GPUs are for several processes: DataParallel would scale the loss once more
    return made


def _device(asked: str) -> torch.device:
    if asked == "cuda" and not torch.cuda.is_available():
        raise RunError("--device=cuda: there is no CUDA device on this machine")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def _eval_rows(device: torch.device, longest: int) -> int:
    """Rows in a forward pass of an evaluation, all padded to `longest` tokens at worst."""
    return EVAL_ROWS if device.type == "cpu" else max(EVAL_ROWS, min(GPU_EVAL_ROWS, GPU_EVAL_TOKENS // longest))


def _dtype(asked: str, device: torch.device) -> torch.dtype:
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if asked == "float16" and device.type == "cpu":
        raise RunError("--dtype=float16 is for GPUs: take bfloat16 on a CPU")
    chosen: torch.dtype = getattr(torch, asked)
    return chosen


def _labelled(split: Split) -> Array:
    """The rows of a split that have a label, the longest first."""
    order = np.argsort(-split.lengths, kind="stable")
    return order[split.labels[order] >= 0] if split.labels.dtype == np.int64 else order


def _scores(metrics: dict[str, float], split: str) -> dict[str, float]:
    named = {name.removeprefix(f"{split}_"): value for name, value in metrics.items() if name.startswith(f"{split}_")}
    timing = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    return {name: float(value) for name, value in named.items() if name not in timing}


def _check_ids(splits: dict[str, Split], model: Any) -> None:
    size = model.get_input_embeddings().num_embeddings
    for name, split in splits.items():
        if len(split.ids) and int(split.ids.max()) >= size:
            raise RunError(
                f"the {name} rows hold the token id {split.ids.max()}, and the model knows {size}: they were tokenised "
                "for another model; prepare the data with this one"
            )


def _check_metric(job: Job, validation: Split) -> None:
    """Raise `RunError` where the validation rows are such that no answers, not even right ones, have the metric."""
    gold = validation.labels
    right = np.eye(len(job.prepared.labels), dtype=np.float32)[gold] if gold.dtype == np.int64 else gold
    if job.best_metric not in ("loss", *headline(job.prepared.problem, job.prepared.labels, gold, right)):
        raise RunError(
            f"--best_metric={job.best_metric} cannot be computed on the validation rows, whose labels are all the "
            "same: name another, such as loss"
        )


def _padding(rows: Rows, batches: Batches) -> float:
    """Share of what this process's forward passes compute in the first epoch that is padding."""
    batches.set_epoch(0)
    parts = [rows.split.lengths[each] for each in batches]
    return round(1 - sum(int(each.sum()) for each in parts) / sum(len(each) * rows.wide(each) for each in parts), 4)
