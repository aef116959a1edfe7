"""What the pipeline costs beside the model: rows/s with a classifier that answers at once, against a plain loop.

    python -m benchmarks.pipeline [--rows 4000000] [--repeats 3] [--profile]

Both read the same file, append the same five columns and write zstd Parquet, each in a process of its own, in turn.
The loop is single-threaded pyarrow: `iter_batches` or `open_json`, `ParquetWriter`. The pipeline is ours on Beam's
local engine with everything it does: units, marks, checks of texts, digests, verification, commit.
"""

import argparse
import cProfile
import json
import pstats
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from benchmarks.hardware import save
from benchmarks.words import sample_words
from seqcls_beam.schema import PREDICTION, TOKENS, Mark

LABELS = pa.array(["negative", "positive"])
ENGINE = {"engine": "instant", "labels": ["negative", "positive"], "problem": "single_label"}


def write_corpus(folder: Path, rows: int) -> None:
    """`rows` rows of id and text as Parquet and as JSONL: 3 to 15 words drawn from the bundled sample, seeded."""
    words = sample_words()
    chance = random.Random(0)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    parquet = pq.ParquetWriter(folder / "corpus.parquet", schema, compression="zstd")
    with parquet, (folder / "corpus.jsonl").open("w") as jsonl:
        for start in range(0, rows, 100_000):
            ids = range(start, min(start + 100_000, rows))
            texts = [" ".join(chance.choices(words, k=3 + i % 13)) for i in ids]
            parquet.write_table(pa.table({"id": ids, "text": texts}, schema))
            jsonl.writelines(f'{{"id": {i}, "text": "{text}"}}\n' for i, text in zip(ids, texts, strict=True))


def answers(rows: int) -> list[pa.Array]:
    """The five columns of a classifier that finds everything positive."""
    scores = np.tile(np.array([0.25, 0.75], np.float32), rows)
    return [
        pa.DictionaryArray.from_arrays(pa.array(np.ones(rows, np.int32)), LABELS),
        pa.array(np.full(rows, 0.75, np.float32)),
        pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * rows + 1, 2, dtype=np.int32)), pa.array(scores)),
        pa.array(np.full(rows, 13, np.int32)),
        pa.array(np.zeros(rows, bool)),
    ]


def instant(records: pa.RecordBatch) -> pa.RecordBatch:
    """RECORD → PREDICTION without tokeniser or model."""
    names = [*records.schema.names, *(field.name for field in [*PREDICTION, *TOKENS[2:]])]
    batch = pa.RecordBatch.from_arrays([*records.columns, *answers(len(records))], names)
    return replace(Mark.of(records), engine=ENGINE).on(batch)


def loop(source: Path, target: Path) -> None:
    """The plain loop."""
    pa.set_cpu_count(1)
    writer = None
    for batch in _batches(source):
        columns = answers(len(batch))
        columns[0] = columns[0].dictionary_decode()
        names = [*batch.schema.names, "label", "score", "scores", "tokens", "truncated"]
        out = pa.RecordBatch.from_arrays([*batch.columns, *columns], names)
        writer = writer or pq.ParquetWriter(target, out.schema, compression="zstd")
        writer.write_batch(out)
    if writer:
        writer.close()


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    if source.suffix == ".parquet":
        yield from pq.ParquetFile(source).iter_batches(65_536, use_threads=False)
    else:
        yield from pj.open_json(source, pj.ReadOptions(use_threads=False, block_size=8 * 2**20))


def pipeline(source: Path, target: Path) -> None:
    """Ours."""
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    from seqcls_beam.config import ReadOptions
    from seqcls_beam.runs.run import Run
    from seqcls_beam.transforms import ReadRecords, WriteLabeled

    with beam.Pipeline(runner=FnApiRunner()) as root:
        records = root | ReadRecords(ReadOptions(input=(str(source),), id_column="id"))
        records | "Instant" >> beam.Map(instant) | WriteLabeled(Run(str(target), "benchmark"))


def one(what: str, source: Path, target: Path, profile: bool) -> None:
    """Run one of the two in this process; prints seconds and peak RSS in MB. Imports are not counted."""
    if what == "pipeline":
        import apache_beam.runners.portability.fn_api_runner

        import seqcls_beam.transforms  # noqa: F401

        assert apache_beam
    do = {"loop": loop, "pipeline": pipeline}[what]
    started = time.perf_counter()
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(do, source, target)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(30)
    else:
        do(source, target)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=4_000_000)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--profile", action="store_true", help="also print where the pipeline's time goes")
    arguments.add_argument("--one", nargs=3, metavar=("WHAT", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]), Path(given.one[2]), given.profile)
        return
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_corpus(folder, given.rows)
        for name in ("corpus.parquet", "corpus.jsonl"):
            seconds: dict[str, list[float]] = {"loop": [], "pipeline": []}
            for i in range(given.repeats):
                for what in seconds:
                    command = [sys.executable, "-m", "benchmarks.pipeline", "--one", what]
                    profile = ["--profile"] if given.profile and what == "pipeline" else []
                    target = folder / f"{what}-{name}-{i}"
                    command += [str(folder / name), str(target), *profile]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                    seconds[what].append(json.loads(done.stdout.splitlines()[-1])["seconds"])
            rate = {what: given.rows / statistics.median(each) for what, each in seconds.items()}
            result[name] = {**rate, "ratio": rate["pipeline"] / rate["loop"]}
            print(
                f"{name}: loop {rate['loop']:,.0f} rows/s, pipeline {rate['pipeline']:,.0f} rows/s,"
                f" ratio {result[name]['ratio']:.2f}"
            )
    save("pipeline", {"rows": given.rows, "repeats": given.repeats, "rows_per_second": result})


if __name__ == "__main__":
    main()
