"""Beam's own RunInference: a tokenising Map, then `PytorchModelHandlerKeyedTensor` on the in-process FnApiRunner.

Beam's default stacks examples, which must then all be padded to one length; an inference function of our own pads
inside the batch instead, which is faster. Batches are formed by `BatchElements` in the order of arrival, or by
`SortAndBatchElements` in that of length.
"""

import functools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import MAX_TOKENS, Array, Job, Peer

ANSWERS: dict[int, Any] = {}  # where the last step puts them: the runner is in this process
LOADING: list[float] = []  # seconds, one per load


class RunInference(Peer):
    """A pipeline is built and run each time; only reading the weights again is not counted."""

    title = "Beam RunInference"
    packages = ("apache-beam", "torch", "transformers")

    def settings(self) -> list[dict[str, Any]]:
        """Both ways to batch."""
        return [
            *({"batch_size": each, "sort": False} for each in (1, 8, 32, 128)),
            *({"batch_size": each, "sort": True} for each in (32, 128)),
        ]

    def load(self, job: Job) -> None:
        """Save the weights as Beam wants them."""
        import torch
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(job.checkpoint, dtype=getattr(torch, job.dtype))
        self.job, self.model_class, self.config = job, type(model), model.config
        self.weights = str(Path(job.scratch) / f"state-{job.dtype}.pt")
        torch.save(model.state_dict(), self.weights)
        _tokenizer(job.checkpoint)

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Create → Map → RunInference → Map; the answers come with their numbers."""
        import apache_beam as beam
        from apache_beam.ml.inference import base
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

        size = setting["batch_size"]
        handler: Any = base.KeyedModelHandler(self._handler(size))
        ANSWERS.clear()
        LOADING.clear()
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            tokens = pipeline | beam.Create(list(enumerate(texts))) | beam.Map(tokenize, self.job.checkpoint)
            if setting["sort"]:
                tokens |= beam.SortAndBatchElements(1, size, 128 * size, _length)
                handler = handler.with_no_batching()
            answers = tokens | base.RunInference(handler)
            answers | "Keep" >> beam.Map(keep)
        self.loading = sum(LOADING)
        return np.stack([ANSWERS[i] for i in range(len(texts))]).astype(np.float32)

    def _handler(self, size: int) -> Any:
        import torch
        from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerKeyedTensor

        class Timed(PytorchModelHandlerKeyedTensor):
            def load_model(self) -> Any:
                started = time.perf_counter()
                model = super().load_model()
                LOADING.append(time.perf_counter() - started)
                return model

        return Timed(
            self.weights,
            functools.partial(_build, self.model_class, getattr(torch, self.job.dtype)),
            {"config": self.config},
            device="GPU" if self.job.device == "cuda" else "CPU",
            inference_fn=infer,
            min_batch_size=size,
            max_batch_size=size,
        )


def tokenize(element: tuple[int, str], checkpoint: str) -> tuple[int, dict[str, Any]]:
    """Text → tensors without padding."""
    number, text = element
    encoded = _tokenizer(checkpoint)(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    return number, {"input_ids": encoded["input_ids"][0], "attention_mask": encoded["attention_mask"][0]}


def infer(
    batch: Sequence[dict[str, Any]],
    model: Any,
    device: Any,
    inference_args: dict[str, Any] | None = None,
    model_id: str | None = None,
) -> Iterable[Any]:
    """Pad the batch to its longest and run it."""
    import torch

    with torch.inference_mode():
        inputs = {
            name: torch.nn.utils.rnn.pad_sequence([each[name] for each in batch], batch_first=True).to(device)
            for name in batch[0]
        }
        logits = model(**inputs).logits.float().cpu().numpy()
    return list(logits)


def keep(answer: tuple[int, Any]) -> None:
    """Put an answer where `run` finds it."""
    ANSWERS[answer[0]] = answer[1]


def _length(element: tuple[int, dict[str, Any]]) -> int:
    return len(element[1]["input_ids"])


def _build(model_class: Any, dtype: Any, config: Any) -> Any:
    return model_class(config).to(dtype)


@functools.cache
def _tokenizer(checkpoint: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)
