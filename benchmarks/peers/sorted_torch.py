"""Plain torch and transformers under a good loop, and the reference that all answers are compared with."""

import itertools
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks.peers.base import Array, Job, SortedPeer, token_ids

GROUP = 16  # texts of equal length that the reference runs at once


class SortedTorch(SortedPeer):
    """`AutoModelForSequenceClassification` with its default attention."""

    title = "torch, sorted by length"

    def load(self, job: Job) -> None:
        """Load model and tokenizer."""
        import torch
        from transformers import AutoModelForSequenceClassification

        super().load(job)
        self.device = job.device
        self.model = AutoModelForSequenceClassification.from_pretrained(
            job.checkpoint, dtype=getattr(torch, job.dtype)
        ).to(job.device)
        self.model.eval()

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64] | None) -> Array:
        """One forward pass, without a mask where nothing is padded."""
        import torch

        with torch.inference_mode():
            logits = self.model(
                input_ids=torch.from_numpy(ids).to(self.device),
                attention_mask=None if mask is None else torch.from_numpy(mask).to(self.device),
            ).logits
            answers: Array = logits.float().cpu().numpy()
        return answers


class Reference(SortedTorch):
    """float32, and no padding at all: texts of equal length together. Not timed."""

    title = "reference"
    dtypes: ClassVar = {"cpu": ("float32",), "cuda": ("float32",)}

    def settings(self) -> list[dict[str, Any]]:
        """There is nothing to choose."""
        return [{}]

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Logits."""
        ids = token_ids(self.tokenizer, texts)
        logits = np.empty((len(texts), self.labels), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for _, equal in itertools.groupby(order, key=lambda i: len(ids[i])):
            group = list(equal)
            for rows in (group[start : start + GROUP] for start in range(0, len(group), GROUP)):
                logits[rows] = self.forward(np.array([ids[i] for i in rows]), None)
        return logits
