"""The engine as a Beam `ModelHandler`: RunInference brings the shared model, its metrics and nothing else.

An example is some whole TOKENS batches, so RunInference is told not to batch: batching is done inside, by length.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.predictions import classify
from seqcls_beam.model.tokens import Sequences
from seqcls_beam.runs import progress
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.overlap import Gathered


class ClassifierHandler(ModelHandler[pa.RecordBatch | Gathered, pa.RecordBatch, Any]):
    """TOKENS batches, or several of them `Gathered` → as many PREDICTION batches, for `RunInference`.

    The model is loaded on the worker, once per process, when the first batch arrives; a later pipeline in the process
    that wants the same one, without `first`, takes it over, and so does `label`. It stays in memory after the
    pipeline, until a pipeline loads another one (Beam holds it, too). `progress` is a folder of this machine for
    `runs.progress`. `first` are sequences of the corpus, for int8 (`model.predictions.first_sequences`): given to every
    worker, so that all have the same model. `load_model` raises `EngineError` where the device or the precision of
    `options` cannot be had and `CheckpointError` where the weights do not load; `run_inference` raises `RuntimeError`
    where more than 16 rows a batch fail.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: ModelOptions,
        progress: str | None = None,
        first: Sequences | None = None,
    ) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._options = options
        self._progress = progress
        self._first = first

    def load_model(self) -> Any:
        """Load the checkpoint as a `Classifier`; device, dtype and threads are decided here, on the worker."""
        # Here and not above: building a pipeline must not import torch.
        from seqcls_beam.model.engine import loaded

        # Beam shares a model between the threads of one transform, and lets it go with that; a stream's next pipeline
        # has another transform.
        return loaded(self._checkpoint, self._options, self._first)

    def run_inference(
        self, batch: pa.RecordBatch | Gathered, model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[pa.RecordBatch]:
        """TOKENS → PREDICTION, row for row.

        `batch` is a RecordBatch or `Gathered`, which Beam counts by its rows. A list is returned, not a generator: only
        so does RunInference count a failing batch.
        """
        batches = batch.batches if isinstance(batch, Gathered) else [batch]
        if self._progress:
            size = sum(Mark.of(each).bytes for each in batches)
            progress.report(self._progress, begun_rows=len(batch), begun_bytes=size)
        return classify(batches, model, self._checkpoint, self._options, self._advance if self._progress else None)

    def should_skip_batching(self) -> bool:
        """Batches arrive as they are to be run."""
        return True

    def get_num_bytes(self, batch: Any) -> int:
        """Bytes of a batch; Beam's default would pickle it to find out."""
        return int(batch.nbytes)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's metrics are found."""
        return "seqcls_beam.Classify"

    def _advance(self, rows: float) -> None:
        assert self._progress
        progress.report(self._progress, classified=rows)
