"""The records of all units → the manifest of a labelling.

The manifest is the run's receipt: what was made, from what, with what. It names exactly the files that count.
"""

import time
from collections import Counter
from typing import Any

import orjson

from seqcls_beam.runs import histograms
from seqcls_beam.runs.accounting import by_file, lost
from seqcls_beam.runs.run import label_folders
from seqcls_beam.runs.versions import FORMAT_VERSION, part_name
from seqcls_beam.schema import LOSSES

KEYS = {
    "format_version": ("integer", "of what such a file looks like; another number is refused by what reads it"),
    "kind": ("string", "the command that wrote it"),
    "run_id": ("string", "digest of all that decides the output: inputs, model, options, version; the same is one run"),
    "started": ("string or null", "when the command began, UTC"),
    "finished": ("string", "when all work was done, UTC"),
    "command": ("string", "the command with every option, defaults among them, without passwords"),
    "runner": ("string", "what Beam ran on"),
    "versions.PACKAGE": ("string", "version of the project, and of a package that it stands on"),
    "parts[].path": ("string", "a file that counts, from the output folder"),
    "parts[].rows": ("integer", "rows in it"),
    "parts[].bytes": ("integer", "its size"),
    "parts[].sha256": ("string", "its digest"),
    "rejects[].path": ("string", "a file of rejected rows, from the output folder"),
    "rejects[].rows": ("integer", "rows in it"),
    "rejects[].bytes": ("integer", "its size"),
    "rejects[].sha256": ("string", "its digest"),
    "platforms.PLATFORM": ("string", "a platform that is told of the run, and where, without passwords"),
    "commit": ("object", "how it was published: for the program, not for readers"),
}
"""What manifests of several commands have, and what each key means: (type, meaning). Capitals stand for any name."""

FILE = {
    "path": ("string", "the file, without a password"),
    "size": ("integer", "its bytes, as they lie there"),
    "version": ("string", "etag or generation where the store has one, else the time of the last change"),
    "rows": ("integer", "rows that were read of it, rejected ones among them"),
    "rows_lost": ("integer", "rows that could not be read, known or estimated"),
    "bytes": ("integer", "bytes that were read of it"),
    "bytes_lost": ("integer", "bytes that could not be read"),
    "losses[].reason": ("string", "why, one of the [reasons that speak of a file](reasons.md)"),
    "losses[].detail": ("string", "the same as a sentence"),
    "losses[].rows": ("integer", "rows that were lost so"),
    "losses[].bytes": ("integer or null", "bytes that were lost so, where they are known"),
    "losses[].weight": ("string", "how the rows are known: counted, estimated, at_least"),
}
"""What is told of each input file, below `inputs[]`."""

LOST = {
    "rows.lost": ("integer", "rows of files that could not be read"),
    "rows.lost_weight": ("string", "how that is known, the least sure of it: counted, estimated, at_least"),
    "rows.lost_by_reason.REASON": ("integer", "the same by reason"),
}

MODEL = {
    "model.name": ("string", "the checkpoint as it was named"),
    "model.revision": ("string or null", "the commit of a Hub id"),
    "model.digest": ("string", "digest of all its files that are loaded; the column `model` has its first 12 digits"),
    "model.files.FILE": ("string", "sha256 of each of them"),
    "model.reading": ("string", "which kind of outputs was taken, and why, where there was a choice"),
}

ENGINE = {
    "engines[]": (
        "object",
        "what really ran in worker processes, each kind once: device, precision, threads …",
    ),
}

LABELLED = {
    "rows.in": ("integer", "rows of the input: labelled + rejected + lost"),
    "rows.labeled": ("integer", "rows under `labels/`"),
    "rows.rejected": ("integer", "rows under `_rejects/`, but for those that stand for a file"),
    "rows.rejected_by_reason.REASON": ("integer", "the same by [reason](reasons.md)"),
    **LOST,
    "tokens": ("integer", "tokens that the model read"),
    "truncated_rows": ("integer", "rows with a text longer than the model reads"),
    "label_counts.LABEL": ("integer", "rows with that label"),
    "score_histogram": ("object", "scores in cells of one width: {from, to, counts}"),
    "value_histogram": ("object", "the same of a regression's values, which have no ends: {edges, counts}"),
    "token_histogram": ("object", "tokens of a row: {edges, counts}; a cell ends before its edge"),
    "seconds.STAGE": ("number", "time spent in a stage, over all workers; wall: of the whole run"),
    **{f"inputs[].{key}": told for key, told in FILE.items()},
}

