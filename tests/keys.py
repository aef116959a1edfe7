"""What stands in a document of JSON beside what is documented of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.generate.references import MANIFESTS

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
    "null": (type(None),),
    "any": (object,),
}


def undocumented(output: str | Path) -> list[str]:
    """What a published output's manifests have and docs/reference/manifests.md does not, or has otherwise."""
    versions = sorted((Path(output) / "_versions").rglob("*.json"))
    assert versions, f"nothing is published in {output}"
    evaluation = Path(output) / "evaluation.json"
    faults = []
    for path in [evaluation] if evaluation.exists() else versions:
        found = json.loads(path.read_text())
        kind = "stream" if "window" in found else found["kind"]
        if kind != "nothing":
            faults += faults_of(found, MANIFESTS[kind][2])
    return sorted(set(faults))


def faults_of(document: Any, keys: Mapping[str, tuple[str, str]]) -> list[str]:
    """What of a document is not documented, or is of another type."""
    known = {tuple(key.replace("[]", ".[]").split(".")): kind for key, (kind, _) in keys.items()}
    return list(_faults(document, (), known))


def _faults(value: Any, at: tuple[str, ...], known: dict[tuple[str, ...], str]) -> Any:
    kinds = [kind for key, kind in known.items() if len(key) == len(at) and _is(at, key)]
    if any(_fits(value, kind) for kind in kinds):
        return
    if kinds and not isinstance(value, dict | list):
        yield f"{'.'.join(at)} is {value!r:.60}, and documented as {' and '.join(kinds)}"
        return
    below = any(len(key) > len(at) and _is(at, key[: len(at)]) for key in known)
    if not isinstance(value, dict | list) or not below:
        yield f"{'.'.join(at)} is not documented ({value!r:.60})"
        return
    for name, each in value.items() if isinstance(value, dict) else (("[]", each) for each in value):
        yield from _faults(each, (*at, name), known)


def _is(at: tuple[str, ...], key: tuple[str, ...]) -> bool:
    """Whether a place is meant by a key, in which words of capitals stand for any name."""
    return all(name == one or (one.isupper() and name != "[]") for name, one in zip(at, key, strict=True))


def _fits(value: Any, kind: str) -> bool:
    return any(
        isinstance(value, _TYPES[each]) and (not isinstance(value, bool) or each in ("boolean", "any"))
        for each in kind.split(" or ")
    )
