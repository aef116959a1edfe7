"""Corpora to prepare, the command, and readers of what it published."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import prepare
from seqcls_beam.runs.table import read_manifest
from tests.corpora import write_jsonl

FLAGS = ["--num_shards=4"]


def sentences(rows: int, words: int = 12, seed: int = 0) -> list[str]:
    """Texts of random words, no two of them alike."""
    chance = random.Random(seed)

    def word() -> str:
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9)))

    return [" ".join(word() for _ in range(words)) for _ in range(rows)]


def labelled(texts: list[str], **more: Any) -> list[dict[str, Any]]:
    """Rows with two labels in turn."""
    return [{"id": f"r{i}", "text": text, "label": ("no", "yes")[i % 2], **more} for i, text in enumerate(texts)]


def run(source: Path | list[dict[str, Any]] | None, out: Path, *flags: str, code: int = 0) -> Path:
    """Prepare a file, or rows written beside the output, and check the exit code."""
    if isinstance(source, list):
        source = write_jsonl(out.parent / f"{out.name}.jsonl", source)
    given = [] if source is None else [f"--input={source}"]
    assert prepare.main([*given, f"--output={out}", *FLAGS, *flags]) == code
    return out


def manifest(out: Path) -> dict[str, Any]:
    """The manifest of a published preparation."""
    found = read_manifest(str(out))
    assert found is not None
    return found


def rows(out: Path, split: str) -> list[dict[str, Any]]:
    """The rows of a split, shard after shard, with the names of single labels."""
    tables = [pq.read_table(path) for path in sorted((out / "data").glob(f"{split}-*.parquet"))]
    if not tables:
        return []
    table = pa.concat_tables(tables)
    names = json.loads(table.schema.metadata[b"seqcls_beam.labels"])
    found = table.to_pylist()
    for row in found:
        if isinstance(row["labels"], int):
            row["label"] = names[row["labels"]] if row["labels"] >= 0 else None
    return found


def all_rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every split."""
    return {split: rows(out, split) for split in ("train", "validation", "test")}


def rejected(out: Path) -> list[dict[str, Any]]:
    """Rows that were left out, with the reasons."""
    return [row for part in manifest(out)["rejects"] for row in pq.read_table(out / part["path"]).to_pylist()]


def digests(out: Path) -> dict[str, str]:
    """Every shard by what is in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((out / "data").iterdir())}


def lasting(out: Path) -> dict[str, Any]:
    """What of a manifest two runs share that made the same from the same rows: no times, names of files, or flags."""
    own = ("run_id", "started", "finished", "seconds", "command", "runner", "inputs", "rejects", "commit")
    return {key: value for key, value in manifest(out).items() if key not in own}
