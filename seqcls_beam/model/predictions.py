"""Predictions: TOKENS → PREDICTION.

Logits become probabilities, a text's windows are pooled, and the best label gets its name. A row on which the model
raises is found by bisection and rejected alone. This file knows neither torch nor Beam.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.tokens import Sequences, add_tokens, reject
from seqcls_beam.schema import ATTRIBUTES, PREDICTION, PREDICTION_MULTI_LABEL, REJECT_VALUE, Mark

Array = npt.NDArray[Any]

_READ = ("reject", "input_ids", "token_type_ids")
_KEPT = ("source", "position", "keep", "reject", "tokens", "truncated")
FIRST = 1152  # sequences that int8 is fitted to and judged by: 1 % of wrong labels shows, 0.2 % passes
FIRST_TOKENS = 1 << 17
_FEW = 16  # rows a batch that may fail alone; more, and it is the model that fails


class Engine(Protocol):
    """What `classify` needs of `seqcls_beam.model.engine.classifier.Classifier`."""

    facts: dict[str, Any]

    def logits(
        self, ids: Array, offsets: Array, token_type_ids: Array | None, advance: Callable[[int], None] | None
    ) -> Array:
        """Ids int32 [T], offsets int64 [N + 1], types int8 [T] or None → float32 [N, labels]: see `Classifier`."""


def classify(
    batches: Sequence[pa.RecordBatch],
    classifier: Engine,
    checkpoint: Checkpoint,
    options: ModelOptions,
    advance: Callable[[float], None] | None = None,
) -> list[pa.RecordBatch]:
    """TOKENS batches → as many of PREDICTION or PREDICTION_MULTI_LABEL, row for row; the ids and the texts are dropped.

    The model is given all batches at once. Rejected rows have null in the columns of PREDICTION, and in `tokens` and
    `truncated`. Probabilities are computed in float64 and stored in float32; labels are chosen by what is stored, of
    equal scores the one with the lower id. `advance` is called as work goes on, with the rows done since (a row in
    several windows is done by parts).

    A row on which the model raises is rejected; raises `RuntimeError` where more than 16 rows a batch are, and
    `CheckpointError` where the engine does.
    """
    started = time.perf_counter()
    names = [name for name in _READ if name in batches[0].schema.names]
    # Without their metadata, in which batches differ.
    read = [batch.select(names).replace_schema_metadata(None) for batch in batches]
    joined, few = pa.concat_batches(read), _FEW * len(batches)
    rows, scores, failures = _scores(joined, classifier, checkpoint, options, few, advance)
    took = time.perf_counter() - started
    made, before = [], 0
    for batch in batches:
        low, high = np.searchsorted(rows, (before, before + len(batch)))
        failed = {row - before: error for row, error in failures.items() if before <= row < before + len(batch)}
        answered = _answered(batch, rows[low:high] - before, scores[low:high], failed, checkpoint, options)
        share = took * len(batch) / max(1, sum(map(len, batches)))
        decided = {"threshold": options.threshold} if checkpoint.problem == "multi_label" else {}
        mark = replace(Mark.of(batch), engine={**classifier.facts, **decided})
        made.append(mark.spent("classify", share).on(answered))
        before += len(batch)
    return made


def _answered(
    tokens: pa.RecordBatch,
    rows: Array,
    scores: npt.NDArray[np.float32],
    failures: dict[int, Exception],
    checkpoint: Checkpoint,
    options: ModelOptions,
) -> pa.RecordBatch:
    """TOKENS → PREDICTION, given `scores` of the good `rows`, and what the model raised on others."""
    if failures:
        tokens = reject(tokens, "classify", failures)
    absent = np.ones(len(tokens), bool)
    absent[rows] = False
    predictions = tokens.select([*_KEPT, *([ATTRIBUTES.name] if ATTRIBUTES.name in tokens.schema.names else [])])
    if absent.any():
        for name in ("tokens", "truncated"):
            at = predictions.schema.get_field_index(name)
            nulled = pc.if_else(pa.array(absent), pa.scalar(None, tokens[name].type), tokens[name])
            predictions = predictions.set_column(at, predictions.schema.field(at), nulled)
    fields, columns = (
        (PREDICTION_MULTI_LABEL, [_labels(scores, absent, checkpoint, options.threshold)])
        if checkpoint.problem == "multi_label"
        else (PREDICTION, _label_and_score(scores, absent, checkpoint))
    )
    columns.append(_lists(pa.array(scores.ravel()), np.full(len(rows), scores.shape[1]), absent))
    for each, column in zip(fields, columns, strict=True):
        predictions = predictions.append_column(each, column)
    return predictions


def probabilities(
    texts: list[str], pairs: list[str] | None, checkpoint: Checkpoint, classifier: Engine, options: ModelOptions
) -> npt.NDArray[np.float32]:
    """Texts, or pairs of them → float32 [texts, labels], as `scores` of PREDICTION has it, in the same order.

    Raises `ValueError` for the first text that cannot be tokenised or on which the model raises, and else what
    `tokenize` and `classify` raise.
    """
    columns = {"text": pa.array(texts, pa.string()), "reject": pa.nulls(len(texts), REJECT_VALUE)}
    if pairs is not None:
        columns["text_pair"] = pa.array(pairs, pa.string())
    tokens = add_tokens(pa.record_batch(columns), checkpoint, options)
    for each in tokens["reject"].drop_null().to_pylist():
        raise ValueError(f"a text cannot be tokenised: {each['detail']}")
    _, scores, failures = _scores(tokens, classifier, checkpoint, options)
    for row, error in failures.items():
        raise ValueError(f"the model fails on text {row}: {error}") from error
    return scores


def scored(
    records: pa.RecordBatch, checkpoint: Checkpoint, classifier: Engine, options: ModelOptions, strict: bool = False
) -> npt.NDArray[np.float32]:
    """RECORD → float32 [rows, labels], as `scores` of PREDICTION; NaN where the tokenizer or the model raises on a row.

    Raises what `tokenize` and `classify` raise; where it is `strict` also the `MemoryError` of a row.
    """
    found = np.full((len(records), len(checkpoint.labels)), np.nan, np.float32)
    tokens = add_tokens(records, checkpoint, options)
    rows, scores, failures = _scores(tokens, classifier, checkpoint, options, len(records))
    for error in failures.values():
        if strict and isinstance(error, MemoryError):
            raise error
    found[rows] = scores
    return found


def first_sequences(records: Iterable[pa.RecordBatch], checkpoint: Checkpoint, options: ModelOptions) -> Sequences:
    """RECORD batches → the first 1,152 sequences in them, or fewer that hold 131,072 tokens, for int8.

    Raises what `tokenize` raises.
    """
    found: list[_Sequences] = []
    for batch in records:
        found.append(_Sequences(add_tokens(batch.slice(0, FIRST), checkpoint, options)))
        if sum(len(each.inner) - 1 for each in found) >= FIRST:
            break
    lengths = np.concatenate([np.empty(0, np.int64), *(np.diff(each.inner) for each in found)])
    lengths = lengths[: min(FIRST, np.searchsorted(np.cumsum(lengths), FIRST_TOKENS) + 1)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([np.empty(0, np.int32), *(each.ids for each in found)])[: offsets[-1]]
    types = [each.types for each in found if each.types is not None]
    return ids, offsets, np.concatenate(types)[: offsets[-1]] if types else None


def _scores(
    tokens: pa.RecordBatch,
    classifier: Engine,
    checkpoint: Checkpoint,
    options: ModelOptions,
    few: int = _FEW,
    advance: Callable[[float], None] | None = None,
) -> tuple[Array, npt.NDArray[np.float32], dict[int, Exception]]:
    """(rows that have scores, float32 [those rows, labels], what the model raised on others by row).

    Raises `RuntimeError` where it raised on more than `few`.
    """
    good = tokens["reject"].is_null()
    rows = np.flatnonzero(good.to_numpy(zero_copy_only=False))
    # A step between may have rejected rows and left them their windows.
    sequences = _Sequences(tokens if len(rows) == len(tokens) else tokens.filter(good))
    starts = sequences.outer
    logits = np.zeros((starts[-1], len(checkpoint.labels)), np.float32)
    failures: dict[int, Exception] = {}
    told = (lambda done: advance(done * len(rows) / len(logits))) if advance else None  # sequences → rows

    def run(low: int, high: int) -> None:
        try:
            logits[starts[low] : starts[high]] = sequences.through(classifier, starts[low], starts[high], told)
            return
        except CheckpointError:
            raise
        except Exception as error:
            if high - low == 1:
                failures[low] = error
                if len(failures) > few:
                    raise RuntimeError(
                        f"the model {checkpoint.name} fails on many rows of {len(tokens)}, on the last "
                        f"with {type(error).__name__}: {error}"
                    ) from error
                return
        run(low, (low + high) // 2)
        run((low + high) // 2, high)

    if len(rows):
        run(0, len(rows))
    pooled = _pool(_activate(logits.astype(np.float64), checkpoint.problem), starts, options.pooling)
    failed = list(failures)
    by_row = {int(rows[i]): error for i, error in failures.items()}
    return np.delete(rows, failed), np.delete(pooled.astype(np.float32), failed, axis=0), by_row


class _Sequences:
    """The flat arrays of a batch, be it a slice of a larger one.

    Row i has the sequences `outer[i]` to `outer[i + 1]`, and sequence j the ids `inner[j]` to `inner[j + 1]`.
    """

    def __init__(self, tokens: pa.RecordBatch) -> None:
        outer = tokens["input_ids"].offsets.to_numpy()
        inner = tokens["input_ids"].values.offsets.to_numpy()[outer[0] : outer[-1] + 1].astype(np.int64)
        part = slice(inner[0], inner[-1])
        self.outer, self.inner = outer - outer[0], inner - inner[0]
        self.ids = tokens["input_ids"].values.values.to_numpy()[part]
        self.types = None
        if "token_type_ids" in tokens.schema.names:
            self.types = tokens["token_type_ids"].values.values.to_numpy()[part]

    def through(self, classifier: Engine, low: int, high: int, advance: Callable[[int], None] | None) -> Array:
        """Logits of the sequences [low, high)."""
        part = slice(self.inner[low], self.inner[high])
        offsets = self.inner[low : high + 1] - self.inner[low]
        types = None if self.types is None else self.types[part]
        return classifier.logits(self.ids[part], offsets, types, advance)


def _activate(logits: Array, problem: str) -> Array:
    """float64 [windows, labels] → softmax, sigmoid, or the value itself."""
    if problem == "regression":
        return logits
    if problem == "multi_label":
        return np.exp(-np.logaddexp(0, -logits))  # 1 / (1 + exp(-x)), without overflow
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _pool(scores: Array, starts: Array, pooling: str) -> Array:
    """[windows, labels] → [rows, labels]; row i has the windows [starts[i], starts[i + 1])."""
    if pooling == "max":
        return np.maximum.reduceat(scores, starts[:-1], axis=0)
    return np.add.reduceat(scores, starts[:-1], axis=0) / np.diff(starts)[:, None]


def _label_and_score(scores: Array, absent: Array, checkpoint: Checkpoint) -> list[pa.Array]:
    best = scores.argmax(axis=1)
    ids, values = np.zeros(len(absent), np.int32), np.zeros(len(absent), np.float32)
    ids[~absent] = best
    values[~absent] = np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
    names = pa.array(checkpoint.labels, pa.string())
    return [pa.DictionaryArray.from_arrays(pa.array(ids, mask=absent), names), pa.array(values, mask=absent)]


def _labels(scores: Array, absent: Array, checkpoint: Checkpoint, threshold: float) -> pa.Array:
    order = np.argsort(-scores, axis=1, kind="stable")
    chosen = np.take_along_axis(scores.astype(np.float64) >= threshold, order, axis=1)
    names = pa.array(checkpoint.labels, pa.string()).take(pa.array(order[chosen]))
    return _lists(names, chosen.sum(axis=1), absent)


def _lists(values: pa.Array, lengths: Array, absent: Array) -> pa.Array:
    """A list column with null where `absent`, and `lengths` values each in the other rows."""
    offsets = np.zeros(len(absent) + 1, np.int32)
    offsets[1:][~absent] = lengths
    return pa.ListArray.from_arrays(pa.array(offsets.cumsum(), pa.int32()), values, mask=pa.array(absent))
