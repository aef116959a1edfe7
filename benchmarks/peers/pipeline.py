"""`transformers.pipeline("text-classification")`: a list of texts and a batch size."""

from typing import Any

import numpy as np

from benchmarks.peers.base import MAX_TOKENS, Array, Job, Peer


class Pipeline(Peer):
    """Pads inside batches in the order of arrival."""

    title = "transformers pipeline"

    def load(self, job: Job) -> None:
        """Load model and tokenizer."""
        import torch
        from transformers import pipeline

        self.column = {name: i for i, name in enumerate(job.labels)}
        dtype = getattr(torch, job.dtype)
        self.pipe = pipeline("text-classification", model=job.checkpoint, device=job.device, dtype=dtype)

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Ask for the raw scores of all labels."""
        answers = self.pipe(
            texts, top_k=None, function_to_apply="none", truncation=True, max_length=MAX_TOKENS, **setting
        )
        logits = np.empty((len(texts), len(self.column)), np.float32)
        for row, answer in enumerate(answers):
            for each in answer:
                logits[row, self.column[each["label"]]] = each["score"]
        return logits
