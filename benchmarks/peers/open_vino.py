"""OpenVINO in float32, in what it takes by default, and quantized to int8 by NNCF."""

import time
from typing import Any, ClassVar

import numpy as np

from benchmarks.peers.base import Array, Job, SortedPeer, by_length, padded, token_ids
from benchmarks.peers.exports import exported


class OpenVino(SortedPeer):
    """All batches through an `AsyncInferQueue`, in one stream of all threads or in a stream per thread.

    "default" sets no precision: on CPUs with bfloat16 instructions it then computes in bfloat16 unasked.
    """

    title = "OpenVINO"
    packages = ("openvino", "nncf", "torch", "transformers")
    dtypes: ClassVar = {"cpu": ("float32", "default", "int8"), "cuda": ()}

    def settings(self) -> list[dict[str, Any]]:
        """Padded tokens per forward pass, and what OpenVINO calls the performance hint."""
        return [{"batch_tokens": each, "hint": hint} for each in self.budgets for hint in ("LATENCY", "THROUGHPUT")]

    def load(self, job: Job) -> None:
        """Export if need be; what is compiled belongs to a hint."""
        import openvino

        super().load(job)
        self.properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": job.threads}
        if job.dtype == "float32":
            self.properties["INFERENCE_PRECISION_HINT"] = "f32"
        self.core = openvino.Core()
        self.model = self.core.read_model(exported("openvino-int8" if job.dtype == "int8" else "onnx", job))
        self.compiled: dict[str, Any] = {}

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Tokenise all, queue batch by batch; each writes its rows when it is done."""
        import openvino

        hint = setting["hint"]
        if hint not in self.compiled:
            started = time.perf_counter()
            self.compiled[hint] = self.core.compile_model(
                self.model, "CPU", {"PERFORMANCE_HINT": hint, **self.properties}
            )
            self.loading = time.perf_counter() - started
        ids = token_ids(self.tokenizer, texts)
        logits = np.empty((len(texts), self.labels), np.float32)

        def done(request: Any, rows: list[int]) -> None:
            logits[rows] = request.get_output_tensor(0).data

        queue = openvino.AsyncInferQueue(self.compiled[hint])
        queue.set_callback(done)
        for rows in by_length([len(each) for each in ids], setting["batch_tokens"]):
            tokens, mask = padded([ids[i] for i in rows])
            queue.start_async({"input_ids": tokens, "attention_mask": mask}, rows)
        queue.wait_all()
        return logits
