"""Gives cases to processes with limited memory, and goes on behind a case that such a process died of."""

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.reading.fuzz.corpus import Base
from tests.reading.fuzz.mutations import CUT

Case = tuple[int, int, int]
"""Number of a base, offset of a byte, its new value or `CUT`."""


@dataclass
class Report:
    """What became of all cases."""

    verdicts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    peak: int = 0  # bytes, of the largest process


def run(law: str, bases: list[Base], cases: list[Case], folder: Path) -> Report:
    """Run all cases, one process behind the other; a process runs cases until it ends or dies."""
    report = Report()
    job, log = folder / "job.json", folder / "log.jsonl"
    given = {"law": law, "bases": [asdict(base) for base in bases], "cases": cases}
    first = 0
    while first < len(cases):
        job.write_text(json.dumps({**given, "case": first}))
        log.unlink(missing_ok=True)
        child = [sys.executable, "-m", "tests.reading.fuzz.child", str(job), str(log)]
        done = subprocess.run(child, capture_output=True, text=True, errors="replace")
        said = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        for line in said:
            if "verdict" in line:
                first = line["case"] + 1
                _count(report, line["verdict"], bases, cases[line["case"]])
        if said and "peak" in said[-1]:
            report.peak = max(report.peak, said[-1]["peak"])
            assert not said[-1]["torch"]  # the memory that is measured is the reader's
        else:
            assert said, done.stderr[-2000:]
            died = signal.Signals(-done.returncode).name if done.returncode < 0 else f"code {done.returncode}"
            stage, words = said[-1].get("stage"), " ".join(done.stderr.split())[-200:]
            _count(report, f"fault: died of {died} at {stage!r}: {words}", bases, cases[first])
            first += 1
    return report


def _count(report: Report, verdict: str, bases: list[Base], case: Case) -> None:
    base, offset, value = case
    report.verdicts[verdict.split(":")[0]] += 1
    if verdict.startswith("fault"):
        change = "cut before it" if value == CUT else f"set to {value}"
        report.faults.append(f"{bases[base].name}: byte {offset} {change}: {verdict.removeprefix('fault: ')}")
