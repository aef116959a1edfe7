"""Choosing: the fastest way to run a model that gives what plain transformers gives.

Nobody has to know which family can do what: every way is tried on a few made-up sequences first.

Axes in names as in `seqcls_beam.model.engine`.
"""

import gc
import logging
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.checkpoints.errors import told
from seqcls_beam.model.engine import linear
from seqcls_beam.model.engine.attention import Attention, by_equal_lengths, varlen
from seqcls_beam.model.engine.blocks import accelerate
from seqcls_beam.model.engine.devices import multiplies_bfloat16
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.faults import end_if_dead
from seqcls_beam.model.engine.fresh import Fresh
from seqcls_beam.model.engine.kernels import machine
from seqcls_beam.model.engine.kernels.trial import available
from seqcls_beam.model.engine.loading import keep_freed_memory, load, vocabulary
from seqcls_beam.model.engine.packed import FAMILIES, Packed
from seqcls_beam.model.engine.packing import Ints
from seqcls_beam.model.engine.padded import Alone, Padded
from seqcls_beam.model.engine.static import Static
from seqcls_beam.model.engine.trial import Executor, Trial, TwoAnswersError, passes
from seqcls_beam.model.tokens import Sequences, made_up

PACKED, PADDED, EQUAL, ALONE = "packed", "padded", "equal lengths", "one by one"
"""Engines: without padding; rectangles of lengths that are equal, on a GPU nearly; of equal lengths; of one text."""
_log = logging.getLogger(__name__)


def on_cpu(size: int) -> Attention:
    """Attention on this processor, for heads of `size`: the fastest one, as was measured (docs/engine.md)."""
    if size not in machine.HEADS or not available():
        return by_equal_lengths
    # Of llvmlite, which need not be installed.
    from seqcls_beam.model.engine.kernels.attention import by_kernels

    return by_kernels


@dataclass(frozen=True)
class _Way:
    """One way to run a model."""

    engine: str
    dtype: torch.dtype = torch.float32
    onednn: bool = False
    compiled: bool = False

    @property
    def facts(self) -> dict[str, str]:
        return {
            "engine": self.engine,
            "dtype": str(self.dtype).removeprefix("torch."),
            "products": "oneDNN" if self.onednn else "torch",
        } | ({"passes": "compiled, one CUDA graph a width"} if self.compiled else {})

    def build(self, model: Any, tokens: int, longest: int) -> Executor:
        made: Executor
        if self.engine == PACKED:
            size = model.config.hidden_size // model.config.num_attention_heads
            packed = Packed(model, varlen if model.device.type == "cuda" else on_cpu(size), self.dtype)
            made = Static(packed, tokens, longest) if self.compiled else packed
        elif self.engine == ALONE:
            made = Alone(model, self.dtype)
        else:
            made = Padded(model, self.dtype, 1 if self.engine == EQUAL else None)
        if self.onednn:
            accelerate(model)
        return made


class PutBack:
    """A way to run a model whose passes leave something behind in it, without that."""

    def __init__(self, executor: Executor) -> None:
        self.model = executor.model
        self.packs = executor.packs
        self._forward = executor.forward
        self.changed()

    def changed(self) -> None:
        """The model is another one from now on, whose passes leave nothing behind that is not in it now."""
        self._fresh = Fresh(self.model)

    def forward(self, ids_T: Ints, types_T: Ints | None, lengths_N: Ints) -> Tensor:
        """As `Executor` has it."""
        try:
            return self._forward(ids_T, types_T, lengths_N)
        finally:
            self._fresh.put_back()


