"""What the same commands take on each engine: in this process, on Prism, and on a Flink cluster of this machine.

    python -m benchmarks.engines --shared DATA [--rows 100000] [--prepared 1000000] [--engines in-process prism flink]

Each with one worker and with two, of one thread each: processes in the first case, TaskManagers of Flink with a worker
each; Prism has one worker process, which is given two threads. Classifying takes short texts and the bundled
checkpoint, preparing takes short phrases (`benchmarks.prepare`). Start-up is the same command on one row for
classifying, and on a thousandth of the rows for preparing; it is taken off before rows are counted by the second. The
cluster is set up by deploy/flink/start.sh and stands while both are measured. A digest of what was published
stands beside each.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.hardware import save
from benchmarks.pipeline import write_corpus
from benchmarks.prepare import write_million

ROOT = Path(__file__).parent.parent
ENGINES = ("in-process", "prism", "flink")


@contextmanager
def ready(engine: str, workers: int, folder: Path) -> Iterator[list[str]]:
    """The flags of an engine with so many workers, while it stands."""
    if engine == "in-process":
        two = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
        yield ["--runner=DirectRunner", "--threads=1", *(two if workers > 1 else [])]
    elif engine == "prism":
        yield ["--runner=PrismRunner", f"--threads={workers}"]
    else:
        settings = {**os.environ, "FLINK_FOLDER": str(folder), "FLINK_TASKMANAGERS": str(workers)}
        settings.setdefault("FLINK_PROGRAMS", str(ROOT / ".flink"))
        subprocess.run([ROOT / "deploy/flink/start.sh"], env=settings, check=True, stdout=subprocess.DEVNULL)
        try:
            yield ["--runner=FlinkRunner", "--flink_master=127.0.0.1:8081", "--threads=1"]
        finally:
            subprocess.run([ROOT / "deploy/flink/stop.sh"], env=settings, check=True, stdout=subprocess.DEVNULL)


def seconds(command: str, source: Path, flags: list[str], files: str) -> tuple[float, str]:
    """(wall seconds of a command, a digest of what it published); ends with what it said where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", f"pipelines.{command}", f"--input={source}", f"--output={folder}/out", *flags],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        took = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{done.stderr}\npipelines.{command} {' '.join(flags)} ended with {done.returncode}")
        digest = hashlib.sha256()
        for each in sorted(Path(folder, "out").glob(files)):
            digest.update(each.read_bytes())
        return took, digest.hexdigest()[:12]


def measured(command: str, whole: Path, part: Path, rows: int, flags: list[str], own: list[str], files: str) -> Any:
    """Seconds with and without start-up, rows/s, and the digest."""
    start_up, _ = seconds(command, part, [*own, *flags], files)
    wall, digest = seconds(command, whole, [*own, *flags], files)
    return {
        "seconds": round(wall, 1),
        "start_up": round(start_up, 1),
        "rows_per_second": round(rows / max(wall - start_up, 0.001)),
        "digest": digest,
    }


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shared", type=Path, required=True, help="the folder of the public datasets")
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--prepared", type=int, default=1_000_000)
    arguments.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    arguments.add_argument("--workers", nargs="+", type=int, default=(1, 2))
    arguments.add_argument("--out", type=Path, help="default: benchmarks/results/engines.json")
    given = arguments.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_corpus(folder, given.rows)
        corpus = folder / "corpus.jsonl"  # of a Parquet file with one row group one worker would have all
        with corpus.open() as lines:
            (folder / "first.jsonl").write_text(next(lines))
        million = write_million(given.shared, given.prepared, folder / "million.parquet")
        pq.write_table(pq.read_table(million).slice(0, given.prepared // 1000), folder / "thousandth.parquet")
        of_classify = ["--text_column=text", "--unit_bytes=250000"]
        of_prepare = ["--max_length=128", "--num_shards=2"]
        for engine in given.engines:
            for workers in given.workers:
                with ready(engine, workers, folder / "flink") as flags:
                    plain = [each for each in flags if not each.startswith("--threads")]
                    each = {
                        "engine": engine,
                        "workers": workers,
                        "classify": measured(
                            "classify", corpus, folder / "first.jsonl", given.rows, flags,
                            of_classify, "labels/*.parquet",
                        ),
                        "prepare": measured(
                            "prepare", million, folder / "thousandth.parquet", given.prepared, plain, of_prepare,
                            "data/*.parquet",
                        ),
                    }  # fmt: skip
                found.append(each)
                print(each, flush=True)
                save("engines", {"rows": given.rows, "prepared": given.prepared, "runs": found}, given.out)


if __name__ == "__main__":
    main()
