"""Choosing: the fastest way to run a model that gives what plain transformers gives.

Nobody has to know which family can do what: every way is tried on a few synthetic sequences first.

Axes in names as in `seqcls_beam.model.engine`.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from torch import Tensor

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.engine import linear
from seqcls_beam.model.engine.attention import by_equal_lengths, varlen
from seqcls_beam.model.engine.blocks import accelerate
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.packed import FAMILIES, Packed
from seqcls_beam.model.engine.packing import Ints
from seqcls_beam.model.engine.padded import Padded
from seqcls_beam.model.engine.static import Static

_TRIED = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 3, 2, 1)  # lengths of the sequences of the self-test
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}  # of a probability
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_log = logging.getLogger(__name__)


class Executor(Protocol):
    """A model and a way to run it."""

    model: Any

    def packs(self, lengths_N: Ints, rows_R: Ints, budget: int) -> Iterator[Ints]:
        """`rows_R` in the groups that run together, of at most `budget` tokens or of one row."""

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """Sequences, one after the other → logits float32 [N, L], on the model's device."""


@dataclass(frozen=True)
class _Way:
    """One way to run a model."""

    packed: bool
    dtype: torch.dtype = torch.float32
    onednn: bool = False
    compiled: bool = False

    @property
    def facts(self) -> dict[str, str]:
        return {
            "engine": "packed" if self.packed else "padded",
            "dtype": str(self.dtype).removeprefix("torch."),
            "products": "oneDNN" if self.onednn else "torch",
        } | ({"passes": "compiled, one CUDA graph a width"} if self.compiled else {})

    def build(self, model: Any, tokens: int, longest: int) -> Executor:
        made: Executor
        if self.packed:
            packed = Packed(model, varlen if model.device.type == "cuda" else by_equal_lengths, self.dtype)
            made = Static(packed, tokens, longest) if self.compiled else packed
        else:
            made = Padded(model, self.dtype)
        if self.onednn:
            accelerate(model)
        return made


def choose(
    checkpoint: Checkpoint, device: torch.device, options: ModelOptions, tokens: int, longest: int
) -> tuple[Executor, dict[str, Any]]:
    """(the executor, facts about it) for passes of `tokens` tokens and sequences of at most `longest`.

    A way is refused, and the next one tried, where a probability is further than 1e-4 (float32) or 1e-2 from that of
    the plain padded model, or a logit x than ten times as much of 1 + |x|. The last way is the plain model in the
    precision that was asked for: it must give numbers. int8 begins as float32. Raises `EngineError` where it gives none
    or the options do not go together, `CheckpointError` as `load`.
    """
    if device.type == "cpu":
        keep_freed_memory()
    model: Any = load(checkpoint, device)
    lengths_N = np.minimum(_TRIED, longest)
    ids_T = np.random.default_rng(0).integers(0, vocabulary(model), lengths_N.sum())
    types_T = (ids_T % 2).astype(np.int8) if checkpoint.sentence_ids else None
    with torch.inference_mode():
        expected_NL = Padded(model).forward(ids_T, types_T, lengths_N).cpu()
    refused: list[dict[str, str]] = []
    ways = _ways(model.config.model_type, device, options)
    for way in ways:
        model = model or load(checkpoint, device)
        try:
            executor = way.build(model, tokens, longest)
            with torch.inference_mode():
                found_NL = executor.forward(ids_T, types_T, lengths_N).cpu()
                fault = _fault(found_NL, expected_NL, way, way is ways[-1])
        except (RuntimeError, AttributeError, TypeError, ValueError) as error:
            if way is ways[-1]:
                raise
            fault = f"{type(error).__name__}: {error}"
        if not fault:
            return executor, way.facts | ({"refused": refused} if refused else {})
        _log.warning("%s: not run %s: %s", checkpoint.name, way.facts, fault)
        refused.append(way.facts | {"reason": fault})
        model = None
    raise EngineError(f"--dtype={options.dtype}: {checkpoint.name} gives no numbers in that precision: {fault}")


def _ways(family: str, device: torch.device, options: ModelOptions) -> list[_Way]:
    """Ways to run a family, the best first."""
    dtype = options.dtype
    if device.type == "cpu":
        if options.compile:
            raise EngineError("--compile: is for GPUs")
        if dtype == "float16":
            raise EngineError("--dtype=float16: is for GPUs; on a CPU take float32, bfloat16 or int8")
        if dtype == "bfloat16" and not linear.multiplies_bfloat16():
            raise EngineError("--dtype=bfloat16: this processor has no products of that; take float32 or int8")
        wanted = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        fast = [_Way(packed, wanted, onednn=True) for packed in (True, False) if linear.available()]
        ways = [*fast, _Way(True, wanted), _Way(False, wanted)]
    else:
        if dtype == "int8":
            raise EngineError("--dtype=int8: is for CPUs; on a GPU take bfloat16 or float16")
        half = [torch.bfloat16, torch.float16] if torch.cuda.is_bf16_supported() else [torch.float16]
        dtypes = [*half, torch.float32] if dtype == "auto" else [getattr(torch, dtype)]
        # The variable-length kernel is for half precision.
        ways = [_Way(packed, each) for each in dtypes for packed in (True, False) if each in half or not packed]
        if options.compile:
            ways = [*(replace(way, compiled=True) for way in ways if way.packed), *ways]
    return [way for way in ways if family in FAMILIES or not way.packed]


def _fault(found_NL: Tensor, expected_NL: Tensor, way: _Way, last: bool) -> str:
    """What is wrong with logits; nothing, if empty."""
    # A checkpoint may have a broken embedding: no way of running it mends that.
    sound_N = expected_NL.isfinite().all(1)
    found, expected = found_NL[sound_N], expected_NL[sound_N]
    if not found.isfinite().all():
        return "its logits are not finite"
    if not len(found):
        return ""
    tolerance = _TOLERANCE[way.dtype]
    delta = (found.softmax(1) - expected.softmax(1)).abs().max().item()
    # A sure classifier's probabilities hide much, and those of a regression everything.
    relative = ((found - expected).abs() / (1 + expected.abs())).max().item()
    if not last and (delta > tolerance or relative > 10 * tolerance):
        return f"it differs from the plain model by {delta:.2g} in a probability, by {relative:.2g} of a logit"
    return ""


def keep_freed_memory() -> None:
    """Let glibc reuse memory that was freed, up to 256 MiB of it, where by default it gives it back to the system.

    A forward pass frees and takes tens of megabytes in every layer; fresh pages cost 5 to 7 % of its time on a CPU.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def vocabulary(model: Any) -> int:
    """Rows of the embedding table."""
    return int(model.get_input_embeddings().num_embeddings)


def load(checkpoint: Checkpoint, device: torch.device) -> Any:
    """The model in float32, whatever the weights are stored in, ready for inference; raises `CheckpointError`."""
    transformers.utils.logging.disable_progress_bar()
    try:
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            checkpoint.local(),
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.name}: does not load ({type(error).__name__}: {error})") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: the weights lack {', '.join(missing[:4])}{' …' * (len(missing) > 4)}, which would be "
            "random numbers; was it saved without its classification head?"
        )
    return model.eval().requires_grad_(False).to(device)


def resolve_device(name: str) -> torch.device:
    """The device an option names; `auto` is a GPU where there is one. Raises `EngineError` where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda:0" if name == "cuda" else name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise EngineError(
            f"--device={name}: there is no such CUDA device here (torch {torch.__version__} sees {there})"
            if there
            else f"--device={name}: there is no CUDA device here (torch {torch.__version__})"
        )
    return device


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
