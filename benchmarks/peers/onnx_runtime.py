"""ONNX Runtime, float32 and dynamically quantized to int8."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks.peers.base import Array, Job, SortedPeer
from benchmarks.peers.exports import exported


class OnnxRuntime(SortedPeer):
    """The CPU provider with all graph optimisations, which are its default."""

    title = "ONNX Runtime"
    packages = ("onnxruntime", "torch", "transformers")
    dtypes: ClassVar = {"cpu": ("float32", "int8"), "cuda": ()}

    def load(self, job: Job) -> None:
        """Export if need be, load."""
        import onnxruntime

        super().load(job)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        model = exported("onnx" if job.dtype == "float32" else "onnx-int8", job)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Array:
        """One call of the session."""
        logits: Array = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return logits
