"""Corpora: distinct texts of the bundled sample's words, as Parquet."""

from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu.bench import Bench, Result
from benchmarks.gpu.models import LABELS

PARTS = 8


def corpora(bench: Bench) -> Result:
    """`long/`: 128 tokens a text, or so; `short/`: 13; `first.parquet`: one; `labelled.parquet`: for a training."""
    chance = np.random.default_rng(0)
    rows, many, labelled = (200, 400, 100) if bench.small else (320_000, 2_000_000, 12_000)
    words = chance.lognormal(np.log(82) - 0.18, 0.6, rows).round().clip(3, 350).astype(int)
    long = _texts(chance, words)
    short = _texts(chance, chance.integers(3, 12, many))
    _write(bench, "long", long)
    _write(bench, "short", short)
    pq.write_table(long.slice(0, 1), bench.work / "first.parquet")
    label = pa.array([LABELS[i % 2] for i in range(labelled)])
    pq.write_table(long.slice(0, labelled).append_column("label", label), bench.work / "labelled.parquet")
    return {
        "long": {"rows": rows, "bytes": long["text"].nbytes},
        "short": {"rows": many, "bytes": short["text"].nbytes},
    }


def _texts(chance: np.random.Generator, words: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Table:
    """A table of texts with so many words each."""
    found = (files("seqcls_beam") / "sample" / "reviews.jsonl").read_bytes().decode(errors="ignore").split()
    known = np.array(sorted({word for word in found if word.isalpha()}), object)
    drawn = known[chance.integers(0, len(known), words.sum())].tolist()
    ends = np.cumsum(words)
    texts = [" ".join(drawn[a:b]) for a, b in zip((ends - words).tolist(), ends.tolist(), strict=True)]
    return pa.table({"id": np.arange(len(texts)), "text": texts})


def _write(bench: Bench, name: str, table: pa.Table) -> None:
    folder = bench.work / name
    folder.mkdir(exist_ok=True)
    rows = -(-table.num_rows // PARTS)
    for part in range(PARTS):
        some = table.slice(part * rows, rows)
        pq.write_table(some, folder / f"{part}.parquet", compression="zstd", row_group_size=8192)
