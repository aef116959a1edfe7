"""Corpora: distinct texts of the bundled sample's words, as Parquet."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu.bench import Bench, Result
from benchmarks.gpu.models import LABELS
from benchmarks.words import draw_texts

PARTS = 8


def corpora(bench: Bench) -> Result:
    """`long/`: 128 tokens a text, or so; `short/`: 13; `first.parquet`: one; `labelled.parquet`: for a training."""
    chance = np.random.default_rng(0)
    rows, many, labelled = (200, 400, 100) if bench.small else (320_000, 2_000_000, 12_000)
    words = chance.lognormal(np.log(82) - 0.18, 0.6, rows).round().clip(3, 350).astype(int)
    long = pa.table({"id": np.arange(rows), "text": draw_texts(chance, words)})
    short = pa.table({"id": np.arange(many), "text": draw_texts(chance, chance.integers(3, 12, many))})
    _write(bench, "long", long)
    _write(bench, "short", short)
    pq.write_table(long.slice(0, 1), bench.work / "first.parquet")
    label = pa.array([LABELS[i % 2] for i in range(labelled)])
    pq.write_table(long.slice(0, labelled).append_column("label", label), bench.work / "labelled.parquet")
    return {
        "long": {"rows": rows, "bytes": long["text"].nbytes},
        "short": {"rows": many, "bytes": short["text"].nbytes},
    }


def _write(bench: Bench, name: str, table: pa.Table) -> None:
    folder = bench.work / name
    folder.mkdir(exist_ok=True)
    rows = -(-table.num_rows // PARTS)
    for part in range(PARTS):
        some = table.slice(part * rows, rows)
        pq.write_table(some, folder / f"{part}.parquet", compression="zstd", row_group_size=8192)
