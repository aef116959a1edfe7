"""Fastest: what other precisions of a model would give on this machine, and which of them keeps its labels.

Axes in names as in `seqcls_beam.model.engine`.
"""

import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.engine import linear, memory
from seqcls_beam.model.engine.classifier import Classifier
from seqcls_beam.model.engine.devices import resolve_device
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.int8 import AGREEMENT, compared
from seqcls_beam.model.engine.loaded import loaded
from seqcls_beam.model.engine.loading import weight_bytes
from seqcls_beam.model.engine.packing import distinct, of_rows
from seqcls_beam.model.predictions import FIRST, FIRST_TOKENS
from seqcls_beam.model.tokens import Sequences, made_up

LEAST = 128
"""Different sequences that others are judged by at least: with fewer a gate of 99.5 % says nothing."""
_WORTH = 1.1
"""Times as fast that something has to be for what it costs: what two timings of one thing may differ by, too."""
_SECONDS, _LEAST_ROUNDS, _MOST_ROUNDS = 3.0, 2, 9
"""That two models are timed for, in turns: others may want the processor now and not then."""
_PASSES = 2  # of them what is timed each time
_COPIES = 4  # of the weights that are in memory at once while a precision is tried beside float32


def fastest(checkpoint: Checkpoint, options: ModelOptions, first: Sequences) -> dict[str, Any]:
    """The fastest precision that keeps 99.5 % of float32's labels on every other of the first sequences of a corpus.

    `first` as `Classifier` has it; the other half is what int8 is fitted to. Of those that are as fast within a tenth,
    the one that moves probabilities least. {"dtype": what is taken; "sequences": judged by; "tried": for float32 and
    each other one {"dtype", "times" as fast as float32, "label_agreement", "mean_delta" of a probability} or {"dtype",
    "refused": why}}, or, with nothing tried, {"dtype": "float32", "reason": why}. Raises as `Classifier` does.
    """
    if reason := _untried(checkpoint, first):
        return {"dtype": "float32", "reason": reason}
    device = resolve_device(options.device)
    if device.type == "cpu" and not _has_room(checkpoint):
        return {"dtype": "float32", "reason": "there is too little memory to try others beside it"}
    judged = _judged(first)
    exact = Classifier(checkpoint, replace(options, dtype="float32"))
    expected_RL = exact.logits(*judged)
    tokens = _PASSES * int(exact.facts["batch_tokens"])
    timed = of_rows(judged, np.arange(max(1, int(np.searchsorted(judged[1], tokens, side="right")) - 1)))
    tried: list[dict[str, Any]] = [{"dtype": "float32", "times": 1.0, "label_agreement": 1.0, "mean_delta": 0.0}]

    def tell(dtype: str) -> dict[str, Any]:
        try:
            other = Classifier(checkpoint, replace(options, dtype=dtype), first)
            labels, delta = compared(expected_RL, other.logits(*judged), checkpoint.problem)
        except (EngineError, FloatingPointError) as error:
            why = str(error).removeprefix(f"--dtype={dtype}: ").removesuffix(": take float32")
            return {"dtype": dtype, "refused": why}
        return {
            "dtype": other.facts["dtype"],
            "times": round(_times(exact, other, timed), 2),
            "label_agreement": round(labels, 6),
            "mean_delta": round(delta, 6),
        }

    for dtype in _others(device.type):
        found = tell(dtype)
        gc.collect()  # a model's modules know each other
        if found["dtype"] != "float32":  # as of a GPU where nothing else passes the self-test
            tried.append(found)
    return {"dtype": _taken(tried), "sequences": len(judged[1]) - 1, "tried": tried}


def bfloat16(checkpoint: Checkpoint, options: ModelOptions) -> tuple[float, float] | None:
    """(how many times as fast as float32, by how much it moves an answer at most) in the self-test on this processor.

    None where that is not worth a word, or nobody knows. The second one is a probability's difference, or of a
    regression the value x's, in parts of 1 + |x|. Raises as `Classifier` does.
    """
    if not linear.multiplies_bfloat16() or not _has_room(checkpoint):
        return None
    exact = loaded(checkpoint, options)
    if exact.facts["dtype"] != "float32":
        return None
    other = Classifier(checkpoint, replace(options, dtype="bfloat16"))
    longest = options.max_length or checkpoint.max_length
    sequences, *_ = made_up(checkpoint, options.threads, exact.vocabulary, longest)
    times = _times(exact, other, sequences)
    return (times, other.facts["self_test_cost"]) if times >= _WORTH else None


def _taken(tried: list[dict[str, Any]]) -> str:
    passed = [each for each in tried if each.get("label_agreement", 0.0) >= AGREEMENT]
    best = max(each["times"] for each in passed)
    near = [each for each in passed if each["times"] * _WORTH >= best]
    return str(min(near, key=lambda each: each["mean_delta"])["dtype"])


def _untried(checkpoint: Checkpoint, first: Sequences) -> str:
    """Why nothing but float32 is tried; nothing, if empty."""
    ids_T, offsets_N1, _ = first
    if checkpoint.problem == "regression":
        return "a precision is judged by labels, and the model gives numbers"
    if len(offsets_N1) - 1 < FIRST and len(ids_T) < FIRST_TOKENS:
        return f"to try others takes longer than to label {len(offsets_N1) - 1:,} texts"
    judged = _judged(first)
    different = len(distinct(*judged)[0])
    if different < LEAST:
        return f"of {len(judged[1]) - 1:,} texts to judge others by {different:,} differ, which is too few"
    return ""


def _has_room(checkpoint: Checkpoint) -> bool:
    """Whether this machine's memory holds what is tried, as far as it is known."""
    free = memory.free_of_host()
    return free is None or free >= _COPIES * weight_bytes(checkpoint)


def _others(device: str) -> Iterator[str]:
    """Precisions beside float32 that are worth a try on a kind of device, as options name them."""
    if device != "cpu":
        yield "auto"
        return
    if linear.multiplies_bfloat16():
        yield "bfloat16"
    yield "int8"


def _judged(first: Sequences) -> Sequences:
    """Every other one: those that int8 is not fitted to."""
    return of_rows(first, np.arange(1, len(first[1]) - 1, 2))


def _times(exact: Classifier, other: Classifier, sequences: Sequences) -> float:
    """How many times as fast as the first of two models the other one is."""
    # Of the processor, where that works alone: what others take of it is no fault of a model.
    clock = time.process_time if exact.facts["device"] == "cpu" else time.perf_counter
    began, took = time.perf_counter(), (list[float](), list[float]())
    while (rounds := len(took[1])) < _MOST_ROUNDS:
        if rounds >= _LEAST_ROUNDS and time.perf_counter() - began > _SECONDS:
            break
        for classifier, seconds in zip((exact, other), took, strict=True):
            start = clock()
            classifier.logits(*sequences)
            seconds.append(clock() - start)
    return min(took[0]) / min(took[1])
