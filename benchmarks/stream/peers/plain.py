"""Google's streaming pull and `transformers.pipeline`: what its documentation shows, and a Parquet file a batch.

A message is acknowledged after its file is written. Batches are what has come, up to 1,024 messages.
"""

import argparse
import itertools
import os
import queue
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from google.cloud import pubsub_v1
from transformers import pipeline

from seqcls_beam.model.checkpoints import resolve

AT_ONCE = 1024
OUTSTANDING = 20_000
BATCH_SIZE = 32


def main() -> None:
    """Label until it is killed."""
    arguments = argparse.ArgumentParser()
    for name in ("subscription", "output", "model"):
        arguments.add_argument(f"--{name}", required=True)
    given = arguments.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = pipeline(
        "text-classification", model=str(resolve(given.model).local()), device=device, batch_size=BATCH_SIZE
    )
    folder = Path(given.output, "_pieces", "window=all")
    folder.mkdir(parents=True)
    waiting: queue.Queue[Any] = queue.Queue()
    with pubsub_v1.SubscriberClient() as client:
        client.subscribe(
            given.subscription, waiting.put, flow_control=pubsub_v1.types.FlowControl(max_messages=OUTSTANDING)
        )
        for number in itertools.count():
            some = [waiting.get()]
            while len(some) < AT_ONCE and not waiting.empty():
                some.append(waiting.get())
            texts = [each.data.decode() for each in some]
            answers = classifier(texts, truncation=True)
            table = pa.table(
                {
                    "message_id": [each.message_id for each in some],
                    "publish_time": pa.array([each.publish_time for each in some], pa.timestamp("us", "UTC")),
                    "text": texts,
                    "label": [each["label"] for each in answers],
                    "score": pa.array([each["score"] for each in answers], pa.float32()),
                }
            )
            scratch = folder / f".{number}"
            pq.write_table(table, scratch)
            os.replace(scratch, folder / f"{number}.parquet")
            for each in some:
                each.ack()


if __name__ == "__main__":
    main()
