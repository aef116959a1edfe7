"""Exported models for the peers that do not run torch, each made in a process of its own.

    python -m benchmarks.peers.exports KIND CHECKPOINT SCRATCH

Exporting takes more memory than running, and would be counted if it happened in the peer. What is there already is
not made again. `openvino-int8` calibrates on `texts.json` in SCRATCH.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.base import Job, padded, token_ids

CALIBRATION_TEXTS = 300  # NNCF's default


def exported(kind: str, job: Job) -> Path:
    """The file of a kind: "onnx", "onnx-int8" or "openvino-int8"."""
    scratch = Path(job.scratch)
    if kind == "openvino-int8":
        (scratch / "texts.json").write_text(json.dumps(job.texts[:CALIBRATION_TEXTS]))
    command = [sys.executable, "-m", "benchmarks.peers.exports", kind, job.checkpoint, job.scratch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exporting {kind} failed: {done.stderr.strip().splitlines()[-1:]}")
    return scratch / _FILES[kind]


_FILES = {"onnx": "model.onnx", "onnx-int8": "model-int8.onnx", "openvino-int8": "model-int8.xml"}


def onnx(checkpoint: str, scratch: Path) -> Path:
    """torch.onnx's exporter, both dimensions free."""
    import torch
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    target = scratch / _FILES["onnx"]
    if not target.exists():
        ids = torch.ones(2, 16, dtype=torch.long)
        free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        program = torch.onnx.export(
            Logits(),
            (ids, torch.ones_like(ids)),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": free, "attention_mask": free},
        )
        assert program is not None
        program.save(target)
    return target


def onnx_int8(checkpoint: str, scratch: Path) -> Path:
    """ONNX Runtime's dynamic quantization: int8 weights, activations scaled as they come."""
    import onnx as onnx_format
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = scratch / _FILES["onnx-int8"]
    if not target.exists():
        model = onnx_format.load(onnx(checkpoint, scratch))
        del model.graph.value_info[:]  # the exporter's shapes name dimensions that the quantizer's inference does not
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, per_channel=True)
    return target


def openvino_int8(checkpoint: str, scratch: Path) -> Path:
    """NNCF's post-training quantization: weights and activations, scales from the calibration texts."""
    import nncf
    import openvino
    from transformers import AutoTokenizer

    target = scratch / _FILES["openvino-int8"]
    if not target.exists():
        ids = token_ids(AutoTokenizer.from_pretrained(checkpoint), json.loads((scratch / "texts.json").read_text()))

        def inputs() -> Iterator[dict[str, object]]:
            for each in ids:
                yield dict(zip(("input_ids", "attention_mask"), padded([each]), strict=True))

        model = openvino.Core().read_model(onnx(checkpoint, scratch))
        quantized = nncf.quantize(
            model, nncf.Dataset(list(inputs())), model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_TEXTS
        )
        openvino.save_model(quantized, target, compress_to_fp16=False)
    return target


if __name__ == "__main__":
    make = {"onnx": onnx, "onnx-int8": onnx_int8, "openvino-int8": openvino_int8}
    make[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
