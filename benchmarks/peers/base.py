"""What all peers have in common: texts in, float32 [texts, labels] out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

MAX_TOKENS = 512  # longer texts are cut; all checkpoints of the benchmark read this many


@dataclass(frozen=True)
class Job:
    """What a peer is to run."""

    checkpoint: str  # folder
    device: str  # "cpu" or "cuda"
    dtype: str  # one of the peer's `dtypes` for the device
    threads: int
    texts: list[str]  # all of the cell; what is calibrated is so on the first of them
    labels: list[str]  # in the checkpoint's order
    scratch: str  # folder of the cell, for exported models


class Peer:
    """One way to classify texts. Tokenising is part of `run`, loading is not."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")  # whose versions matter
    dtypes: ClassVar[dict[str, tuple[str, ...]]] = {"cpu": ("float32",), "cuda": ("float32", "float16")}
    gives: ClassVar[str] = "logits"  # or "probabilities"

    loading = 0.0  # seconds the last `run` spent on starting processes and loading weights again; not counted
    engine = 0.0  # seconds the last `run` spent between token ids and logits; 0 where it cannot be told
    facts: Mapping[str, Any] = MappingProxyType({})  # what `load` found out and a reader should know
    beside_mb = 0.0  # peak memory of other processes that `run` started

    def settings(self) -> list[dict[str, Any]]:
        """Keyword arguments of `run` to choose the fastest from; known after `load`."""
        return [{"batch_size": each} for each in (1, 8, 32, 128)]

    def load(self, job: Job) -> None:
        """Read the weights. Raises `ImportError` where a library is missing."""
        raise NotImplementedError

    def run(self, texts: list[str], **setting: Any) -> Array:
        """What the model says of each text, in order."""
        raise NotImplementedError


class SortedPeer(Peer):
    """A bare forward pass under a plain good loop: sorted by length, padded inside a batch of a token budget."""

    def settings(self) -> list[dict[str, Any]]:
        """Padded tokens per forward pass."""
        return [{"batch_tokens": each} for each in self.budgets]

    budgets: tuple[int, ...] = (512, 2048, 8192)

    def load(self, job: Job) -> None:
        """Load the tokenizer; what derives from this loads its model."""
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(job.checkpoint)
        self.labels = len(job.labels)
        if job.device == "cuda":
            self.budgets = (8192, 32768, 131072)

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Array:
        """Ids and mask [rows, width] → logits [rows, labels]."""
        raise NotImplementedError

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Tokenise all, run batch by batch, put back in order."""
        ids = token_ids(self.tokenizer, texts)
        logits = np.empty((len(texts), self.labels), np.float32)
        for rows in by_length([len(each) for each in ids], setting["batch_tokens"]):
            logits[rows] = self.forward(*padded([ids[i] for i in rows]))
        return logits


def token_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Ids with special tokens, cut at `MAX_TOKENS`."""
    encoded = tokenizer(
        texts, truncation=True, max_length=MAX_TOKENS, return_attention_mask=False, return_token_type_ids=False
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def by_length(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Numbers of like length, the longest first, at most `budget` padded tokens or one sequence at a time."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while order:
        rows = max(1, budget // lengths[order[0]])
        yield order[:rows]
        order = order[rows:]


def padded(ids: list[list[int]], pad: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids and mask, as wide as the longest."""
    width = max(map(len, ids))
    tokens = np.full((len(ids), width), pad)
    mask = np.zeros((len(ids), width), np.int64)
    for row, each in enumerate(ids):
        tokens[row, : len(each)] = each
        mask[row, : len(each)] = 1
    return tokens, mask
