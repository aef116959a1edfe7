"""Ray Data: `map_batches` with an actor class that loads the model once."""

import os
import resource
import time
from typing import Any

import numpy as np

from benchmarks.peers.base import MAX_TOKENS, Array, Job, Peer


class RayData(Peer):
    """One actor with all threads, or an actor per thread.

    Time counts from when the last actor is ready; Ray itself is started before and stopped afterwards.
    """

    title = "Ray Data map_batches"
    packages = ("ray", "torch", "transformers")

    def settings(self) -> list[dict[str, Any]]:
        """Texts per batch, and actors that share the threads."""
        sizes, actors = ((8, 32), sorted({1, self.job.threads})) if self.job.device == "cpu" else ((32, 128), [1])
        return [{"batch_size": size, "actors": count} for count in actors for size in sizes]

    def load(self, job: Job) -> None:
        """See that Ray is there; it is started with each run, so that it does not run beside the others."""
        import ray.data

        assert ray.data
        self.job = job

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Texts with their numbers → logits, put back in order."""
        import pyarrow as pa
        import ray

        started, job = time.perf_counter(), self.job
        paths = {"env_vars": {"PYTHONPATH": os.getcwd()}}
        ray.init(num_cpus=job.threads, include_dashboard=False, log_to_driver=False, runtime_env=paths)
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            each = job.threads // setting["actors"]
            table = pa.table({"number": range(len(texts)), "text": texts})
            part = -(-len(texts) // (2 * setting["actors"]))
            data = ray.data.from_arrow([table.slice(start, part) for start in range(0, len(texts), part)])
            rows = data.map_batches(
                Actor,
                fn_constructor_args=(job.checkpoint, job.device, job.dtype, each),
                batch_size=setting["batch_size"],
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(size=setting["actors"]),
                num_cpus=each,
                num_gpus=int(job.device == "cuda"),
            ).take_all()
            done = time.perf_counter()
        finally:
            ray.shutdown()
        self.loading = max(row["ready"] for row in rows) - started + time.perf_counter() - done
        self.beside_mb = sum({row["actor"]: row["mb"] for row in rows}.values())
        logits = np.empty((len(texts), len(job.labels)), np.float32)
        for row in rows:
            logits[row["number"]] = row["logits"]
        return logits


class Actor:
    """Runs on a worker process of Ray."""

    def __init__(self, checkpoint: str, device: str, dtype: str, threads: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(threads)
        self.device = device
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
        self.model = model.to(device).eval()
        self.ready = time.perf_counter()  # the same clock in all processes of a machine

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Tokenise, pad and run one batch."""
        import torch

        texts = batch["text"].tolist()
        inputs = self.tokenizer(texts, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.device)).logits.float().cpu().numpy()
        mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        facts = {"ready": self.ready, "mb": mb, "actor": os.getpid()}
        rows = len(texts)
        return {"number": batch["number"], "logits": logits, **{k: np.full(rows, v) for k, v in facts.items()}}
