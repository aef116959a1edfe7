"""The engine itself: texts in batches of 8,192 rows through the tokens, the engine and the probabilities."""

import time
from typing import Any, ClassVar

import numpy as np

from benchmarks.peers.base import Array, Job, Peer

ROWS = 8192


class Ours(Peer):
    """What a run's Tokenize and Classify do with a batch, without Beam."""

    title = "seqcls_beam"
    dtypes: ClassVar = {"cpu": ("float32", "bfloat16", "int8"), "cuda": ("float32", "bfloat16", "float16")}
    compiled = False

    def settings(self) -> list[dict[str, Any]]:
        """There is nothing to choose: the engine chooses itself."""
        return [{}]

    def load(self, job: Job) -> None:
        """Load the engine, fitted to the first texts where it asks for them."""
        import pyarrow as pa

        from seqcls_beam.config import ModelOptions
        from seqcls_beam.model.checkpoints import resolve
        from seqcls_beam.model.engine import Classifier
        from seqcls_beam.model.predictions import first_sequences
        from seqcls_beam.schema import REJECT_VALUE

        self.checkpoint = resolve(job.checkpoint)
        self.options = ModelOptions(
            model=job.checkpoint,
            device=job.device,
            threads=job.threads,
            dtype=job.dtype,
            max_length=512,
            compile=self.compiled,
        )
        records = pa.record_batch({"text": pa.array(job.texts), "reject": pa.nulls(len(job.texts), REJECT_VALUE)})
        first = first_sequences([records], self.checkpoint, self.options)
        self.classifier = Classifier(self.checkpoint, self.options, first)
        self.facts = self.classifier.facts

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Probabilities are computed, as in a run; the logits on the way there are returned."""
        from seqcls_beam.model.predictions import probabilities

        timed = _Timed(self.classifier)
        for start in range(0, len(texts), ROWS):
            probabilities(texts[start : start + ROWS], None, self.checkpoint, timed, self.options)
        self.engine = timed.seconds
        return np.concatenate(timed.answers)


class Compiled(Ours):
    """The same with `--compile`, which takes a minute or two to load."""

    title = "seqcls_beam, compiled"
    dtypes: ClassVar = {"cpu": (), "cuda": ("bfloat16", "float16")}
    compiled = True


class _Timed:
    """A classifier that keeps its answers and the time they took."""

    def __init__(self, classifier: Any) -> None:
        self.facts = classifier.facts
        self.seconds = 0.0
        self.answers: list[Array] = []
        self._classifier = classifier

    def logits(self, *arguments: Any) -> Array:
        started = time.perf_counter()
        self.answers.append(self._classifier.logits(*arguments))
        self.seconds += time.perf_counter() - started
        return self.answers[-1]
