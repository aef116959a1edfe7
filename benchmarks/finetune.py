"""What does feeding a training cost, beside what the Trainer's users have?

    python -m benchmarks.finetune --data PREPARED [--steps N]

Both read the same shards that `pipelines.prepare` wrote, in batches of 32.

batch      µs to put a batch together from drawn rows: ours against `datasets` with DataCollatorWithPadding
start      seconds from the folder to the first batch of rows of like length, caches cold and warm: ours against
           load_dataset and LengthGroupedSampler, which wants the lengths as a list
padding    share of the positions of an epoch's batches that is padding: rows as they come by chance, the Trainer's
           sampler, ours
training   seconds for the same number of steps of the bundled model, one thread: a Trainer with its defaults, and ours
packed     where there is a GPU, and then nothing else: milliseconds per step of the bundled model, in bfloat16, by rows
           in a step: the Trainer's padded batches of rows as they come by chance, ours, and ours without padding

DataCollatorWithPadding gets a tokenizer whose padding is the model's own. Rounds alternate; the fastest counts.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer
from transformers import TrainingArguments as Arguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from benchmarks.hardware import save
from seqcls_beam.cache import cache
from seqcls_beam.finetuning.batches import Batches, Rows, as_it_is
from seqcls_beam.finetuning.packed import PackedRows, Packing
from seqcls_beam.finetuning.shards import load_split
from seqcls_beam.finetuning.trainer import BatchTrainer
from seqcls_beam.model.checkpoints import PACKAGED
from seqcls_beam.model.engine.attention import varlen
from seqcls_beam.preparation.prepared import open_prepared

BATCH = 32
ROUNDS = 5


def fastest(**tasks: Callable[[], Any]) -> dict[str, float]:
    """Seconds of each task, the fastest of some rounds in which they take turns."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            spent[name].append(time.perf_counter() - began)
    return {name: min(each) for name, each in spent.items()}


def stock(folder: str, cache: str) -> Any:
    """The training rows as `datasets` has them."""
    return datasets.load_dataset(folder, split="train", cache_dir=cache).select_columns(["input_ids", "labels"])


def batch(folder: str, cache: str) -> dict[str, Any]:
    """µs per batch."""
    rows = Rows(load_split(open_prepared(folder), "train"), 0)
    theirs, collate = stock(folder, cache), DataCollatorWithPadding(_tokenizer())
    chosen = [each.tolist() for each in np.random.default_rng(0).integers(0, len(rows), (200, BATCH))]
    found = fastest(
        seqcls_beam=lambda: [rows.__getitems__(each) for each in chosen],
        datasets=lambda: [collate(theirs.__getitems__(each)) for each in chosen],
    )
    lists = [theirs.__getitems__(each) for each in chosen]
    found["collator_alone"] = fastest(it=lambda: [collate(each) for each in lists])["it"]
    return {
        **{name: round(each / len(chosen) * 1e6, 1) for name, each in found.items()},
        "ratio": round(found["datasets"] / found["seqcls_beam"], 1),
        "ratio_to_the_collator_alone": round(found["collator_alone"] / found["seqcls_beam"], 1),
    }


def start(folder: str) -> dict[str, float]:
    """Seconds to the first batch."""

    def ours() -> None:
        split = load_split(open_prepared(folder), "train")
        Rows(split, 0).__getitems__(next(iter(Batches(split.lengths, BATCH, 0))))

    def theirs(cache: str) -> None:
        rows = datasets.load_dataset(folder, split="train", cache_dir=cache)
        first = next(iter(LengthGroupedSampler(BATCH, lengths=list(rows["length"]))))
        rows.__getitems__([first])

    spent = {}
    for name, task in (("seqcls_beam", lambda _: ours()), ("datasets", theirs)):
        for run in ("cold", "warm"):
            if run == "cold":
                folder_of_datasets = tempfile.mkdtemp(prefix="cache-")
                for each in cache().glob("rows1-*"):
                    shutil.rmtree(each) if each.is_dir() else each.unlink()
            began = time.perf_counter()
            task(folder_of_datasets)
            spent[f"{name}, {run}"] = round(time.perf_counter() - began, 3)
        shutil.rmtree(folder_of_datasets)
    return spent


