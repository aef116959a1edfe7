"""infinity-emb's `AsyncEmbeddingEngine.classify`, in an environment of its own: it needs transformers 4."""

import asyncio
from typing import Any

import numpy as np

from benchmarks.peers.base import Array, Job, Peer


class Infinity(Peer):
    """Queues all texts, forms batches itself; answers with probabilities."""

    title = "infinity-emb"
    packages = ("infinity-emb", "torch", "transformers")
    gives = "probabilities"

    def load(self, job: Job) -> None:
        """See that it is there; an engine belongs to a batch size."""
        import infinity_emb

        assert infinity_emb
        self.job = job
        self.column = {name: i for i, name in enumerate(job.labels)}
        self.engines: dict[int, Any] = {}

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Classify all texts in one call. Starting and stopping the engine's threads is not counted."""
        return asyncio.run(self._run(texts, setting["batch_size"]))

    async def _run(self, texts: list[str], size: int) -> Array:
        import time

        from infinity_emb import AsyncEmbeddingEngine, EngineArgs

        started = time.perf_counter()
        if size not in self.engines:
            self.engines[size] = AsyncEmbeddingEngine.from_args(
                EngineArgs(
                    model_name_or_path=self.job.checkpoint,
                    engine="torch",
                    device=self.job.device,
                    dtype=self.job.dtype,
                    batch_size=size,
                    model_warmup=False,
                    bettertransformer=False,  # gone from transformers 4.49 on
                    trust_remote_code=False,
                )
            )
        engine = self.engines[size]
        async with engine:
            self.loading = time.perf_counter() - started
            answers, _ = await engine.classify(sentences=texts)
        probabilities = np.empty((len(texts), len(self.column)), np.float32)
        for row, answer in enumerate(answers):
            for each in answer:
                probabilities[row, self.column[each["label"]]] = each["score"]
        return probabilities
