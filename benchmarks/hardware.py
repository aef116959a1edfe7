"""What a measurement was made with: versions and machine, for the JSON beside every table."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Versions and machine."""
    names = ("seqcls_beam", "apache-beam", "pyarrow", "torch", "transformers", "tokenizers", "numpy")
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in names}},
        "cores": os.cpu_count(),
        "processor": _processor(),
    }


def save(name: str, result: dict[str, Any]) -> None:
    """Write benchmarks/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**environment(), **result}, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