def padding(folder: str) -> dict[str, float]:
    """Share of padding."""
    lengths = load_split(open_prepared(folder), "train").lengths
    generator = torch.Generator().manual_seed(0)
    sampler = list(LengthGroupedSampler(BATCH, lengths=lengths.tolist(), generator=generator))
    ways: dict[str, Iterable[Any]] = {
        "by chance": _cut(np.random.default_rng(0).permutation(len(lengths))),
        "LengthGroupedSampler": _cut(np.array(sampler)),
        "seqcls_beam": list(Batches(lengths, BATCH, 0)),
    }
    return {
        name: round(1 - float(lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in batches)), 4)
        for name, batches in ways.items()
    }


def training(folder: str, cache: str, steps: int) -> dict[str, Any]:
    """Seconds of the same number of steps."""
    torch.set_num_threads(1)
    split = load_split(open_prepared(folder), "train")

    def arguments() -> Arguments:
        return Arguments(
            output_dir=tempfile.mkdtemp(prefix="training-"), max_steps=steps, per_device_train_batch_size=BATCH,
            use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no",
            dataloader_pin_memory=False, seed=0, remove_unused_columns=False,
        )  # fmt: skip

    def plain() -> None:
        rows, collator = stock(folder, cache), DataCollatorWithPadding(_tokenizer())
        Trainer(model=_model(), args=arguments(), train_dataset=rows, data_collator=collator).train()

    def ours() -> None:
        trainer = BatchTrainer(model=_model(), args=arguments(), train_dataset=Rows(split, 0), data_collator=as_it_is)
        trainer.batches = Batches(split.lengths, BATCH, 0)
        trainer.train()

    spent = {name: round(each, 1) for name, each in fastest(Trainer=plain, seqcls_beam=ours).items()}
    return {"steps": steps, **spent, "ratio": round(spent["Trainer"] / spent["seqcls_beam"], 2)}


def packed(folder: str, steps: int) -> dict[str, Any]:
    """Milliseconds per step on a GPU, start left out; the ways take turns, and the fastest round counts."""
    split = load_split(open_prepared(folder), "train")

    def step(way: str, rows: int) -> float:
        model = _model()
        arguments = Arguments(
            output_dir=tempfile.mkdtemp(prefix="training-"), max_steps=steps, per_device_train_batch_size=rows,
            bf16=True, report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no", seed=0,
            remove_unused_columns=False, optim="adamw_torch_fused",
        )  # fmt: skip
        rows_of = PackedRows(split, model) if way == "packed" else Rows(split, 0)
        kind = Trainer if way == "Trainer" else BatchTrainer
        trainer = kind(model=model, args=arguments, train_dataset=rows_of, data_collator=as_it_is)
        if isinstance(trainer, BatchTrainer):
            trainer.batches = Batches(split.lengths, rows, 0)
            trainer.packing = Packing(model, varlen) if way == "packed" else None
        return float(trainer.train().metrics["train_runtime"]) / steps * 1000

    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "steps": steps}
    for rows in (BATCH, 8 * BATCH):
        rounds = [{way: step(way, rows) for way in ("Trainer", "padded", "packed")} for _ in range(ROUNDS)]
        spent = {way: min(each[way] for each in rounds) for way in rounds[0]}
        ratios = {f"ratio_to_{way}": round(spent[way] / spent["packed"], 2) for way in ("Trainer", "padded")}
        found[f"{rows} rows"] = {way: round(each, 2) for way, each in spent.items()} | ratios
    return found


def _tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(PACKAGED["sentiment"])


def _model() -> Any:
    return AutoModelForSequenceClassification.from_pretrained(PACKAGED["sentiment"], dtype=torch.float32)


def _cut(order: Any) -> list[Any]:
    return [order[i : i + BATCH] for i in range(0, len(order), BATCH)]


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that pipelines.prepare wrote for the bundled model")
    parser.add_argument("--steps", type=int, default=100, help="steps of a training")
    args = SimpleNamespace(**vars(parser.parse_args()))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    folder = str(Path(args.data).absolute())
    if torch.cuda.is_available():
        on_gpu = packed(folder, args.steps)
        print(on_gpu)
        save("finetune-gpu", {"packed": on_gpu})
        return
    with tempfile.TemporaryDirectory() as cache:
        split = load_split(open_prepared(folder), "train")
        result = {
            "rows": len(split),
            "tokens": len(split.ids),
            "batch": batch(folder, cache),
            "padding": padding(folder),
            "start": start(folder),
            "training": training(folder, cache, args.steps),
        }
    for name, each in result.items():
        print(name, each)
    save("finetune", result)


if __name__ == "__main__":
    main()
