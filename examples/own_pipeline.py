"""A Beam pipeline of one's own with a classifier in it: reviews from anywhere → praise by shop, and what is wrong.

python examples/own_pipeline.py
"""

from typing import Any

import apache_beam as beam
from apache_beam.transforms.combiners import Mean

from seqcls_beam.model import resolve
from seqcls_beam.transforms import Classify, FromRows, Tokenize, ToRows

REVIEWS = [
    {"id": 1, "review": "A film to see twice.", "shop": "north"},
    {"id": 2, "review": "Two hours I shall never get back.", "shop": "south"},
    {"id": 3, "review": None, "shop": "south"},
    {"id": 4, "review": "The staff were kind and quick.", "shop": "south"},
]
"""Stands for any source of Beam's: BigQuery, Kafka, a step of your own."""


def is_labelled(row: dict[str, Any]) -> bool:
    """Whether a row has a label; else `reject` says why not."""
    return row["reject"] is None


def is_rejected(row: dict[str, Any]) -> bool:
    """The others: they stand among the labelled rows, so that nobody forgets them."""
    return row["reject"] is not None


def praise(row: dict[str, Any]) -> tuple[str, float]:
    """A labelled row → (shop, probability of praise)."""
    return row["shop"], row["scores"][1]  # in the order of the checkpoint's labels: negative, positive


def told(row: dict[str, Any]) -> str:
    """A rejected row → a sentence."""
    return f"no label ({row['reject']['reason']}): {row['reject']['raw'].decode()}"


def main() -> None:
    """Run it."""
    checkpoint = resolve("sentiment")  # or a folder, a bucket, a Hub id
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = (
            pipeline
            | beam.Create(REVIEWS)
            | FromRows(text="review", id="id:int64", keep=("shop",))
            | Tokenize(checkpoint)
            | Classify(checkpoint)
            | ToRows()
        )
        means = rows | beam.Filter(is_labelled) | beam.Map(praise) | Mean.PerKey()
        means | "Means" >> beam.MapTuple("{}: praise {:.3f}".format) | "ShowMeans" >> beam.Map(print)
        rows | beam.Filter(is_rejected) | beam.Map(told) | "ShowRejects" >> beam.Map(print)


if __name__ == "__main__":
    main()
