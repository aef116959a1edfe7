"""Whole publications in one call, for processes that are halted in them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqcls_beam import storage
from seqcls_beam.config.classify import LossOptions
from seqcls_beam.runs import publication
from seqcls_beam.runs.parts import fresh_name
from seqcls_beam.runs.run import Run, RunError, open_attempt, verified_record
from seqcls_beam.runs.table import damage
from seqcls_beam.runs.versions import FORMAT_VERSION
from tests.runs.attempts import write_run

UNITS = {"a": 2, "b": 3, "c": 1}  # of the three runs there are


@dataclass(frozen=True)
class Case:
    """What is published: rows of a table (with a partition, perhaps), or one thing under fixed names."""

    kind: str
    partition: str = ""

    def run(self, output: Path, letter: str) -> Run:
        """One of the runs."""
        names = ("labels", "_rejects") if self.kind == "classify" else ("data", "README.md", "config.json")
        return Run(str(output), letter * 32, True, LossOptions(max_rejected=1), names, self.partition, kind=self.kind)

    def files(self, letter: str) -> dict[str, bytes]:
        """What a run publishes under fixed names. The runs have some names in common, and some not."""
        names = ["data/first", "README.md", "config.json", f"data/only-{letter}", f"only-{letter}.json"]
        return {name: f"{name} of {letter}".encode() for name in names}


def start(case: Case, output: str, letter: str) -> int:
    """What the start of a command does: follow, refuse, work, publish. Its exit code."""
    try:
        run = publication.follow(case.run(Path(output), letter))
        now = publication.current(run)
        if now is not None and now.version.run_id == run.run_id and damage(now) is None:
            print("already published")
            return 0
        if reason := publication.unpublishable(run):
            raise RunError(reason)
        open_attempt(run)
        if case.kind == "classify":
            write_run(run, UNITS[letter], frozenset({1}))
            number = publication.publish(run, [verified_record(run, unit) for unit in range(UNITS[letter])])
        else:
            number = publication.publish_files(run, *_whole(case, run, letter))
    except RunError as error:
        if "run" in vars() and publication.outcome(run) is not None:  # as `pipelines.publishing.finish` does
            return 0
        print(error)
        return 1
    print(f"version {number}")
    return 0


def _whole(case: Case, run: Run, letter: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    parts, moves = [], []
    for target, data in case.files(letter).items():
        place = f"{run.work}/{fresh_name('file')}"
        storage.put(storage.join(run.output, place), data)
        moves.append((place, target))
        parts.append({"path": target, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return {"format_version": FORMAT_VERSION, "kind": case.kind, "parts": parts, "rejects": []}, moves
