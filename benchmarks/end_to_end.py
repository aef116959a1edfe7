"""What is left of the engine's speed from end to end: `pipelines.classify` against the engine alone.

    python -m benchmarks.end_to_end [--model FOLDER] [--dtype float32] [--rows 100000] [--repeats 2] [--out FILE]

The same short texts, each way in a process of its own, in turn. The engine alone is given token ids; the command reads
Parquet, tokenises, classifies, writes, verifies and publishes. Its start-up is excluded: it labels all rows and the
first one, and the difference of the seconds in the two manifests counts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hardware import save
from benchmarks.pipeline import write_corpus
from seqcls_beam.config import ModelOptions
from seqcls_beam.runs.table import read_manifest


def engine(source: Path, options: ModelOptions) -> None:
    """Print the seconds that the engine alone takes."""
    from seqcls_beam.model.checkpoints import resolve
    from seqcls_beam.model.engine import Classifier
    from seqcls_beam.model.predictions import first_sequences
    from seqcls_beam.model.tokens import add_tokens
    from seqcls_beam.schema import REJECT_VALUE

    checkpoint = resolve(options.model)
    records = [
        batch.append_column("reject", pa.nulls(len(batch), REJECT_VALUE))
        for batch in pq.ParquetFile(source).iter_batches(8192)
    ]
    classifier = Classifier(checkpoint, options, first_sequences(records, checkpoint, options))
    columns = [add_tokens(batch, checkpoint, options)["input_ids"].values for batch in records]
    started = time.perf_counter()
    for each in columns:
        classifier.logits(each.values.to_numpy(), each.offsets.to_numpy().astype(np.int64), None)
    print(time.perf_counter() - started)


def command(source: Path, options: ModelOptions) -> float:
    """Seconds of the whole command, as its manifest has them; ends with what it said where it fails."""
    flags = [f"--model={options.model}", f"--dtype={options.dtype}", f"--device={options.device}"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.classify", f"--input={source}", f"--output={folder}/out", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        manifest = read_manifest(f"{folder}/out")
        if done.returncode or manifest is None:
            sys.exit(f"{done.stderr}\npipelines.classify ended with {done.returncode}")
        return float(manifest["seconds"]["wall"])


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="sentiment")
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--out", type=Path, help="default: benchmarks/results/end_to_end.json")
    arguments.add_argument("--engine", metavar="SOURCE", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    options = ModelOptions(model=given.model, dtype=given.dtype, device=given.device)
    if given.engine:
        engine(Path(given.engine), options)
        return
    alone, whole = [], []
    with tempfile.TemporaryDirectory() as temporary:
        write_corpus(Path(temporary), given.rows)
        source, first = Path(temporary) / "corpus.parquet", Path(temporary) / "first.parquet"
        pq.write_table(pq.read_table(source).slice(0, 1152 if given.dtype == "int8" else 1), first)
        for _ in range(given.repeats):
            again = [sys.executable, "-m", "benchmarks.end_to_end", *sys.argv[1:], f"--engine={source}"]
            done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
            alone.append(float(done.stdout.splitlines()[-1]))
            whole.append(command(source, options) - command(first, options))
            print(f"engine alone {alone[-1]:.1f} s, end to end {whole[-1]:.1f} s", flush=True)
    ratio = min(alone) / min(whole)
    print(f"{given.rows:,} rows: {given.rows / min(whole):,.0f} rows/s, {ratio:.3f} of the engine alone")
    asked = {name: getattr(given, name) for name in ("model", "dtype", "device", "rows", "repeats")}
    save("end_to_end", {**asked, "engine_seconds": alone, "end_to_end_seconds": whole, "ratio": ratio}, given.out)


if __name__ == "__main__":
    main()
