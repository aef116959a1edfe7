"""How fast this machine labels a sample, by the code that a run has."""

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.planning.sample import Sample
from pipelines.planning.speed import Speed, this_machine, work_of
from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.transforms.overlap import GATHERED_TOKENS, overlaps

SECONDS = 5.0
"""Of the model at work, after its warm-up."""
_WARM_UP = 4
"""Forward passes: the first ones make what the later ones use."""


def measured(
    sample: Sample,
    checkpoint: Checkpoint,
    options: ModelOptions,
    batch_rows: int,
    first: Sequences | None,
) -> Speed:
    """Load the model as a worker does, and time it on the sample, which has texts.

    Reading and writing are not in it. On a CPU a text is tokenised first and classified then; a GPU classifies while
    the next ones are tokenised. Raises as `Classifier` does.
    """
    # Here and not above: it imports torch.
    from seqcls_beam.model.engine import loaded

    tokens = sum(sample.tokens())
    classifier = loaded(checkpoint, options, first)
    ahead = overlaps(options)

    def timed(share: float) -> tuple[int, float]:
        """(tokens of a share of each batch, seconds)."""
        batches = [each.slice(0, max(1, round(share * len(each)))) for each in sample.batches if len(each)]
        started = time.perf_counter()
        for group in _together(batches, batch_rows, GATHERED_TOKENS if ahead else 0):
            classify(group, classifier, checkpoint, options)
        return sum(pc.sum(each["tokens"]).as_py() or 0 for each in batches), time.perf_counter() - started

    little = min(1.0, _WARM_UP * classifier.facts["batch_tokens"] / tokens)
    timed(little)
    done, seconds = timed(little)
    # Where all the first rows of the batches are rejected, nothing was timed.
    share = min(1.0, max(little, SECONDS * done / seconds / tokens)) if done else 1.0
    done, seconds = 0, 0.0
    while not done or seconds < SECONDS:
        more, took = timed(share)
        done, seconds = done + more, seconds + took
    model, tokenising = seconds / done, sample.seconds / tokens
    device = str(classifier.facts["device"])
    machine: dict[str, Any] = this_machine(device)
    return Speed(
        tokens_per_second=1 / (max(model, tokenising) if ahead else model + tokenising),
        source="measured on this machine",
        device="cpu" if device == "cpu" else "cuda",
        dtype=classifier.facts["dtype"],
        tokens_per_row=tokens / max(1, sample.rows - sample.rejected),
        work=work_of(checkpoint),
        digest=checkpoint.digest,
        threads=classifier.facts["threads"],
        model_tokens_per_second=1 / model,
        seconds=seconds,
        **machine,
    )


def _together(batches: list[pa.RecordBatch], rows: int, tokens: int) -> Iterator[list[pa.RecordBatch]]:
    """Batches as the model gets them: those of a batch of a run, and on a GPU of so many tokens."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and batch.schema.names != held[0].schema.names:
            yield held
            held = []
        held.append(batch)
        if sum(map(len, held)) >= rows and sum(pc.sum(each["tokens"]).as_py() or 0 for each in held) >= tokens:
            yield held
            held = []
    if held:
        yield held
