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
