"""`pipelines.classify --plan`, called and read."""

import json
from pathlib import Path
from typing import Any

from pipelines import classify
from pipelines.planning.speed import work


def listing(*folders: Path) -> list[tuple[str, int, int, bytes]]:
    """Every file and folder: its name, its size, when it was changed, what is in it."""
    found = []
    for top in folders:
        for path in sorted([top, *top.rglob("*")]):
            about = path.stat()
            found.append((str(path), about.st_size, about.st_mtime_ns, path.read_bytes() if path.is_file() else b""))
    return found


def label(model: Path, source: Path | str, out: Path | str, *flags: str) -> int:
    return classify.main([f"--model={model}", f"--input={source}", f"--output={out}", "--threads=1", *flags])


def plan(tmp_path: Path, model: Path, source: Path | str, out: Path | str, *flags: str) -> dict[str, Any]:
    """What --plan says, as JSON."""
    file = tmp_path / "plan.json"
    assert label(model, source, out, "--plan", f"--plan_json={file}", *flags) == 0
    return json.loads(file.read_text())


def plain_tokens(model: Path, rows: list[str]) -> list[int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    return [len(tokenizer(row, truncation=True)["input_ids"]) for row in rows]


def speed(**other: Any) -> dict[str, Any]:
    """A speed as --plan_json writes it."""
    said = {
        "tokens_per_second": 1000.0,
        "source": "measured on this machine",
        "device": "cuda",
        "dtype": "float16",
        "tokens_per_row": 20.0,
        "work": work(2, 32, 64),
        "digest": "0" * 64,
        "gpu": "NVIDIA L4",
        "processor": "a processor",
        "cores": 4,
    }
    return {"kind": "plan", "speed": {**said, **other}}