CLASSIFY = {
    **KEYS,
    **MODEL,
    "model.problem": ("string", "single_label, multi_label or regression"),
    "model.labels[]": ("string", "its labels, in the order of the column `scores`"),
    "threshold": ("number or null", "probability from which one of several labels is assigned"),
    "max_tokens": ("integer", "tokens that the model reads at once"),
    "overflow": ("string", "what became of longer texts: truncate or window"),
    "report_texts": ("integer", "0 where the report must not show texts"),
    "fastest.dtype": ("string", "what --dtype=fastest took, where it was asked for"),
    "fastest.reason": ("string", "why nothing but float32 was tried"),
    "fastest.sequences": ("integer", "sequences of the first rows that precisions were judged by"),
    "fastest.tried[].dtype": ("string", "a precision"),
    "fastest.tried[].times": ("number", "how many times as fast as float32 it was on them"),
    "fastest.tried[].label_agreement": ("number", "share of them to which it gives the label of float32"),
    "fastest.tried[].mean_delta": ("number", "by how much it moves a probability, on average"),
    "fastest.tried[].refused": ("string", "why it could not be had"),
    "read.OPTION": ("any", "how the files were read: the options of reading"),
    "skipped": ("integer", "input files that other nights had labelled"),
    "columns[].name": ("string", "a column of the input that was kept"),
    "columns[].type": ("string", "its type, as Arrow names it"),
    "columns[].classes[]": ("string", "what its class numbers are called"),
    **ENGINE,
    **LABELLED,
}
"""What the manifest of a labelling has."""


def build_manifest(
    run_id: str, partition: str, number: int, records: list[dict[str, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Unit records in order, at least one, and what the launcher knew (empty if it left nothing) → the manifest.

    `number` is that of the version that it will be, which the names of parts carry.
    """
    reasons: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for record in records:
        reasons.update(record["reasons"])
        labels.update(record["label_counts"])
        seconds.update(record["seconds"])
    files = by_file(piece for record in records for piece in record["inputs"])
    missing = lost(files)
    rejected = {reason: count for reason, count in reasons.most_common() if reason not in LOSSES}
    labeled = sum(record["labels"]["rows"] for record in records)
    engines = list(
        {orjson.dumps(record["engine"]): record["engine"] for record in records if record["engine"]}.values()
    )
    finished = time.time()
    return {
        "format_version": FORMAT_VERSION,
        "kind": "classify",
        "run_id": run_id,
        "started": iso(facts["started"]) if "started" in facts else None,
        "finished": iso(finished),
        **{key: value for key, value in facts.items() if key not in ("started", "units")},
        "engines": engines,
        "rows": {
            "in": labeled + sum(rejected.values()) + missing["lost"],
            "labeled": labeled,
            "rejected": sum(rejected.values()),
            "rejected_by_reason": rejected,
            **missing,
        },
        "tokens": sum(record["tokens"] for record in records),
        "truncated_rows": sum(record["truncated"] for record in records),
        "label_counts": dict(labels),
        **histograms.told(records, labeled),
        "seconds": {**{stage: round(spent, 3) for stage, spent in seconds.items()}, **_wall(facts, finished)},
        "inputs": files,
        "parts": [_part(record, "labels", label_folders(partition)[0], number, run_id) for record in records],
        "rejects": [
            _part(record, "rejects", label_folders(partition)[1], number, run_id)
            for record in records
            if record["rejects"]
        ],
    }


def _wall(facts: dict[str, Any], finished: float) -> dict[str, float]:
    return {"wall": round(finished - facts["started"], 3)} if "started" in facts else {}


def iso(seconds: float) -> str:
    """Seconds since 1970 → a time as manifests have it, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _part(record: dict[str, Any], of: str, folder: str, number: int, run_id: str) -> dict[str, Any]:
    path = part_name(folder, record["unit"], record["units"], number, run_id)
    return {"path": path, **{key: record[of][key] for key in ("rows", "bytes", "sha256")}}
