"""How busy is a GPU while `pipelines.classify` reads, tokenises and writes? With a card that is simulated.

    python -m benchmarks.overlap [--rows 60000] [--batch_rows 2048] [--repeats 2]

All is the pipeline's own, on Beam's local engine, but for the model: that holds a lock and sleeps so long for every
token, without the interpreter's lock, as a thread does that waits for a GPU. How long is found first, from what
tokenising takes here on one core: as long, or twice as long. Busy is the share of the time from the card's first batch
to its last in which it computes.

What a GPU cannot be seen to do so: launching passes takes the interpreter's lock for milliseconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hardware import save
from benchmarks.words import draw_texts
from seqcls_beam.runs.table import read_manifest

UNITS = 6


def write_corpus(folder: Path, rows: int, words: int) -> None:
    """`rows` rows of id and text as Parquet, in as many files as units: lognormal lengths, `words` words on average."""
    chance = np.random.default_rng(0)
    lengths = np.clip(chance.lognormal(np.log(words) - 0.18, 0.6, rows).round(), 1, 350).astype(int)
    table = pa.table({"id": np.arange(rows), "text": draw_texts(chance, lengths)})
    for unit in range(UNITS):
        low, high = unit * rows // UNITS, (unit + 1) * rows // UNITS
        pq.write_table(table.slice(low, high - low), folder / f"{unit}.parquet", compression="zstd")


class Card:
    """A classifier that takes `seconds` for every token, one batch at a time, and no core."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self.spans: list[tuple[float, float]] = []
        self.facts: dict[str, Any] = {"engine": "simulated", "labels": ["negative", "positive"]}

    def logits(self, ids: Any, offsets: Any, types: Any, advance: Any = None) -> Any:
        """Zeros, in time."""
        with self._lock:
            began = time.perf_counter()
            time.sleep(len(ids) * self._seconds)
            self.spans.append((began, time.perf_counter()))
        return np.zeros((len(offsets) - 1, 2), np.float32)

    def busy(self) -> float:
        """Share of the time from the first batch to the last."""
        began, ended = min(a for a, _ in self.spans), max(b for _, b in self.spans)
        return sum(b - a for a, b in self.spans) / (ended - began)


def tokenising(folder: Path, batch_rows: int) -> float:
    """Seconds a token of `tokenize`, on one core and with nothing beside it."""
    from seqcls_beam.config import ModelOptions
    from seqcls_beam.model.checkpoints import resolve
    from seqcls_beam.model.tokens import add_tokens
    from seqcls_beam.schema import REJECT_VALUE

    checkpoint, options = resolve("sentiment"), ModelOptions(threads=1)
    records = [
        batch.append_column("reject", pa.nulls(len(batch), REJECT_VALUE))
        for batch in pq.ParquetFile(folder / "0.parquet").iter_batches(batch_rows)
    ]
    add_tokens(records[0], checkpoint, options)
    began = time.perf_counter()
    tokens = sum(pa.compute.sum(add_tokens(each, checkpoint, options)["tokens"]).as_py() for each in records)
    return (time.perf_counter() - began) / tokens


def measure(folder: Path, card: Card, overlap: bool, threads: int, batch_rows: int) -> dict[str, Any]:
    """One run of the command in this process."""
    from pipelines import classify
    from seqcls_beam.transforms import handler
    from seqcls_beam.transforms import overlap as module

    module.overlaps = lambda options: overlap
    handler.ClassifierHandler.load_model = lambda self: card  # type: ignore[method-assign]
    many = ["--direct_running_mode=multi_threading", f"--direct_num_workers={threads}"] if threads > 1 else []
    with tempfile.TemporaryDirectory() as target:
        flags = [
            f"--input={folder}",
            f"--output={target}/out",
            "--threads=1",
            "--device=cpu",
            f"--batch_rows={batch_rows}",
        ]
        code = classify.main([*flags, *many])
        assert code == 0
        wall = (read_manifest(f"{target}/out") or {})["seconds"]["wall"]
    return {"busy": round(card.busy(), 3), "calls": len(card.spans), "wall": wall}


def main() -> None:
    """Measure each in a process of its own, in turn; print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=60_000)
    arguments.add_argument("--words", type=int, default=80)
    arguments.add_argument("--batch_rows", type=int, default=2048)
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        how = json.loads(given.one)
        card = Card(how.pop("seconds"))
        print(json.dumps(measure(Path(how.pop("folder")), card, batch_rows=given.batch_rows, **how)))
        return
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        write_corpus(Path(temporary), given.rows, given.words)
        alone = tokenising(Path(temporary), given.batch_rows)
        print(f"tokenising: {alone * 1e6:.3f} us a token on one core", flush=True)
        for _ in range(given.repeats):
            for ratio in (1.0, 2.0):
                for overlap, threads in ((False, 1), (True, 1), (True, 2)):
                    how = {"folder": temporary, "seconds": alone * ratio, "overlap": overlap, "threads": threads}
                    again = [
                        sys.executable,
                        "-m",
                        "benchmarks.overlap",
                        f"--batch_rows={given.batch_rows}",
                        "--one",
                        json.dumps(how),
                    ]
                    done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
                    found = json.loads(done.stdout.splitlines()[-1])
                    runs.append({"card": ratio, "overlap": overlap, "threads": threads, **found})
                    print(runs[-1], flush=True)
    save("overlap", {**vars(given), "tokenising_seconds": alone, "runs": runs})


if __name__ == "__main__":
    main()
