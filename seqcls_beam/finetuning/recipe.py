"""The options that made a model, as a file: what `--recipe` reads."""

from typing import Any, get_type_hints

import orjson

from seqcls_beam import storage
from seqcls_beam.config.finetune import TrainOptions
from seqcls_beam.config.option import option_fields


def read_recipe(path: str) -> dict[str, Any]:
    """Options of `TrainOptions` by name; raises `ValueError` for a file that holds anything else."""
    try:
        found = orjson.loads(storage.read(path))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"--recipe={path} is not JSON: {error}") from error
    kinds = get_type_hints(TrainOptions)
    if not isinstance(found, dict) or set(found) - set(kinds):
        unknown = sorted(set(found) - set(kinds)) if isinstance(found, dict) else [type(found).__name__]
        known = ", ".join(each.name for each in option_fields(TrainOptions))
        raise ValueError(f"--recipe={path}: {unknown[0]!r} is none of {known}")
    for name, value in found.items():
        kind = kinds[name] | int if kinds[name] in (float, float | None) else kinds[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"--recipe={path}: {name} is {value!r}: expected {getattr(kind, '__name__', kind)}")
        if kind != kinds[name] and value is not None:
            found[name] = float(value)  # or 1 and 1.0 were two runs
    return found
