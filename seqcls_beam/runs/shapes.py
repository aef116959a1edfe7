"""What stands in the manifest of each command, for who reads one back: a file is input like any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seqcls_beam.runs.run import RunError

_NUMBER = (int, float)

_SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "classify": {
        "rows": dict,
        "rows.in": int,
        "rows.labeled": int,
        "rows.rejected": int,
        "label_counts": dict,
        "label_counts.*": int,
        "truncated_rows": int,
        "seconds": dict,
        "seconds.*": _NUMBER,
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
        "splits.*": dict,
        "splits.*.rows": int,
        "splits.*.tokens": int,
        "problem": str,
        "label_form": str,
        "labels": list,
        "tokenizer": dict,
        "tokenizer.name": str,
        "tokenizer.max_length": int,
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
"""Kind → key → type; a key with a question mark may be left out, and a star is each key of an object."""


def checked(manifest: dict[str, Any], uri: str) -> dict[str, Any]:
    """The manifest; raises `RunError` where an entry that is read is missing or of another type."""
    names = manifest.get("labels", [])
    if isinstance(names, list) and not all(isinstance(each, str) for each in names):
        raise RunError(f"{uri}: 'labels' is {names!r:.80}, which no command wrote; name another folder")
    for key, kind in _SHAPES.get(manifest["kind"], {}).items():
        name = key.removesuffix("?")
        for value in _at(manifest, name.split(".")) if name == key or name in manifest else ():
            if not isinstance(value, kind):
                raise RunError(f"{uri}: {name!r} is {value!r:.80}, which no command wrote; name another folder")
    return manifest


@contextmanager
def as_written(uri: str) -> Iterator[None]:
    """Raise `RunError` where the block misses something in a manifest that was read, or finds another type there."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise RunError(f"{uri} holds what no command wrote ({said:.80}); name another folder") from error


def _at(value: Any, names: list[str]) -> Iterator[Any]:
    """What stands at a key, or at several, one in the other."""
    if not names:
        yield value
    elif names[0] == "*":
        for each in value.values():
            yield from _at(each, names[1:])
    else:
        yield from _at(value.get(names[0]), names[1:])
