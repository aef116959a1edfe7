"""Published labellings made by hand, with real parts: what pages are made of, without a pipeline."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam.runs import histograms
from seqcls_beam.runs.histograms import Histograms
from seqcls_beam.runs.versions import version_name
from seqcls_beam.schema import REJECT
from tests.runs.attempts import COMMIT

LABELS = ["negative", "positive"]
HOSTILE = "<script>alert(1)</script> \u202egnp.exe\x1b[31m \"' & {{ 7*7 }} " + "w" * 300
"""A text, or a name, of somebody who means harm."""

Row = tuple[str, str, float]  # text, label, its probability


def rows(count: int, positive: float = 0.4, sure: float = 0.95) -> list[Row]:
    """Rows of two labels; each has a text of its own."""
    return [
        (f"text {place}", LABELS[place < positive * count], round(0.5 + (sure - 0.5) * (place % 97 + 1) / 97, 4))
        for place in range(count)
    ]


def labelling(
    out: Path,
    made: list[Row],
    partition: str = "",
    number: int = 1,
    parts: int = 1,
    rejected: list[tuple[str, bytes]] | None = None,
    labels: list[str] = LABELS,
    **more: Any,
) -> dict[str, Any]:
    """Publish rows as a version of a partition, in parts of one size; its manifest."""
    bad = rejected or []
    table = pa.table(
        {
            "id": [f"r{place}" for place in range(len(made))],
            "text": [text for text, _, _ in made],
            "label": [label for _, label, _ in made],
            "score": pa.array([score for *_, score in made], pa.float32()),
            "scores": pa.array([[score, 1 - score] for *_, score in made], pa.list_(pa.float32())),
        }
    ).replace_schema_metadata({"seqcls_beam.labels": json.dumps(labels)})
    counted = Histograms(len(labels), False)
    counted.add(table["score"].to_numpy(), pa.array([len(text) for text, _, _ in made], pa.int32()).to_numpy())
    digest = hashlib.sha256(f"{partition}{number}".encode()).hexdigest()
    size = -(-len(made) // parts) if made else 0
    files = [
        _write(out, "labels", partition, place, parts, number, digest, table.slice(place * size, size))
        for place in range(parts)
    ]
    wrong = pa.table(
        {
            "source": ["gs://user:secret@bucket/in.jsonl"] * len(bad),
            "position": list(range(len(bad))),
            "stage": ["read"] * len(bad),
            "reason": [reason for reason, _ in bad],
            "detail": [f"about {reason}" for reason, _ in bad],
            "raw": [raw for _, raw in bad],
        },
        REJECT,
    )
    manifest = {
        "format_version": 2,
        "kind": "classify",
        "run_id": digest[:32],
        "started": "2026-11-20T02:00:00Z",
        "finished": "2026-11-20T02:10:00Z",
        "command": "python -m pipelines.classify --input=in.jsonl",
        "runner": "FnApiRunner",
        "versions": {"seqcls_beam": "0.1.0"},
        "model": {"name": "m", "revision": None, "digest": "d" * 64, "problem": "single_label", "labels": labels},
        "threshold": None,
        "max_tokens": 512,
        "read": {"text_column": "text", "id_column": "id"},
        "engines": [{"engine": "packed", "dtype": "float32", "device": "cpu"}],
        "rows": {
            "in": len(made) + len(bad),
            "labeled": len(made),
            "rejected": len(bad),
            "rejected_by_reason": dict(Counter(reason for reason, _ in bad).most_common()),
            "lost": 0,
            "lost_weight": "counted",
            "lost_by_reason": {},
        },
        "tokens": sum(len(text) for text, _, _ in made),
        "truncated_rows": 0,
        "label_counts": dict(Counter(label for _, label, _ in made)),
        **histograms.told([counted.counts], len(made)),
        "seconds": {"read": 1.0, "tokenize": 2.0, "classify": 7.0, "write": 0.5, "wall": 600.0},
        "inputs": [{"path": "/data/in.jsonl", "size": 1000, "version": "1", "rows": len(made) + len(bad)}],
        "parts": files,
        "rejects": [_write(out, "_rejects", partition, 0, 1, number, digest, wrong)] if bad else [],
        "commit": {**COMMIT, "version": number, "partition": partition},
        **more,
    }
    path = out / version_name(partition, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    return manifest


def _write(
    out: Path, folder: str, partition: str, unit: int, units: int, number: int, digest: str, table: pa.Table
) -> dict[str, Any]:
    name = f"part-{unit:05d}-of-{units:05d}-v{number}-{digest[:8]}.parquet"
    path = out / folder / partition / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return {
        "path": str(path.relative_to(out)),
        "rows": table.num_rows,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
