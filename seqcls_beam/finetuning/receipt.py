"""What is published beside the weights: manifest, metrics, recipe."""

import hashlib
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from seqcls_beam import storage
from seqcls_beam.finetuning.card import card
from seqcls_beam.finetuning.curves import curves
from seqcls_beam.finetuning.job import LOG, Job, Trained, label_weights
from seqcls_beam.runs.manifest import KEYS, iso
from seqcls_beam.runs.versions import FORMAT_VERSION

MANIFEST = {
    **{key: told for key, told in KEYS.items() if key != "runner"},
    "problem": ("string", "single_label, multi_label or regression"),
    "labels[]": ("string", "labels, in the order of the model's outputs"),
    "data.path": ("string", "the prepared data it was trained on"),
    "data.run_id": ("string", "their run"),
    "data.digest": ("string", "digest of their shards"),
    "data.max_length": ("integer", "tokens that a text was cut to"),
    "data.pairs": ("boolean", "rows are pairs of texts"),
    "data.rows.SPLIT": ("integer", "rows of a split"),
    "base.name": ("string", "the model it began with"),
    "base.revision": ("string or null", "the commit of a Hub id"),
    "base.digest": ("string", "digest of its files"),
    "base.head": ("string", "kept, or new where the labels are others"),
    "recipe.OPTION": ("any", "every option of the training; the same as recipe.json"),
    "machine": ("object", "what it ran on: device, processes, threads, the share of padding"),
    "seconds": ("number", "time of the training"),
    "resumed_at": ("integer", "the step that this start began after"),
    "steps": ("integer", "steps that were made"),
    "steps_planned": ("integer", "steps that there would have been without an early end"),
    "best.metric": ("string", "what the best step was chosen by, on validation rows"),
    "best.step": ("integer", "the step that is published"),
    "scores.SPLIT.METRIC": ("number", "metrics of the published weights"),
    "scored_rows.SPLIT": ("integer", "rows that they rest on"),
    "label_weights.LABEL": ("number", "weight of a label's rows in the loss, where they were weighed"),
    "majority_baseline.SPLIT.METRIC": ("number", "what always saying the most frequent label gets"),
}
"""What the manifest of a fine-tuning has: (type, meaning)."""


def write(job: Job, trained: Trained, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the files for people beside the model in `folder`; the manifest, which names all that is there.

    `facts` are the launcher's: command, versions, when it started, which platforms are told of it.
    """
    finished = time.time()
    prepared, recipe = job.prepared.manifest, asdict(job.config.train)
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "finetune",
        "run_id": job.run.run_id,
        "started": iso(facts["started"]),
        "finished": iso(finished),
        "command": facts["command"],
        "versions": facts["versions"],
        **({"platforms": facts["platforms"]} if facts.get("platforms") else {}),
        "problem": job.prepared.problem,
        "labels": list(job.label_names),
        "data": {
            "path": storage.without_password(job.config.data.data),
            "run_id": prepared["run_id"],
            "digest": job.prepared.digest,
            "max_length": prepared["tokenizer"]["max_length"],
            "pairs": job.prepared.pairs,
            "rows": {name: each["rows"] for name, each in prepared["splits"].items()},
        },
        "base": {
            "name": storage.without_password(job.base.name),
            "revision": job.base.revision,
            "digest": job.base.digest,
            "head": "kept" if job.keeps_head else "new",
        },
        "recipe": recipe,
        "machine": trained.machine,
        "seconds": trained.seconds,
        "resumed_at": trained.began,
        "steps": trained.steps,
        "steps_planned": trained.planned,
        "best": {"metric": job.best_metric, "step": trained.best_step},
        "scores": trained.scores,
        "scored_rows": trained.scored,
        "label_weights": dict(zip(prepared["labels"], label_weights(job.config.train, prepared) or [], strict=False)),
        "majority_baseline": prepared.get("majority_baseline", {}),
    }
    (folder / "metrics.json").write_bytes(_json({"scores": trained.scores, "history": trained.history}))
    shutil.copyfile(job.work / LOG, folder / LOG)
    (folder / "recipe.json").write_bytes(_json(recipe))
    (folder / "curves.png").write_bytes(curves(job, trained))
    (folder / "README.md").write_text(card(manifest), encoding="utf-8")
    return {**manifest, "parts": [_part(path) for path in sorted(folder.iterdir())], "rejects": []}


def _part(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
