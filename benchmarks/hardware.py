"""What a measurement was made with: versions and machine, for the JSON beside every table."""

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from seqcls_beam.version import __version__

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Versions and machine; the project's own version from its source, since a bare tree is not installed."""
    names = ("apache-beam", "pyarrow", "torch", "transformers", "tokenizers", "numpy")
    versions = {name: metadata.version(name) for name in names}
    return {
        "versions": {"python": platform.python_version(), "seqcls_beam": __version__, **versions},
        "cores": os.cpu_count(),
        "processor": _processor(),
    } | ({"gpu": gpu} if (gpu := _gpu()) else {})


def save(name: str, result: dict[str, Any], out: Path | None = None) -> None:
    """Write `out`, or benchmarks/results/NAME.json."""
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**environment(), **result}, indent=2) + "\n")


def _gpu() -> dict[str, str] | None:
    """The first GPU, where the driver's own tool is there to tell: asking torch would take up its memory."""
    fields = ("name", "driver_version", "power.limit", "memory.total")
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(fields, values, strict=True)) if done.returncode == 0 and len(values) == len(fields) else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
