"""What stands at a name now, whether a stream may go on with it, and how its answers differ from those before."""

import errno
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam import storage
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, resolve_copy, version_in
from seqcls_beam.model.checkpoints.errors import of_the_system
from seqcls_beam.model.checkpoints.files import named_in, needed
from seqcls_beam.schema import REJECT_VALUE

TEXTS = 64
"""That are kept to compare models on."""
_LONGEST_TEXT = 16_384  # bytes; a model reads no more of one, but for windows
_LOOKED_AT = 4 * TEXTS  # rows of a batch, where some are rejected

Scores = npt.NDArray[np.float32]
Seen = tuple[Any, ...]
"""What tells files from later ones at the same names."""

_known: dict[tuple[str, str | None], tuple[Seen, Checkpoint]] = {}
_fetching = threading.Lock()


def look(model: str) -> Seen:
    """What a folder or URI holds now, without fetching it: what LATEST says, names, sizes and times of the files.

    Raises `CheckpointError` as `version_in`, and `OSError` where it cannot be listed. Nothing where there is none.
    """
    where = storage.absolute(model)
    version = version_in(where)
    try:
        fs, path = storage.connect(where if version is None else storage.join(where, version))
        found = {each["name"].rstrip("/").rpartition("/")[2]: each for each in fs.ls(path, detail=True)}
        wanted = needed(found, lambda index: named_in(fs.cat_file(storage.join(path, index)), index, model))
    except FileNotFoundError:
        found, wanted = {}, []
    files = ((name, found[name]) for name in wanted)
    return version, *((name, info.get("size"), info.get("ino"), storage.identity(info)) for name, info in files)


class Changing(CheckpointError):
    """The files are not those that were seen: somebody is still at work on them, perhaps."""

    def __init__(self, model: str) -> None:
        shown = storage.without_password(model)
        super().__init__(f"{shown}: its files changed while they were fetched: try again", passing=True)


def find(model: str, problem_type: str | None, settled: Seen | None = None) -> Checkpoint:
    """What stands there now, fetched into this machine's cache unless it is what was found last.

    Raises `CheckpointError` as `resolve_copy` and for a web server's; `Changing` where the files changed while they
    were fetched, or are not what was seen before, `settled`.
    """
    if storage.is_web(model):
        shown = storage.without_password(model)
        raise CheckpointError(f"{shown}: a web server does not tell what has changed: name a folder or a bucket")
    with _fetching:
        seen = look(model)
        if settled is not None and seen != settled:
            raise Changing(model)
        before, found = _known.get((model, problem_type), (None, None))
        if found is not None and before == seen:
            return found
        try:
            found = resolve_copy(model, problem_type)
        except CheckpointError as error:
            _ensure_same(model, seen, error)
            raise
        _ensure_same(model, seen)
        _known[model, problem_type] = seen, found
        return found


def _ensure_same(model: str, seen: Seen, cause: Exception | None = None) -> None:
    if look(model) != seen:
        raise Changing(model) from cause


def passes(error: BaseException) -> bool:
    """Whether the next try of a model may end otherwise, since what failed is no fault of its files.

    A store that does not answer, a disk that is full or fails, a lack of memory; not what is or is not there.
    """
    if getattr(error, "passing", False) or isinstance(error, storage.StoreError) or lacks_memory(error):
        return True
    return any(isinstance(each, OSError) and of_the_system(each) for each in _causes(error))


