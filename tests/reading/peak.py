"""Files, one after the other, read in a process of their own: what became of them, and how much memory that took.

python -m tests.reading.peak FILE …
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

MEMORY = 6 * 2**30  # bytes of address space; a fault is to end the child, and not the machine


def read(*paths: Path) -> list[dict[str, Any]]:
    """For each file {rows, reasons, bytes (the peak above what the process had before), seconds of processor}."""
    command = [sys.executable, "-m", "tests.reading.peak", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def _measure(path: str) -> dict[str, Any]:
    from tests.reading.reader import read_one_by_one

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _status("VmRSS"), time.process_time()
    rows, reasons = 0, Counter[str]()
    for batch in read_one_by_one(path):
        rows += len(batch)
        reasons.update(batch["reject"].drop_null().field("reason").to_pylist())
    taken = _status("VmHWM") - before
    return {"rows": rows, "reasons": reasons, "bytes": taken, "seconds": time.process_time() - began}


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in sys.argv[1:]:
        print(json.dumps(_measure(name)), flush=True)
