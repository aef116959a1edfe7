"""The engine as a Beam `ModelHandler`: RunInference brings the shared model, its metrics and nothing else.

Texts are batched by RunInference. TOKENS batches are batches already, which is told it by `with_no_batching()`. In both
cases what a forward pass gets is decided inside, by length.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from inspect import signature
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from seqcls_beam.config import ModelOptions
from seqcls_beam.importing import IMPORTING
from seqcls_beam.model.answers import answers
from seqcls_beam.model.checkpoints import Checkpoint
from seqcls_beam.model.predictions import Engine, classify
from seqcls_beam.model.tokens import Sequences, tokenize
from seqcls_beam.model.watching import Watch
from seqcls_beam.reading.rows import MAX_HELD, Held, row_layout
from seqcls_beam.reading.values import bare, of_type
from seqcls_beam.runs import progress
from seqcls_beam.schema import Mark
from seqcls_beam.transforms.overlap import Gathered, watch_of

BATCH_TEXTS = 8192
_COUNTED = MAX_HELD // BATCH_TEXTS  # characters of a text that count as one text of a batch


# One class for texts and TOKENS batches: which of them come is known by the elements alone.
class ClassifierHandler(ModelHandler[Any, Any, Any]):
    """Texts → a `PredictionResult` each, or TOKENS batches → as many PREDICTION batches, for `RunInference`.

    **Texts** are strings, or with `pairs` tuples of two. Of each there is one result, in order of the batch: `example`
    is the text as it was given, `inference` a dict as `ToRows` and `label` have it (`label`, `score`, `scores`, or
    `labels` and `scores` of a multi-label checkpoint; `tokens`, `truncated`, `model`, `reject`), and `model_id` what
    `model` is. A text that cannot be labelled (None, empty, no string, the tokenizer or the model raises on it) fails
    nothing: in its dict all but `model` is None, and `reject` has `stage`, `reason`, `detail` and `raw`. RunInference
    makes batches of 8,192 texts, and of fewer where they are long: one counts once for every 4,096 characters it has
    begun. `batching` are other arguments of Beam's `ModelHandler`, such as `max_batch_size` or
    `max_batch_duration_secs`.

    **TOKENS batches**, or several `Gathered`, are batches already: give RunInference `handler.with_no_batching()`, or
    Beam moves them to the end of their window. Rejected rows are in PREDICTION as anywhere.

    Keys are Beam's affair: `KeyedModelHandler(ClassifierHandler(…))` takes (key, text) and (key, TOKENS batch), and
    gives (key, result).

    The model is loaded on the worker, once per process, when the first batch arrives; a later pipeline in the process
    that wants the same one, without `first`, takes it over, and so does `label`. It stays in memory after the
    pipeline, until a pipeline loads another one (Beam holds it, too). With `large_model=True`, in `batching`, the
    processes of a machine share the one that the first of them loads. `progress` is a folder that workers see, for
    `runs.progress`. `first` are sequences of the corpus, for int8 (`model.predictions.first_sequences`): given to every
    worker, so that all have the same model. `watched`, of streams: newer models at the checkpoint's name, a folder or a
    URI, take its place between two batches, which are marked with the one that labelled them (`model.watching`).

    Raises `ValueError` when it is made for int8 without them or `watched` as a `large_model`, and `TypeError` for an
    argument that Beam does not know. On the worker `load_model` raises `EngineError` where the device or the precision
    of `options` cannot be had and `CheckpointError` where the weights do not load, `run_inference` `RuntimeError` where
    more than 16 rows of a batch fail and `ValueError` for options that the checkpoint cannot meet, and
    `update_model_path` `ValueError`: a handler has one checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: ModelOptions | None = None,
        progress: str | None = None,
        first: Sequences | None = None,
        *,
        pairs: bool = False,
        watched: bool = False,
        **batching: Any,
    ) -> None:
        options = of_type("options", options, ModelOptions, type(None)) or ModelOptions()
        checkpoint = of_type("checkpoint", checkpoint, Checkpoint)
        pairs = of_type("pairs", pairs, bool)
        if options.dtype == "int8" and first is None:
            raise ValueError(
                "--dtype=int8 is fitted to the first rows of a corpus, which a handler does not know: give their "
                "sequences as `first`, or take bfloat16 or float32"
            )
        if options.dtype == "fastest":
            raise ValueError(
                "--dtype=fastest: pipelines.classify finds which that is before it starts; give a pipeline the name of "
                "a precision, which then is that of all its workers"
            )
        if of_type("watched", watched, bool) and batching.get("large_model"):
            raise ValueError("watched and large_model: a model that processes share is not replaced; leave one out")
        super().__init__(**_batching(batching))
        self._checkpoint = checkpoint
        self._options = options
        self._progress = progress
        self._first = first
        self._watched = watched
        self._layout = row_layout("text", "text_pair" if pairs else None, (), "texts", {})

    def load_model(self) -> Any:
        """Load the checkpoint as a `Classifier`; device, dtype and threads are decided here, on the worker.

        Of a handler that is `watched` the `Watch` of this process, when it has loaded what stands there now.
        """
        # Here and not above: building a pipeline must not import torch.
        with IMPORTING:
            from seqcls_beam.model.engine import loaded

        if self._watched:
            watch = watch_of(self._checkpoint, self._options)
            watch.begin()
            return watch
        # Beam shares a model between the threads of one transform, and lets it go with that; a stream's next pipeline
        # has another transform.
        return loaded(self._checkpoint, self._options, self._first)

    def run_inference(self, batch: Any, model: Any, inference_args: dict[str, Any] | None = None) -> Iterable[Any]:
        """Texts → PredictionResults, TOKENS → PREDICTION; one each, and row for row.

        `batch` is a sequence of texts or of RecordBatches, as RunInference makes them, or a RecordBatch or `Gathered`,
        which Beam counts by its rows. A list is returned, not a generator: only so does RunInference count a failing
        batch.
        """
        engine = model if isinstance(model, Watch) or hasattr(model, "facts") else _Elsewhere(model)
        if isinstance(batch, pa.RecordBatch | Gathered):
            return self._predictions(_batches(batch), engine)
        if not isinstance(batch, list | tuple | np.ndarray):
            raise TypeError(
                f"{_shown(batch)} is no batch: with_no_batching() is for TOKENS batches, and for lists of texts"
            )
        tokens = [isinstance(each, pa.RecordBatch) for each in batch]
        if any(tokens) and not all(tokens):
            raise TypeError(
                f"texts and TOKENS batches in one PCollection, such as {_shown(batch[tokens.index(False)])}: give each "
                "its own RunInference"
            )
        if any(tokens):
            alike = groupby(batch, key=lambda each: each.schema.names)
            return [made for _, some in alike for made in self._predictions(list(some), engine)]
        return self._results(list(batch), engine)

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Raise `ValueError` for any: options are the handler's."""
        if inference_args:
            raise ValueError(f"inference_args={inference_args}: this handler takes none, its options are ModelOptions")

    def get_num_bytes(self, batch: Any) -> int:
        """Bytes of a batch, of texts in UTF-8; Beam's default would pickle it to find out."""
        if isinstance(batch, pa.RecordBatch | Gathered):
            return int(batch.nbytes)
        return sum(map(_bytes, batch))

    def get_metrics_namespace(self) -> str:
        """Where RunInference's metrics are found."""
        return "seqcls_beam.Classify"

    def update_model_path(self, model_path: str | None = None) -> None:
        """Refuse the path of another model that RunInference watches for: raises `ValueError`."""
        if model_path and model_path != self._checkpoint.name:
            raise ValueError(
                f"this ClassifierHandler labels with {self._checkpoint.name}, and was told to go on with {model_path}: "
                "labels, tokenizer and length are those of one checkpoint, so make a new pipeline with the other"
            )

    def _predictions(self, batches: list[pa.RecordBatch], engine: Engine | Watch) -> list[pa.RecordBatch]:
        if self._progress:
            size = sum(Mark.of(each).bytes for each in batches)
            progress.report(self._progress, begun_rows=sum(map(len, batches)), begun_bytes=size)
        advance = self._advance if self._progress else None
        if not isinstance(engine, Watch):
            return classify(batches, engine, self._checkpoint, self._options, advance)
        with engine.working() as work:
            read = [engine.read_by(each, work.checkpoint) for each in batches]
            return classify(read, work.engine, work.checkpoint, self._options, advance)

    def _results(self, texts: Sequence[Any], engine: Engine | Watch) -> list[PredictionResult]:
        inferences: list[dict[str, Any]] = []
        for records in self._records(texts):
            if isinstance(engine, Watch):
                tokens = engine.tokenized(records)
            else:
                tokens = tokenize(records, self._checkpoint, self._options)
            (predictions,) = self._predictions([tokens], engine)
            inferences += answers(predictions).append_column("reject", predictions["reject"]).to_pylist()
        return [PredictionResult(*each, each[1]["model"]) for each in zip(texts, inferences, strict=True)]

    def _records(self, texts: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        """Texts → RECORD batches, row for row."""
        held, names = Held(self._layout, BATCH_TEXTS), self._layout.texts
        for text in texts:
            paired = len(names) == 2 and isinstance(text, tuple) and len(text) == 2
            yield from held.put(dict(zip(names, map(bare, text if paired else (text, None)), strict=False)), 0)
        yield from held.take()

    def _advance(self, rows: float) -> None:
        assert self._progress
        progress.report(self._progress, classified=rows)


class _Elsewhere:
    """A `Classifier` in another process, of which Beam knows the methods only; it is sent ids and sends logits."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.facts: dict[str, Any] = model.what_runs()

    def logits(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        token_type_ids: np.ndarray | None,
        advance: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """As `Classifier.logits`; of its progress is told at the end."""
        found: np.ndarray = self._model.logits(ids, offsets, token_type_ids)
        if advance:
            advance(len(found))
        return found


def _batches(batch: pa.RecordBatch | Gathered) -> list[pa.RecordBatch]:
    return batch.batches if isinstance(batch, Gathered) else [batch]


def _batching(asked: dict[str, Any]) -> dict[str, Any]:
    """Arguments of Beam's `ModelHandler`, with sizes for those that nobody asked for.

    Where none is, one size: Beam would try several and look which is fastest, and what a forward pass gets does not
    depend on it. Raises `TypeError` for a name that Beam does not know, which it would pass over.
    """
    known = {*signature(ModelHandler.__init__).parameters, "env_vars"} - {"self", "kwargs"}
    if unknown := [name for name in asked if name not in known]:
        raise TypeError(f"{unknown[0]} is no argument of a ModelHandler; Beam's are {', '.join(sorted(known))}")
    for name in ("min_batch_size", "max_batch_size"):
        if (size := of_type(name, asked.get(name), int, type(None))) is not None and size < 1:
            raise ValueError(f"{name}={size}: expected at least 1")
    asked = {name: value for name, value in asked.items() if value is not None}
    largest = asked.get("max_batch_size")
    least = asked.get("min_batch_size", BATCH_TEXTS if largest is None else largest)
    sizes = {"min_batch_size": least, "max_batch_size": max(least, BATCH_TEXTS) if largest is None else largest}
    # Beam yields an empty batch before an element that is larger than all of it, and KeyedModelHandler fails on that.
    return {"element_size_fn": partial(_weight, most=least), **asked, **sizes}


def _weight(example: Any, most: int) -> int:
    """How many texts, or rows, of a batch an example is, keyed or not."""
    parts = example if isinstance(example, tuple) else (example,)
    rows = sum(len(each) for each in parts if isinstance(each, pa.RecordBatch))
    letters = sum(len(each) for each in parts if isinstance(each, str))
    return min(most, max(1, rows, -(-letters // _COUNTED)))


def _shown(value: Any) -> str:
    return f"{repr(value)[:40]} ({type(value).__name__})"


def _bytes(example: Any) -> int:
    if isinstance(example, pa.RecordBatch):
        return int(example.nbytes)
    parts = example if isinstance(example, tuple) else (example,)
    return sum(len(each.encode(errors="surrogatepass")) for each in parts if isinstance(each, str))