def lacks_memory(error: BaseException) -> bool:
    """Whether a model failed since there was too little memory for it."""
    return any(
        isinstance(each, MemoryError) or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        for each in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def ensure_alike(found: Checkpoint, launched: Checkpoint) -> None:
    """Raise `CheckpointError` where a stream's rows would mean something else."""
    if found.problem != launched.problem:
        raise CheckpointError(f"it is {found.problem}, and the stream's models are {launched.problem}")
    if found.labels != launched.labels:
        raise CheckpointError(
            f"its labels are {', '.join(found.labels)}, and those of the stream's models {', '.join(launched.labels)}, "
            "in this order"
        )


class AtHand:
    """The newest texts of a stream, 64 at most: `text`, where pairs come `text_pair`, `reject`."""

    def __init__(self) -> None:
        self._texts: pa.RecordBatch | None = None

    def see(self, records: pa.RecordBatch) -> None:
        """Remember the last good texts of a RECORD batch."""
        names = [name for name in ("text", "text_pair") if name in records.schema.names]
        last = records.slice(max(0, len(records) - _LOOKED_AT))
        good = last["reject"].is_null()
        for name in names:
            good = pc.and_(good, pc.less_equal(pc.fill_null(pc.binary_length(last[name]), 0), _LONGEST_TEXT))
        found = last.select(names).replace_schema_metadata(None).filter(good)  # a copy, which holds no batch
        before = self._texts
        if before is not None and len(found) < TEXTS and before.schema.names == [*names, "reject"]:
            found = pa.concat_batches([before.select(names), found])
        found = found.slice(max(0, len(found) - TEXTS))
        self._texts = found.append_column("reject", pa.nulls(len(found), REJECT_VALUE))

    def texts(self) -> pa.RecordBatch | None:
        """None where none came yet."""
        return self._texts if self._texts is not None and len(self._texts) else None


def ensure_answers(after: Scores, before: Scores | None) -> None:
    """Raise `CheckpointError` where a model fails on texts that the one before answers, or on all.

    Both float32 [texts, labels], NaN where there is no answer.
    """
    answered = np.isfinite(after).all(axis=1)
    wanted = np.ones(len(after), bool) if before is None else np.isfinite(before).all(axis=1)
    failed = int((wanted & ~answered).sum())
    if failed if before is not None else not answered.any():
        raise CheckpointError(f"it has no answer to {failed} of {len(after)} texts at hand")


def agreement(before: Scores, after: Scores, problem: str, threshold: float) -> dict[str, Any]:
    """How two models differ on the texts that both answer: float32 [texts, labels] each, NaN where there is no answer.

    `texts`, how many; `equal`, the share of them with the same label, or of several labels the same set; `jaccard`, of
    several labels, what the two sets have in common, in parts of both, on average; of a regression in place of these
    `mean_difference`; `largest_difference` of a score.
    """
    both = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    p, q = before[both].astype(np.float64), after[both].astype(np.float64)
    said: dict[str, Any] = {"texts": len(p)}
    if not len(p):
        return said
    far = np.abs(p - q)
    if problem == "regression":
        said["mean_difference"] = round(float(far.mean()), 6)
    elif problem == "multi_label":
        one, other = p >= threshold, q >= threshold
        either, common = (one | other).sum(axis=1), (one & other).sum(axis=1)
        said["equal"] = round(float((one == other).all(axis=1).mean()), 6)
        said["jaccard"] = round(float(np.where(either == 0, 1.0, common / np.maximum(either, 1)).mean()), 6)
    else:
        said["equal"] = round(float((p.argmax(axis=1) == q.argmax(axis=1)).mean()), 6)
    return {**said, "largest_difference": round(float(far.max()), 6)}


def told(said: dict[str, Any]) -> str:
    """What `agreement` found, as a sentence has it."""
    if not said["texts"]:
        return "no texts are at hand yet to compare the two on"
    if "mean_difference" in said:
        same = f"values differ by {said['mean_difference']:.4g} on average"
    elif "jaccard" in said:
        same = f"{said['equal']:.1%} get the same labels, and labels agree to {said['jaccard']:.1%} on average"
    else:
        same = f"{said['equal']:.1%} get the same label"
    largest = f"{said['largest_difference']:.4g}"
    return f"of {said['texts']} texts at hand {same}; the largest difference of a score is {largest}"
