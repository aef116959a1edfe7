"""Evidence as bytes that travel between machines: arrays as numpy writes them, all else as JSON. Nothing in it runs.

    pack(evidence) → one .npz file: "tree", the JSON as bytes, and the arrays that it names by number

What is read back is made of the classes below and plain values: a file that somebody else put there can say wrong
numbers, and execute nothing. Raises `RunError` for what is no such file.
"""

import io
import json
import zipfile
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcls_beam.evaluation.account import Account
from seqcls_beam.evaluation.counting.calibration import Calibration
from seqcls_beam.evaluation.counting.decisions import Decisions
from seqcls_beam.evaluation.counting.groups import Group
from seqcls_beam.evaluation.counting.moments import Moments
from seqcls_beam.evaluation.counting.sampling import Sample
from seqcls_beam.evaluation.counting.sums import Sums
from seqcls_beam.evaluation.counting.tally import Asked, Tally
from seqcls_beam.evaluation.counting.worst import Worst
from seqcls_beam.evaluation.evidence import Evidence
from seqcls_beam.runs.run import RunError

Array = npt.NDArray[Any]

_OBJECTS: dict[str, type] = {
    each.__name__: each
    for each in (Evidence, Account, Asked, Tally, Group, Sums, Moments, Calibration, Decisions, Sample, Worst)
}


def pack(evidence: Evidence) -> bytes:
    """Evidence → bytes. Raises `TypeError` for a value that none of it may hold."""
    arrays: list[Array] = []
    tree = json.dumps(_told(evidence, arrays)).encode()
    sink = io.BytesIO()
    named = {str(number): each for number, each in enumerate(arrays)}
    np.savez(sink, allow_pickle=False, tree=np.frombuffer(tree, np.uint8), **named)
    return sink.getvalue()


def unpack(data: bytes) -> Evidence:
    """Bytes as `pack` made them → evidence."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = _read(json.loads(arrays["tree"].tobytes()), arrays)
    except (ValueError, TypeError, LookupError, OSError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise RunError(f"what was counted cannot be read back ({error}): it is damaged; start again") from error
    if not isinstance(found, Evidence):
        raise RunError("what was counted cannot be read back: it is something else; start again")
    return found


def _told(value: Any, arrays: list[Array]) -> Any:
    """A value → JSON: plain ones as they are, others as {kind: content}."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [_told(each, arrays) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [_told(each, arrays) for each in value]}
    if isinstance(value, set):
        return {"set": [_told(each, arrays) for each in sorted(value)]}
    if isinstance(value, dict):
        kind = "counter" if isinstance(value, Counter) else "dict"
        return {kind: [[_told(key, arrays), _told(each, arrays)] for key, each in value.items()]}
    if type(value) is not _OBJECTS.get(type(value).__name__):
        raise TypeError(f"evidence holds a {type(value).__name__}, which cannot travel")
    return {type(value).__name__: [[name, _told(each, arrays)] for name, each in vars(value).items()]}


def _read(told: Any, arrays: Any) -> Any:
    """What `_told` made → the value."""
    if isinstance(told, list):
        return [_read(each, arrays) for each in told]
    if not isinstance(told, dict):
        return told
    [(kind, content)] = told.items()
    if kind == "array":
        return arrays[str(int(content))]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind in ("tuple", "set"):
        return {"tuple": tuple, "set": set}[kind](_read(each, arrays) for each in content)
    pairs = {_read(key, arrays): _read(each, arrays) for key, each in content}
    if kind in ("dict", "counter"):
        return Counter(pairs) if kind == "counter" else pairs
    made: Any = object.__new__(_OBJECTS[kind])
    made.__dict__.update(pairs)
    return made