def choose(
    checkpoint: Checkpoint,
    device: torch.device,
    options: ModelOptions,
    tokens: int,
    longest: int,
    at_hand: Sequences | None = None,
) -> tuple[Executor, dict[str, Any]]:
    """(the executor, facts about it) for passes of `tokens` tokens and sequences of at most `longest`.

    A way is refused, and the next one tried, where a probability is further than 1e-4 (float32), 1e-2 (float16) or 2e-2
    (bfloat16) from that of the plain model in the same precision, one text at a time, and than twice what the precision
    itself costs that model; or a logit x than ten times as much of 1 + |x|, the value of a regression than as much. A
    precision that `options` leave open is refused where it costs the plain model more than 1e-2 (float16) or 3e-2
    (bfloat16). int8 begins as float32. Sequences `at_hand` are tried, too.
    Raises `EngineError` where no way passes or the options do not go together, `CheckpointError` as `load` and for a
    model that does not run on texts or gives one text two answers, and what the last way raises.
    """
    if device.type == "cpu":
        keep_freed_memory()
    model: Any = load(checkpoint, device)
    trial = _trial(checkpoint, model, options.threads, tokens, longest, at_hand)
    ways = _ways(model.config.model_type, device, options)
    refused: list[dict[str, str]] = []
    for way in ways:
        asked, last = options.dtype != "auto", way is ways[-1]
        found = _try(way, checkpoint, model or load(checkpoint, device), trial, tokens, longest, asked, last)
        if not isinstance(found, str):
            facts: dict[str, Any] = way.facts | ({"refused": refused} if refused else {})
            if isinstance(found, PutBack):
                facts["put_back"] = "after each pass, of which this model keeps something"
            if way.dtype != torch.float32:
                facts["self_test_cost"] = round(trial.price(way.dtype).answer, 6)
            return found, facts
        _log.warning("%s: not run %s: %s", checkpoint.name, way.facts, found)
        refused.append(way.facts | {"reason": found})
        model = None
        gc.collect()  # a packed model and its hook hold each other, and the next one is read beside them
    raise EngineError(f"--dtype={options.dtype}: no way to run {checkpoint.name} passes the self-test: {found}")


def _trial(
    checkpoint: Checkpoint, model: Any, threads: int, tokens: int, longest: int, at_hand: Sequences | None
) -> Trial:
    below = vocabulary(model)
    tried = made_up(checkpoint, threads, below, longest) + ([] if at_hand is None else [at_hand])
    try:
        every = [each for one in tried for each in passes(one, below, longest, tokens)]
        return Trial(model, checkpoint.problem, every, tokens, waits=at_hand is not None)
    except Exception as error:
        if isinstance(error, RuntimeError):
            end_if_dead(error)
        why = str(error) if isinstance(error, TwoAnswersError) else told(error)
        raise CheckpointError(f"{checkpoint.name}: the plain model cannot be used on made-up texts: {why}") from error


def _try(
    way: _Way, checkpoint: Checkpoint, model: Any, trial: Trial, tokens: int, longest: int, asked: bool, last: bool
) -> Executor | str:
    """The executor, where it passes the self-test; else why not."""
    device = model.device
    try:
        trial.learn(way.dtype, lambda: load(checkpoint, device, way.dtype))
        executor = way.build(model, tokens, longest)
        if trial.leaves_something and way.engine != PACKED:
            executor = PutBack(executor)
        return trial.fault(trial.logits(executor), way.dtype, asked) or executor
    except Exception as error:
        if isinstance(error, RuntimeError):
            end_if_dead(error)
        if last:
            raise
        return f"{type(error).__name__}: {error}"


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
        fast = [_Way(engine, wanted, onednn=True) for engine in (PACKED, PADDED) if linear.available()]
        ways = [*fast, *(_Way(engine, wanted) for engine in (PACKED, PADDED, ALONE))]
    else:
        if dtype == "int8":
            raise EngineError("--dtype=int8: is for CPUs; on a GPU take float16 or bfloat16")
        # float16 first: as fast as bfloat16, and eight times as fine where nothing overflows.
        half = [torch.float16, torch.bfloat16] if multiplies_bfloat16(device) else [torch.float16]
        dtypes = [*half, torch.float32] if dtype == "auto" else [getattr(torch, dtype)]
        # The variable-length kernel is for half precision, and packed bfloat16 is faster than padded float16.
        packed = [_Way(PACKED, each) for each in dtypes if each in half]
        ways = [*packed, *(_Way(engine, each) for engine in (PADDED, EQUAL, ALONE) for each in dtypes)]
        if options.compile:
            ways = [*(replace(way, compiled=True) for way in packed), *ways]
    return [way for way in ways if family in FAMILIES or way.engine != PACKED]
