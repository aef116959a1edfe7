"""What a training in hand has left."""

import json
from pathlib import Path


def steps(out: Path) -> list[int]:
    """The steps of the checkpoints in an output folder that are whole: the Trainer writes its state last."""
    return sorted(int(path.parent.name.rpartition("-")[2]) for path in _states(out) if _is_whole(path))


def _states(out: Path) -> list[Path]:
    return list(out.glob("**/checkpoint-*/trainer_state.json"))


def _is_whole(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_bytes()))
    except (ValueError, FileNotFoundError):  # half written, or a checkpoint that made room for a later one
        return False
