"""The engine's peers, one file each, as their own documentation recommends them.

A name of `PEERS` is what `--peers` takes. This file imports none of their libraries, nor this project's package: one
of them runs in an environment of its own.
"""

import importlib

from benchmarks.peers.base import Peer

PEERS = {
    "pipeline": "benchmarks.peers.pipeline:Pipeline",
    "cross-encoder": "benchmarks.peers.cross_encoder:SentenceTransformers",
    "beam": "benchmarks.peers.beam:RunInference",
    "ray": "benchmarks.peers.ray_data:RayData",
    "infinity": "benchmarks.peers.infinity:Infinity",
    "torch": "benchmarks.peers.sorted_torch:SortedTorch",
    "onnxruntime": "benchmarks.peers.onnx_runtime:OnnxRuntime",
    "openvino": "benchmarks.peers.open_vino:OpenVino",
    "ours": "benchmarks.peers.ours:Ours",
    "ours-compiled": "benchmarks.peers.ours:Compiled",
}


_REFERENCE = "benchmarks.peers.sorted_torch:Reference"


def peer(name: str) -> type[Peer]:
    """The class of a name in `PEERS`, or of "reference"."""
    module, _, attribute = PEERS.get(name, _REFERENCE).partition(":")
    found: type[Peer] = getattr(importlib.import_module(module), attribute)
    return found
