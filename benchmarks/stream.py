"""Streams: rows a second beside the engine alone, how long a message takes to a durable piece, memory.

    python -m benchmarks.stream [--seconds 180] [--model sentiment]

Starts the broker of the tests (Google's own fake, on loopback; Go is needed) and the command as a user does, in a
process of its own, and publishes texts of 1 to 40 words: as fast as they are taken, then at half and at twice that
rate. A message is durable when its piece has its time of modification. The engine alone labels the same texts in
batches of 8,192, in the same run. Writes benchmarks/results/stream.json.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from benchmarks.hardware import save
from seqcls_beam.config import ModelOptions, ReadOptions
from seqcls_beam.config.stream import SourceOptions
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.model.engine import Classifier
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import tokenize
from seqcls_beam.reading.messages import Message, message_layout, to_record
from tests import broker
from tests.corpora import texts

BACKLOG = 30_000
STEP = 0.1


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser("python -m benchmarks.stream", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=180)
    arguments.add_argument("--model", default="sentiment")
    arguments.add_argument("--max_latency", type=float, default=5)
    given = arguments.parse_args()
    alone = _engine(given.model)
    found: dict[str, Any] = {"engine alone, rows/s": alone}
    with broker.running() as service:
        full = _run(service, given, "full", None)
        rate = full["rows/s"]
        found |= {
            "as fast as it can": {**full, "of the engine": rate / alone},
            "half the rate": _run(service, given, "half", rate / 2),
            "twice the rate": _run(service, given, "twice", rate * 2),
        }
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    save("stream", found)


def _engine(model: str, rows: int = 8192) -> float:
    """Rows a second of tokeniser and model alone."""
    checkpoint, options = resolve(model), ModelOptions(model=model)
    layout = message_layout(ReadOptions(input=()), SourceOptions(subscription=_NAME, message_format="text"))
    messages = [Message(str(i), i, {}, text.encode()) for i, text in enumerate(texts(rows))]
    records = to_record(messages, layout)
    classifier = Classifier(checkpoint, options)
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        classify([tokenize(records, checkpoint, options)], classifier, checkpoint, options)
        took.append(time.perf_counter() - begun)
    return rows / min(took)


_NAME = "projects/any-project/subscriptions/any"


def _run(service: broker.Broker, given: argparse.Namespace, name: str, rate: float | None) -> dict[str, Any]:
    """A job while messages are published at a rate, or (None) as fast as they are taken."""
    (subscription,) = service.topic(name, f"{name}-sub", deadline=60)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = [sys.executable, "-m", "pipelines.classify", f"--subscription={subscription}", f"--output={out}"]
        command += [f"--model={given.model}", "--message_format=text", f"--max_latency={given.max_latency}"]
        command += ["--allowed_lateness=86400", "--window=60"]
        job = subprocess.Popen(command, env=broker.environment(service.address), stderr=subprocess.DEVNULL)
        ending = threading.Event()
        feeder = threading.Thread(target=_feed, args=(service, name, rate, out, ending))
        feeder.start()
        while not _pieces(out):
            time.sleep(STEP)
        begun, memory = time.time(), []
        while time.time() - begun < given.seconds:
            memory.append(_resident(job.pid))
            time.sleep(1)
        until = time.time()
        ending.set()
        feeder.join()
        job.send_signal(signal.SIGTERM)
        job.wait()
        warm = begun + min(20.0, given.seconds / 4)
        rows, waited = 0, []
        for path in _pieces(out):
            durable = path.stat().st_mtime
            published = pq.read_table(path, columns=["publish_time"])["publish_time"].cast("int64").to_numpy() / 1e6
            if warm <= durable <= until:
                rows += len(published)
                waited.append(durable - published)
    seconds = np.concatenate(waited)
    quarter = len(memory) // 4
    return {
        "published/s": rate,
        "rows/s": rows / (until - warm),
        "p50 s": float(np.quantile(seconds, 0.5)),
        "p99 s": float(np.quantile(seconds, 0.99)),
        "memory after a quarter, MB": max(memory[: quarter + 1]),
        "memory at the end, MB": max(memory[-quarter - 1 :]),
    }


def _feed(service: broker.Broker, topic: str, rate: float | None, out: Path, ending: threading.Event) -> None:
    some: list[tuple[bytes, dict[str, str]]] = [(text.encode(), {}) for text in texts(8192)]
    sent, begun = 0, time.monotonic()
    done: dict[Path, int] = {}
    while not ending.wait(STEP):
        if rate is None:
            done |= {path: pq.read_metadata(path).num_rows for path in _pieces(out) if path not in done}
            due = BACKLOG + sum(done.values()) - sent
        else:
            due = int((time.monotonic() - begun) * rate) - sent
        if due > 0:
            service.publish(topic, [some[(sent + i) % len(some)] for i in range(min(due, 4096))])
            sent += min(due, 4096)


def _pieces(out: Path) -> list[Path]:
    return [path for path in (out / "_pieces").glob("window=*/*.parquet") if path.name[0] != "."]


def _resident(pid: int) -> float:
    """MB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
