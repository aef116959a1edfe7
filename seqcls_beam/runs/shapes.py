"""What stands in the manifest of each command, for who reads one back: a file is input like any other."""

from typing import Any

from seqcls_beam.runs.run import RunError

_NUMBER = (int, float)

_SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "classify": {
        "rows": dict,
        "label_counts": dict,
        "truncated_rows": int,
        "seconds": dict,
        "inputs": list,
        "model?": dict,
        "threshold?": (*_NUMBER, type(None)),
        "models?": dict,
        "score_histogram?": dict,
        "value_histogram?": dict,
        "token_histogram?": dict,
    },
    "prepare": {
        "rows": dict,
        "splits": dict,
        "problem": str,
        "label_form": str,
        "labels": list,
        "tokenizer": dict,
        "cleaned": dict,
        "duplicates": dict,
        "leaks": dict,
        "skew": dict,
        "shares?": (dict, type(None)),
        "seconds": dict,
        "inputs": list,
        "versions": dict,
        "class_weights?": dict,
        "majority_baseline?": dict,
        "suggested_max_length?": int,
    },
    "finetune": {
        "problem": str,
        "labels": list,
        "data": dict,
        "base": dict,
        "recipe": dict,
        "machine": dict,
        "seconds": _NUMBER,
        "resumed_at": int,
        "steps": int,
        "steps_planned": int,
        "best": dict,
        "scores": dict,
        "scored_rows": dict,
        "label_weights": dict,
        "majority_baseline": dict,
    },
}
"""Kind → key → type; a key with a question mark may be left out."""


def checked(manifest: dict[str, Any], uri: str) -> dict[str, Any]:
    """The manifest; raises `RunError` where an entry that is read is missing or of another type."""
    names = manifest.get("labels", [])
    if isinstance(names, list) and not all(isinstance(each, str) for each in names):
        raise RunError(f"{uri}: 'labels' is {names!r:.80}, which no command wrote; name another folder")
    for key, kind in _SHAPES.get(manifest["kind"], {}).items():
        name = key.removesuffix("?")
        if (name == key or name in manifest) and not isinstance(manifest.get(name), kind):
            raise RunError(
                f"{uri}: {name!r} is {manifest.get(name)!r:.80}, which no command wrote; name another folder"
            )
    return manifest
