"""More to learn from than SST-2: sentences of IMDb reviews, and reviews, as rows like those of SST-2's files.

    python -m benchmarks.sentences split --reviews imdb/train.parquet --to sentences.jsonl
    python -m pipelines.classify --input sentences.jsonl --model TEACHER --keep_columns=text,review --output labels
    python -m benchmarks.sentences agreeing --labels labels/labels --to agreeing.tsv
    python -m benchmarks.sentences reviews --reviews imdb/train.parquet --to reviews.tsv

Most rows of SST-2 train are phrases, and a review's label says little about one of its sentences. A sentence whose
review the classifier agrees with, and surely, is a row like those the classifier will be asked about. Self-training
with a noisy second opinion: Yarowsky 1995 for the idea, Xie et al. 2020 (arXiv:1911.04252) for how well it goes with
neural networks.
"""

import argparse
import random
import re
from collections.abc import Iterable
from pathlib import Path

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq

WORDS = (5, 40)  # of a sentence that is taken
SENTENCES = 80_000  # that are labelled, …
SCORE = 0.9  # … and the least score of those that are learnt from
SEED = 0


def read_reviews(reviews: Path) -> list[tuple[str, str]]:
    """(text, label) of each review, without HTML's line breaks."""
    rows = pq.read_table(reviews, columns=["text", "label"]).to_pylist()
    return [(re.sub(r"<br\s*/?>", " ", row["text"]), row["label"]) for row in rows]


def split(reviews: Path, to: Path, count: int) -> None:
    """Write sentences, by chance, each with the label of its review."""
    sentences = [
        {"text": sentence, "review": label}
        for text, label in read_reviews(reviews)
        for sentence in re.split(r"(?<=[.!?])\s+", text)
        if WORDS[0] <= len(sentence.split()) <= WORDS[1]
    ]
    random.Random(SEED).shuffle(sentences)
    to.write_bytes(b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in sentences[:count]))


def write(rows: Iterable[tuple[str, str]], to: Path) -> None:
    """(text, label) as the lines of SST-2's files."""
    lines = [f"{' '.join(text.split())}\t{int(label == 'positive')}\n" for text, label in rows]
    to.write_text("".join(["sentence\tlabel\n", *lines]), encoding="utf-8")
    print(f"{len(lines):,} rows")


def agreeing(labels: Path, to: Path, score: float) -> None:
    """Write the texts whose label is their review's, with at least this score."""
    table = ds.dataset(labels, format="parquet").to_table(columns=["text", "review", "label", "score"])
    rows = table.to_pylist()
    write(((row["text"], row["label"]) for row in rows if row["label"] == row["review"] and row["score"] >= score), to)


def main() -> None:
    """One of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    first = steps.add_parser("split", help="reviews → sentences")
    second = steps.add_parser("agreeing", help="labels → training rows")
    third = steps.add_parser("reviews", help="reviews → training rows")
    for each, count in ((first, SENTENCES), (third, 5_000)):
        each.add_argument("--reviews", type=Path, required=True, help="Parquet file with the columns text and label")
        each.add_argument("--rows", type=int, default=count, help="how many (default: %(default)s)")
    second.add_argument("--labels", type=Path, required=True, help="the folder labels/ in an output of classify")
    second.add_argument("--score", type=float, default=SCORE, help="least score of the label (default: %(default)s)")
    for each in (first, second, third):
        each.add_argument("--to", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    if args.step == "split":
        split(args.reviews, args.to, args.rows)
    elif args.step == "agreeing":
        agreeing(args.labels, args.to, args.score)
    else:
        write(random.Random(SEED).sample(read_reviews(args.reviews), args.rows), args.to)


if __name__ == "__main__":
    main()
