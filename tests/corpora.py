"""Corpora and their labels by another route: a plain transformers loop, and readers of what was published."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.runs.commit import locate
from seqcls_beam.runs.table import published, read_manifest
from seqcls_beam.runs.versions import published_files

WORDS = "the a film book was is good bad not very plot soup room we i loved hated it and but never again".split()  # noqa: SIM905


def texts(rows: int, seed: int = 0, longest: int = 40) -> list[str]:
    """Texts of 1 to `longest` words, some of them repeated."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(rows)]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain_scores(folder: Path, first: list[str], second: list[str] | None = None) -> np.ndarray:
    """Probabilities [rows, labels] as the documentation of transformers would compute them."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(first), 16):
            pairs = second[start : start + 16] if second else None
            batch = tokenizer(first[start : start + 16], pairs, padding=True, truncation=True, return_tensors="pt")
            logits = model(**batch).logits
            if model.config.problem_type == "multi_label_classification":
                found.append(logits.sigmoid())
            elif logits.shape[1] == 1:
                found.append(logits)
            else:
                found.append(logits.softmax(-1))
    return torch.cat(found).numpy()


def labels(out: Path) -> pa.Table:
    """The published rows, in the order of the manifest's parts."""
    manifest = read_manifest(str(out))
    assert manifest is not None
    return pa.concat_tables([pq.read_table(out / part["path"]) for part in manifest["parts"]])


def rejects(out: Path) -> list[dict[str, Any]]:
    """The rejected rows, in order."""
    manifest = read_manifest(str(out))
    assert manifest is not None
    return [row for part in manifest["rejects"] for row in pq.read_table(out / part["path"]).to_pylist()]


def version_digests(out: Path) -> dict[str, str]:
    """What a reader of the newest versions finds: published names, and what is in those files, wherever it lies."""
    found = {}
    for run in published(str(out)):
        elsewhere = locate(run.store, run.version)
        for each in published_files(run.manifest):
            data = storage.read(run.store.uri(elsewhere.get(each["path"], each["path"])))
            found[each["path"]] = hashlib.sha256(data).hexdigest()
    return found


def part_digests(out: Path) -> dict[str, str]:
    """Every file below labels/ and _rejects/, by what is in it."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("labels", "_rejects")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    }
