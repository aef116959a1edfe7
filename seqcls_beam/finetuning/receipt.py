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
from seqcls_beam.runs.manifest import iso
from seqcls_beam.runs.versions import FORMAT_VERSION


def write(job: Job, trained: Trained, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the files for people beside the model in `folder`; the manifest, which names all that is there.

    `facts` are the launcher's: command, versions, when it started.
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
