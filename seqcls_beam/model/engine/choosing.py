"""Choosing: the fastest way to run a model that gives what plain transformers gives.

Nobody has to know which family can do what: every way is tried on a few synthetic sequences first.

Axes in names as in `seqcls_beam.model.engine`.
"""

import ctypes
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError
from seqcls_beam.model.checkpoints.errors import told
from seqcls_beam.model.engine import linear
from seqcls_beam.model.engine.attention import by_equal_lengths, varlen
from seqcls_beam.model.engine.blocks import accelerate
from seqcls_beam.model.engine.devices import multiplies_bfloat16
from seqcls_beam.model.engine.errors import EngineError
from seqcls_beam.model.engine.faults import end_if_dead
from seqcls_beam.model.engine.packed import FAMILIES, Packed
from seqcls_beam.model.engine.packing import Ints
from seqcls_beam.model.engine.padded import Padded
from seqcls_beam.model.engine.static import Static
from seqcls_beam.model.engine.trial import Trial, passes
from seqcls_beam.model.tokens import Sequences

_WORTH_SAYING = 1.1  # times as fast
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
    checkpoint: Checkpoint,
    device: torch.device,
    options: ModelOptions,
    tokens: int,
    longest: int,
    at_hand: Sequences | None = None,
) -> tuple[Executor, dict[str, Any]]:
    """(the executor, facts about it) for passes of `tokens` tokens and sequences of at most `longest`.

    A way is refused, and the next one tried, where a probability is further than 1e-4 (float32) or 1e-2 from that of
    the plain padded model in the same precision, and than twice what the precision itself costs that model; or a logit
    x than ten times as much of 1 + |x|, the value of a regression than as much. A precision that `options` leave open
    is refused where it costs the plain model more than 1e-2 (float16) or 3e-2 (bfloat16). int8 begins as float32.
    Sequences `at_hand` are tried, too; they come with a job that is under way, which gets no advice any more.
    Raises `EngineError` where no way passes or the options do not go together, `CheckpointError` as `load`, and what
    the last way raises.
    """
    if device.type == "cpu":
        keep_freed_memory()
    model: Any = load(checkpoint, device)
    texts = None if at_hand is None else passes(at_hand, vocabulary(model), longest, tokens)
    trial = Trial(model, vocabulary(model), longest, checkpoint.sentence_ids, checkpoint.problem, texts or ())
    ways = _ways(model.config.model_type, device, options)
    refused: list[dict[str, str]] = []
    for way in ways:
        asked, last = options.dtype != "auto", way is ways[-1]
        found = _try(way, checkpoint, model or load(checkpoint, device), trial, tokens, longest, asked, last)
        if not isinstance(found, str):
            facts: dict[str, Any] = way.facts | ({"refused": refused} if refused else {})
            if way.dtype != torch.float32:
                facts["self_test_cost"] = round(trial.price(way.dtype).answer, 6)
            elif at_hand is None and device.type == "cpu" and options.dtype == "auto" and linear.multiplies_bfloat16():
                _advise(way, checkpoint, found, trial, tokens, longest)
            return found, facts
        _log.warning("%s: not run %s: %s", checkpoint.name, way.facts, found)
        refused.append(way.facts | {"reason": found})
        model = None
        gc.collect()  # a packed model and its hook hold each other, and the next one is read beside them
    raise EngineError(f"--dtype={options.dtype}: no way to run {checkpoint.name} passes the self-test: {found}")


def _try(
    way: _Way, checkpoint: Checkpoint, model: Any, trial: Trial, tokens: int, longest: int, asked: bool, last: bool
) -> Executor | str:
    """The executor, where it passes the self-test; else why not."""
    device = model.device
    try:
        trial.learn(way.dtype, lambda: load(checkpoint, device, way.dtype))
        executor = way.build(model, tokens, longest)
        return trial.fault(trial.logits(executor.forward), way.dtype, asked) or executor
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, RuntimeError):
            end_if_dead(error)
        if last:
            raise
        return f"{type(error).__name__}: {error}"


def _advise(way: _Way, checkpoint: Checkpoint, executor: Executor, trial: Trial, tokens: int, longest: int) -> None:
    """Say what bfloat16 would give, where it passes the self-test, and float32 was taken since nobody asked for it."""
    other = replace(way, dtype=torch.bfloat16)
    model = load(checkpoint, torch.device("cpu"))
    found = _try(other, checkpoint, model, trial, tokens, longest, asked=True, last=False)
    if isinstance(found, str):
        return
    times = trial.seconds(executor.forward) / trial.seconds(found.forward)
    if times > _WORTH_SAYING:
        _log.warning(
            "%s: --dtype=bfloat16 is %.1f times as fast on this processor in the self-test, where it moves an answer "
            "by %.2g at most",
            checkpoint.name,
            times,
            trial.price(other.dtype).answer,
        )


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
            raise EngineError("--dtype=int8: is for CPUs; on a GPU take float16 or bfloat16")
        # float16 first: as fast as bfloat16, and eight times as fine where nothing overflows.
        half = [torch.float16, torch.bfloat16] if multiplies_bfloat16(device) else [torch.float16]
        dtypes = [*half, torch.float32] if dtype == "auto" else [getattr(torch, dtype)]
        # The variable-length kernel is for half precision, and packed bfloat16 is faster than padded float16.
        ways = [*(_Way(True, each) for each in dtypes if each in half), *(_Way(False, each) for each in dtypes)]
        if options.compile:
            ways = [*(replace(way, compiled=True) for way in ways if way.packed), *ways]
    return [way for way in ways if family in FAMILIES or not way.packed]


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


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The model in a precision, whatever the weights are stored in, ready for inference; raises `CheckpointError`."""
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers.modeling_utils").addFilter(_no_report)
    warnings.filterwarnings("ignore", "Detected pickle protocol")  # it is read, or refused
    try:
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            checkpoint.local(),
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.name}: does not load ({told(error)})") from error
    for name, has, needs in sorted(found["mismatched_keys"])[:1]:
        raise CheckpointError(
            f"{checkpoint.name}: {name} has the shape {tuple(has)} in the weights, and {tuple(needs)} by config.json: "
            "take the config.json that belongs to the weights"
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: the weights lack {', '.join(missing[:4])}{' …' * (len(missing) > 4)}, which would be "
            "random numbers; was it saved without its classification head?"
        )
    if left := sorted(found["unexpected_keys"]):
        _log.warning(
            "%s: of the weights %d have no place in the model, such as %s", checkpoint.name, len(left), left[0]
        )
    return model.eval().requires_grad_(False).to(dtype).to(device)


def _no_report(record: logging.LogRecord) -> bool:
    """Not the table of weights that transformers shows: what it says is refused, or said in a line."""
    return "LOAD REPORT" not in record.getMessage()
