"""The records of all units → what `_MANIFEST.json` says; and reading it.

The manifest is the run's receipt: what was made, from what, with what. It names exactly the files that count.
"""

import hashlib
import re
import time
from collections import Counter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from seqcls_beam import storage
from seqcls_beam.runs.run import RunError

FORMAT_VERSION = 1
NAME = "_MANIFEST.json"


def read_manifest(output: str) -> dict[str, Any] | None:
    """The manifest of a published run; None where nothing is published. Raises `RunError` for one that is no JSON."""
    uri = storage.join(output, NAME)
    try:
        manifest: dict[str, Any] = orjson.loads(storage.read(uri))
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise RunError(f"{uri} is no manifest ({error}); move it away to publish here again") from error
    return manifest


def open_labels(output: str) -> ds.Dataset:
    """The labelled rows of a published run, exactly the files its manifest names, in input order.

    Raises `FileNotFoundError` where nothing is published, `RunError` where the manifest is damaged.
    """
    manifest = read_manifest(output)
    if manifest is None:
        raise FileNotFoundError(f"{output} holds no published run: there is no {NAME}")
    fs, path = storage.connect(output)
    return ds.dataset([storage.join(path, part["path"]) for part in manifest["parts"]], filesystem=fs, format="parquet")


def first_rows(output: str, rows: int) -> pa.Table:
    """At most `rows` labelled rows of a published run, the first of its first part that has any; for a look."""
    manifest = read_manifest(output)
    parts = [part for part in manifest["parts"] if part["rows"]] if manifest else []
    if not parts:
        return pa.table({})
    fs, path = storage.connect(storage.join(output, parts[0]["path"]))
    with fs.open(path, "rb") as file:
        return pa.Table.from_batches([next(pq.ParquetFile(file).iter_batches(rows))])


def partitions(output: str) -> list[str]:
    """The folders under `output` that may hold a published run: itself and its `run_date=…` partitions."""
    dated = [each for each in storage.folders(output) if each.rsplit("/", 1)[-1].startswith("run_date=")]
    return [output, *dated]


def covered_inputs(output: str, model: str, leave_out: str | None = None) -> set[tuple[str, int, str]]:
    """Path, size and version of the files that published runs under `output` labelled with this model (its digest).

    `leave_out` is a partition that does not count, for it is about to be replaced.
    """
    manifests = [read_manifest(each) for each in partitions(output) if each != leave_out]
    return {
        (file["path"], file["size"], file["version"])
        for manifest in manifests
        if manifest is not None and manifest.get("model", {}).get("digest") == model
        for file in manifest["inputs"]
    }


def part_name(folder: str, unit: int, units: int, run_id: str) -> str:
    """The published name of a part, relative to the output folder."""
    return f"{folder}/part-{unit:05d}-of-{units:05d}-{short(run_id)}.parquet"


def short(run_id: str) -> str:
    """Eight hex digits for a run: the first of its id, or of a digest of an id that is no digest itself."""
    digest = re.fullmatch("[0-9a-f]{32}", run_id)
    return run_id[:8] if digest else hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()


def build_manifest(run_id: str, records: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """Unit records in order, at least one, and what the launcher knew (empty if it left nothing) → the manifest."""
    reasons: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for record in records:
        reasons.update(record["reasons"])
        labels.update(record["label_counts"])
        seconds.update(record["seconds"])
    rows = sum(record["rows"] for record in records)
    rejected = sum(record["rejects"]["rows"] for record in records if record["rejects"])
    histogram = [sum(counts) for counts in zip(*(record["score_histogram"] for record in records), strict=True)]
    engines = list(
        {orjson.dumps(record["engine"]): record["engine"] for record in records if record["engine"]}.values()
    )
    finished = time.time()
    return {
        "format_version": FORMAT_VERSION,
        "run_id": run_id,
        "started": iso(facts["started"]) if "started" in facts else None,
        "finished": iso(finished),
        **{key: value for key, value in facts.items() if key not in ("started", "units")},
        "engines": engines,
        "rows": {
            "in": rows,
            "labeled": rows - rejected,
            "rejected": rejected,
            "rejected_by_reason": dict(reasons.most_common()),
        },
        "tokens": sum(record["tokens"] for record in records),
        "truncated_rows": sum(record["truncated"] for record in records),
        "label_counts": dict(labels),
        "score_histogram": {"from": 0.0, "to": 1.0, "counts": histogram},
        "seconds": {**{stage: round(spent, 3) for stage, spent in seconds.items()}, **_wall(facts, finished)},
        "inputs": _inputs(records),
        "parts": [_part(run_id, "labels", record) for record in records],
        "rejects": [_part(run_id, "rejects", record) for record in records if record["rejects"]],
    }


def _wall(facts: dict[str, Any], finished: float) -> dict[str, float]:
    return {"wall": round(finished - facts["started"], 3)} if "started" in facts else {}


def iso(seconds: float) -> str:
    """Seconds since 1970 → a time as manifests have it, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _part(run_id: str, folder: str, record: dict[str, Any]) -> dict[str, Any]:
    part = record[folder]
    return {
        "path": part_name(folder, record["unit"], record["units"], run_id),
        **{key: part[key] for key in ("rows", "bytes", "sha256")},
    }


def _inputs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pieces of all units → files, with the rows read from each, in order."""
    files: dict[str, dict[str, Any]] = {}
    for record in records:
        for piece in record["inputs"]:
            path = storage.without_password(piece["path"])
            file = files.setdefault(
                piece["path"], {"path": path, "size": piece["size"], "version": piece["version"], "rows": 0}
            )
            file["rows"] += piece["rows"]
    return list(files.values())
