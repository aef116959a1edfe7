"""How long a publication takes, and opening what was published: 10,000 parts, and a partition with many old versions.

    python -m benchmarks.commit [--parts 10000] [--versions 10000] [--folder FOLDER]

Parts are small files, for their bytes do not matter: they are renamed. Beside each figure stands a plain loop that
renames as many files on the same disk in the same run. Writes benchmarks/results/commit.json.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.hardware import save
from seqcls_beam import storage
from seqcls_beam.runs.publication import follow, publish
from seqcls_beam.runs.run import Run
from seqcls_beam.runs.store import store_of
from seqcls_beam.runs.table import damage, read_newest
from seqcls_beam.runs.versions import version_name


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser("python -m benchmarks.commit", description=__doc__)
    arguments.add_argument("--parts", type=int, default=10_000)
    arguments.add_argument("--versions", type=int, default=10_000)
    arguments.add_argument("--folder", default=tempfile.gettempdir(), help="a folder on the disk to measure")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = {
            "parts": given.parts,
            "seconds": {
                "renames alone": _renames(Path(folder) / "plain", given.parts),
                **_publications(f"{folder}/out", given.parts),
            },
            "old versions": given.versions,
            "milliseconds to open": _opening(f"{folder}/old", given.versions),
        }
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    save("commit", found)


def _renames(folder: Path, parts: int) -> float:
    for each in ("from", "to"):
        (folder / each).mkdir(parents=True)
    for i in range(parts):
        (folder / "from" / str(i)).write_bytes(b"x" * 100)

    def rename() -> None:
        for i in range(parts):
            os.rename(folder / "from" / str(i), folder / "to" / str(i))

    return _seconds(rename)


def _publications(output: str, parts: int) -> dict[str, float]:
    """Seconds of a first publication, of one that replaces it, and of looking whether it is whole."""
    found = {}
    for name, run_id in (("publish", "a" * 32), ("publish with --overwrite", "b" * 32)):
        run = follow(Run(output, run_id, overwrite=True))
        records = _attempt(run, parts)
        found[name] = _seconds(lambda run=run, records=records: publish(run, records))  # type: ignore[misc]
    newest = read_newest(store_of(output))
    assert newest is not None and len(os.listdir(f"{output}/labels")) == parts
    found["look whether it is whole"] = _seconds(lambda: damage(newest))
    return found


def _attempt(run: Run, parts: int) -> list[dict[str, Any]]:
    os.makedirs(f"{run.attempt}/labels")
    records = []
    for unit in range(parts):
        name = f"{unit:05d}-{storage.token()}.parquet"
        Path(run.attempt, "labels", name).write_bytes(b"x" * 100)
        records.append(
            {
                "unit": unit,
                "units": parts,
                "labels": {"name": name, "rows": 1, "bytes": 100, "sha256": "0" * 64},
                "rejects": None,
                "rows": 1,
                "reasons": {},
                "tokens": 1,
                "truncated": 0,
                "label_counts": {"a": 1},
                "score_histogram": [1],
                "inputs": [{"path": f"file-{unit}", "size": 1, "version": "1", "rows": 1}],
                "seconds": {},
                "engine": {},
            }
        )
    return records


def _opening(output: str, versions: int) -> dict[str, float]:
    """Milliseconds to read the newest version of a partition, as the first one and as the last of many."""
    run = follow(Run(output, "a" * 32))
    publish(run, _attempt(run, 1))
    store = store_of(output)
    found = {"1": _seconds(lambda: read_newest(store)) * 1e3}
    first = orjson.loads(Path(output, version_name("", 1)).read_bytes())
    for number in range(2, versions + 1):
        first["commit"]["version"] = number
        Path(output, version_name("", number)).write_bytes(orjson.dumps(first))
    newest = read_newest(store)
    assert newest is not None and newest.version.number == versions
    found[f"{versions}"] = _seconds(lambda: read_newest(store)) * 1e3
    return found


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return round(time.perf_counter() - started, 4)


if __name__ == "__main__":
    main()
